"""The table of benchmarks says whether a bound holds, whichever way is better, and what is absent."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.__main__ import show, verdict
from benchmarks.table import Bound, Row, Section

ALONE, BESIDE = Bound(2.0), Bound(1.5, "theirs")


def figures(ours: float, theirs: float | None) -> dict[str, dict[str, Any]]:
    peer = {"unavailable": "not installed"} if theirs is None else {"median": theirs, "unit": ""}
    return {"ours": {"median": ours, "unit": ""}, "theirs": peer}


def row(bound: Bound, higher_is_better: bool = False) -> Row:
    return Row("a thing", "thing", "ours", ("theirs",), (bound,), higher_is_better)


@pytest.mark.parametrize(
    ("bound", "higher_is_better", "ours", "said"),
    [
        (ALONE, False, 2.0, "[green]holds[/] <= 2"),
        (ALONE, False, 2.1, "[red]MISSED[/] <= 2"),
        (ALONE, True, 2.0, "[green]holds[/] >= 2"),
        (ALONE, True, 1.9, "[red]MISSED[/] >= 2"),
        (BESIDE, False, 6.0, "[green]holds[/] <= 1.5 x theirs"),
        (BESIDE, False, 6.1, "[red]MISSED[/] <= 1.5 x theirs"),
        (BESIDE, True, 6.0, "[green]holds[/] >= 1.5 x theirs"),
        (BESIDE, True, 5.9, "[red]MISSED[/] >= 1.5 x theirs"),
    ],
)
def test_a_bound_holds_or_is_missed(bound: Bound, higher_is_better: bool, ours: float, said: str) -> None:
    assert verdict(row(bound, higher_is_better), figures(ours, 4.0)) == said


def test_a_bound_beside_an_absent_peer_is_not_judged() -> None:
    assert verdict(row(BESIDE), figures(6.0, None)) == "[yellow]no theirs here[/]"


def test_a_row_whose_data_are_absent_says_so_and_why() -> None:
    console = Console(file=io.StringIO(), width=120)
    found = {"ours": {"unavailable": "no data in this folder"}, "theirs": {"unavailable": "nor here"}}
    with console.capture() as captured:
        show(console, Section("things", "search", (row(ALONE),)), [row(ALONE)], {"a thing": found})
    shown = captured.get()
    assert "absent" in shown and "no data in this folder" in shown and "failed" not in shown
