"""Plain BM25, from the package rank-bm25, over the texts of tools: the baseline beside our search.

A baseline is not weakened by its tokeniser. So there are two, the words that our search reads and the stems of these,
and the bar is for each measure the better of the two figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from rank_bm25 import BM25Okapi

from codemode.words import stem, words
from stubs import Server, Tool, ToolKey
from tests.corpus.retrieval import PLACES, Measures, Query, best_of, measured

Scores = npt.NDArray[np.float64]
_NAME = 3  # times that the name of a tool is in its text: what is in the name says most


class Bm25:
    """Ranks the tools of some servers by BM25 as rank-bm25 has it, with its own constants."""

    def __init__(self, servers: Sequence[Server], tokens: Callable[[str], list[str]]) -> None:
        self._tokens = tokens
        self._tools = [ToolKey(server.id, tool.name) for server in servers for tool in server.tools]
        self._bm25 = BM25Okapi([tokens(_text(server, tool)) for server in servers for tool in server.tools])
        self._kept = lru_cache(maxsize=1_000)(lambda token: self._scores([token]))

    def find(self, query: str) -> list[ToolKey]:
        """The best tools for a query, best first; equal ones keep the order of the tools, as in our search."""
        return self._best(self._scores(self._tokens(query)))

    def find_sooner(self, query: str) -> list[ToolKey]:
        """The same, for many queries: a score is the sum of those of the tokens, and these are kept."""
        return self._best(sum(map(self._kept, self._tokens(query)), np.zeros(len(self._tools))))

    def _scores(self, tokens: list[str]) -> Scores:
        scores: Scores = self._bm25.get_scores(tokens)
        return scores

    def _best(self, scores: Scores) -> list[ToolKey]:
        return [self._tools[place] for place in np.argsort(-scores, kind="stable")[:PLACES]]


def bar(servers: Sequence[Server], asked: Sequence[Query]) -> Measures:
    """For each measure the better figure of the two tokenisers."""
    return best_of([measured(Bm25(servers, tokens).find_sooner, asked) for tokens in (words, stems)])


def stems(text: str) -> list[str]:
    return [stem(word) for word in words(text)]


def _text(server: Server, tool: Tool) -> str:
    schema = tool.input_schema
    properties = schema.get("properties") if not isinstance(schema, bool) else None
    return " ".join([*[tool.name] * _NAME, tool.description or "", server.id, *(properties or {})])
