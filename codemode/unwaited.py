"""Finds the methods of arrays that get an async function and do not wait for it, so that its promises are lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

from codemode.check.brackets import Brackets, brackets
from codemode.check.paths import is_name

_TESTS = frozenset("filter some every find findIndex findLast findLastIndex".split())
_ORDERS = frozenset({"sort", "toSorted"})
_FOLDS = frozenset({"reduce", "reduceRight"})
_METHODS = _TESTS | _ORDERS | _FOLDS | {"forEach", "map", "flatMap"}
# With an async function as its argument, the name of one, or a function that returns the promise of a tool.
_MAYBE = re.compile(
    rf"\.\s*(?:{'|'.join(sorted(_METHODS))})\s*\(\s*"
    r"(?:async\b|(?P<name>[A-Za-z_$][\w$]*)\s*[,)]|(?:\([^()]{0,200}\)|[\w$]{1,100})\s*=>\s*codemode\b)"
)
_MOST_PLACES = 100  # where a program may call such a method
_HANDS_ON = re.compile(r"=>\s*codemode\b")
_HANDS_OUT = frozenset("then map push concat entries shift pop at slice splice values".split())
"""Methods of a list of promises that give the promises to what may wait for them."""
_WORDS = frozenset("return await yield of in case typeof void delete new throw else do".split())
_STARTS = frozenset({"", ";", "{", "}"})
_TOGETHER = "await Promise.all(list.map(async (item) => ...))"


def unwaited(program: str) -> str | None:
    """What to say of the first such method; None for most programs."""
    has_async = "async" in program
    if not has_async and _HANDS_ON.search(program) is None:
        return None
    if not any(has_async or match["name"] is None for match in _MAYBE.finditer(program)):
        return None
    text = brackets(program)
    if text is None:
        return None
    named = _async_functions(text) if has_async else {}
    # What a class of the program defines may wait.
    own = {
        token.key
        for at, token in enumerate(text.tokens)
        if token.key in _METHODS and text.key(at + 1) == "(" and text.key(at - 1) != "."
    }
    places = (at for at, token in enumerate(text.tokens) if token.key in _METHODS and token.key not in own)
    for at in islice(places, _MOST_PLACES):
        if text.key(at - 1) == "." and text.key(at + 1) == "(":
            body = _function(text, at + 2, named)
            if body is not None and (said := _about(program, text, at, body)) is not None:
                return said
    return None


def _about(program: str, text: Brackets, at: int, body: tuple[int, int]) -> str | None:
    method = text.key(at)
    if method in _TESTS:
        return (
            f"{method} does not wait for an async function: a promise counts as true. Get what it needs first, with "
            f"{_TOGETHER}."
        )
    if method in _ORDERS:
        return (
            f"{method} does not wait for an async function: a promise orders nothing. Get what it needs first, with "
            f"{_TOGETHER}."
        )
    works = any(text.key(index) in ("await", "codemode") for index in range(*body))
    if method == "forEach":
        if not works or _settles(text, at) or _collects(text, body):
            return None
        return (
            "forEach does not wait for an async function: the program went on before it was done. Write "
            f"for (const item of list) {{ ... }}, where await works, or {_TOGETHER}."
        )
    lost = _is_lost(program, text, at)
    if method in _FOLDS:
        first = _first_parameter(text, body[0])
        if first is not None and not _awaits(text, first, body):
            return (
                f"{method} does not wait for an async function: from its second turn on `{first}` is a promise. Write "
                "a for...of loop, where await works."
            )
        return f"The promise of {method} is lost: write await before it." if lost else None
    if lost and works:
        return f"{method} does not wait for an async function, and its promises are lost: write {_TOGETHER}."
    return None


def _function(text: Brackets, at: int, named: Mapping[str, tuple[int, int]]) -> tuple[int, int] | None:
    """The tokens of the async function, or of one that returns a tool's promise, that is the argument there, from its
    first one to the end of it; None for another argument."""
    end = _end_of_argument(text, at)
    if text.key(at) == "async":
        return at, end
    name = text.key(at)
    if is_name(name) and end == at + 1:
        return named.get(name)
    arrow = next((i for i in range(at, end) if text.key(i) == "=" and text.key(i + 1) == ">"), None)
    if arrow is not None and text.key(arrow + 2) == "codemode" and "." in (text.key(arrow + 3), text.key(arrow + 4)):
        last = end - 1
        return (at, end) if text.key(last) == ")" and _is_call(text, arrow + 2, last) else None
    return None


def _is_call(text: Brackets, first: int, last: int) -> bool:
    """Whether all from a token to another is one call: `codemode.a.b(...)`."""
    opening = text.pairs.get(last)
    return opening is not None and all(
        text.key(index) in (".", "[", "]") or is_name(text.key(index)) or text.key(index)[:1] == '"'
        for index in range(first, opening)
    )


def _async_functions(text: Brackets) -> dict[str, tuple[int, int]]:
    """The tokens of each async function that has a name, by the name."""
    named: dict[str, tuple[int, int]] = {}
    for at, token in enumerate(text.tokens):
        if token.key != "async":
            continue
        if text.key(at + 1) == "function" and is_name(text.key(at + 2)):
            after = text.after(at + 3)
            end = text.after(after) if after is not None else None
            named[text.key(at + 2)] = (at, end if end is not None else at + 1)
        if text.key(at - 1) == "=" and is_name(text.key(at - 2)) and text.key(at - 3) in ("const", "let", "var"):
            named[text.key(at - 2)] = (at, _end_of_argument(text, at))
    return named


def _end_of_argument(text: Brackets, at: int) -> int:
    depth = text.depths[at] if at < len(text.tokens) else 0
    for later in range(at, len(text.tokens)):
        if text.depths[later] < depth or (text.depths[later] == depth and text.key(later) in (",", ";")):
            return later
    return len(text.tokens)


def _settles(text: Brackets, at: int) -> bool:
    """Whether a token stands in a `new Promise(...)`, which the function may settle."""
    depth = text.depths[at]
    for index in range(at, -1, -1):
        if text.depths[index] < depth:
            depth = text.depths[index]
            if text.key(index) == "(" and text.key(index - 1) == "Promise":
                return True
    return False


def _collects(text: Brackets, body: tuple[int, int]) -> bool:
    """Whether a function waits for nothing and puts its promises into a list."""
    keys = [text.key(index) for index in range(*body)]
    return "await" not in keys and "push" in keys


def _first_parameter(text: Brackets, at: int) -> str | None:
    """The name of the first parameter of the async function at a token."""
    at += text.key(at) == "async"
    if text.key(at) == "function":
        at += 1 + is_name(text.key(at + 1))
    elif text.key(at + 1) == "(" and is_name(text.key(at)):
        at += 1
    at += text.key(at) == "("
    return text.key(at) if is_name(text.key(at)) else None


def _awaits(text: Brackets, name: str, body: tuple[int, int]) -> bool:
    """Whether the function waits for its parameter, or hands it on as a promise."""
    for index in range(*body):
        if text.key(index) == name and text.key(index - 1) != ".":
            if text.key(index - 1) == "await" or (text.key(index + 1) == "." and text.key(index + 2) == "then"):
                return True
            if text.key(index - 1) == "[" and text.key(index - 2) == "(":  # Promise.all([acc, ...])
                return True
    return False


def _is_lost(program: str, text: Brackets, at: int) -> bool:
    """Whether nobody waits for what the method returns: it is a statement, or in a variable that is not awaited."""
    start = at - 2
    while start >= 0:
        if text.key(start) in (")", "]") and start in text.pairs:
            start = text.pairs[start] - 1
            receives = is_name(text.key(start)) and text.key(start) not in _WORDS
            if text.key(start) not in (")", "]") and not receives:
                start += 1
                break
            continue
        if text.key(start - 1) == ".":
            start -= 2
            continue
        break
    # `await` waits for no array.
    start -= text.key(start - 1) == "await" and text.key(at) in ("map", "flatMap")
    before = text.key(start - 1)
    after = text.after(at + 1)
    chained = after is not None and text.key(after) == "."
    ends_value = before[-1:] in (")", "]", '"', "`") or before[-1:].isalnum()
    next_line = start > 0 and "\n" in program[text.tokens[start - 1].end : text.tokens[start].start]
    if before in _STARTS or (ends_value and next_line and text.key(start) != "["):
        return not chained
    if before != "=" or chained or text.key(start - 3) not in ("const", "let", "var"):
        return False
    name = text.key(start - 2)
    uses = [index for index, token in enumerate(text.tokens) if token.key == name and index != start - 2]
    return is_name(name) and not any(_waits(text, index) for index in uses)


def _waits(text: Brackets, index: int) -> bool:
    """Whether a variable is awaited, returned or handed to something there."""
    before, after = text.key(index - 1), text.key(index + 1)
    if before == "." and text.key(index - 2) != ".":
        return False
    if before == "return":
        return after in (";", "}", "")
    if before in ("await", "of", "yield", ">", "=", ":", "(", ",", "[") and after != ".":
        return True
    return before == "." or (after == "." and text.key(index + 2) in _HANDS_OUT)
