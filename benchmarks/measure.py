"""Measures cases of one subject, in a process of its own, and prints each as a line of JSON.

A subject is a module of `benchmarks.subjects` with a function `cases()`: names to `Case` values. Set-up lies outside
the timer; an operation that does a thing N times says so by `per`. What is timed has the process to itself: only with
`--once` are there several cases.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import statistics
import time
import traceback
from dataclasses import asdict
from typing import Any

from benchmarks.cases import Case, Measurement, Reading, Unavailable


def timed(case: Case, *, once: bool) -> Measurement:
    operation = case.prepare()
    if not once:
        operation()
    gc.collect()
    gc.disable()
    samples = []
    for _ in range(1 if once else case.rounds):
        began = time.perf_counter()
        operation()
        samples.append((time.perf_counter() - began) / case.per)
    return Measurement(min(samples), statistics.median(samples))


def measured(case: Case | Reading, *, once: bool) -> dict[str, Any]:
    """The line of a case. `unavailable`: what it needs is not installed here; `failed`: what it raised."""
    try:
        return asdict(timed(case, once=once) if isinstance(case, Case) else case.read(once))
    except (Unavailable, ImportError) as error:
        return {"unavailable": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject")
    parser.add_argument("cases", nargs="*", help="without one: list the subject's cases")
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    if len(arguments.cases) > 1 and not arguments.once:
        parser.error("what is timed has its process to itself: name one case, or say --once")
    # A portal that is measured would load the model of the extra meanwhile, which users have only if they install it.
    # The rows of search by meaning turn it on.
    os.environ.setdefault("CODEMODE_SEMANTIC", "off")
    try:
        cases = importlib.import_module(f"benchmarks.subjects.{arguments.subject}").cases()
    except (Unavailable, ImportError) as error:
        for name in arguments.cases or [""]:
            print(json.dumps({"case": name, "unavailable": str(error)}))
        return
    if not arguments.cases:
        print(json.dumps({"cases": sorted(cases)}))
    if unknown := [name for name in arguments.cases if name not in cases]:
        parser.error(f"{arguments.subject} has no case {', '.join(unknown)}")
    for name in arguments.cases:
        # At once: what ends the process loses no line before it.
        print(json.dumps({"case": name, **measured(cases[name], once=arguments.once)}), flush=True)


if __name__ == "__main__":
    main()
