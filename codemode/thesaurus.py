"""Other words for the same thing: groups of words from the vocabulary of APIs in general.

A line of `thesaurus.txt` is `query words: tool words`. A query with a word of the left side also means the tools with a
word of the right side in their names or first sentences; words of the right side mean each other. `a_b` is two words in
a row. Narrow groups find better than wide ones: a word that many tools have says little of any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files

GROUPS = (files(__package__) / "thesaurus.txt").read_text(encoding="utf-8")

_Groups = dict[tuple[str, ...], list[int]]


class Thesaurus:
    """The groups by the stems of their words, so that every form of a word counts."""

    def __init__(self, stem: Callable[[str], str]) -> None:
        self._of_queries: _Groups = {}
        self._of_tools: _Groups = {}
        for number, line in enumerate(GROUPS.strip().splitlines()):
            query_words, _, tool_words = line.partition(":")
            for spelling in dict.fromkeys(tool_words.split()):
                _add(self._of_tools, spelling, number, stem)
            for spelling in dict.fromkeys((*query_words.split(), *tool_words.split())):
                _add(self._of_queries, spelling, number, stem)

    def in_query(self, stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Where a query has words of a group: position, number of words, group."""
        return _matches(self._of_queries, stems)

    def of_tool(self, stems: Sequence[str]) -> list[int]:
        """The groups that the words of a tool belong to."""
        return list(dict.fromkeys(group for _, _, group in _matches(self._of_tools, stems)))


def _add(groups: _Groups, spelling: str, number: int, stem: Callable[[str], str]) -> None:
    numbers = groups.setdefault(tuple(stem(word) for word in spelling.split("_")), [])
    if number not in numbers:
        numbers.append(number)


def _matches(groups: Mapping[tuple[str, ...], list[int]], stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    for length in (3, 2, 1):
        for start in range(len(stems) - length + 1):
            for group in groups.get(tuple(stems[start : start + length]), ()):
                yield start, length, group
