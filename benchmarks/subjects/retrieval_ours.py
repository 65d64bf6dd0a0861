"""Our search on tools and tasks that nobody here wrote, by the half of the tasks that judges the ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from benchmarks.cases import Measurement, Reading, Unavailable
from codemode import Catalog
from stubs import Server
from tests.corpus.retrieval import AbsentSet, Measures, Query, by_search, foreign_set, measured

PARTS = {
    "stabletoolbench": ("stabletoolbench", None),
    "livemcpbench_tasks": ("livemcpbench", "task"),
    "livemcpbench_steps": ("livemcpbench", "step"),
    "metatool": ("metatool", None),
}
Measure = Callable[[Sequence[Server], Sequence[Query]], Measures]
"""How well the servers' tools are found for some queries."""


def cases() -> Mapping[str, Reading]:
    return readings(lambda servers, asked: measured(by_search(Catalog.build(servers)), asked))


def readings(measure: Measure) -> dict[str, Reading]:
    """A figure for each part of the sets and each measure."""
    return {
        f"{part}_{name}": Reading(partial(reading, measure, part, name)) for part in PARTS for name in Measures._fields
    }


def reading(measure: Measure, part: str, name: str, once: bool) -> Measurement:
    set_name, of_set = PARTS[part]
    try:
        tools = foreign_set(set_name)
    except AbsentSet as error:
        raise Unavailable(str(error)) from error
    asked = tools.of("judging", of_set)
    figure = getattr(measure(tools.servers, asked[:5] if once else asked), name)
    note = f"{len(asked)} tasks over {sum(len(server.tools) for server in tools.servers):,} tools"
    return Measurement(figure, figure, "", note)
