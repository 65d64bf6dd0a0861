"""JSON as people write it for editors: with comments and with a comma after the last member. Pure.

VS Code reads and writes its documents so (https://code.visualstudio.com/docs/languages/json#_json-with-comments), and
several clients read theirs the same way.
"""

from __future__ import annotations

import re

# A string is taken whole, so that `//` in a URL stays, and so is a comment that does not end: linear in any text.
_STRING = r'"(?:[^"\\]++|\\.)*+"?'
_INSIDE = r"(?:[^*]++|\*(?!/))*+"
_COMMENT = re.compile(rf"{_STRING}|(?P<blank>//[^\n\r]*+|/\*{_INSIDE}\*/)|/\*{_INSIDE}", re.DOTALL)
# A comma with nothing before it closes no member, and stays for the parser to refuse.
_COMMA = re.compile(rf"{_STRING}|[\[{{]\s*+,|(?P<blank>,)(?=\s*+[\]}}])", re.DOTALL)
_INK = re.compile(r"[^\n\r\t]")


def as_json(text: str) -> str:
    """The text with blanks in the place of comments and last commas: every line and column stays where it was."""
    for pattern in (_COMMENT, _COMMA):
        text = pattern.sub(_blank, text)
    return text


def _blank(found: re.Match[str]) -> str:
    return found[0] if found["blank"] is None else _INK.sub(" ", found[0])
