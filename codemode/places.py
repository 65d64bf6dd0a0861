"""The place of an error that the program makes: where it says `new`, not inside the class of the error.

The engine records the place at which `Error` itself is constructed. For a class that extends it that is the
`super(...)` of its constructor, the same for all errors of the class. Where arguments take several lines it is one of
them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from codemode.check.brackets import Brackets, brackets
from codemode.run import Failure
from codemode.typescript import MAX_PLACED_CHARS

_FRAME = re.compile(r"^\s*at (?:(.{1,200}?) )?\(?program\.js:(\d{1,9}):(\d{1,9})\)?$")
_OF_LANGUAGE = frozenset(
    "Error TypeError RangeError SyntaxError ReferenceError EvalError URIError InternalError AggregateError".split()
)
_MOST_CLASSES = 50  # one above the other


class _Frame(NamedTuple):
    function: str
    line: int
    column: int


class _Class(NamedTuple):
    """A class of the program: what it extends, and whether it has a constructor of its own."""

    base: str
    has_constructor: bool


def placed(failure: Failure, program: str) -> Failure:
    """The failure with the place, and the stack from there, at which the program made its error."""
    stack = failure.stack
    if failure.kind != "exception" or not stack or "new" not in program or len(program) > MAX_PLACED_CHARS:
        return failure
    text = brackets(program)
    lines = stack.split("\n")
    frames = [frame for line in lines if (frame := _frame(line)) is not None]
    if text is None or len(frames) != len(lines):
        return failure
    classes = _classes(text)
    starts = [0, *(match.end() for match in re.finditer("\n", program))]
    makers = [failure.name]
    first = 0
    while first + 1 < len(frames) and _constructs(text, classes, frames[first], failure.name, starts):
        makers.append(frames[first].function)
        first += 1
    at = _made_at(text, _offset(starts, frames[first]), makers)
    line, column = (frames[first].line, frames[first].column) if at is None else _place(starts, at)
    if (line, column) == (failure.line, failure.column):
        return failure
    head = re.sub(r"program\.js:\d+:\d+", f"program.js:{line}:{column}", lines[first])
    return replace(failure, line=line, column=column, stack="\n".join((head, *lines[first + 1 :])))


def _frame(line: str) -> _Frame | None:
    match = _FRAME.match(line)
    return None if match is None else _Frame(match[1] or "", int(match[2]), int(match[3]))


def _classes(text: Brackets) -> dict[str, _Class]:
    """The classes that extend another, by name: `class A extends B {`, `const A = class extends B {`."""
    classes: dict[str, _Class] = {}
    for at, token in enumerate(text.tokens):
        if token.key != "class":
            continue
        named = text.key(at + 1) != "extends"
        name = text.key(at + 1) if named else text.key(at - 2) if text.key(at - 1) == "=" else ""
        extends = at + 1 + named
        body = extends + 2
        while text.key(body) not in ("{", "") and body < extends + 20:
            body += 1
        end = text.pairs.get(body)
        if not name or text.key(extends) != "extends" or end is None:
            continue
        depth = text.depths[body] + 1
        members = (text.key(index) for index in range(body + 1, end) if text.depths[index] == depth)
        classes[name] = _Class(text.key(extends + 1), "constructor" in members)
    return classes


def _constructs(text: Brackets, classes: dict[str, _Class], frame: _Frame, name: str, starts: list[int]) -> bool:
    """Whether a frame is the constructor of the error's own class, or of one above it, in its `super(...)`."""
    found = classes.get(frame.function)
    if found is None:
        return False
    root = found.base
    for _ in range(_MOST_CLASSES):
        if root not in classes:
            break
        root = classes[root].base
    # An error of the language, in the arguments of `super`, is none of this class.
    if not root.endswith("Error") or (name in _OF_LANGUAGE and name != root):
        return False
    if not found.has_constructor:
        return True
    offset = _offset(starts, frame)
    for at, token in enumerate(text.tokens):
        if token.start > offset:
            break
        if token.key == "super" and text.key(at + 1) == "(" and (end := text.pairs.get(at + 1)) is not None:
            if offset <= text.tokens[end].start:
                return True
    return False


def _made_at(text: Brackets, offset: int, makers: list[str]) -> int | None:
    """The offset of the name after `new` in the outermost expression around an offset that makes the error, within one
    function: its arguments are made before it."""
    for at, token in enumerate(text.tokens):
        if token.start > offset:
            break
        if token.key != "new" or text.key(at + 1) not in makers or text.key(at + 2) != "(":
            continue
        end = text.pairs.get(at + 2)
        if end is None or offset > text.tokens[end].start:
            continue
        within = (index for index in range(at + 3, end) if text.tokens[index].start <= offset)
        if not any(text.key(index) in ("function", ">") for index in within):
            return text.tokens[at + 1].start
    return None


def _offset(starts: list[int], frame: _Frame) -> int:
    return starts[min(frame.line, len(starts)) - 1] + frame.column - 1


def _place(starts: list[int], offset: int) -> tuple[int, int]:
    line = sum(start <= offset for start in starts)
    return line, offset - starts[line - 1] + 1
