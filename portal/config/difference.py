"""What a change does to a text, as a unified diff that a person can read. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_STARTS = re.compile(r"([-+])(\d+)")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


def difference(before: str, after: str, name: str, *, was_there: bool = True, context: int = 3) -> str:
    """A unified diff of two texts of the file `name`, "" if they are equal. `was_there` is false for a new file.

    Characters that have no picture, or change the order of others, are shown as escapes. Line ends are not shown,
    unless the change is about them.
    """
    old, new = _LINES.findall(before), _LINES.findall(after)
    ends = {line.endswith("\r\n") for line in (*old, *new) if line.endswith("\n")}
    start, rest = _equal(old, new, context)
    was, now = ([_shown(line, len(ends) > 1) for line in lines[start : len(lines) - rest]] for lines in (old, new))
    named = visible(name)
    found = difflib.unified_diff(was, now, named if was_there else "/dev/null", named, n=context)
    lines = (_moved(line, start) if line.startswith("@@") else line for line in found)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _equal(old: list[str], new: list[str], context: int) -> tuple[int, int]:
    """How many lines at the beginning and at the end are equal and further from the change than its context.

    A long text is compared in no time without them.
    """
    shorter = min(len(old), len(new))
    start = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    left = shorter - start
    end = next((at for at in range(left) if old[-1 - at] != new[-1 - at]), left)
    return max(0, start - context), max(0, end - context)


def _moved(header: str, lines: int) -> str:
    return _STARTS.sub(lambda found: f"{found[1]}{int(found[2]) + lines}", header, count=2)


def visible(text: str) -> str:
    """The text, on one line, with an escape for each character that has no picture or changes the order of others."""
    return "".join(_escaped(one) if one != "\t" and unicodedata.category(one) in _UNSEEN else one for one in text)


def _shown(line: str, with_return: bool) -> str:
    body = line.removesuffix("\n")
    end = line[len(body) :]
    if end and not with_return:
        body = body.removesuffix("\r")
    return visible(body) + end


def _escaped(character: str) -> str:
    code = ord(character)
    return {"\r": "\\r", "\n": "\\n"}.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
