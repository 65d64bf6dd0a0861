"""Runs every benchmark, each subject in a process of its own, interleaved in rounds, and prints one table with ratios.

python -m benchmarks [--once] [--only TEXT] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.table import SECTIONS, Bound, Row, Section

Figures = dict[str, dict[str, Any]]
COUNTED = {"tokens", "tools", ""}
"""Units of what is the same in every round; "" is that of shares."""
SECONDS_EACH = 300
"""For a process, for each of its cases."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="run each operation once, untimed: only that it works")
    parser.add_argument("--only", default="", help="rows whose section, title or case contains this text")
    parser.add_argument("--rounds", type=int, default=3, help="processes per subject, interleaved (default 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    chosen = [(section, row) for section in SECTIONS for row in section.rows if wanted(section, row, arguments.only)]
    console = Console(width=None if sys.stdout.isatty() else 150)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        rows = [row for _, row in chosen]
        figures = once_each(rows, progress) if arguments.once else measured(rows, arguments.rounds, progress)
    broken = [
        f"{title}: {name}: {found['failed']}"
        for title, by in figures.items()
        for name, found in by.items()
        if "failed" in found
    ]
    if arguments.once:
        console.print(f"{len(chosen)} benchmarks ran once each; absent peers: {absent(figures) or 'none'}")
    else:
        for section in SECTIONS:
            show(console, section, [row for owner, row in chosen if owner is section], figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for line in broken:
        console.print(f"[red]failed[/] {line}")
    return 1 if broken else 0


def wanted(section: Section, row: Row, text: str) -> bool:
    return text.casefold() in f"{section.group} {section.title} {row.title} {row.case}".casefold()


def measured(rows: Sequence[Row], rounds: int, progress: Progress) -> dict[str, Figures]:
    """The figures of each row. What is timed has the machine to itself."""
    figures = {}
    task = progress.add_task("measuring", total=len(rows))
    for row in rows:
        progress.update(task, description=row.title)
        figures[row.title] = measure(row, rounds)
        progress.advance(task)
    return figures


def once_each(rows: Sequence[Row], progress: Progress) -> dict[str, Figures]:
    """The same of cases that only have to work: they share the machine, and those of one subject share a process."""
    cases: dict[str, list[str]] = {}
    for row in rows:
        for subject in (row.ours, *row.peers):
            if row.case not in cases.setdefault(subject, []):
                cases[subject].append(row.case)

    task = progress.add_task("running each once", total=len(cases))

    def run(subject: str) -> Figures:
        found = run_cases(subject, cases[subject], once=True)
        progress.advance(task)
        return found

    # The longest first, or the machine would wait for it at the end.
    subjects = sorted(cases, key=lambda subject: -len(cases[subject]))
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as threads:
        found = dict(zip(subjects, threads.map(run, subjects), strict=True))
    return {row.title: {subject: found[subject][row.case] for subject in (row.ours, *row.peers)} for row in rows}


def measure(row: Row, rounds: int) -> Figures:
    """The best of interleaved rounds, so that noise on the machine falls on every subject alike."""
    best: Figures = {}
    for _ in range(rounds):
        for subject in (row.ours, *row.peers):
            found = run_cases(subject, [row.case], once=False)[row.case]
            kept = best.get(subject)
            if kept is None or better(found, kept, row):
                best[subject] = found
        if all(found.get("unit") in COUNTED for found in best.values()):
            break
    return best


def better(found: dict[str, Any], kept: dict[str, Any], row: Row) -> bool:
    if "median" not in kept or "median" not in found:
        return "median" in found
    return bool(found["median"] > kept["median"] if row.higher_is_better else found["median"] < kept["median"])


def run_cases(subject: str, cases: Sequence[str], *, once: bool) -> Figures:
    """What each case of a subject gave in one process. After one that ends the process, none of the others has run."""
    command = [sys.executable, "-m", "benchmarks.measure", subject, *cases, *(["--once"] if once else [])]
    seconds = SECONDS_EACH * len(cases)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        printed = done.stdout
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else f"exit {done.returncode}"
    except subprocess.TimeoutExpired as error:
        printed = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        why = f"took more than {seconds} s"
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith('{"case": ')]
    found: Figures = {line.pop("case"): line for line in lines}
    return {case: found.get(case, {"failed": why}) for case in cases}


def absent(figures: dict[str, Figures]) -> str:
    return ", ".join(sorted({name for by in figures.values() for name, found in by.items() if "unavailable" in found}))


def show(console: Console, section: Section, rows: list[Row], figures: dict[str, Figures]) -> None:
    if not rows:
        return
    table = Table(title=section.title, title_justify="left", title_style="bold", expand=False)
    table.add_column("what")
    table.add_column("ours", justify="right")
    table.add_column("must be")
    table.add_column("beside: ours / theirs (theirs)")
    for row in rows:
        found = figures[row.title]
        ours = found[row.ours]
        if "median" not in ours:
            word = "[yellow]absent[/]" if "unavailable" in ours else "[red]failed[/]"
            table.add_row(row.title, word, "", str(ours.get("failed", ours.get("unavailable"))))
            continue
        peers = "  ".join(beside(ours, name, found[name]) for name in row.peers)
        note = f"  {ours['note']}" if ours.get("note") else ""
        table.add_row(row.title, amount(ours["median"], ours["unit"]), verdict(row, found), (peers + note).strip())
    console.print(table)


def verdict(row: Row, found: Figures) -> str:
    """Whether each bound of a row holds, a line each."""
    return "\n".join(judged(bound, row, found) for bound in row.bounds)


def judged(bound: Bound, row: Row, found: Figures) -> str:
    ours = found[row.ours]
    figure, limit = ours["median"], amount(bound.value, ours["unit"])
    if bound.peer is not None:
        peer = found[bound.peer]
        if "median" not in peer:
            return f"[yellow]no {bound.peer} here[/]"
        figure, limit = figure / peer["median"], f"{bound.value:g} x {bound.peer}"
    holds, sign = (figure >= bound.value, ">=") if row.higher_is_better else (figure <= bound.value, "<=")
    return f"{'[green]holds' if holds else '[red]MISSED'}[/] {sign} {limit}"


def beside(ours: dict[str, Any], name: str, peer: dict[str, Any]) -> str:
    if "median" not in peer:
        return f"{name}: {'absent' if 'unavailable' in peer else 'failed'}"
    return f"{name} {ours['median'] / peer['median']:.2f} x ({amount(peer['median'], peer['unit'])})"


def amount(value: float, unit: str) -> str:
    if unit == "s":
        for factor, word in ((1, "s"), (1e3, "ms")):
            if value * factor >= 1:
                return f"{value * factor:.3g} {word}"
        return f"{value * 1e6:.3g} us"
    if unit == "B":
        return f"{value / 1024:.1f} KB"
    return f"{value:,.0f} {unit}" if unit == "tokens" else f"{value:.3g} {unit}".strip()


if __name__ == "__main__":
    sys.exit(main())
