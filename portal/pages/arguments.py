"""The arguments of a call for somebody who decides about it: all of them, as JSON in lines, and nothing hidden. Pure.

They are an agent's text, and may be written to deceive: it is never markup and never a link, what is not seen is
written out and marked, and what is long is folded and says how long it is. Nothing is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from portal.pages.charts import Drawing
from portal.pages.scales import number_words
from portal.unseen import json_escapes, written_out

FOLDED_CHARACTERS, FOLDED_LINES = 2_000, 40
"""An argument with more of them is folded."""
MOST_MARKS = 2_000
"""Stretches that are marked. Further ones are written out all the same."""
_INLINE = 76
_STEP = "  "
_MARKUP = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})
_ASCII = str.maketrans(
    {'"': '\\"', "\\": "\\\\", "<": "&lt;", ">": "&gt;", "&": "&amp;", "\n": "\\n\n", "\t": "\\t", "\r": "\\r"}
)


@dataclass(frozen=True, slots=True)
class ArgumentsDrawing:
    """`markup` has all arguments. `hidden` characters of them are written out, and `folded` arguments are folded."""

    markup: Drawing
    characters: int
    hidden: int
    folded: int


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def arguments_drawing(text: str) -> ArgumentsDrawing:
    """The drawing of canonical JSON. What is no JSON, or nests too deeply to be laid out, is shown as it is."""
    ink = _Ink()
    try:
        found = json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        blocks = _blocks(found, ink)
    except (ValueError, RecursionError):
        ink = _Ink()
        blocks = [_block("", ink.shown(text), len(text), "text", ink)]
    markup = "".join(blocks)
    return ArgumentsDrawing(Drawing(markup), len(text), ink.hidden, ink.folded)


def plan_drawing(text: str) -> ArgumentsDrawing:
    """The drawing of a plan, which is canonical JSON too (`ProgramPlan.to_approve`): a line for each call, and where it
    ends. What is none is shown as the arguments of a call are."""
    ink = _Ink()
    try:
        plan = json.loads(text)
        calls, ends = plan["calls"], plan["ends"]
        blocks = [_block("", ink.line(call), len(call), "a call", ink) for call in (*calls, ends)]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return arguments_drawing(text)
    return ArgumentsDrawing(Drawing("".join(blocks)), len(text), ink.hidden, ink.folded)


class _Ink:
    """Writes values as markup, and counts what was hidden in them."""

    def __init__(self) -> None:
        self.hidden = 0
        self.folded = 0
        self._marks = 0

    def string(self, text: str) -> str:
        shown = f'"{self.shown(text)}"'
        if "\n" in text:
            return f'<bdi class="lines" dir="ltr">{shown}</bdi>'
        # Letters that run from right to left turn what stands beside them, unless they stand alone.
        return shown if text.isascii() else f'<bdi dir="ltr">{shown}</bdi>'

    def line(self, text: str) -> str:
        """A text that stands for itself."""
        return f'<bdi dir="ltr">{written_out(text.translate(_MARKUP), self._mark)}</bdi>'

    def shown(self, text: str) -> str:
        return written_out(text.translate(_ASCII), self._mark)

    def value(self, value: object, indent: str = "") -> str:
        match value:
            case _Number():
                return self.shown(value)
            case str():
                return self.string(value)
            case dict() | list() if not value or _fits(value):
                return self._inline(value)
            case dict():
                inner = indent + _STEP
                lines = [f"{inner}{self.string(key)}: {self.value(one, inner)}" for key, one in value.items()]
                return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
            case list():
                inner = indent + _STEP
                if all(one is None or isinstance(one, (_Number, bool)) for one in value):
                    return f"[\n{inner}{', '.join(map(self.value, value))}\n{indent}]"
                lines = [f"{inner}{self.value(one, inner)}" for one in value]
                return "[\n" + ",\n".join(lines) + f"\n{indent}]"
        return json.dumps(value)

    def _inline(self, value: object) -> str:
        match value:
            case dict():
                members = [f"{self.string(key)}: {self._inline(one)}" for key, one in value.items()]
                return "{" + ", ".join(members) + "}"
            case list():
                return f"[{', '.join(map(self._inline, value))}]"
        return self.value(value)

    def _mark(self, hidden: str) -> str:
        self.hidden += len(hidden)
        self._marks += 1
        # As JSON writes them: what is copied is still what the call has.
        escaped = json_escapes(hidden)
        return escaped if self._marks > MOST_MARKS else f'<mark class="unseen-here">{escaped}</mark>'


def _blocks(arguments: object, ink: _Ink) -> list[str]:
    """One block for each argument."""
    if not isinstance(arguments, dict):
        return [_block("", ink.value(arguments), _size(arguments), _kind(arguments), ink)]
    blocks = []
    for key, value in arguments.items():
        name = f'<span class="key">{ink.string(key)}</span>: '
        blocks.append(_block(name, ink.value(value), _size(value), _kind(value), ink))
    return blocks


def _block(name: str, markup: str, size: int, kind: str, ink: _Ink) -> str:
    if size <= FOLDED_CHARACTERS and markup.count("\n") <= FOLDED_LINES:
        return f'<div class="argument">{name}{markup}</div>'
    ink.folded += 1
    lines = markup.count("\n") + 1
    words = f"{kind}, {number_words(size)} characters" + (f" in {number_words(lines)} lines" if lines > 1 else "")
    return (
        f'<details class="argument"><summary>{name}<span class="size">{words}</span></summary>'
        f'<div class="whole">{markup}</div></details>'
    )


def _size(value: object) -> int:
    """About how many characters its JSON has."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(len(key) + 4 + _size(one) for key, one in value.items())
        case list():
            return sum(2 + _size(one) for one in value)
    return 5


def _kind(value: object) -> str:
    match value:
        case _Number():
            return "a number"
        case str():
            return "a text"
        case dict():
            return f"an object of {number_words(len(value))} members"
        case list():
            return f"a list of {number_words(len(value))} items"
    return "a value"


def _fits(value: object) -> bool:
    """Whether a value stands in one line."""
    return _left(value, _INLINE) >= 0


def _left(value: object, room: int) -> int:
    """What is left of the room after this value, less than 0 if it does not fit: it is left at once then."""
    if isinstance(value, str):
        return room - len(value) - 2 if "\n" not in value else -1
    if not isinstance(value, dict | list):
        return room - 5
    members = value.items() if isinstance(value, dict) else (("", one) for one in value)
    for key, one in members:
        room = _left(one, room - len(key) - 4)
        if room < 0:
            return room
    return room
