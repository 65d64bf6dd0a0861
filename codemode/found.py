"""What an agent reads of the tools that a search found, within the tokens that a search may cost.

Every tool has its path and a few words, and as many of the best ones as there is room for have their signature too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from codemode.about import summary
from codemode.cost import about_tokens
from codemode.errors import CatalogError

DEFAULT_LIMIT = 10
BEST = 5
DEFAULT_LIMIT_TOGETHER = 20  # of several needs: so many can be described at once in their short form
MAX_LIMIT = 50
MAX_NEEDS = 10
SEARCH_TOKENS = 500  # of ten results
_BRACKET_TOKENS = 2  # around the results of one of several needs
_SHORT_SUMMARY_CHARS = 60

T = TypeVar("T")


class FoundTool(NamedTuple):
    """A tool in its whole and its shortest form, with the tokens of each."""

    whole: dict[str, Any]
    least: dict[str, Any]
    tokens: int
    least_tokens: int

    @classmethod
    def of(cls, path: str, signature: str, text: str) -> FoundTool:
        """`text` is the description of the tool."""
        words, short = summary(text), summary(text, _SHORT_SUMMARY_CHARS)
        whole = {"path": path, "signature": signature, **({"description": words} if words else {})}
        least = {"path": path, **({"description": short} if short else {})}
        return cls(whole, least, _cost(whole), _cost(least))

    def with_server(self, server_id: str) -> FoundTool:
        """The same, saying its server."""
        server = {"server": server_id}
        more = _cost(server) - _cost({})
        return FoundTool(self.whole | server, self.least | server, self.tokens + more, self.least_tokens + more)


def default_limit(needs: int) -> int:
    """The results for each of so many needs, where a program says no number."""
    return DEFAULT_LIMIT if needs == 1 else min(BEST, DEFAULT_LIMIT_TOGETHER // needs)


def within_room(found: Sequence[Sequence[FoundTool]]) -> list[list[dict[str, Any]]]:
    """Search results for each need: every one has a path and a few words, and as many of the best as fit are whole.

    The needs take turns, so that the first result of each is whole before the second of another. A tool that
    several needs find is whole once.
    """
    shown = [[result.least for result in of_need] for of_need in found]
    room = SEARCH_TOKENS * max(DEFAULT_LIMIT, sum(map(len, found))) // DEFAULT_LIMIT
    room -= sum([result.least_tokens for of_need in found for result in of_need])
    room -= _BRACKET_TOKENS * (len(found) - 1)
    whole: set[str] = set()
    place, having_room = 0, list(range(len(found)))
    while having_room:
        needs, having_room = having_room, []
        for need in needs:
            if place == len(found[need]):
                continue
            result = found[need][place]
            path = result.least["path"]
            if path not in whole:
                more = result.tokens - result.least_tokens
                if more > room:
                    continue  # what is whole comes first for a need; of another one something shorter may fit
                room -= more
                whole.add(path)
                shown[need][place] = result.whole
            having_room.append(need)
        place += 1
    return [[{**result} for result in of_need] for of_need in shown]


def grouped(ranked: Sequence[T], server_of: Callable[[T], str]) -> list[T]:
    """The tools with those of one server together: first the best five, then the others, so that none of the best
    falls behind one that is not."""
    order = {server: place for place, server in enumerate(dict.fromkeys(map(server_of, ranked)))}
    halves = ranked[:BEST], ranked[BEST:]
    return [tool for half in halves for tool in sorted(half, key=lambda tool: order[server_of(tool)])]


def check_needs(needs: object) -> None:
    """Raise CatalogError for what is no list of needs."""
    if not isinstance(needs, list | tuple) or not 1 <= len(needs) <= MAX_NEEDS:
        got = f"{len(needs):,}" if isinstance(needs, list | tuple) else f"{needs!r:.40}"
        raise CatalogError(f"a list for search has 1 to {MAX_NEEDS} needs, each a text; got {got}")
    for number, need in enumerate(needs, start=1):
        if not isinstance(need, str):
            raise CatalogError(f"need {number} of {len(needs)} is no text: each need is one, in plain words")
        if not need.strip():
            raise CatalogError(f"need {number} of {len(needs)} is blank: say in words what the tool should do")


def check_options(limit: object, read_only: object) -> None:
    """Raise CatalogError for options that search does not take."""
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit <= MAX_LIMIT:
        raise CatalogError(f"search: limit is 1 to {MAX_LIMIT}, got {limit!r:.40}")
    if read_only is not None and not isinstance(read_only, bool):
        raise CatalogError(f"search: readOnly is true or false, got {read_only!r:.40}")


def _cost(result: Mapping[str, str]) -> int:
    """The tokens of a result as JSON: its texts, with their keys and punctuation."""
    return sum(about_tokens(text) + 4 for text in result.values()) + 2
