"""What a change does to a text, as a unified diff that a person can read. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


def difference(before: str, after: str, name: str, *, was_there: bool = True, context: int = 3) -> str:
    """A unified diff of two texts of the file `name`, "" if they are equal. `was_there` is false for a new file.

    Characters that have no picture, or change the order of others, are shown as escapes. Line ends are not shown,
    unless the change is about them.
    """
    old, new = _LINES.findall(before), _LINES.findall(after)
    ends = {line.endswith("\r\n") for line in (*old, *new) if line.endswith("\n")}
    was, now = ([_shown(line, with_return=len(ends) > 1) for line in lines] for lines in (old, new))
    named = visible(name)
    found = difflib.unified_diff(was, now, named if was_there else "/dev/null", named, n=context)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in found)


def visible(text: str) -> str:
    """The text, on one line, with an escape for each character that has no picture or changes the order of others."""
    return "".join(_escaped(one) if one != "\t" and unicodedata.category(one) in _UNSEEN else one for one in text)


def _shown(line: str, *, with_return: bool) -> str:
    body = line.removesuffix("\n")
    end = line[len(body) :]
    if end and not with_return:
        body = body.removesuffix("\r")
    return visible(body) + end


def _escaped(character: str) -> str:
    code = ord(character)
    return {"\r": "\\r", "\n": "\\n"}.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
