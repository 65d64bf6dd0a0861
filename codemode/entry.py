"""The parameters of a function that is the whole program: `async ({codemode}) => {...}`, `main(tools)`.

Agents pass `codemode` or `tools` to their program as other environments do. Both are globals of an isolate, and a
program is called without arguments. So where a function names them as parameters and nobody calls it with arguments,
those parameters become blanks, and the names mean the globals.
"""

from __future__ import annotations

import re

from codemode.check.brackets import Brackets, brackets
from codemode.erasure import spaces

_MAY_HAVE = re.compile(r"\b(?:codemode|tools)\b[^()=]{0,200}(?:\)|=>)")
_NAMES = frozenset({"codemode", "tools"})
# Other environments pass these too, and they are globals here.
_GLOBALS = _NAMES | {"console", "fetch", "crypto", "setTimeout", "URL"}
_MOST_TOKENS = 200  # of one list of parameters


def may_take_globals(program: str) -> bool:
    """Whether `without_given_parameters` may change a program. Tells no for most programs."""
    return _MAY_HAVE.search(program) is not None


def without_given_parameters(program: str) -> str:
    """The program with blanks for those parameters of its entry functions that are globals of an isolate."""
    text = brackets(program)
    if text is None:
        return program
    entries = _Entries(program, text)
    for at in range(len(text.tokens)):
        edit = entries.edit(program, at)
        if edit is not None:
            start, end, replacement = edit
            program = program[:start] + replacement + program[end:]
    return program


def takes_parameters(program: str) -> bool:
    """Whether an entry function of the program has parameters, which get no values."""
    text = brackets(program)
    if text is None:
        return False
    entries = _Entries(program, text)
    heads = (entries.head(at) for at in range(len(text.tokens)))
    return any(head is not None and text.key(head[0] + 1) != ")" for head in heads)


