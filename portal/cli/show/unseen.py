"""What a text hides from the eye, written out: characters that are not seen, or that turn the order of others. Pure.

Somebody decides by what they read here. `printable` is for text that is only looked at.
"""

from __future__ import annotations

import json
import re
import unicodedata

MOST_MARKS_IN_A_ROW = 4
"""Marks that combine with one letter. More of them are drawn over the lines around it."""
# Control, format (bidi, zero width, tags), surrogates, private, unassigned, separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Fillers and selectors, which are letters or marks by their category and are drawn as nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159")
_SELECTORS = (("\u180b", "\u180f"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))
_SUSPECT = re.compile(r"[^\x20-\x7e]+")


def seen(text: str, *, lines: bool = False) -> str:
    """The text with what is not seen escaped as JSON does it. With `lines` the ends of lines stay."""
    return _SUSPECT.sub(lambda found: _escaped(found[0], "\n" if lines else ""), text)


def json_lines(text: str) -> str:
    """JSON in indented lines, with nothing left out and nothing hidden. What is no JSON is shown as it is."""
    try:
        # Numbers keep their spelling; what is written again is the same value.
        value = json.loads(text, parse_int=_Number, parse_float=_Number)
        text = _written(value, "")
    except (ValueError, RecursionError):
        pass
    return seen(text, lines=True)


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _written(value: object, indent: str) -> str:
    inner = indent + "  "
    match value:
        case _Number():
            return value
        case dict() if value:
            lines = [f"{inner}{_text(key)}: {_written(one, inner)}" for key, one in value.items()]
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
        case list() if value:
            return "[\n" + ",\n".join(f"{inner}{_written(one, inner)}" for one in value) + f"\n{indent}]"
        case str():
            return _text(value)
    return json.dumps(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escaped(text: str, keep: str) -> str:
    shown, marks = list[str](), 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        hidden = character not in keep and (_is_unseen(character) or marks > MOST_MARKS_IN_A_ROW)
        shown.append(json.dumps(character)[1:-1] if hidden else character)
    return "".join(shown)


def _is_unseen(character: str) -> bool:
    category = unicodedata.category(character)
    if category in _HIDDEN or (category == "Zs" and character != " "):
        return True
    return character in _BLANK or any(first <= character <= last for first, last in _SELECTORS)
