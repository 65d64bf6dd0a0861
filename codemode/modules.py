"""What a program has of a module or a script file: imports, exports, the line that names an interpreter.

A program has no modules. What means nothing at run time (imports of types, the word `export`, a `#!` line) becomes
blanks, so that every other character keeps its place. An import of values cannot run; the caller says so where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codemode.check.brackets import Brackets, brackets
from codemode.erasure import spaces
from codemode.tokens import tokenize

_MAY_HAVE = re.compile(r"\A\s*#!|\b(?:import|exports?)\b")
_INTERPRETER = re.compile(r"\A\s*#!.*")
_DECLARATIONS = frozenset(
    "const let var function class async type interface enum abstract declare namespace module".split()
)
_MOST_TOKENS = 400  # of one import or list of exports


@dataclass(frozen=True, slots=True)
class Import:
    """An import of values. `start` and `end` are offsets; `module` is what it imports from; `names` are local names."""

    start: int
    end: int
    module: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Statement:
    """An import or export from a token index to another, exclusive. `types`: it means nothing at run time."""

    first: int
    end: int
    module: str = ""
    names: tuple[str, ...] = ()
    types: bool = False


def may_have_modules(program: str) -> bool:
    """Whether `without_types_of_modules` may change a program, or `imports` find any. Tells no for most programs."""
    return _MAY_HAVE.search(program) is not None


def without_module_words(program: str) -> str:
    """The program with blanks for a `#!` line, imports and exports of types, `export` before declarations, and
    `module.exports =`.

    A program with `export default` stays a module unless it also has a `return` of its own, which no module may have.
    """
    program = _INTERPRETER.sub(lambda line: spaces(line[0]), program)
    if "import" not in program and "export" not in program:
        return program
    text = brackets(program)
    if text is None:
        return program
    is_body = any(token.key == "return" and not text.depths[at] for at, token in enumerate(text.tokens))
    has_default = any(
        token.key == "export" and text.key(at + 1) == "default" and _begins(text, at)
        for at, token in enumerate(text.tokens)
    )
    spans: list[tuple[int, int]] = []
    operands: list[int] = []
    for at, token in enumerate(text.tokens):
        if token.key == "import" and (found := _import(text, at)) is not None and found.types:
            spans.append((token.start, text.tokens[found.end - 1].end))
        elif token.key in ("module", "exports") and (end := _end_of_target(text, at)) is not None:
            spans.append((token.start, text.tokens[end - 1].end))
            if text.key(end + (text.key(end) == "async")) in ("function", "class"):
                operands.append(spans[-1][1])
        elif token.key == "export" and _begins(text, at):
            end = _end_of_export(text, at, keep_values=has_default and not is_body)
            if end is not None:
                spans.append((token.start, text.tokens[end - 1].end))
                if _is_unnamed(text, end):
                    operands.append(spans[-1][1])
    program = blanked(program, spans)
    for end in operands:
        # A value stays one: on its own a function would be a declaration, which needs a name, and which nobody calls.
        program = program[: end - len("0,")] + "0," + program[end:]
    return program


def imports(program: str) -> list[Import]:
    """The imports of values in a program, in order; `export ... from` is one of them."""
    text = brackets(program)
    if text is None:
        tokens = tokenize(program)
        text = Brackets(tokens, {}, [0] * len(tokens))
    found: list[Import] = []
    for at, token in enumerate(text.tokens):
        statement = _import(text, at) if token.key == "import" else None
        if token.key == "export" and _begins(text, at):
            statement = _export_from(text, at)
        if statement is not None and not statement.types:
            end = text.tokens[statement.end - 1].end
            found.append(Import(token.start, end, statement.module, statement.names))
    return found


def dynamic_import(program: str) -> int | None:
    """The offset of the first `import(...)`; None when there is none."""
    return _first_import(program, "(")


def meta_of_module(program: str) -> int | None:
    """The offset of the first `import.meta`; None when there is none."""
    return _first_import(program, ".", "meta")


def _first_import(program: str, *following: str) -> int | None:
    """The offset of the first `import` that is no member and has these tokens after it."""
    tokens = tokenize(program)
    keys = ["", *(token.key for token in tokens)]
    for at, token in enumerate(tokens):
        after = keys[at + 2 : at + 2 + len(following)]
        if token.key == "import" and keys[at] != "." and after == list(following):
            return token.start
    return None


def blanked(program: str, spans: list[tuple[int, int]]) -> str:
    """The program with blanks for these parts, given in order."""
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        pieces += (program[position:start], spaces(program[start:end]))
        position = end
    return "".join((*pieces, program[position:]))


def _begins(text: Brackets, at: int) -> bool:
    """Whether an export may begin at a token: it is not a member or a property."""
    return not text.depths[at] and text.key(at - 1) not in (".", "=", ",", "?") and text.key(at + 1) not in (":", ".")


def _import(text: Brackets, at: int) -> _Statement | None:
    """The import that begins at the token `import`; None for `import(...)`, `import.meta` and a property."""
    if text.key(at - 1) in (".", ",", "?") or text.key(at + 1) in ("(", ".", ":", "=", ",", ")", "}", ""):
        return None
    if text.key(at + 1)[0] == '"':
        return _Statement(at, _with_attributes(text, at + 2), text.key(at + 1)[1:])
    if text.key(at + 2) == "=" and text.key(at + 3) == "require" and text.key(at + 5)[:1] == '"':
        return _Statement(at, at + 7, text.key(at + 5)[1:], (text.key(at + 1),))
    end = _module(text, at)
    if end is None or end - 1 == at + 1:
        return None
    words = [text.key(index) for index in range(at + 1, end - 1)]
    is_type = words[0] == "type" and len(words) > 1 and words[1] != ","
    return _Statement(
        at, _with_attributes(text, end + 1), text.key(end)[1:], tuple(_locals(words)), is_type or _only_types(words)
    )


def _module(text: Brackets, at: int) -> int | None:
    """The index of the string after `from`, in the import or export that begins at a token."""
    for index in range(at + 1, min(at + _MOST_TOKENS, len(text.tokens))):
        key = text.key(index)
        if key in (";", "(", "="):
            return None
        if key == "from" and text.key(index + 1)[:1] == '"':
            return index + 1
    return None


def _with_attributes(text: Brackets, end: int) -> int:
    """The end of an import with what may follow its module: `with {type: "json"}` and a semicolon."""
    if text.key(end) in ("with", "assert") and text.key(end + 1) == "{":
        end = text.after(end + 1) or end
    return end + 1 if text.key(end) == ";" else end


def _only_types(words: list[str]) -> bool:
    """Whether a list of imports has types only: `{type A, type B as C}`."""
    if words[:1] != ["{"] or words[-1:] not in (["}"], ["from"]):
        return False
    items = [item for item in _items(words[1 : words.index("}")]) if item]
    return bool(items) and all(item[0] == "type" and len(item) > 1 and item[1] not in ("as",) for item in items)


def _items(words: list[str]) -> Iterator[list[str]]:
    item: list[str] = []
    for word in words:
        if word == ",":
            yield item
            item = []
        else:
            item.append(word)
    yield item


def _locals(words: list[str]) -> Iterator[str]:
    """The local names of an import clause."""
    plain = [word for word in words if word not in ("{", "}", "*", "type", "from")]
    for item in _items(plain):
        if item:
            yield item[-1]


def _export_from(text: Brackets, at: int) -> _Statement | None:
    """`export {...} from "x"` or `export * from "x"`, which begins at the token `export`."""
    types = text.key(at + 1) == "type"
    opening = at + 2 if types else at + 1
    if text.key(opening) == "*":
        end = _module(text, at)
    elif text.key(opening) == "{" and (after := text.after(opening)) is not None:
        end = after + 1 if text.key(after) == "from" and text.key(after + 1)[:1] == '"' else None
    else:
        return None
    return None if end is None else _Statement(at, _with_attributes(text, end + 1), text.key(end)[1:], (), types)


def _end_of_target(text: Brackets, at: int) -> int | None:
    """The end of `module.exports =` or `exports.name =`, which begins a statement at a token; None for other uses."""
    if text.depths[at] or text.key(at + 1) != "." or text.key(at + 3) != "=" or text.key(at + 4) in ("=", ">"):
        return None
    if text.key(at) == "module" and text.key(at + 2) != "exports":
        return None
    return at + 4 if text.key(at - 1) not in (".", "=", ",", "(", "?", ":") else None


def _is_unnamed(text: Brackets, at: int) -> bool:
    """Whether the declaration of a function or class without a name begins at a token."""
    if text.key(at - 1) != "default":
        return False
    at += text.key(at) == "async"
    if text.key(at) == "class":
        return text.key(at + 1) in ("{", "extends")
    return text.key(at) == "function" and "(" in (text.key(at + 1), text.key(at + 1) == "*" and text.key(at + 2))


def _end_of_export(text: Brackets, at: int, *, keep_values: bool) -> int | None:
    """The end of what of an export becomes blanks: the word, or all of a list of names; None when it stays."""
    after = text.key(at + 1)
    if (statement := _export_from(text, at)) is not None:
        return statement.end if statement.types else None
    if after == "type" and text.key(at + 2) == "{":
        end = text.after(at + 2)
        return None if end is None else _with_attributes(text, end)
    if after in ("type", "interface", "declare"):
        return at + 1
    if keep_values:
        return None
    if after == "default":
        return at + 2
    if after == "{":
        end = text.after(at + 1)
        return None if end is None else _with_attributes(text, end)
    return at + 1 if after in _DECLARATIONS else None