class _Entries:
    """The functions of a program that are called without arguments: by it, or at its end by the isolate."""

    def __init__(self, program: str, text: Brackets) -> None:
        self._program = program
        self._text = text
        self._mentions: dict[str, list[int]] = {}
        for at, token in enumerate(text.tokens):
            self._mentions.setdefault(token.key, []).append(at)

    def edit(self, program: str, at: int) -> tuple[int, int, str] | None:
        """The part of the program to replace, and its replacement of the same length, for the entry function that
        begins at a token."""
        text = self._text
        head = self.head(at)
        if head is None:
            return None
        first, end = head
        if text.key(first) != "(":  # `codemode => ...`
            token = text.tokens[first]
            return (token.start, token.end, "()".ljust(token.end - token.start)) if token.key in _NAMES else None
        parameters = list(_split(text, first + 1, end))
        rest = [one for one in parameters if not _is_given(text, *one)]
        given = {text.key(index) for one in parameters if one not in rest for index in range(*one)}
        if not given & _NAMES:
            return None
        start, stop = text.tokens[first].end, text.tokens[end].start
        inner = program[start:stop]
        if not rest:
            return start, stop, spaces(inner)
        kept = ", ".join(program[text.tokens[a].start : text.tokens[b - 1].end] for a, b in rest)
        return None if "\n" in inner or "\r" in inner else (start, stop, kept.ljust(len(inner)))

    def head(self, at: int) -> tuple[int, int] | None:
        """The first and the last token of the parameters of the entry function that begins at a token; None where none
        does."""
        text = self._text
        start, before = at, text.key(at - 1)
        if before == "async" or text.depths[at] > 1:
            return None
        if text.key(at) == "async":
            at += 1
        if text.key(at) == "function":
            opening = at + 1 + (text.key(at + 1) == "*")
            name = "" if text.key(opening) == "(" else text.key(opening)
            opening += bool(name)
            end = text.pairs.get(opening)
            if text.key(opening) != "(" or end is None:
                return None
            is_entry = self._is_bare(name) if name and not text.depths[start] else self._is_called(start, end)
            return (opening, end) if is_entry else None
        if text.key(at) == "(":
            end = text.pairs.get(at)
            arrow = None if end is None or end - at > _MOST_TOKENS else _arrow(text, end + 1)
        else:
            end, arrow = at, at + 1 if text.key(at) in _NAMES and _arrow(text, at + 1) == at + 1 else None
        return (at, end) if end is not None and arrow is not None and self._is_called(start, end) else None

    def _is_called(self, start: int, end: int) -> bool:
        """Whether a function without a name of its own is the program, or is called without arguments where it is."""
        text = self._text
        before = text.key(start - 1)
        if text.depths[start] == 0:
            if before != "=":
                return before in ("", ";", "}", "return", "default") or self._starts_line(start)
            name = text.key(start - 2)
            if text.key(start - 3) in ("const", "let", "var"):
                return self._is_bare(name)
            return name == "exports" and text.key(start - 3) == "." and text.key(start - 4) == "module"
        # `(async (codemode) => {...})()`
        if before != "(" or text.key(start - 2) not in ("", ";", "}", "return", "await", "="):
            return False
        closing = text.pairs.get(start - 1)
        if closing is None or text.key(closing + 1) != "(" or text.key(closing + 2) != ")":
            return False
        return all(text.depths[at] > 1 or text.key(at) != "," for at in range(end + 1, closing))

    def _starts_line(self, start: int) -> bool:
        """Whether a statement without a semicolon ends in the line before the word `async` or `function`."""
        text = self._text
        before, token = text.tokens[start - 1], text.tokens[start]
        ends_value = before.key[-1] in ")]`" or before.key[0] in "\"'" or before.key[-1].isalnum()
        return ends_value and token.key in ("async", "function") and "\n" in self._program[before.end : token.start]

    def _is_bare(self, name: str) -> bool:
        """Whether a function is mentioned only where it is defined, exported or called without arguments."""
        text = self._text
        if not name:
            return False
        mentions = [at for at in self._mentions.get(name, ()) if text.key(at - 1) != "."]
        definitions = [at for at in mentions if text.key(at - 1) in ("function", "*", "const", "let", "var")]
        others = [at for at in mentions if at not in definitions[:1]]
        calls = sum(text.key(at + 1) == "(" and text.key(at + 2) == ")" for at in others)
        exports = sum(
            text.key(at - 1) in ("default", "{", ",") and text.key(at + 1) in (";", "", "}") for at in mentions
        )
        return len(definitions) == 1 and len(mentions) - calls - exports == 1


def _arrow(text: Brackets, at: int) -> int | None:
    """The index of `=>` where parameters end before a token; a type of the result may stand between them."""
    if text.key(at) == ":":
        for index in range(at + 1, min(at + _MOST_TOKENS, len(text.tokens))):
            if text.key(index) == "=" and text.key(index + 1) == ">":
                return index
            if text.key(index) in (";", "=", ")"):
                return None
    return at if text.key(at) == "=" and text.key(at + 1) == ">" else None


def _split(text: Brackets, start: int, end: int) -> list[tuple[int, int]]:
    """The parameters between two tokens, each as its first token and the one after its last."""
    depth = text.depths[start] if start < end else 0
    parts: list[tuple[int, int]] = []
    begin = start
    for index in range(start, end + 1):
        if index == end or (text.key(index) == "," and text.depths[index] == depth):
            if index > begin:
                parts.append((begin, index))
            begin = index + 1
    return parts


def _is_given(text: Brackets, start: int, end: int) -> bool:
    """Whether a parameter is a global by name, or takes such names out of an object; with or without a type."""
    if text.key(start) in _GLOBALS:
        return end == start + 1 or text.key(start + 1) == ":" or (text.key(start + 1) == "?" and end > start + 2)
    closing = text.pairs.get(start)
    if text.key(start) != "{" or closing is None:
        return False
    names = [text.key(index) for index in range(start + 1, closing) if text.key(index) != ","]
    return bool(names) and set(names) <= _GLOBALS and (closing + 1 == end or text.key(closing + 1) == ":")
