"""What to say about a program that completed and probably meant something else: nothing was returned, a member was
read that no result has, or an async function was given to a method of arrays that does not wait for it."""

from __future__ import annotations

from codemode.advice import wrong_read
from codemode.catalog import Catalog
from codemode.check.brackets import brackets
from codemode.returned import ASSUMED, OF_ANSWER, may_assume, missing
from codemode.run import Run
from codemode.unwaited import unwaited

_MOST_CHARS = 32 * 1024
_DECLARES = frozenset({"const", "let", "var"})
_STATEMENTS = frozenset("if for while do switch try throw function class".split())
_PROMISE = "[object Promise]"


def remark(run: Run, program: str, catalog: Catalog) -> str | None:
    """A note on a completed run; None for most runs."""
    if len(program) > _MOST_CHARS:
        return None
    if (not_waiting := unwaited(program)) is not None:
        return f"Note: {not_waiting}"
    if isinstance(run.value, str) and _PROMISE in run.value:
        return f"Note: the result has {_PROMISE}: a promise was written as a text. Await it first."
    empty = not run.has_value or _is_empty(run.value)
    if run.returned and (empty or any(word in program for word in OF_ANSWER)) and may_assume(program):
        for read in missing(program, run.returned, catalog):
            if read.member in ASSUMED and (empty or (read.member in OF_ANSWER and read.has_fallback)):
                return f"Note: {_what(run)}{wrong_read(read, run.returned)}"
    if run.has_value or run.emitted or run.logs or not run.calls:
        return None
    if (name := _last_variable(program)) is not None:
        return f"Note: the program returned nothing. `return {name};` at its end returns {name}."
    return None


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


def _last_variable(program: str) -> str | None:
    """The variable that the last statement of a program declares; None where it is another statement, or a function, or
    where the program has a `return` of its own."""
    text = brackets(program)
    if text is None or text.cut is not None:
        return None
    own = [at for at in range(len(text.tokens)) if not text.depths[at]]
    keys = [text.key(at) for at in own]
    declarations = [place for place, key in enumerate(keys) if key in _DECLARES]
    if not declarations or "return" in keys:
        return None
    rest = keys[declarations[-1] + 1 :]
    other = _STATEMENTS.intersection(rest) or ";" in rest[:-1] or (">" in rest and "=" in rest[2:])
    return rest[0] if rest[1:2] == ["="] and rest[0].isidentifier() and not other else None
