"""How many tokens a text costs its reader, counted without a tokenizer: an estimate, and a bound above it.

Both read a text in the same pieces. A common word (`common_words.txt`) is one token; they differ in what they expect of
everything else. Measured against o200k_base, which the tests do again:

    about_tokens   1.0 to 1.5 times the true count of tool declarations and search results, 0.8 to 1.6 times that of
                   one English sentence, and as little as a sixth of that of random letters
    most_tokens    never below the true count; up to 3.5 times that of declarations and search results
"""

from __future__ import annotations

import re
from importlib.resources import files

COMMON = frozenset((files(__package__) / "common_words.txt").read_text(encoding="utf-8").split())
"""Words that are one token in lower case and capitalised, with and without a space in front."""
_COMMON = COMMON | {word.capitalize() for word in COMMON}

_PIECE = re.compile(r"[A-Za-z]+|\d{1,3}| +|\s+|[^\x00-\x7f]|[^\sA-Za-z\d\u0080-\U0010ffff]+")
_WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+")  # tokenizers split a run of letters in the same places
_LETTERS_A_TOKEN = 6


def about_tokens(text: str) -> int:
    """The estimate: for sharing out room between texts that are mostly code and English."""
    return sum(_about(piece[0]) for piece in _PIECE.finditer(text))


def most_tokens(text: str) -> int:
    """The bound: for text from outside that must stay within a size."""
    return sum(_most(piece, text) for piece in _PIECE.finditer(text))


def clipped(text: str, tokens: int) -> str:
    """The start of a text, about `tokens` long: cut at a line end when one lies in its second half."""
    if about_tokens(text) <= tokens:
        return text
    room = tokens - 1  # one for the ellipsis
    end = 0
    for piece in _PIECE.finditer(text):
        room -= _about(piece[0])
        if room < 0:
            break
        end = piece.end()
    line = text.rfind("\n", 0, end)
    return text[: line if line > end // 2 else end].rstrip() + "…"


def _about(piece: str) -> int:
    first = piece[0]
    if piece == " ":
        return 0  # part of the token of the word behind it
    if first.isspace() or not first.isascii() or first.isdigit():
        return 1
    if first.isalpha():
        words = (piece,) if piece.islower() else _WORD.findall(piece)
        return sum(1 if word in _COMMON else -(-len(word) // _LETTERS_A_TOKEN) for word in words)
    return (len(piece) + 1) // 2


def _most(piece: re.Match[str], text: str) -> int:
    part = piece[0]
    if not part.isascii():
        return len(part.encode("utf-8", "replace"))
    if part[0] == " ":
        return _most_spaces(part, text[piece.end() : piece.end() + 1])
    if part[0] == "\n" and part[1:].strip(" ") == "" and len(part) > 1:
        # The indentation of a line. Its line end may be part of the token before it.
        return 1 + _most_spaces(part[1:], text[piece.end() : piece.end() + 1])
    if part.isdigit():
        return 1
    if not part.isalpha():
        return len(part)
    before = text[piece.start() - 1 : piece.start()] if piece.start() else ""
    first, *rest = _WORD.findall(part)
    # A mark or a foreign letter straight in front may take letters of the first word with it into a token.
    joined = before not in ("", " ") and not (before.isascii() and before.isdigit())
    return _most_word(first, 2 if joined else 1) + sum(_most_word(word, 1) for word in rest)


def _most_spaces(spaces: str, after: str) -> int:
    """The most tokens of a run of spaces, of which the last one is part of a word behind it, but not of a number."""
    last = 0 if after.isascii() and after.isalpha() else 1
    return last + (1 + len(spaces) // 8 if len(spaces) > 1 else 0)


def _most_word(word: str, common: int) -> int:
    return common if word in _COMMON else len(word)
