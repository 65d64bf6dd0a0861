"""About how many tokens a text costs whoever reads it: a little above o200k for code and English, in one pass."""

from __future__ import annotations

import re

_PIECE = re.compile(r"[A-Za-z]+|\d{1,3}|[^\x00-\x7f]|\s+|[^\sA-Za-z\d]+")
_LONGEST_WORD = 9


def about_tokens(text: str) -> int:
    """Tests hold it against the tokenizer; a text of random letters may cost more."""
    return sum(_piece(piece[0]) for piece in _PIECE.finditer(text))


def clipped(text: str, tokens: int) -> str:
    """A text of about at most `tokens`: cut at the end of a line where there are several, else where it is full."""
    left = tokens - 1
    for piece in _PIECE.finditer(text):
        left -= _piece(piece[0])
        if left < 0:
            kept = text[: piece.start()]
            if about_tokens(text) <= tokens:
                return text
            whole = kept.rfind("\n")
            return (kept[:whole] if whole > len(kept) // 2 else kept).rstrip() + "…"
    return text


def _piece(piece: str) -> int:
    first = piece[0]
    if first == " " and len(piece) == 1:
        return 0
    if first.isspace() or first.isdigit() or not first.isascii():
        return 1
    if not first.isalpha():
        return (len(piece) + 1) // 2
    # Words in lower case are mostly one token; others fall into shorter parts.
    plain = piece.islower() or piece[1:].islower()
    return 1 + (len(piece) - 1) // _LONGEST_WORD if plain else max(1, (len(piece) + 2) // 4)
