"""Texts for a terminal on which somebody decides: what is not seen is escaped as JSON does it. Pure.

`printable` is for text that is only looked at.
"""

from __future__ import annotations

import json

from portal.pages import json_escapes, written_out


def seen(text: str) -> str:
    """The text in one line, with what is not seen escaped."""
    escaped = written_out(text, json_escapes)
    return escaped.replace("\n", "\\n").replace("\t", "\\t")


def json_lines(text: str) -> str:
    """JSON in indented lines, with nothing left out and nothing hidden. What is no JSON is shown as it is."""
    try:
        # Numbers keep their spelling; what is written again is the same value.
        value = json.loads(text, parse_int=_Number, parse_float=_Number)
        text = _written(value, "")
    except (ValueError, RecursionError):
        pass
    return written_out(text, json_escapes).replace("\t", "\\t")


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
