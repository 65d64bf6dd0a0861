"""Runs every benchmark, each subject in a process of its own, interleaved in rounds, and prints one table with ratios.

python -m benchmarks [--once] [--only TEXT] [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="run each operation once, untimed: only that it works")
    parser.add_argument("--only", default="", help="rows whose section, title or case contains this text")
    parser.add_argument("--rounds", type=int, default=3, help="processes per subject, interleaved (default 3)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    chosen = [(section, row) for section in SECTIONS for row in section.rows if wanted(section, row, arguments.only)]
    console = Console(width=None if sys.stdout.isatty() else 150)
    figures: dict[str, Figures] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(chosen))

        def run(row: Row) -> Figures:
            progress.update(task, description=row.title)
            return measure(row, rounds=1 if arguments.once else arguments.rounds, once=arguments.once)

        with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as threads:
            # What is timed has the machine to itself; what only has to work shares it.
            each = threads.map if arguments.once else map
            for (_, row), found in zip(chosen, each(run, [row for _, row in chosen]), strict=True):
                figures[row.title] = found
                progress.advance(task)
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


def measure(row: Row, *, rounds: int, once: bool) -> Figures:
    """The best of interleaved rounds, so that noise on the machine falls on every subject alike."""
    best: Figures = {}
    for _ in range(rounds):
        for subject in (row.ours, *row.peers):
            found = measure_once(subject, row.case, once=once)
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


def measure_once(subject: str, case: str, *, once: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.measure", subject, case, *(["--once"] if once else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return {"failed": "took more than 300 s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


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
