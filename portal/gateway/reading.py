"""Reads expressions of rules: Cloudflare's wirefilter language, the part of it that README.md states.

    or        := and ("or" and)*
    and       := not ("and" not)*
    not       := "not" not | "(" or ")" | "any" "(" compared ")" | compared
    compared  := field ["[*]"] ("==" | "!=" | "contains" | "matches" | "in") (text | "{" text+ "}")

`&&`, `||`, `!`, `eq`, `ne` and `~` are other spellings. Fields are checked as they are read, so that an expression that
was read can be evaluated. An error has the column, from 1, and quotes no text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from portal.errors import PortalError
from portal.gateway.fields import FIELDS, Field

MAX_DEPTH = 32
MAX_COMPARISONS = 200
MAX_TEXTS = 2000
"""Texts in all sets of an expression."""
MAX_TEXT = 1024
"""Characters of one text."""

OPERATORS = ("==", "!=", "contains", "matches", "in")
_SPELLINGS = {"&&": "and", "||": "or", "!": "not", "eq": "==", "ne": "!=", "~": "matches"}
_WORDS = frozenset({"and", "or", "not", "any", "in", "contains", "matches", "eq", "ne"})
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<raw>r(?P<fence>\#*)"(?P<inside>.*?)"(?P=fence))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[\*\])*)
      | (?P<sign>==|!=|&&|\|\||[!~(){}])
      | (?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r'\\(["\\])')
_ESCAPES = re.compile(r"\\.", re.DOTALL)


class ExpressionRefused(PortalError):
    """An expression that cannot be read. The message has the column, from 1."""

    def __init__(self, column: int, problem: str) -> None:
        super().__init__(f"column {column}: {problem}")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against texts: one, or several for `in`. Of a field with several values, `any` of them."""

    field: Field
    operator: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: Node


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple[Node, ...]


Node = Comparison | Not | All | Either


def read_expression(source: str, family: str) -> Node | None:
    """What this expression says; None for one that is empty, which is always true. `family` is the member of the rule
    that it is of (`traffic`, `identity`, `device_posture`): each has fields of its own.

    Raises:
        ExpressionRefused: it is not in the language, too large, or compares what cannot be compared.
    """
    tokens = _tokens(source)
    if tokens[0].kind == "end":
        return None
    reading = _Reading(tokens, family)
    node = reading.either(0)
    if reading.here.kind != "end":
        raise reading.refused("ends before this; join conditions with `and` or `or`")
    return node


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    value: str
    column: int


