"""Values that must not pass, such as all customers' numbers: kept as keyed hashes, found however they are written.

A value is compared by its words: letters and digits between other characters, without regard to case and to the ways
that Unicode has for one letter. A value of digits alone is compared by its digits, however they are grouped.
"""

from __future__ import annotations

import hmac
import re
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from portal.dlp.findings import Confidence, RuleRefused
from portal.dlp.match import Match
from portal.dlp.names import MOST_VALUES, PACKED
from portal.dlp.patterns import checked_name
from portal.dlp.texts import MARK

SHORTEST, LONGEST, MOST_WORDS = 5, 256, 6
# A mark counts as a word that no value has, so that no value is put together from two strings.
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+|" + MARK)
_GROUPED = re.compile(rb"[0-9]+(?:[ ./()-]{1,2}[0-9]+)*")
_GROUP = re.compile(rb"[0-9]+")
_DIGITS_ALONE = re.compile(rb"[0-9 ./()+-]+")
_SIZE = 16
_PACKED = struct.Struct(f">BH{_SIZE}s")
assert _PACKED.size == PACKED

Kind = Literal["digits", "words"]


class Hashed(NamedTuple):
    """A value as it is kept: how many words and bytes its normal form has, and its keyed hash."""

    kind: Kind
    words: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class ExactList:
    """A list and its rule. It has nothing of its values but their hashes and lengths."""

    rule: str
    values: frozenset[Hashed]
    confidence: Confidence = "high"

    @staticmethod
    def of(rule: str, values: Iterable[str], key: bytes) -> ExactList:
        """The list of these values, whose hashes are made with the key of the detector that will look for them.

        Raises:
            RuleRefused: too many values, or one that is too short or too long. The message says the number of the
                value, from 1, and never the value.
        """
        checked_name(rule)
        hashed: set[Hashed] = set()
        for number, value in enumerate(values, 1):
            if number > MOST_VALUES:
                raise RuleRefused(f"the list {rule!r} has more than {MOST_VALUES} values")
            hashed.add(_hashed(rule, number, value, key))
        return ExactList(rule, frozenset(hashed))

    def packed(self) -> bytes:
        """Its values in a fixed order, `PACKED` bytes each, for `unpacked`."""
        return b"".join(
            _PACKED.pack(0 if one.kind == "digits" else one.words, one.length, one.digest)
            for one in sorted(self.values)
        )

    @staticmethod
    def unpacked(rule: str, packed: bytes, confidence: Confidence = "high") -> ExactList:
        """The list of values that were `packed`.

        Raises:
            RuleRefused: these are none.
        """
        checked_name(rule)
        if len(packed) % PACKED:
            raise RuleRefused(f"what is kept of the list {rule!r} is damaged; upload its values again")
        kept = (
            Hashed("words" if words else "digits", words or 1, length, digest)
            for words, length, digest in _PACKED.iter_unpack(packed)
        )
        return ExactList(rule, frozenset(kept), confidence)


def _hashed(rule: str, number: int, value: str, key: bytes) -> Hashed:
    written = value.encode("utf-8", "replace")
    kind: Kind = "digits" if _DIGITS_ALONE.fullmatch(written) else "words"
    words = (_GROUP if kind == "digits" else _WORD).findall(written)
    form = b"".join(map(_normal, words))
    if not SHORTEST <= len(form) <= LONGEST:
        raise RuleRefused(
            f"value {number} of the list {rule!r} has {len(form)} letters and digits; {SHORTEST} to {LONGEST} are "
            "allowed, because a shorter one would be found in any text"
        )
    if kind == "words" and len(words) > MOST_WORDS:
        raise RuleRefused(
            f"value {number} of the list {rule!r} has {len(words)} words; at most {MOST_WORDS} are allowed"
        )
    return Hashed(kind, len(words) if kind == "words" else 1, len(form), _digest(key, form))


def _normal(word: bytes) -> bytes:
    if word.isascii():
        return word.lower()
    return unicodedata.normalize("NFKC", word.decode("utf-8", "replace")).casefold().encode("utf-8", "replace")


def _digest(key: bytes, form: bytes) -> bytes:
    return hmac.digest(key, form, "sha256")[:_SIZE]


class ExactLists:
    """Looks for the values of lists of one profile. Threads may share it."""

    def __init__(self, profile: str, lists: Iterable[ExactList], key: bytes) -> None:
        self._profile = profile
        self._key = key
        self._rules: dict[tuple[Kind, bytes], tuple[str, Confidence]] = {}
        self._lengths: dict[int, set[int]] = {}
        self._digit_lengths: set[int] = set()
        for one in lists:
            for value in one.values:
                self._rules[value.kind, value.digest] = one.rule, one.confidence
                if value.kind == "digits":
                    self._digit_lengths.add(value.length)
                else:
                    self._lengths.setdefault(value.words, set()).add(value.length)

    def matches(self, text: bytes) -> Iterator[Match]:
        """The values of the lists in a text with marks where strings begin and end."""
        if self._digit_lengths:
            yield from self._numbers(text)
        if self._lengths:
            yield from self._words(text)

    def _words(self, text: bytes) -> Iterator[Match]:
        found: dict[int, dict[tuple[bytes, ...], bytes]] = {}
        words = _WORD.findall(text)
        for count, lengths in self._lengths.items():
            for several in {*zip(*(words[at:] for at in range(count)), strict=False)}:
                form = b"".join(map(_normal, several))
                if len(form) in lengths and ("words", _digest(self._key, form)) in self._rules:
                    found.setdefault(count, {})[several] = form
        if not found:
            return
        # Only now the places matter.
        spans = [hit.span() for hit in _WORD.finditer(text)]
        for count, forms in found.items():
            for at, several in enumerate(zip(*(words[at:] for at in range(count)), strict=False)):
                if (known := forms.get(several)) is not None:
                    yield self._match("words", known, spans[at][0], spans[at + count - 1][1])

    def _numbers(self, text: bytes) -> Iterator[Match]:
        longest = max(self._digit_lengths)
        for run in _GROUPED.finditer(text):
            groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
            for first, (start, _) in enumerate(groups):
                form = b""
                for group_start, end in groups[first:]:
                    form += text[group_start:end]
                    if len(form) > longest:
                        break
                    if len(form) in self._digit_lengths and ("digits", _digest(self._key, form)) in self._rules:
                        yield self._match("digits", form, start, end)

    def _match(self, kind: Kind, form: bytes, start: int, end: int) -> Match:
        rule, confidence = self._rules[kind, _digest(self._key, form)]
        return Match(self._profile, rule, confidence, start, end, form)
