"""Finds an `await` whose function is not async, and says what to write instead.

The engine reads such an `await` as the name of a variable, and its error is about the token after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codemode.check.brackets import Brackets, brackets

_CONTROL = frozenset({"if", "for", "while", "switch", "catch", "with", "return", "else", "do", "try", "finally"})
_STATEMENTS = frozenset(
    "const let var return if for while switch throw try function class async await break continue".split()
)
_MODIFIERS = frozenset({"static", "get", "set", "async", "*", "public", "private", "protected"})
_MOST_TOKENS = 60  # of a type between the parameters of a function and its body
_MOST_PARAMETERS = 40  # characters of parameters that an advice repeats
_TESTS = frozenset({"filter", "some", "every", "find", "findIndex", "findLast", "findLastIndex", "flatMap"})
_ORDERS = frozenset({"sort", "toSorted", "min", "max"})
_FOLDS = frozenset({"reduce", "reduceRight"})


@dataclass(frozen=True, slots=True)
class LostAwait:
    """An `await` at an offset, in a function that is not async. `next_end` is the offset after the next token."""

    offset: int
    next_end: int
    advice: str


@dataclass(frozen=True, slots=True)
class _Function:
    """A function whose first token is `first`. `kind` is arrow, function or method."""

    first: int
    kind: str
    name: str
    parameters: str
    is_async: bool
    modifiers: frozenset[str] = frozenset()


def lost_awaits(program: str) -> list[LostAwait]:
    """All of them, in order; none for a program whose brackets do not match."""
    text = brackets(program) if "await" in program else None
    if text is None:
        return []
    found: list[LostAwait] = []
    for at, function in _around_awaits(program, text):
        if function is not None and not function.is_async:
            after = max(at + 1, text.pairs.get(at + 1, 0))  # of `for await (...)` all that stands in the parentheses
            found.append(LostAwait(text.tokens[at].start, text.tokens[after].end, _advice(text, function)))
    return found


def _around_awaits(program: str, text: Brackets) -> Iterator[tuple[int, _Function | None]]:
    """The index of each `await`, and the innermost function around it."""
    bodies: list[tuple[int, _Function]] = []  # with the index of the closing brace
    expressions: list[tuple[int, _Function]] = []  # arrow functions without braces, with the depth of their arrow
    for at, token in enumerate(text.tokens):
        while bodies and bodies[-1][0] <= at:
            bodies.pop()
        while expressions and _ends_expression(program, text, at, expressions[-1][0]):
            expressions.pop()
        if token.key == "{" and (function := _of_body(program, text, at)) is not None:
            bodies.append((text.pairs.get(at, len(text.tokens)), function))
        elif token.key == ">" and text.key(at - 1) == "=" and text.key(at + 1) not in ("{", ""):
            if (arrow := _arrow(program, text, at)) is not None:
                expressions.append((text.depths[at], arrow))
        elif token.key == "await" and text.key(at - 1) != "." and text.key(at + 1) not in (":", ""):
            innermost = [*bodies[-1:], *expressions[-1:]]
            yield at, max((function for _, function in innermost), key=lambda one: one.first, default=None)


def _ends_expression(program: str, text: Brackets, at: int, depth: int) -> bool:
    if text.depths[at] < depth:
        return True
    if text.depths[at] > depth:
        return False
    before = text.key(at - 1)
    starts_line = "\n" in program[text.tokens[at - 1].end : text.tokens[at].start]
    ends_value = before[-1:] in (")", "]", "}", "`", '"') or before[-1:].isalnum()
    return text.key(at) in (",", ";") or (starts_line and ends_value and text.key(at) in _STATEMENTS)


def _of_body(program: str, text: Brackets, at: int) -> _Function | None:
    """The function whose body a brace opens; None for a block, an object or a class."""
    if text.key(at - 1) == ">" and text.key(at - 2) == "=":
        return _arrow(program, text, at - 1)
    closing = _end_of_parameters(text, at)
    opening = None if closing is None else text.pairs.get(closing)
    if closing is None or opening is None or text.key(opening) != "(":
        return None
    before = text.key(opening - 1)
    if before in _CONTROL or (before == "await" and text.key(opening - 2) == "for"):
        return None
    parameters = _source(program, text, opening, closing)
    words = [text.key(index) for index in range(max(0, opening - 4), opening)]
    if "function" in words[-3:]:
        first = opening - 1 - words[::-1].index("function")
        name = "" if before in ("function", "*") else before
        modifiers = frozenset({"*"}) if "*" in words else frozenset()
        return _Function(first, "function", name, parameters, text.key(first - 1) == "async", modifiers)
    first = opening - 1
    while text.key(first - 1) in _MODIFIERS and first > 0:
        first -= 1
    modifiers = frozenset(text.key(index) for index in range(first, opening - 1))
    return _Function(first, "method", before, parameters, "async" in modifiers, modifiers)


def _end_of_parameters(text: Brackets, brace: int) -> int | None:
    """The index of the parenthesis that closes the parameters before a body; a type of the result may follow it."""
    if text.key(brace - 1) == ")":
        return brace - 1
    for index in range(brace - 1, max(0, brace - _MOST_TOKENS), -1):
        key = text.key(index)
        if key == ":":
            return index - 1 if text.key(index - 1) == ")" else None
        if key in (";", "{", "}", "=", "return"):
            return None
    return None


def _arrow(program: str, text: Brackets, at: int) -> _Function | None:
    """The arrow function whose `>` is at an index."""
    last = at - 2
    if text.key(last) != ")":
        closing = _end_of_parameters(text, at - 1)
        last = closing if closing is not None else last
    first = text.pairs.get(last, last) if text.key(last) == ")" else last
    if first < 0:
        return None
    parameters = _source(program, text, first, last)
    is_async = text.key(first - 1) == "async"
    return _Function(
        first - is_async, "arrow", "", parameters if parameters[:1] == "(" else f"({parameters})", is_async
    )


def _source(program: str, text: Brackets, first: int, last: int) -> str:
    """A list of parameters as it is written, or `(...)` when it is long."""
    written = " ".join(program[text.tokens[first].start : text.tokens[last].end].split())
    return written if len(written) <= _MOST_PARAMETERS else "(...)"


def _advice(text: Brackets, function: _Function) -> str:
    """What to write instead."""
    if function.kind == "method":
        if function.modifiers & {"get", "set"}:
            return f"A getter or setter cannot be async: make an async method of {function.name}, and await its call."
        if function.name == "constructor":
            return "A constructor cannot be async: await before `new`, and pass what came."
        return f"Write async {function.name}{function.parameters} {{ ... }}, and await its calls."
    word, arrow = ("", " =>") if function.kind == "arrow" else ("function ", "")
    callback = f"async {word}{function.parameters}{arrow} ..."
    called = _takes(text, function.first)
    match called:
        case "map":
            return f"Write await Promise.all(list.map({callback}))."
        case "forEach":
            together = f"await Promise.all(list.map({callback}))"
            return f"Write for (const item of list) {{ ... }}, where await works; or {together}."
        case _ if called in _TESTS:
            return (
                f"{called} does not wait: write const results = await Promise.all(list.map({callback})), and then "
                f"{called} by results; or use a for...of loop."
            )
        case _ if called in _ORDERS:
            return (
                f"{called} does not wait: await what it needs first, with Promise.all(list.map(async (item) => ...))."
            )
        case _ if called in _FOLDS:
            return "Use a for...of loop, where await works, instead of reduce."
        case "Promise":
            return "Leave `new Promise` out: await works in the program itself."
    if function.kind == "function" and function.name:
        word = "function*" if "*" in function.modifiers else "function"
        return f"Write async {word} {function.name}{function.parameters}, and await its calls."
    return f"Write {callback}: it returns a promise, so await its calls."


def _takes(text: Brackets, first: int) -> str:
    """The name of the function that is called with the function at a token; "" when there is none."""
    depth = text.depths[first]
    for index in range(first - 1, -1, -1):
        if text.depths[index] < depth:
            return text.key(index - 1) if text.key(index) == "(" else ""
    return ""
