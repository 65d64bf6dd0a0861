"""What people say and what tools are called: groups of words for one thing, the vocabulary of APIs in general.

A line of `thesaurus.txt` is `said: written`. Who says a word of the left means tools that have a word of the right in
their names or first sentences; words of the right mean each other. `a_b` is two words in a row. Narrow groups find
better than wide ones: what many tools have says little of any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files

GROUPS = (files(__package__) / "thesaurus.txt").read_text(encoding="utf-8")


class Thesaurus:
    """The groups in stems, so that every form of a word is meant."""

    def __init__(self, stem: Callable[[str], str]) -> None:
        self._said: dict[tuple[str, ...], list[int]] = {}
        self._written: dict[tuple[str, ...], list[int]] = {}
        for number, line in enumerate(GROUPS.strip().splitlines()):
            said, _, written = line.partition(":")
            for spelled in dict.fromkeys(written.split()):
                _add(self._written, spelled, number, stem)
            for spelled in dict.fromkeys((*said.split(), *written.split())):
                _add(self._said, spelled, number, stem)

    def asked(self, stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
        """Where words of a group are in a query: position, number of words, group."""
        return _matches(self._said, stems)

    def written(self, stems: Sequence[str]) -> list[int]:
        """The groups a tool's words belong to."""
        return list(dict.fromkeys(group for _, _, group in _matches(self._written, stems)))


def _add(into: dict[tuple[str, ...], list[int]], spelled: str, number: int, stem: Callable[[str], str]) -> None:
    key = tuple(stem(word) for word in spelled.split("_"))
    known = into.setdefault(key, [])
    if number not in known:
        known.append(number)


def _matches(groups: Mapping[tuple[str, ...], list[int]], stems: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    for length in (3, 2, 1):
        for start in range(len(stems) - length + 1):
            for group in groups.get(tuple(stems[start : start + length]), ()):
                yield start, length, group
