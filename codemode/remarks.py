"""What to say about a program that completed and probably meant something else: nothing was returned, or an async
function was given to a method of arrays that does not wait for it."""

from __future__ import annotations

import re

from codemode.advice import NO_CONTENT
from codemode.check.brackets import brackets
from codemode.run import Run

_MOST_CHARS = 32 * 1024
_NOT_WAITING = frozenset({"filter", "some", "every", "find", "findIndex", "findLast", "sort", "toSorted"})
_DECLARES = frozenset({"const", "let", "var"})
_STATEMENTS = frozenset("if for while do switch try throw function class".split())
_MAY_NOT_WAIT = re.compile(rf"\.(?:{'|'.join(sorted(_NOT_WAITING))})\s*\(\s*async\b")
_OF_ANSWER = re.compile(r"\.(?:content|structuredContent)\?\.")


def remark(run: Run, program: str) -> str | None:
    """A note on a completed run; None for most runs."""
    if len(program) > _MOST_CHARS:
        return None
    if (not_waiting := _MAY_NOT_WAIT.search(program)) is not None:
        method = not_waiting[0][1:].split("(")[0].strip()
        return (
            f"Note: {method} does not wait for an async function: a promise counts as true. Get what it needs first, "
            "with await Promise.all(list.map(async (item) => ...))."
        )
    if run.has_value or run.emitted or run.logs or not run.calls:
        return None
    if _OF_ANSWER.search(program):
        return f"Note: the result is undefined. {NO_CONTENT}"
    if (name := _last_variable(program)) is not None:
        return f"Note: the program returned nothing. `return {name};` at its end returns {name}."
    return None


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
