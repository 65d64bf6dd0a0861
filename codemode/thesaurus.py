"""Other words for the same thing: groups of words from the vocabulary of APIs in general.

A line of `thesaurus.txt` is `query words: tool words`. A query with a word of the left side also means the tools with a
word of the right side in their names or first sentences; words of the right side mean each other. `a_b` is two words in
a row. Narrow groups find better than wide ones: a word that many tools have says little of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

from codemode.words import stem

GROUPS = (files(__package__) / "thesaurus.txt").read_text(encoding="utf-8")


class Thesaurus:
    """The groups by the stems of their words, so that every form of a word counts."""

    def __init__(self) -> None:
        self._of_queries = _Groups()
        self._of_tools = _Groups()
        for number, line in enumerate(GROUPS.strip().splitlines()):
            query_words, _, tool_words = line.partition(":")
            for spelling in dict.fromkeys(tool_words.split()):
                self._of_tools.add(spelling, number)
            for spelling in dict.fromkeys((*query_words.split(), *tool_words.split())):
                self._of_queries.add(spelling, number)

    def in_query(self, stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Where a query has words of a group: position, number of words, group."""
        return self._of_queries.matches(stems)

    def of_tool(self, stems: Sequence[str]) -> list[int]:
        """The groups that the words of a tool belong to."""
        return list(dict.fromkeys(group for _, _, group in self._of_tools.matches(stems)))


class _Groups:
    """Groups by the stems of their words."""

    def __init__(self) -> None:
        self._of_words: dict[str, list[int]] = {}
        # Few words begin a phrase, so most places in a text are passed over at their first word.
        self._of_phrases: dict[str, dict[tuple[str, ...], list[int]]] = {}

    def add(self, spelling: str, number: int) -> None:
        first, *rest = (stem(word) for word in spelling.split("_"))
        if rest:
            numbers = self._of_phrases.setdefault(first, {}).setdefault((first, *rest), [])
        else:
            numbers = self._of_words.setdefault(first, [])
        if number not in numbers:
            numbers.append(number)

    def matches(self, stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Position, number of words and group, of the longest phrases first."""
        starts = [(start, phrases) for start, one in enumerate(stems) if (phrases := self._of_phrases.get(one))]
        for length in (3, 2) if starts else ():
            for start, phrases in starts:
                for group in phrases.get(tuple(stems[start : start + length]), ()):
                    yield start, length, group
        for start, one in enumerate(stems):
            for group in self._of_words.get(one, ()):
                yield start, 1, group


@cache
def thesaurus() -> Thesaurus:
    """The thesaurus, read once: it never changes."""
    return Thesaurus()
