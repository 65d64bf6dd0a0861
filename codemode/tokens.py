"""Splits JavaScript or TypeScript into tokens with their offsets.

Good enough to align two texts, and for nothing finer: every character of punctuation is a token of its own, so that a
`>>` that closes two lists of type arguments needs no care. A wrong guess between a division and a regular expression
costs alignment, never correctness.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SKIP = re.compile(r"(?:[\s\ufeff]+|//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z))+", re.DOTALL)
_WORD = re.compile(r"[#@]?[\w$\u0080-\U0010ffff\\]+")
_NUMBER = re.compile(r"(?:0[xXoObB][\da-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)n?")
_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?", re.DOTALL)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[A-Za-z]*")
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{|\\?\Z)", re.DOTALL)
_MOST_DIVISIONS = 50  # slashes that could begin a regular expression and do not; all later ones count as divisions
_BEFORE_REGEX = frozenset("return typeof case in of do else void delete throw new instanceof yield await".split())
_ESCAPED_QUOTE = re.compile(r"\\(['\"])")


@dataclass(frozen=True, slots=True)
class SourceToken:
    """A token and its offsets. `key` is equal for two spellings of one token, such as other quotes of a string."""

    key: str
    start: int
    end: int


def tokenize(text: str) -> list[SourceToken]:
    """All tokens in order, without comments and white space. Accepts any text."""
    return list(tokens_from(text, 0))


def tokens_from(text: str, position: int) -> Iterator[SourceToken]:
    """The tokens from a place on at which no string, template or comment is open."""
    scan = _Scan(text)
    length, before = len(text), ""
    while position < length:
        if skipped := _SKIP.match(text, position):
            position = skipped.end()
            if position >= length:
                break
        token = scan.token(position, before)
        yield token
        position, before = token.end, token.key


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._templates: list[int] = []  # for each open `${`, how many braces are open inside it
        self._divisions = 0

    def token(self, start: int, before: str) -> SourceToken:
        text = self._text
        first = text[start]
        if first.isdigit() or (first == "." and text[start + 1 : start + 2].isdigit()):
            if number := _NUMBER.match(text, start):
                return SourceToken("0", start, number.end())
        if word := _WORD.match(text, start):
            return SourceToken(word[0], start, word.end())
        if first in "\"'":
            string = _STRING.match(text, start)
            assert string is not None
            return SourceToken('"' + _ESCAPED_QUOTE.sub(r"\1", string[0][1:-1]), start, string.end())
        if first == "`" or (first == "}" and self._templates and self._templates[-1] == 0):
            return self._template(start, first == "}")
        if first == "/" and self._divisions < _MOST_DIVISIONS and _regex_may_follow(before):
            if regex := _REGEX.match(text, start):
                return SourceToken(regex[0], start, regex.end())
            self._divisions += 1
        if self._templates and first in "{}":
            self._templates[-1] += 1 if first == "{" else -1
        return SourceToken(first, start, start + 1)

    def _template(self, start: int, continues: bool) -> SourceToken:
        piece = _TEMPLATE.match(self._text, start + 1)
        assert piece is not None
        if continues:
            self._templates.pop()
        if piece[0].endswith("${"):
            self._templates.append(0)
        return SourceToken(self._text[start : piece.end()], start, piece.end())


def _regex_may_follow(before: str) -> bool:
    if not before or before in _BEFORE_REGEX:
        return True
    last = before[-1]
    return not (last in ")]}\"'`/" or last.isalnum() or last in "_$")
