"""Tools and tasks that nobody here wrote: three public sets, and how well a ranking finds the tools of a task.

`stabletoolbench` (Apache-2.0), `livemcpbench` (Apache-2.0) and `metatool` (MIT) are files in the folder that
`CODEMODE_RETRIEVAL_DATA` names. They are not part of this project, and are absent on most machines.

Half of the queries of a set were used to choose the weights of the ranking. The other half judges it: no weight was
chosen and nothing was changed by a query of that half.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from codemode import Catalog, Likeness
from stubs import Server, Tool, ToolKey

VARIABLE = "CODEMODE_RETRIEVAL_DATA"
MAX_CHARS = 300
"""Queries are cut to so many characters, for every ranking."""
PLACES = 10

Half = Literal["tuned", "judging"]
Ranking = Callable[[str], Sequence[ToolKey]]
"""The best tools for a query, best first."""

_ROOT = Path(__file__).resolve().parents[2]
_DEFAULT = "../shared/data/retrieval"


class AbsentSet(Exception):
    """The file of a set is not there: the message says where it was looked for, and which variable names the folder."""


@dataclass(frozen=True, slots=True)
class Query:
    """A task or a step of one, as its author wrote it, and the tools that solve it. `part` is the set's own word."""

    text: str
    wanted: frozenset[ToolKey]
    part: str

    @property
    def half(self) -> Half:
        return "tuned" if hashlib.sha256(self.text.encode()).digest()[0] % 2 else "judging"


@dataclass(frozen=True, slots=True)
class ForeignSet:
    """The servers of a set, and its queries in the order of their hashes, which is as good as any drawn at random."""

    servers: tuple[Server, ...]
    queries: tuple[Query, ...]

    def of(self, half: Half, part: str | None = None) -> list[Query]:
        """The queries of a half, of one part of the set or of all."""
        return [query for query in self.queries if query.half == half and part in (None, query.part)]


class Measures(NamedTuple):
    """Means over queries, each 0 to 1.

    The share of queries with a right tool in the first place, and within five; the normalised discounted cumulative
    gain within ten; the share of queries with every right tool within ten, because a program needs them together.
    """

    hit_at_1: float
    hit_at_5: float
    ndcg_at_10: float
    all_at_10: float


def foreign_set(name: str) -> ForeignSet:
    """The set `stabletoolbench`, `livemcpbench` or `metatool`. Raises AbsentSet where its file is not there."""
    folder = (_ROOT / (os.environ.get(VARIABLE) or _DEFAULT)).resolve()
    try:
        written = json.loads(gzip.decompress((folder / f"{name}.json.gz").read_bytes()))
    except FileNotFoundError as error:
        raise AbsentSet(f"{VARIABLE} names the folder of the retrieval sets: {name} is not in {folder}") from error
    servers = tuple(
        Server(
            server["id"],
            tools=tuple(
                Tool(tool["name"], description=tool["description"], input_schema=tool["inputSchema"])
                for tool in server["tools"]
            ),
        )
        for server in written["servers"]
    )
    queries = [
        Query(query["query"], frozenset(ToolKey(*key) for key in query["wanted"]), query["part"])
        for query in written["queries"]
    ]
    return ForeignSet(servers, tuple(sorted(queries, key=lambda query: hashlib.sha256(query.text.encode()).digest())))


def by_search(catalog: Catalog, likeness: Likeness | None = None) -> Ranking:
    """The ranking of our own search, as a program gets it: by words, and by meaning too with a `likeness`."""

    def ranked(query: str) -> list[ToolKey]:
        entries = [catalog.get(result["path"]) for result in catalog.search(query, limit=PLACES, likeness=likeness)]
        return [ToolKey(entry.server.id, entry.tool.name) for entry in entries if entry is not None]

    return ranked


def measured(ranking: Ranking, asked: Sequence[Query]) -> Measures:
    found = [_measures(ranking(query.text[:MAX_CHARS])[:PLACES], query.wanted) for query in asked]
    return Measures(*map(fmean, zip(*found, strict=True)))


def best_of(measures: Sequence[Measures]) -> Measures:
    """The best figure of each measure."""
    return Measures(*map(max, zip(*measures, strict=True)))


def _measures(ranked: Sequence[ToolKey], wanted: frozenset[ToolKey]) -> Measures:
    right = [tool in wanted for tool in ranked]
    gain = sum(_gain(place) for place, is_right in enumerate(right) if is_right)
    ideal = sum(map(_gain, range(min(len(wanted), PLACES))))
    return Measures(any(right[:1]), any(right[:5]), gain / ideal, wanted <= set(ranked))


def _gain(place: int) -> float:
    """What a right tool is worth in a place, from 0."""
    return 1 / math.log2(place + 2)
