"""Says what an error of the engine means where its own words mislead: about modules, `await` and `return`.

The engine tries a program as a script, as the body of a function and as a module, and reports the error that is
furthest in the text. So an import in a program with a `return` is reported at the `return`.
"""

from __future__ import annotations

from dataclasses import replace

from codemode.awaits import LostAwait, lost_awaits
from codemode.check.finding import place
from codemode.modules import Import, dynamic_import, imports, meta_of_module
from codemode.run import Failure
from codemode.spelling import declared_twice, instead
from codemode.typescript import MAX_PLACED_CHARS

NO_MODULES = (
    "A program has no modules: the language, URL, TextEncoder, crypto.randomUUID, setTimeout and codemode are there."
)
_OWN_MODULES = ("codemode", "tools")
_AWAIT_AS_NAME = "await is not defined"
_REFUSED = "cannot import "
_NO_META = "import.meta belongs to modules, and a program is none"
RETURN_OUTSIDE = "return not in a function"


def may_be_explained(failure: Failure) -> bool:
    """Whether `explained` may know more about a failure. Tells no for most failures."""
    return is_of_import(failure) or _is_await(failure)


def is_of_import(failure: Failure) -> bool:
    """Whether a failure may be that of an import: a syntax error, or the engine's refusal of a module, which is a
    TypeError without a place."""
    if failure.kind == "syntax":
        return True
    return failure.name == "TypeError" and failure.line is None and failure.message.startswith(_REFUSED)


def explained(failure: Failure, program: str) -> tuple[Failure, list[str]] | None:
    """The failure with its cause and its place, and what to write instead; None where the engine's words will do."""
    if len(program) > MAX_PLACED_CHARS:
        return None
    if is_of_import(failure) and (found := imports(program)):
        return _refusal(program, found[0]), [*_instead(found[0]), NO_MODULES]
    if failure.kind == "syntax" and "import" in program and (meta := meta_of_module(program)) is not None:
        line, column = place(program, meta)
        return Failure("syntax", "SyntaxError", _NO_META, line, column), [NO_MODULES]
    if failure.kind == "exception" and is_of_import(failure):
        at = dynamic_import(program)
        line_and_column = (None, None) if at is None else place(program, at)
        return replace(failure, line=line_and_column[0], column=line_and_column[1]), [NO_MODULES]
    if (lost := _lost_await(failure, program)) is not None:
        line, column = place(program, lost.offset)
        return Failure(failure.kind, "SyntaxError", lost.message, line, column, failure.stack), [lost.advice]
    if failure.kind == "syntax" and failure.message == RETURN_OUTSIDE and "export" in program:
        return failure, ["A program with `return` exports nothing: leave `export default` out, or the `return`."]
    if failure.message == RETURN_OUTSIDE and (twice := declared_twice(program)) is not None:
        return Failure("syntax", "SyntaxError", "a name is declared twice", *place(program, twice[0])), [twice[1]]
    if failure.kind == "syntax" and (advice := instead(failure, program)) is not None:
        return failure, [advice]
    return None


def _refusal(program: str, one: Import) -> Failure:
    """The failure of a program with an import of values, in the engine's words for it."""
    line, column = place(program, one.start)
    message = f'{_REFUSED}"{one.module[:100]}": a program has no modules to import, all it may use is in its globals'
    return Failure("syntax", "SyntaxError", message, line, column)


def _instead(one: Import) -> list[str]:
    if any(word in one.module.lower() for word in _OWN_MODULES) or any(name in _OWN_MODULES for name in one.names):
        return ["codemode is a global: leave the import out, and write codemode.<server>.<tool>(input)."]
    if one.module.startswith((".", "/")):
        return ["There are no files: write what is in it into the program, or get it from a tool."]
    return []


def _is_await(failure: Failure) -> bool:
    return failure.name == "ReferenceError" and failure.message.strip("'") == _AWAIT_AS_NAME


def _lost_await(failure: Failure, program: str) -> LostAwait | None:
    """The `await` that a failure is about. Its place is that of the `await` or of the token after it."""
    if "await" not in program or not may_be_explained(failure):
        return None
    lost = lost_awaits(program)
    if failure.line is None:
        return lost[0] if lost and (failure.kind == "syntax" or _is_await(failure)) else None
    for one in lost:
        if place(program, one.offset) <= (failure.line, failure.column or 1) <= place(program, one.next_end + 1):
            return one
    # Where a program has types too, both parsers stop elsewhere. Two words in a row are an error in any case.
    certain = (one for one in lost if _is_await(failure) or program[one.offset + len("await") :].lstrip()[:1].isalpha())
    return next(certain, None)
