"""What a text hides from the eye: characters that are not seen, or turn the order of those that are, written out. Pure.

Nothing that somebody has to judge may hide behind such a character: what they approve is what they read.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

MOST_MARKS_IN_A_ROW = 4
"""Marks that combine with one letter. More of them are drawn over the lines around it."""
# Control, format (bidi, zero width, tags), surrogates, private, unassigned, separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Fillers and selectors, which are letters or marks by their category and are drawn as nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159")
_SELECTORS = (("\u180b", "\u180f"), ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef"))
# Say whether the emoji before it has colours: one alone hides nothing, of several each could carry something.
_STYLES = "\ufe0e\ufe0f"
_NO_ASCII = re.compile(r"[^\x20-\x7e]+")
_SUSPECT = re.compile(r"[^\x20-\x7e\t\n]+")


@lru_cache(maxsize=4096)
def is_unseen(character: str) -> bool:
    """Whether a character is not seen, or turns the order of others. A blank is, unless it is the plain one."""
    category = unicodedata.category(character)
    if category in _HIDDEN or (category == "Zs" and character != " "):
        return True
    return character in _BLANK or any(first <= character <= last for first, last in _SELECTORS)


def seen_words(text: str) -> str:
    """The text with what is not seen written out as `\\u{202e}`. Tabs and line ends stay."""
    return written_out(text, lambda hidden: "".join(f"\\u{{{ord(one):x}}}" for one in hidden))


def in_ascii(json_text: str) -> str:
    """The same JSON in ASCII: every other character as its escape, so that nothing in it hides."""
    return _NO_ASCII.sub(lambda found: json_escapes(found[0]), json_text)


def json_escapes(text: str) -> str:
    """These characters as JSON may write them, each as its escape unless it is a plain letter."""
    # JSON lets a deletion stand as it is.
    return json.dumps(text)[1:-1].replace("\x7f", "\\u007f")


def short_words(text: str, most: int) -> str:
    """The same of its first `most` characters."""
    return seen_words(text) if len(text) <= most else f"{seen_words(text[:most])}…"


def written_out(text: str, write: Callable[[str], str]) -> str:
    """The text with what `write` makes of each stretch of characters that are not seen; tabs and line ends stay."""
    return _SUSPECT.sub(lambda found: _stretches(found[0], write), text)


def _stretches(text: str, write: Callable[[str], str]) -> str:
    pieces: list[str] = []
    start, hiding, marks = 0, False, 0
    for at, character in enumerate(text):
        marks = marks + 1 if unicodedata.combining(character) else 0
        hidden = is_unseen(character) or marks > MOST_MARKS_IN_A_ROW
        if character in _STYLES and at and not is_unseen(text[at - 1]):
            hidden = False
        if hidden is not hiding:
            if at > start:
                pieces.append(write(text[start:at]) if hiding else text[start:at])
            start, hiding = at, hidden
    pieces.append(write(text[start:]) if hiding else text[start:])
    return "".join(pieces)
