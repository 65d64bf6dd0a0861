"""Where a program names tools: `codemode.a.b` and its spellings in brackets, as written, with nothing assumed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codemode.check.brackets import Brackets

_FAR = 40  # tokens between a call and the name its result is given
_NAME = re.compile(r"[A-Za-z_$\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")


@dataclass(frozen=True, slots=True)
class Path:
    """`codemode` and one or two members, by token index: `first` is `codemode`, `end` what follows."""

    members: tuple[str, ...]
    first: int
    end: int

    @property
    def written(self) -> str:
        return ".".join(self.members)


def paths(text: Brackets) -> Iterator[Path]:
    """Every path that begins with the global `codemode`; a member that is computed ends it."""
    for index, token in enumerate(text.tokens):
        if token.key == "codemode" and text.key(index - 1) != ".":
            members: list[str] = []
            end = index + 1
            while len(members) < 2 and (member := _member(text, end)) is not None:
                name, end = member
                members.append(name)
            if members:
                yield Path(tuple(members), index, end)


def is_name(key: str) -> bool:
    return _NAME.fullmatch(key) is not None


def _member(text: Brackets, index: int) -> tuple[str, int] | None:
    key = text.key(index + 1)
    if text.key(index) == "." and is_name(key):
        return key, index + 2
    if text.key(index) == "[" and key[:1] == '"' and "\\" not in key and text.key(index + 2) == "]":
        return key[1:], index + 3
    return None


def is_global(text: Brackets) -> bool:
    """Whether `codemode` means the global object everywhere: no variable, parameter or assignment of that name."""
    for index, token in enumerate(text.tokens):
        if token.key in ('"codemode', "eval") or (token.key == "codemode" and not _is_mention(text, index)):
            return False
    return True


def looks_around(text: Brackets) -> bool:
    """Whether the program finds out which servers there are, so that a wrong path may be one it never takes."""
    return any(
        token.key == "codemode" and text.key(index - 1) in ("in", "(", ",") and text.key(index + 1) not in (".", "[")
        for index, token in enumerate(text.tokens)
    )


def _is_mention(text: Brackets, index: int) -> bool:
    before, after = text.key(index - 1), text.key(index + 1)
    if before == ".":
        return after != "=" or text.key(index + 2) == "="
    if after in (".", "["):
        return before not in ("const", "let", "var", "function", "class")
    if after == "?" and text.key(index + 2) == ".":
        return True
    if before in ("in", "await", "typeof"):
        return after != "="
    if before == "=":
        return after in (";", ",", ")", "}", "") or is_name(after)
    if before in ("(", ",") and after in (")", ","):
        closing = _enclosing_end(text, index)
        return closing is not None and text.key(closing + 1) not in ("{", "=", ":")
    return False


def _enclosing_end(text: Brackets, index: int) -> int | None:
    """The closing bracket of the parentheses that directly hold a token."""
    depth = text.depths[index]
    for later in range(index + 1, len(text.tokens)):
        if text.depths[later] < depth:
            return later if text.key(later) == ")" else None
    return None


def calls(text: Brackets) -> dict[int, tuple[str, ...]]:
    """What is called where, by the index of the opening parenthesis: paths, and the names given to parts of them.

    `const {fix} = codemode`, `const find = codemode.fix.search`: a name counts when it is declared so.
    """
    named = _named(text)
    found = {path.end: path.members for path in paths(text) if text.key(path.end) == "("}
    for index, token in enumerate(text.tokens):
        if (meant := named.get(token.key)) is not None and text.key(index - 1) != ".":
            members, end = list(meant), index + 1
            while len(members) < 2 and (member := _member(text, end)) is not None:
                members.append(member[0])
                end = member[1]
            if members and text.key(end) == "(":
                found[end] = tuple(members)
    return found


def results(text: Brackets) -> dict[str, tuple[str, ...]]:
    """Which call a variable holds the result of, or a part of it: `const {a} = await codemode.x.y()` and its like."""
    found: dict[str, tuple[str, ...]] = {}
    for opened, members in calls(text).items():
        index = opened - 1
        while index > max(0, opened - _FAR) and text.key(index) not in ("=", ";", "(", "{"):
            index -= 1
        if text.key(index) == "=" and text.key(index - 1) != ">":
            found.update(dict.fromkeys(_declared(text, index - 1), members))
    return found


def _named(text: Brackets) -> dict[str, tuple[str, ...]]:
    named: dict[str, tuple[str, ...]] = {}
    for index, token in enumerate(text.tokens):
        if token.key == "codemode" and text.key(index - 1) == "=":
            members: list[str] = []
            end = index + 1
            while len(members) < 2 and (member := _member(text, end)) is not None:
                members.append(member[0])
                end = member[1]
            if text.key(end) in ("(", ".", "[", "?"):
                continue
            pattern = text.key(index - 2) == "}"
            for name in _declared(text, index - 2):
                named[name] = (*members, name) if pattern else tuple(members)
    return named


def _declared(text: Brackets, last: int) -> list[str]:
    """The names declared by what ends at an index, as far as it is a name or a flat pattern without renaming."""
    if is_name(text.key(last)):
        return [text.key(last)]
    opened = text.pairs.get(last)
    if opened is None or text.key(last) not in ("}", "]"):
        return []
    inside = [text.key(index) for index in range(opened + 1, last)]
    return [key for key in inside if is_name(key)] if all(key == "," or is_name(key) for key in inside) else []
