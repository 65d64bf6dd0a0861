"""The searchable words of one server's tools, indexed once for all the catalogs that the server is in.

Nothing here depends on other servers or on the caller. `codemode.search` counts the rarity of words and the average
length of fields over the tools of one catalog, and `codemode.tasks` the rarity of words.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from codemode.actions import action_of
from codemode.thesaurus import thesaurus
from codemode.words import stem, words

NAME, HEAD, TEXT, SERVER, NAME_GROUPS, HEAD_GROUPS, ACTION = FIELDS = range(7)
MAX_TEXT_CHARS = 2_000
_MAX_PARAMETERS = 100
_MAX_CACHED = 2_048
_EXACT_LENGTH = 16
# For the weights: how much a word of a field counts, and the usual length of the field in words; a word of a longer
# field counts less. None: its length does not matter. The lengths are those of tools in general and not of a catalog,
# so that the weights are the same in every catalog. In the order of the fields, then parameters and their details.
_COUNTS: tuple[tuple[float, int | None], ...] = (
    *((3.0, 3), (1.0, 8), (1.0, 15), (1.0, None), (0.6, None), (0.2, None)),
    *((1.0, 3), (0.3, 20)),
)
_K1, _B = 1.2, 0.6
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


@dataclass(frozen=True, slots=True)
class Entry:
    """The searchable text of one tool. `server` is the configured id; `details` are the words of its schemas."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    parameters: Sequence[str] = ()
    server_name: str = ""
    annotations: Mapping[str, object] = field(default_factory=dict)
    details: Sequence[str] = ()


class Unit(NamedTuple):
    """One unit of a query: the stem of a word with its thesaurus groups, or the group of a phrase."""

    stem: str | None
    groups: tuple[int, ...]
    verb: bool = False

    @property
    def terms(self) -> tuple[str | int, ...]:
        return self.groups if self.stem is None else (self.stem, *self.groups)


Hit = tuple[int, int, int, int]
"""A term in a field of a tool, as (slot, field, count, length of the field in words). The slots of a stem are the
fields; those of groups follow, two for each group."""
Kind = tuple[Hit, ...]
"""The hits of a unit in a tool. Empty if only the tool's schemas have the unit."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The tools of a server that match a unit, as positions. `kind_of` has the index in `kinds` of each."""

    positions: tuple[int, ...]
    kind_of: tuple[int, ...]
    kinds: tuple[Kind, ...]
    counts: Mapping[int, int]
    """The number of tools of each kind."""


NO_MATCHES = Matches((), (), (), {})


class Weights(NamedTuple):
    """The tools of a server that have a unit anywhere, as positions, and how much each has it: above 0, below 2.2."""

    positions: array[int]
    values: array[float]


_Places = tuple[tuple[int, int, int], ...]
"""A term in the fields of one tool, as (field, count, length of the field in words)."""


