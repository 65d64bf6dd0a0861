"""Finds an `await` where none may stand, and says what to write instead.

None may stand in a function that is not async, in a field or static block of a class, or in the default of a parameter.
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
_TESTS = frozenset({"filter", "some", "every", "find", "findIndex", "findLast", "findLastIndex", "flatMap", "groupBy"})
_ORDERS = frozenset({"sort", "toSorted", "min", "max", "stringify", "parse"})
_FOLDS = frozenset({"reduce", "reduceRight"})
_REPLACES = frozenset({"replace", "replaceAll"})
_REACTIONS = frozenset({"then", "catch", "finally"})
_TIMERS = frozenset({"setTimeout", "setInterval", "queueMicrotask"})
_NO_FUNCTIONS = {
    "field": "`await` cannot stand in a field of a class",
    "static": "`await` cannot stand in a static block of a class",
    "default": "`await` cannot stand in the default of a parameter",
}
_NEEDS_ASYNC = "`await` needs an async function around it"
REPLACE = (
    "replace does not wait: get the new texts first, const all = await Promise.all([...text.matchAll(pattern)].map("
    "async (match) => ...)); then text.replace(pattern, () => all.shift())."
)


@dataclass(frozen=True, slots=True)
class LostAwait:
    """An `await` at an offset at which none may stand. `next_end` is the offset after the next token."""

    offset: int
    next_end: int
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class _Function:
    """A function whose first token is `first`. `kind` is arrow, function, method; or field, static, default where no
    `await` may stand at all. `opening`: the index of the parenthesis before its parameters, -1 where it has none."""

    first: int
    kind: str
    name: str
    parameters: str
    is_async: bool
    modifiers: frozenset[str] = frozenset()
    opening: int = -1


def lost_awaits(program: str) -> list[LostAwait]:
    """All of them, in order; none for a program whose brackets do not match."""
    text = brackets(program) if "await" in program else None
    if text is None:
        return []
    found: list[LostAwait] = []
    for at, function in around(program, text, "await"):
        if function is not None and not function.is_async and at + 1 < len(text.tokens):
            after = max(at + 1, text.pairs.get(at + 1, 0))  # of `for await (...)` all that stands in the parentheses
            message = _NO_FUNCTIONS.get(function.kind, _NEEDS_ASYNC)
            advice = _advice_in_place(text, at, function) if function.kind in _NO_FUNCTIONS else _advice(text, function)
            found.append(LostAwait(text.tokens[at].start, text.tokens[after].end, message, advice))
    return found


def around(program: str, text: Brackets, word: str) -> Iterator[tuple[int, _Function | None]]:
    """The index of each `await` or other word, and the innermost function around it."""
    classes = _classes(text)
    functions = {at: one for at in range(len(text.tokens)) if (one := _at(program, text, at)) is not None}
    defaults = {one.opening: one for one in functions.values() if one.opening >= 0}
    bodies: list[tuple[int, _Function]] = []  # with the index of the closing bracket
    expressions: list[tuple[int, _Function]] = []  # what has no braces: arrow functions, fields; with its depth
    for at, token in enumerate(text.tokens):
        while bodies and bodies[-1][0] <= at:
            bodies.pop()
        while expressions and _ends_expression(program, text, at, expressions[-1][0]):
            expressions.pop()
        if token.key == "(" and (function := defaults.get(at)) is not None:
            default = _Function(
                at, "default", function.name, "", False, frozenset({"async"} if function.is_async else ())
            )
            bodies.append((text.pairs.get(at, len(text.tokens)), default))
        elif token.key == "{" and (function := functions.get(at)) is not None:
            bodies.append((text.pairs.get(at, len(text.tokens)), function))
        elif token.key == ">" and (function := functions.get(at)) is not None and text.key(at + 1) != "{":
            expressions.append((text.depths[at], function))
        elif token.key == "=" and _begins_field(text, at, classes):
            expressions.append((text.depths[at], _Function(at, "field", _name_of_field(text, at), "", False)))
        elif token.key == word and text.key(at - 1) != "." and text.key(at + 1) != ":":
            innermost = [*bodies[-1:], *expressions[-1:]]
            yield at, max((function for _, function in innermost), key=lambda one: one.first, default=None)


def _at(program: str, text: Brackets, at: int) -> _Function | None:
    """The function whose body or arrow is at a token."""
    if text.key(at) == "{":
        if text.key(at - 1) == "static":
            return _Function(at - 1, "static", "", "", False)
        return _of_body(program, text, at)
    if text.key(at) == ">" and text.key(at - 1) == "=" and text.key(at + 1) != "":
        return _arrow(program, text, at)
    return None


def _classes(text: Brackets) -> dict[int, int]:
    """The bodies of classes: the index of each one's brace, and the depth of its members."""
    bodies: dict[int, int] = {}
    for at, token in enumerate(text.tokens):
        if token.key == "class" and text.key(at - 1) != "." and text.key(at + 1) not in (":", ",", "}", "="):
            own = (index for index in range(at + 1, len(text.tokens)) if text.depths[index] == text.depths[at])
            if (brace := next((index for index in own if text.key(index) == "{"), None)) is not None:
                bodies[brace] = text.depths[brace] + 1
    return bodies


