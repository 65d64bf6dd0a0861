"""Text of others in Markdown: it can neither become markup nor HTML, nor end a table, a fence or a heading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from portal.cli.show.console import printable

# Characters that cannot be seen, halves of characters, and tags.
_HIDDEN = re.compile("[\u200b\u2060-\u2064\ufeff\ud800-\udfff\U000e0000-\U000e007f]")
_BREAKS = re.compile("\r\n?|[\u2028\u2029\x85\x0b\x0c]")
# Entities and not backslashes where renderers differ: in a table a backslash before a bar means several things.
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;"})
_MARKS = re.compile(r"[`*\[\]~$]|(?<!\w)_|_(?!\w)")
# What makes a list, a heading, a quotation or a line of a table at the beginning of a line.
_BEGINNING = re.compile(r"^([#+=:-]|\d{1,9}(?=[.)]))")
# Renderers make links of these by themselves.
_LINKS = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp)(:)|\b(www)(\.)|(@)")


def inline(text: object) -> str:
    """A text on one line, as it is to be read."""
    words = " ".join(_clean(str(text)).split())
    marked = _MARKS.sub(r"\\\g<0>", words.translate(_ENTITIES))
    linkless = _LINKS.sub(
        lambda found: f"{found[1] or found[3] or ''}&#{ord(found[2] or found[4] or found[5])};", marked
    )
    return _BEGINNING.sub(lambda found: f"&#{ord(found[1][0])};{found[1][1:]}", linkless)


def paragraphs(text: object) -> str:
    """A text with its lines and paragraphs."""
    blocks = re.split(r"\n[ \t]*(?:\n[ \t]*)+", _BREAKS.sub("\n", str(text)).strip())
    return "\n\n".join("\\\n".join(filter(None, map(inline, block.split("\n")))) for block in blocks if block.strip())


def code(text: object) -> str:
    """A text as code on one line, in a table too."""
    words = " ".join(_clean(str(text)).split())
    if not words or "`" in words or "\\" in words:
        return inline(words)
    return f"`{words}`".replace("|", "\\|")


def fenced(text: str, language: str) -> str:
    """A block of code, whatever is in it."""
    clean = _clean(_BREAKS.sub("\n", text), lines=True).rstrip("\n")
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", clean)), default=0))
    return f"{fence}{language}\n{clean}\n{fence}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown on one line already."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _clean(text: str, *, lines: bool = False) -> str:
    shown = _HIDDEN.sub("", text if lines else _BREAKS.sub(" ", text))
    return printable(shown)
