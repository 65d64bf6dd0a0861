"""Our search by words and by meaning, on the same tools and tasks as `retrieval_ours`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.cases import Reading, Unavailable
from benchmarks.subjects.retrieval_ours import readings
from codemode import Catalog, Meanings
from stubs import Server
from tests.corpus.retrieval import Measures, Query, by_search, measured


def cases() -> Mapping[str, Reading]:
    return readings(by_meaning)


def by_meaning(servers: Sequence[Server], asked: Sequence[Query]) -> Measures:
    if (meanings := Meanings.installed(environment={})) is None:
        raise Unavailable(str(Meanings.absence({})))
    catalog = Catalog.build(servers)
    with meanings:
        meanings.prepared(catalog.parts)
        return measured(by_search(catalog, meanings), asked)