class ServerIndex:
    """An immutable index over the tools of one server. Safe to share between threads."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.size = len(entries)
        self.lengths: tuple[list[int], ...] = tuple([0] * self.size for _ in FIELDS)
        """For each field, the number of its words in each tool."""
        self.reads = bytes(entry.annotations.get("readOnlyHint") is True for entry in entries)
        """For each tool, whether it declares that it only reads."""
        self.actions: list[tuple[str, int]] = [("", 0)]
        """The different actions with the length of their field; the first one stands for a tool without an action."""
        self.action_of: list[int] = []
        """For each tool, its place in `actions`."""
        self._postings: dict[str | int, list[tuple[int, _Places]]] = {}
        # Threads may compute the same matches: the results are equal, and either may stay.
        self._matches: dict[tuple[str | int, ...], Matches] = {}
        self._near: dict[str, Matches] = {}
        self._frequencies: dict[str | int, Weights] = {}
        self._weights: dict[tuple[str | int, ...], Weights] = {}
        places: dict[tuple[str, int], int] = {self.actions[0]: 0}
        shared: dict[_Places, _Places] = {}
        for position, entry in enumerate(entries):
            name = words(entry.name)
            self._add(position, entry, name, shared)
            action = action_of(name, entry.annotations)
            kind = ("", 0) if action is None else (action, 1 + len(name))
            self.lengths[ACTION][position] = kind[1]
            if kind not in places:
                places[kind] = len(self.actions)
                self.actions.append(kind)
            self.action_of.append(places[kind])

    def matches(self, unit: Unit) -> Matches:
        """The tools that have a term of the unit."""
        terms = unit.terms
        matches = self._matches.get(terms)
        if matches is None:
            if len(self._matches) >= _MAX_CACHED:
                self._matches.clear()
            matches = self._matches[terms] = self._find(terms, has_stem=unit.stem is not None)
        return matches

    def weights(self, terms: tuple[str | int, ...]) -> Weights | None:
        """How much each tool has one of the terms, in all its fields together; None if no tool has one.

        BM25F (Robertson and Zaragoza 2009), without the rarity of the terms.
        """
        weights = self._weights.get(terms)
        if weights is not None:
            return weights
        found = [self._frequencies[term] for term in terms if term in self._frequencies]
        if not found:
            return None
        if len(self._weights) >= _MAX_CACHED:
            self._weights.clear()
        weights = self._weights[terms] = _saturated(found)
        return weights

    def near(self, term: str) -> Matches:
        """The tools with a word that is spelled like this one: one letter away, two for a word of eight and more.

        Only the fields of these hits are meaningful.
        """
        if len(term) < 4:
            return NO_MATCHES
        matches = self._near.get(term)
        if matches is None:
            if len(self._near) >= _MAX_CACHED:
                self._near.clear()
            matches = self._near[term] = self._find_near(term, 1 if len(term) < 8 else 2)
        return matches

    def _add(self, position: int, entry: Entry, name: Sequence[str], shared: dict[_Places, _Places]) -> None:
        head, *rest = _SENTENCE.split(entry.description[:MAX_TEXT_CHARS].strip(), maxsplit=1)
        fields: list[list[str | int]] = [
            [stem(word) for word in name],
            [stem(word) for word in words(f"{entry.title} {head}")],
            [stem(word) for word in words(" ".join(rest))],
            [stem(word) for word in dict.fromkeys(words(f"{entry.server} {entry.server_name}"))],
        ]
        groups = thesaurus()
        fields += [list(groups.of_tool([str(term) for term in fields[source]])) for source in (NAME, HEAD)]
        hits: dict[str | int, list[tuple[int, int, int]]] = {}
        for number, terms in enumerate(fields):
            length = self.lengths[number][position] = coarse(len(terms))
            for term, count in Counter(terms).items():
                hits.setdefault(term, []).append((number, count, length))
        parameters, details = " ".join(entry.parameters[:_MAX_PARAMETERS]), " ".join(entry.details)
        # As many characters for both together count for a request, and for each of them for a task.
        for word in words(f"{parameters} {details}"[:MAX_TEXT_CHARS]):
            hits.setdefault(stem(word), [])
        schemas = [[stem(word) for word in words(text[:MAX_TEXT_CHARS])] for text in (parameters, details)]
        for term, places in hits.items():
            hits_of_term = tuple(places)
            self._postings.setdefault(term, []).append((position, shared.setdefault(hits_of_term, hits_of_term)))
        for term, frequency in _frequencies([*fields, *schemas]).items():
            known = self._frequencies.get(term)
            if known is None:
                known = self._frequencies[term] = Weights(array("I"), array("f"))
            known.positions.append(position)
            known.values.append(frequency)

    def _find(self, terms: tuple[str | int, ...], *, has_stem: bool) -> Matches:
        of_tool: dict[int, Kind] = {}
        for place, term in enumerate(terms):
            # The fields of the stem have their own numbers; those of the groups follow, two for each.
            shift = 2 * max(0, place - has_stem)
            for position, places in self._postings.get(term, ()):
                hits = tuple((shift + number, number, count, length) for number, count, length in places)
                of_tool[position] = of_tool.get(position, ()) + hits
        return _matches(of_tool)

    def _find_near(self, term: str, distance: int) -> Matches:
        stems = [candidate for candidate in self._postings if isinstance(candidate, str)]
        close = extract(term, stems, scorer=OSA.distance, score_cutoff=distance, limit=None)
        of_tool: dict[int, set[int]] = {}
        for word, _, _ in close:
            for position, places in self._postings[word]:
                if fields := {number for number, _, _ in places if number < SERVER}:
                    of_tool.setdefault(position, set()).update(fields)
        return _matches(
            {
                position: tuple((number, number, 1, 1) for number in sorted(fields))
                for position, fields in of_tool.items()
            }
        )


@dataclass(frozen=True, slots=True)
class Part:
    """The tools of one server that are in a catalog. `visible` has a byte for each tool, 1 or 0; None: all of them."""

    index: ServerIndex
    visible: bytes | None = None


def _frequencies(fields: Sequence[Sequence[str | int]]) -> dict[str | int, float]:
    """How often a tool has each term, over all its fields in the order of `_COUNTS`."""
    frequencies: dict[str | int, float] = {}
    for terms, (count, usual) in zip(fields, _COUNTS, strict=True):
        share = count if usual is None else count / (1 - _B + _B * len(terms) / usual)
        for term in terms:
            frequencies[term] = frequencies.get(term, 0.0) + share
    return frequencies


def _saturated(found: Sequence[Weights]) -> Weights:
    """The weights of a unit by the frequencies of its terms: each further mention in a tool counts less."""
    if len(found) == 1:
        positions, frequencies = found[0]
    else:
        of_tool: dict[int, float] = {}
        for term in found:
            for position, frequency in zip(*term, strict=True):
                of_tool[position] = of_tool.get(position, 0.0) + frequency
        positions, frequencies = array("I", of_tool), array("f", of_tool.values())
    return Weights(positions, array("f", [(1 + _K1) * n / (n + _K1) for n in frequencies]))


def coarse(length: int) -> int:
    """The length rounded down, to eight steps for each doubling, so that similar tools share one score."""
    if length <= _EXACT_LENGTH:
        return length
    step = 1 << (length.bit_length() - 4)
    return length // step * step


def _matches(of_tool: Mapping[int, Kind]) -> Matches:
    if not of_tool:
        return NO_MATCHES
    kinds = {kind: place for place, kind in enumerate(dict.fromkeys(of_tool.values()))}
    kind_of = tuple(kinds[kind] for kind in of_tool.values())
    return Matches(tuple(of_tool), kind_of, tuple(kinds), Counter(kind_of))
