"""The imports of a program.

A program has no modules. An import of types means nothing at run time. One of values cannot run; the caller says so
where it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codemode.check.brackets import Brackets, brackets
from codemode.erasure import spaces
from codemode.tokens import tokenize

_MOST_TOKENS = 400  # of one import or list of exports


@dataclass(frozen=True, slots=True)
class Import:
    """An import of values. `start` and `end` are offsets; `module` is what it imports from; `names` are local names."""

    start: int
    end: int
    module: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """An import or export from a token index to another, exclusive. `types`: it means nothing at run time."""

    first: int
    end: int
    module: str = ""
    names: tuple[str, ...] = ()
    types: bool = False


def imports(program: str) -> list[Import]:
    """The imports of values in a program, in order; `export ... from` is one of them."""
    text = brackets(program)
    if text is None:
        tokens = tokenize(program)
        text = Brackets(tokens, {}, [0] * len(tokens))
    found: list[Import] = []
    for at, token in enumerate(text.tokens):
        statement = import_at(text, at) if token.key == "import" else None
        if token.key == "export" and begins_export(text, at):
            statement = export_from(text, at)
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


def begins_export(text: Brackets, at: int) -> bool:
    """Whether an export may begin at a token: it is not a member or a property."""
    return not text.depths[at] and text.key(at - 1) not in (".", "=", ",", "?") and text.key(at + 1) not in (":", ".")


def import_at(text: Brackets, at: int) -> Statement | None:
    """The import that begins at the token `import`; None for `import(...)`, `import.meta` and a property."""
    if text.key(at - 1) in (".", ",", "?") or text.key(at + 1) in ("(", ".", ":", "=", ",", ")", "}", ""):
        return None
    if text.key(at + 1)[0] == '"':
        return Statement(at, with_attributes(text, at + 2), text.key(at + 1)[1:])
    if text.key(at + 2) == "=" and text.key(at + 3) == "require" and text.key(at + 5)[:1] == '"':
        return Statement(at, at + 7, text.key(at + 5)[1:], (text.key(at + 1),))
    end = _module(text, at)
    if end is None or end - 1 == at + 1:
        return None
    words = [text.key(index) for index in range(at + 1, end - 1)]
    is_type = words[0] == "type" and len(words) > 1 and words[1] != ","
    return Statement(
        at, with_attributes(text, end + 1), text.key(end)[1:], tuple(_locals(words)), is_type or _only_types(words)
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


def with_attributes(text: Brackets, end: int) -> int:
    """The end of an import with what may follow its module: `with {type: "json"}` and a semicolon."""
    if text.key(end) in ("with", "assert") and text.key(end + 1) == "{":
        end = text.after(end + 1) or end
    return end + 1 if text.key(end) == ";" else end


def _only_types(words: list[str]) -> bool:
    """Whether a list of imports has types only: `{type A, type B as C}`."""
    if words[:1] != ["{"] or words[-1:] not in (["}"], ["from"]):
        return False
    items = [item for item in _items(words[1 : words.index("}")]) if item]
    return bool(items) and all(_is_type(item) for item in items)


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
    """The local names of an import clause, without those of types: `A, {b as c, type D}` has `A` and `c`."""
    for item in _items([word for word in words if word not in ("{", "}", "*", "from")]):
        if item and not _is_type(item):
            yield item[-1]


def _is_type(item: list[str]) -> bool:
    """Whether an item of a list of imports is a type: `type A`, `type A as B`; not `type`, and not `type as A`."""
    return item[0] == "type" and len(item) > 1 and (item[1] != "as" or len(item) == 4)


def export_from(text: Brackets, at: int) -> Statement | None:
    """`export {...} from "x"` or `export * from "x"`, which begins at the token `export`."""
    types = text.key(at + 1) == "type"
    opening = at + 2 if types else at + 1
    if text.key(opening) == "*":
        end = _module(text, at)
    elif text.key(opening) == "{" and (after := text.after(opening)) is not None:
        end = after + 1 if text.key(after) == "from" and text.key(after + 1)[:1] == '"' else None
    else:
        return None
    return None if end is None else Statement(at, with_attributes(text, end + 1), text.key(end)[1:], (), types)
