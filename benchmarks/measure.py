"""Measures one case of one subject, in a process of its own, and prints it as one line of JSON.

A subject is a module of `benchmarks.subjects` with a function `cases()`: names to `Case` values. Set-up lies outside
the timer; an operation that does a thing N times says so by `per`.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import statistics
import time
from dataclasses import asdict

from benchmarks.cases import Case, Measurement, Unavailable


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject")
    parser.add_argument("case", nargs="?", help="without it: list the subject's cases")
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    # A portal that is measured would load the model of the extra meanwhile, which users have only if they install it.
    # The rows of search by meaning turn it on.
    os.environ.setdefault("CODEMODE_SEMANTIC", "off")
    try:
        cases = importlib.import_module(f"benchmarks.subjects.{arguments.subject}").cases()
        if arguments.case is None:
            print(json.dumps({"cases": sorted(cases)}))
            return
        case = cases[arguments.case]
        found = timed(case, once=arguments.once) if isinstance(case, Case) else case.read(arguments.once)
        print(json.dumps(asdict(found)))
    except (Unavailable, ImportError) as error:
        print(json.dumps({"unavailable": str(error)}))


if __name__ == "__main__":
    main()
