"""What to say about a program that completed and probably meant something else: nothing was returned, a function was
never called, a member was read that no result has, or an async function was given to what does not wait for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice

from codemode.advice import wrong_read
from codemode.awaits import REPLACE
from codemode.catalog import Catalog
from codemode.check.brackets import Brackets, brackets
from codemode.entry import parameters_at
from codemode.exports import arguments_of, body_of_class, members
from codemode.returned import OF_ANSWER, assumed, may_assume
from codemode.run import Run, is_of_isolate, never_called
from codemode.spelling import is_object
from codemode.tokens import tokenize
from codemode.unwaited import unwaited

_MOST_CHARS = 32 * 1024
_MOST_TEXTS = 20
_DECLARES = frozenset({"const", "let", "var"})
_STATEMENTS = frozenset("if for while do switch try throw function class".split())
_TYPES = frozenset({"type", "interface", "declare"})
_RUNS = frozenset({"const", "let", "var", "function", "class", "await", "for", "if"})
_REPLACES = re.compile(r"\.replace(?:All)?\s*\([^\n]{0,200}?,\s*async\b")
_EXPORTED = re.compile(r"export\s+(?:const|let|var)\s+([\w$]{1,60}|\{[\w$,\s]{1,200}\})")
_UNARY = re.compile(
    r"[\s;]*([!+~-])\s*(?:async\b|function\b|\(\s*(?:async\b|function\b|(?:\([^()]{0,200}\)|[\w$]{1,100})\s*=>))"
)
_AS_TEXT = {  # what an object becomes in a text, and what to write instead
    "[object Promise]": "a promise was written as a text. Await it first.",
    "[object Object]": "an object was written as a text. Write JSON.stringify(value), or return the object itself.",
}


def remark(run: Run, program: str, catalog: Catalog) -> str | None:
    """A note on a completed run; None for most runs."""
    if len(program) > _MOST_CHARS:
        return None
    if (not_waiting := unwaited(program)) is not None:
        return f"Note: {not_waiting}"
    if "async" in program and _REPLACES.search(program):
        return f"Note: {REPLACE}"
    if (run.value is False or run.value is None) and (unary := _UNARY.match(program)) is not None:
        return f"Note: `{unary[1]}` drops the result of the function. Write `return await` in its place."
    if run.has_value and program.lstrip()[:1] == "{" and is_object(tokenize(program)):
        return "Note: the braces around the program are a block. `return { ... };` returns an object."
    for written, what in _AS_TEXT.items():
        if _has_text(run.value, written) and not _is_given(run, program, written):
            return f"Note: the result has {written}: {what}"
    empty = not run.has_value or _is_empty(run.value)
    if run.returned and (empty or any(word in program for word in OF_ANSWER)) and may_assume(program):
        for read in assumed(program, run.returned, catalog, has_value=run.has_value):
            if empty or (read.member in OF_ANSWER and read.has_fallback):
                return f"Note: {_what(run)}{wrong_read(read, run.returned)}"
    if run.has_value or run.emitted or run.entered or not all(is_of_isolate(line) for line in run.logs):
        return None
    return _without_result(run, program)


def _has_text(value: object, words: str) -> bool:
    """Whether a result has some words in its text, or in one of its first texts."""
    if isinstance(value, dict):
        value = list(islice(value.values(), _MOST_TEXTS))
    texts = value[:_MOST_TEXTS] if isinstance(value, list) else [value]
    return any(isinstance(text, str) and words in text for text in texts)


def _is_given(run: Run, program: str, words: str) -> bool:
    """Whether the program has some words as a text, or got them from a tool."""
    return words in program or any(words.encode() in one.encoded or not one.whole for one in run.returned)


def _what(run: Run) -> str:
    """The beginning of a note on a result without anything in it."""
    if not run.has_value:
        return "the result is undefined. "
    return "the result is null. " if run.value is None else ""


def _is_empty(value: object) -> bool:
    if isinstance(value, dict):
        return all(part is None for part in value.values())
    if isinstance(value, list):
        return all(part is None for part in value)
    return value is None or value == ""


def _without_result(run: Run, program: str) -> str | None:
    text = brackets(program)
    if text is None or text.cut is not None:
        return None
    if not text.tokens:
        what = "has comments only" if program.strip() else "is empty"
        return f"Note: the program {what}, and nothing ran. `return` gives the result."
    if returned := [at for at in _own(text) if text.key(at) == "return"]:
        return _alone(program, text, returned[0])
    if (name := _last_variable(text, calls=bool(run.calls))) is not None:
        return f"Note: the program returned nothing. `return {name};` at its end returns {name}."
    if (note := _undone(text, {never_called(line) for line in run.logs})) is not None:
        return note
    if "export" in run.program and (exported := list(_EXPORTED.finditer(run.program))):
        name = " ".join(exported[-1][1].split())
        if any(text.key(at - 1) == name and parameters_at(text, at + 1) is not None for at in _own(text)):
            return None
        return (
            f"Note: a program exports nothing, and this one returned nothing. `return {name};` at its end returns it."
        )
    return None


def _alone(program: str, text: Brackets, at: int) -> str | None:
    """About a `return` whose value begins on the next line."""
    if text.key(at + 1) in ("", ";", "}") or "\n" not in program[text.tokens[at].end : text.tokens[at + 1].start]:
        return None
    if text.key(at + 1) in _DECLARES | _STATEMENTS | {"return", "await"}:
        return None
    return "Note: `return` ends with its line. Begin the value on the same line, or write return ( ... )."


def _own(text: Brackets) -> Iterator[int]:
    """The indexes of the tokens that stand in no brackets."""
    return (at for at, depth in enumerate(text.depths) if not depth)


def _last_variable(text: Brackets, *, calls: bool) -> str | None:
    """The variable, or the list of them in braces, that the last statement of a program declares; None where it is
    another statement, a function, or a value for which nothing was done. `calls`: the program called tools."""
    own = list(_own(text))
    keys = [text.key(at) for at in own]
    declarations = [place for place, key in enumerate(keys) if key in _DECLARES]
    if not declarations:
        return None
    first = declarations[-1] + 1
    rest = keys[first:]
    names = rest[0] if rest and rest[0].isidentifier() else _taken_out(text, own[first:])
    equals = rest.index("=") if "=" in rest and rest[1:2] in (["="], [":"], ["}"]) else None
    if names is None or equals is None or not (calls or "(" in rest or "await" in rest):
        return None
    other = _STATEMENTS.intersection(rest) or ";" in rest[:-1] or (">" in rest and "=" in rest[equals + 1 :])
    return None if other else names


def _taken_out(text: Brackets, own: list[int]) -> str | None:
    """The names that a declaration takes out of an object, in braces."""
    if not own or text.key(own[0]) != "{" or (end := text.pairs.get(own[0])) is None:
        return None
    inner = [text.key(at) for at in range(own[0] + 1, end)]
    names = [key for key in inner if key != ","]
    return f"{{ {', '.join(names)} }}" if names and all(name.isidentifier() for name in names) else None


def _undone(text: Brackets, uncalled: Collection[str | None]) -> str | None:
    """What a program defines and does not use, and how to. `uncalled`: the functions that the isolate did not call."""
    counts = Counter(token.key for at, token in enumerate(text.tokens) if text.key(at - 1) != ".")
    for at in reversed(range(len(text.tokens))):
        name = text.key(at + 1)
        is_call = name in ("async", "(", "function") or text.key(at + 2) == "("
        if text.key(at) == "void" and not text.depths[at] and is_call:
            return "Note: `void` drops the result. Write `return await` in its place."
        if counts[name] == 1 and name.isidentifier() and (note := _unused(text, at, name, uncalled)) is not None:
            return note
    own = [text.key(at) for at in _own(text)]
    if own and own[0] in _TYPES and not _RUNS.intersection(own):
        return "Note: the program has types only, and nothing to run."
    return None


def _unused(text: Brackets, at: int, name: str, uncalled: Collection[str | None]) -> str | None:
    """The note on the function, the class or the object with functions that is declared at a token and never used.

    The isolate calls a function at the end of a program that takes nothing; it says which one it does not call.
    """
    key, before = text.key(at), text.key(at - 1)
    before = text.key(at - 2) if before == "async" else before
    is_called = name not in uncalled and name.isascii()
    if key == "function" and before not in ("=", "(", ",", "return", ":", "?", ">", "["):
        if text.depths[at]:
            return f"Note: the program defines the function {name} and never calls it. Call it where it is defined."
        if is_called:
            return None
        return _never(f"the function {name}", "calls", f"{name}({'' if text.key(at + 3) == ')' else '...'})")
    if text.depths[at]:
        return None
    is_variable = key in _DECLARES and text.key(at + 2) == "="
    if is_variable and (opening := parameters_at(text, at + 3)) is not None:
        if is_called:
            return None
        return _never(f"the function {name}", "calls", f"{name}({'' if text.key(opening + 1) == ')' else '...'})")
    if key == "class" and (body := body_of_class(text, at)) is not None:
        for member in members(text, body, is_class=True):
            made = name if member.is_static else f"new {name}()"
            return _never(f"the class {name}", "uses", f"{made}.{member.name}({arguments_of(text, member)})")
    if is_variable and text.key(at + 3) == "{":
        for member in members(text, at + 3, is_class=False):
            return _never(f"the object {name}", "uses", f"{name}.{member.name}({arguments_of(text, member)})")
    return None


def _never(what: str, uses: str, call: str) -> str:
    return f"Note: the program defines {what} and never {uses} it. `return await {call};` at its end runs it."
