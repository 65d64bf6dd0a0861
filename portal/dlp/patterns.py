"""The patterns of administrators, by RE2: in linear time, checked when they are set up, bounded in what they find."""

from __future__ import annotations

import re

from portal.dlp.expressions import Compiled, compiler
from portal.dlp.findings import Confidence, RuleRefused
from portal.dlp.match import Match
from portal.dlp.names import LONGEST_PATTERN
from portal.dlp.numbers import luhn as luhn_of

LONGEST_MATCH = 4 * 1024
"""Bytes of a match that is surely found whole."""
MOST_MATCHES = 1_000
"""Of one pattern in one text: the rest is not looked for."""
_WINDOW = 64 * 1024
_NO_DIGITS = re.compile(rb"[^0-9]+")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# A program of RE2 that is larger takes seconds for a megabyte when its states do not fit into memory.
_LARGEST_PROGRAM = 2_000


def checked_name(name: str) -> str:
    """The name of a rule of an administrator, as it will stand in findings.

    Raises:
        RuleRefused: it has other characters than a name has.
    """
    if not NAME.fullmatch(name):
        raise RuleRefused(
            f"the rule {name[:64]!r} has no proper name: a name has 1 to 64 small letters, digits and dashes, "
            "and begins with a letter or a digit"
        )
    return name


class Pattern:
    """A pattern and its rule. `^` and `$` are the ends of a line; each string of a JSON value begins and ends one.

    With `luhn` a match counts if the last of its digits is the check digit of the others.
    """

    def __init__(self, rule: str, pattern: str, confidence: Confidence = "high", *, luhn: bool = False) -> None:
        """
        Raises:
            RuleRefused: it does not compile, matches the empty text, or is too long.
            DetectionUnavailable: the extra is not installed.
        """
        self.rule = checked_name(rule)
        self.confidence = confidence
        self._luhn = luhn
        if len(pattern) > LONGEST_PATTERN:
            raise RuleRefused(
                f"the pattern {rule!r} has {len(pattern)} characters; at most {LONGEST_PATTERN} are allowed"
            )
        compile_ = compiler()
        try:
            # Alone first, so that its parentheses are its own: `a)|(b` is refused.
            compile_(pattern)
            compiled = compile_(f"(?m:{pattern})")
        except (ValueError, UnicodeEncodeError) as error:
            raise RuleRefused(
                f"the pattern {rule!r} cannot be used: {error}. The syntax is RE2's: it has no look-around and no "
                "references to groups"
            ) from None
        if any(_is_empty(compiled, text) for text in (b"", b"a", b"a 1\n-", b"\n\n")):
            raise RuleRefused(f"the pattern {rule!r} matches the empty text, so it would be found everywhere")
        if compiled.programsize > _LARGEST_PROGRAM:
            raise RuleRefused(
                f"the pattern {rule!r} has {compiled.programsize} steps with its counts written out, at most "
                f"{_LARGEST_PROGRAM} may be: use smaller counts, such as {{0,20}}"
            )
        self._compiled = compiled

    def matches(self, profile: str, lines: bytes) -> tuple[list[Match], bool]:
        """Its matches in a text of lines, for the profile that it is part of, and whether these are all."""
        found: list[Match] = []
        at = 0
        while at < len(lines):
            end = min(at + _WINDOW, len(lines))
            again = end if end == len(lines) else end - LONGEST_MATCH
            for hit in self._compiled.finditer(lines, at, end):
                first, last = hit.span()
                if last == end < len(lines) and first > at and last - first < LONGEST_MATCH:
                    # It may go on behind the window.
                    again = first
                    break
                again = max(again, last)
                if first < last and (not self._luhn or _has_check_digit(lines[first:last])):
                    if len(found) == MOST_MATCHES:
                        return found, False
                    found.append(Match(profile, self.rule, self.confidence, first, last, lines[first:last]))
            at = again
        return found, True


def _has_check_digit(match: bytes) -> bool:
    digits = _NO_DIGITS.sub(b"", match).decode()
    return len(digits) > 1 and luhn_of(digits)


def _is_empty(compiled: Compiled, text: bytes) -> bool:
    """Whether it matches an empty part of the text."""
    return any(first == last for first, last in (hit.span() for hit in compiled.finditer(text)))
