"""One search of one text: every section of it by every rule, and of matches that overlap the best one."""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from portal.dlp.findings import CONFIDENCES
from portal.dlp.match import Match
from portal.dlp.names import RuleOf
from portal.dlp.sections import LAYERS, DecodingRoom, Root, SearchSection, commands, joined, opened
from portal.dlp.texts import Span, in_lines, unmarked, values

MOST_FINDINGS = 10_000
"""Of one search: with more it ends, and is not complete."""

Looking = Callable[[bytes], Iterator[Match]]
_MARKER = re.compile(rb"\[redacted:([a-z0-9-]{1,64})\]")
# A token that says itself whose it is: nothing becomes one by standing beside something else.
_PREFIXED = re.compile(rb"[A-Za-z]{2,12}[_-][A-Za-z0-9_-]{24,}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is looked for.

    `lists` look through a text with its marks. `bounded` gives its matches in a text of lines, and whether these are
    all. `catalog` is looked for in words without their neighbours, where `everywhere` finds nothing new. `least` has of
    each chosen profile the least confidence that counts, by its place in CONFIDENCES. `names` has every rule's name.
    `off` are rules that a profile does not look for; `shared` says which other profiles look for a rule as well.
    """

    catalog: tuple[Looking, ...]
    everywhere: tuple[Looking, ...]
    lists: tuple[Looking, ...]
    bounded: tuple[Callable[[bytes], tuple[list[Match], bool]], ...]
    least: Mapping[str, int]
    names: frozenset[bytes]
    off: frozenset[RuleOf] = frozenset()
    shared: Mapping[RuleOf, tuple[str, ...]] = field(default_factory=dict)

    def counted(self, found: Iterable[Match]) -> Iterable[Match]:
        """These matches, each for every profile that looks for its rule."""
        if not self.off and not self.shared:
            return found
        counted: list[Match] = []
        for match in found:
            rule = match.profile, match.rule
            if rule not in self.off:
                counted.append(match)
            counted += (match._replace(profile=other, origin=match.profile) for other in self.shared.get(rule, ()))
        return counted


@dataclass(frozen=True, slots=True)
class Located:
    """A match and where it is in the root text: several spans for a secret that is split over strings."""

    match: Match
    spans: tuple[Span, ...]


class TextSearch:
    """Made for one text, in which `MARK` stands at both ends of a string."""

    def __init__(self, rules: Rules, marked: bytes, credentials: str) -> None:
        self._rules = rules
        self._marked = marked
        self._credentials = credentials
        self._found: list[Located] = []
        self._seen: set[tuple[object, ...]] = set()
        self._taken: dict[str, _Taken] = {profile: _Taken() for profile in rules.least}
        self._room = DecodingRoom()
        self._all = True

    def run(self, *, as_arguments: bool) -> tuple[list[Located], bool]:
        """What is found in the order of the text, and whether that is all."""
        root, text = Root(self._marked), unmarked(self._marked)
        self._look(root, text, marked=self._marked)
        self._open(root, text, LAYERS)
        if as_arguments:
            pieces = joined(text, list(values(self._marked)))
            if pieces.size:
                together = pieces.text
                self._look(pieces, together, of_several=True)
                self._open(pieces, together, LAYERS, of_several=True)
        self._found.sort(key=lambda one: (one.spans[0], one.match.rule))
        if len(self._found) > MOST_FINDINGS:
            return self._found[:MOST_FINDINGS], False
        return self._found, self._all and self._room.enough

    def _open(self, section: SearchSection, text: bytes, layers: int, *, of_several: bool = False) -> None:
        words, decoded = opened(section, text, self._room, deeper=layers > 0)
        if isinstance(section, Root) and self._rules.catalog:
            for start, end in commands(self._marked):
                words.add(text[start:end], [(start, end)])
        if words.size and self._rules.catalog:
            self._add(words, words.text, self._rules.catalog, of_several=of_several)
        if decoded.size:
            hidden = decoded.text
            self._look(decoded, hidden, of_several=of_several)
            self._open(decoded, hidden, layers - 1, of_several=of_several)

    def _look(
        self,
        section: SearchSection,
        text: bytes,
        *,
        marked: bytes | None = None,
        of_several: bool = False,
    ) -> None:
        """Look through a section by all rules. `marked` is its text with marks, where it has any."""
        self._add(section, text, (*self._rules.catalog, *self._rules.everywhere), of_several=of_several)
        with_marks = text if marked is None else marked
        self._add(section, with_marks, self._rules.lists, of_several=of_several)
        if self._rules.bounded:
            lines = in_lines(with_marks)
            for bounded in self._rules.bounded:
                found, is_all = bounded(lines)
                self._all = self._all and is_all
                self._take(section, found, of_several=of_several)

    def _add(
        self,
        section: SearchSection,
        text: bytes,
        looking: Iterable[Looking],
        *,
        of_several: bool,
    ) -> None:
        found: list[Match] = []
        for look in looking:
            for match in look(text):
                found.append(match)
                if len(found) > MOST_FINDINGS:
                    self._all = False
                    break
        self._take(section, found, of_several=of_several)

    def _take(self, section: SearchSection, found: Iterable[Match], *, of_several: bool) -> None:
        """Keep what counts. Of matches of one profile that overlap the surest is kept, then the longest."""
        here: dict[str, _Taken] = {}
        found = sorted(self._rules.counted(found), key=_best_first)
        markers = self._markers if found and isinstance(section, Root) else ()
        for match in found:
            least = self._rules.least.get(match.profile)
            if least is None or CONFIDENCES.index(match.confidence) < least or _is_inside(match, markers):
                continue
            taken = here.setdefault(match.profile, _Taken())
            if taken.overlaps(match.start, match.end):
                continue
            spans = section.in_root(match.start, match.end)
            if not spans or (of_several and not self._is_of_several(match, spans)):
                continue
            if section.whole:
                known = (match.profile, match.rule, match.form, spans)
                if known in self._seen:
                    continue
                self._seen.add(known)
            else:
                if any(self._taken[match.profile].overlaps(*span) for span in spans):
                    continue
                for span in spans:
                    self._taken[match.profile].add(*span)
            taken.add(match.start, match.end)
            self._found.append(Located(match, spans))

    def _is_of_several(self, match: Match, spans: Sequence[Span]) -> bool:
        """Whether it is a secret that was split: in one string alone it was found already, or is none there."""
        is_credential = (match.origin or match.profile) == self._credentials
        is_sure = match.confidence == "high" or _PREFIXED.fullmatch(match.form) is not None
        return len(spans) > 1 and (not is_credential or is_sure)

    @cached_property
    def _markers(self) -> Sequence[Span]:
        """Where in the root text an earlier redaction put the name of a rule: nothing is found in it again."""
        if b"[redacted:" not in self._marked:
            return ()
        return [hit.span() for hit in _MARKER.finditer(self._marked) if hit[1] in self._rules.names]


class _Taken:
    """Spans that do not overlap, in their order."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, start: int, end: int) -> None:
        insort(self._spans, (start, end))

    def overlaps(self, start: int, end: int) -> bool:
        at = bisect_left(self._spans, (end, 0))
        return at > 0 and self._spans[at - 1][1] > start


def _best_first(match: Match) -> tuple[int, int, int, str]:
    return -CONFIDENCES.index(match.confidence), match.start - match.end, match.start, match.rule


def _is_inside(match: Match, markers: Sequence[Span]) -> bool:
    at = bisect_left(markers, (match.start + 1, 0)) - 1
    return at >= 0 and match.end <= markers[at][1]