def _tokens(source: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while True:
        match = _TOKEN.match(source, at)
        if match is None:
            column = len(source) - len(source[at:].lstrip()) + 1
            raise ExpressionRefused(column, _unreadable(source[column - 1 :]))
        if match["raw"] is not None:
            found.append(_Token("text", match["inside"], match.start("raw") + 1))
        elif match["text"] is not None:
            found.append(_Token("quoted", match["text"][1:-1], match.start("text") + 1))
        elif match["word"] is not None:
            word = match["word"]
            kind = "sign" if word in _WORDS else "word"
            found.append(_Token(kind, _SPELLINGS.get(word, word), match.start("word") + 1))
        elif match["sign"] is not None:
            found.append(_Token("sign", _SPELLINGS.get(match["sign"], match["sign"]), match.start("sign") + 1))
        else:
            found.append(_Token("end", "", len(source) + 1))
            return found
        at = match.end()


def _unreadable(rest: str) -> str:
    if rest.startswith(('"', 'r"', "r#")):
        return "a text begins here and does not end"
    if rest.startswith("$"):
        return "lists are not known here; write the values in braces"
    if rest[:1].isdigit():
        return "no field is a number; write a text in double quotes"
    return "this is no part of an expression"


def _unescaped(inside: str, column: int) -> str:
    for escape in _ESCAPES.finditer(inside):
        if not _ESCAPED.fullmatch(escape[0]):
            place = column + 1 + escape.start()
            raise ExpressionRefused(
                place, 'a backslash stands before `"` or a backslash only; r"..." takes all as it is'
            )
    return _ESCAPED.sub(r"\1", inside)


class _Reading:
    """One expression while it is read: the tokens, and where in them."""

    def __init__(self, tokens: Sequence[_Token], family: str) -> None:
        self._tokens = tokens
        self._family = family
        self._at = 0
        self._comparisons = 0
        self._texts = 0

    @property
    def here(self) -> _Token:
        return self._tokens[self._at]

    def refused(self, problem: str) -> ExpressionRefused:
        return ExpressionRefused(self.here.column, problem)

    def either(self, depth: int) -> Node:
        parts = [self._all(depth)]
        while self._takes("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _all(self, depth: int) -> Node:
        parts = [self._one(depth)]
        while self._takes("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self, depth: int) -> Node:
        if depth >= MAX_DEPTH:
            raise self.refused(f"is nested more than {MAX_DEPTH} deep")
        if self._takes("not"):
            return Not(self._one(depth + 1))
        if self._takes("("):
            inside = self.either(depth + 1)
            self._need(")")
            return inside
        if self._takes("any"):
            self._need("(")
            compared = self._compared(several=True)
            self._need(")")
            return compared
        return self._compared(several=False)

    def _compared(self, *, several: bool) -> Comparison:
        field = self._field(several=several)
        operator = self.here.value
        if self.here.kind != "sign" or operator not in OPERATORS:
            raise self.refused(f"needs one of {', '.join(OPERATORS)}")
        if operator not in field.operators:
            raise self.refused(f"{field.name} takes {' or '.join(field.operators)} only")
        self._at += 1
        texts = self._set(field) if operator == "in" else (self._text(field, is_pattern=operator == "matches"),)
        self._comparisons += 1
        self._texts += len(texts)
        if self._comparisons > MAX_COMPARISONS or self._texts > MAX_TEXTS:
            most = f"{MAX_COMPARISONS} comparisons and {MAX_TEXTS} texts"
            raise self.refused(f"is too large: an expression has at most {most}")
        return Comparison(field, operator, texts)

    def _field(self, *, several: bool) -> Field:
        token = self.here
        if token.kind != "word":
            raise self.refused("needs the name of a field")
        name = token.value.replace("[*]", "")
        field = FIELDS.get(name)
        if field is None or token.value.count("[*]") > 1:
            known = ", ".join(one.shown for one in FIELDS.values() if one.family == self._family)
            raise self.refused(f"this field is not known; {self._family} has {known}")
        if field.family != self._family:
            raise self.refused(f"{name} belongs into the member {field.family} of the rule")
        if field.several != ("[*]" in token.value):
            raise self.refused(f"must be written {field.shown}")
        if field.several != several:
            right = f"any({field.shown} ...)" if field.several else f"{field.shown} without any()"
            raise self.refused(f"must be written {right}")
        self._at += 1
        return field

    def _set(self, field: Field) -> tuple[str, ...]:
        self._need("{")
        texts = [self._text(field)]
        while not self._takes("}"):
            texts.append(self._text(field))
        return tuple(dict.fromkeys(texts))

    def _text(self, field: Field, *, is_pattern: bool = False) -> str:
        if self.here.kind not in ("text", "quoted"):
            raise self.refused("needs a text in double quotes")
        text = self.here.value
        if self.here.kind == "quoted":
            # Of a pattern all backslashes are its own but those before a quote.
            text = text.replace('\\"', '"') if is_pattern else _unescaped(text, self.here.column)
        if len(text) > MAX_TEXT:
            raise self.refused(f"a text has at most {MAX_TEXT} characters")
        if field.values and text not in field.values:
            raise self.refused(f"{field.name} is {' or '.join(field.values)}")
        self._at += 1
        return text

    def _takes(self, sign: str) -> bool:
        taken = self.here.kind == "sign" and self.here.value == sign
        self._at += taken
        return taken

    def _need(self, sign: str) -> None:
        if not self._takes(sign):
            raise self.refused(f"needs {sign!r}")
