"""Plain BM25, of the package rank-bm25, on the same tools and tasks as `retrieval_ours`, and its time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from benchmarks import corpus
from benchmarks.cases import Case, Reading
from benchmarks.subjects.retrieval_ours import readings
from tests.corpus import bm25, cloudflare
from tests.corpus.intents import LARGE, intents


def cases() -> Mapping[str, Case | Reading]:
    return {
        **readings(bm25.bar),
        "search": Case(lambda: searching([intent.words for intent in intents(LARGE, "tuned")]), rounds=50),
        "search_300": Case(lambda: searching(corpus.tasks_of_300()), rounds=50),
    }


def searching(queries: Sequence[str]) -> Callable[[], object]:
    ranking = bm25.Bm25([cloudflare.server()], bm25.stems)
    asked = itertools.cycle(queries)
    return lambda: ranking.find(next(asked))
