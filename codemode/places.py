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
    """A class of the program: what it extends, whether it has a constructor of its own, and the offsets of the word
    `class`, of its body and of its end."""

    base: str
    has_constructor: bool
    start: int
    body: int
    end: int


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
    while first + 1 < len(frames):
        caller = _offset(starts, frames[first + 1])
        if not _constructs(text, classes, frames[first], caller, failure.name, starts):
            break
        makers.append(frames[first].function)
        first += 1
    at = _made_at(text, _offset(starts, frames[first]), makers)
    line, column = (frames[first].line, frames[first].column) if at is None else _place(starts, at)
    if (line, column) == (failure.line, failure.column):
        return failure
    head = re.sub(r"program\.js:\d+:\d+", f"program.js:{line}:{column}", lines[first])
    return replace(failure, line=line, column=column, stack="\n".join((head, *lines[first + 1 :])))


def in_characters(failure: Failure, source: str) -> Failure:
    """The failure with columns in characters. The engine counts the bytes of a line of `source`."""
    if source.isascii():
        return failure
    lines = source.split("\n")

    def column(line: int, of_bytes: int) -> int:
        if not 0 < line <= len(lines):
            return of_bytes
        before = lines[line - 1].encode(errors="surrogatepass")[: of_bytes - 1]
        return len(before.decode(errors="ignore")) + 1

    def place(match: re.Match[str]) -> str:
        return f"program.js:{match[1]}:{column(int(match[1]), int(match[2]))}"

    stack = failure.stack and re.sub(r"program\.js:(\d{1,9}):(\d{1,9})", place, failure.stack)
    if failure.line is None or failure.column is None:
        return replace(failure, stack=stack)
    return replace(failure, column=column(failure.line, failure.column), stack=stack)


def within(failure: Failure, lines: int) -> Failure:
    """The failure without the places behind the first `lines` lines: there stands what was added to the program."""
    stack = failure.stack
    if stack is not None:
        frames = [(line, _frame(line)) for line in stack.split("\n")]
        stack = "\n".join(line for line, frame in frames if frame is None or frame.line <= lines) or None
    if failure.line is not None and failure.line > lines:
        return replace(failure, line=None, column=None, stack=stack)
    return replace(failure, stack=stack)


def _frame(line: str) -> _Frame | None:
    match = _FRAME.match(line)
    return None if match is None else _Frame(match[1] or "", int(match[2]), int(match[3]))


def _classes(text: Brackets) -> dict[str, _Class]:
    """The classes that extend another, by name: `class A extends B {`, `const A = class extends B {`; those without one
    by the offset of the word, as text."""
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
        if text.key(extends) != "extends" or end is None:
            continue
        depth = text.depths[body] + 1
        members = (text.key(index) for index in range(body + 1, end) if text.depths[index] == depth)
        found = _Class(
            text.key(extends + 1), "constructor" in members, token.start, text.tokens[body].start, text.tokens[end].end
        )
        # The engine gives a name to a class that is assigned to a variable, and none to one that is to a property.
        classes[name if name and text.key(at - 3) != "." else str(token.start)] = found
    return classes


def _class_of(
    text: Brackets, classes: dict[str, _Class], frame: _Frame, caller: int, starts: list[int]
) -> _Class | None:
    """The class whose constructor a frame is. One without a name is found by its place: around its `super(...)`, or
    around the offset of its caller where it has no constructor of its own."""
    offset = _offset(starts, frame)
    if (found := classes.get(frame.function)) is not None:
        return found
    inner = [one for one in classes.values() if one.has_constructor and one.body <= offset < one.end]
    if inner:
        return max(inner, key=lambda one: one.body)
    outer = [one for one in classes.values() if not one.has_constructor and one.start <= caller < one.body]
    return outer[0] if outer and frame.function == "<anonymous>" else None


def _constructs(
    text: Brackets, classes: dict[str, _Class], frame: _Frame, caller: int, name: str, starts: list[int]
) -> bool:
    """Whether a frame is the constructor of the error's own class, or of one above it, in its `super(...)`. `caller` is
    the offset of the frame that called it."""
    found = _class_of(text, classes, frame, caller, starts)
    if found is None:
        return False
    root = found.base
    for _ in range(_MOST_CLASSES):
        if root not in classes:
            break
        root = classes[root].base
    # An error of the language, in the arguments of `super`, is none of this class. A small letter is a variable.
    if not root.endswith("Error") and (root[:1].isupper() and len(root) > 1):
        return False
    if name in _OF_LANGUAGE and name != (root if root.endswith("Error") else "Error"):
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
        if token.key == "new" and text.key(at + 1) == "(" and text.key(at + 2) == "class":
            # Of `new (class extends Error {...})(...)` the engine tells a place inside.
            brace = next((index for index in range(at + 3, len(text.tokens)) if text.key(index) == "{"), None)
            if brace is not None and offset < text.tokens[brace].start:
                return token.start
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