def _begins_field(text: Brackets, at: int, classes: dict[int, int]) -> bool:
    """Whether an equals sign is between a field of a class and its value."""
    if "=" in (text.key(at - 1), text.key(at + 1)) or text.key(at + 1) == ">" or text.key(at - 1) in ("!", "<", ">"):
        return False
    return any(
        depth == text.depths[at] and brace < at < text.pairs.get(brace, len(text.tokens))
        for brace, depth in classes.items()
    )


def _name_of_field(text: Brackets, at: int) -> str:
    """The name before an equals sign; a type may stand between them."""
    for index in range(at - 1, max(0, at - _MOST_TOKENS), -1):
        if text.depths[index] == text.depths[at]:
            if text.key(index) == ":":
                return text.key(index - 1 - (text.key(index - 1) in ("?", "!")))
            if text.key(index) in (";", "}"):
                break
    return text.key(at - 1)


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
        return _Function(first, "function", name, parameters, text.key(first - 1) == "async", modifiers, opening)
    first = opening - 1
    if before == "]":
        first = text.pairs.get(first, first)
    name = program[text.tokens[first].start : text.tokens[opening - 1].end] if first >= 0 else before
    last = first
    while text.key(first - 1) in _MODIFIERS and first > 0:
        first -= 1
    modifiers = frozenset(text.key(index) for index in range(first, last))
    return _Function(first, "method", name, parameters, "async" in modifiers, modifiers, opening)


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
    opening = first if text.key(first) == "(" else -1
    parameters = parameters if parameters[:1] == "(" else f"({parameters})"
    return _Function(first - is_async, "arrow", "", parameters, is_async, opening=opening)


def _source(program: str, text: Brackets, first: int, last: int) -> str:
    """A list of parameters as it is written, or `(...)` when it is long."""
    written = " ".join(program[text.tokens[first].start : text.tokens[last].end].split())
    return written if len(written) <= _MOST_PARAMETERS else "(...)"


def _advice_in_place(text: Brackets, at: int, function: _Function) -> str:
    """What to write instead of an `await` that no function around it could have."""
    if function.kind == "static":
        return "Await before the class, and use the value in it; or assign after the class: Name.member = await ..."
    if function.kind == "field":
        name = function.name if function.name not in ("]", "") else "member"
        return (
            f"Await before the class, const value = await ..., and write {name} = value; or set it in an async method."
        )
    if function.name == "constructor":
        return "A constructor cannot be async: await before `new`, and pass what came."
    equals = next((index for index in range(at, function.first, -1) if text.key(index) == "="), at)
    name = text.key(equals - 1) if text.key(equals - 1).isidentifier() else "value"
    end = "" if "async" in function.modifiers else ", and make it async"
    return f"Leave the default out and write {name} ??= await ...; as the first line of the function{end}."


def _advice(text: Brackets, function: _Function) -> str:
    """What to write instead."""
    if function.kind == "method":
        if function.modifiers & {"get", "set"}:
            return f"A getter or setter cannot be async: make an async method of {function.name}, and await its call."
        if function.name == "constructor":
            return "A constructor cannot be async: await before `new`, and pass what came."
        star = "*" if "*" in function.modifiers else ""
        return f"Write async {star}{function.name}{function.parameters} {{ ... }}, and await its calls."
    star = "*" if "*" in function.modifiers else ""
    word, arrow = ("", " =>") if function.kind == "arrow" else (f"function{star} ", "")
    callback = f"async {word}{function.parameters}{arrow} ..."
    if (advice := _for_callback(_takes(text, function.first), callback)) is not None:
        return advice
    if function.kind == "function" and function.name:
        return f"Write async {word}{function.name}{function.parameters}, and await its calls."
    return f"Write {callback}: it returns a promise, so await its calls."


def _for_callback(called: str, callback: str) -> str | None:
    """What to write instead of a function that is given to the function `called`."""
    match called:
        case "map":
            return f"Write await Promise.all(list.map({callback}))."
        case "forEach":
            together = f"await Promise.all(list.map({callback}))"
            return f"Write for (const item of list) {{ ... }}, where await works; or {together}."
        case "from":
            return f"Write await Promise.all(Array.from(list, {callback}))."
        case _ if called in _REPLACES:
            return REPLACE
        case _ if called in _REACTIONS:
            return f"Write {callback}, for which {called} waits; or leave {called} out: const value = await ..."
        case _ if called in _TIMERS:
            return (
                "Wait in the program itself: await new Promise((done) => setTimeout(done, ms)), and then do the rest."
            )
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
    return None


def _takes(text: Brackets, first: int) -> str:
    """The name of the function that is called with the function at a token; "" when there is none."""
    depth = text.depths[first]
    for index in range(first - 1, -1, -1):
        if text.depths[index] < depth:
            return text.key(index - 1) if text.key(index) == "(" else ""
    return ""
