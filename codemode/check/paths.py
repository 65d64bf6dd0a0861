"""Finds where a program names tools: `codemode.a.b`, and the same with members in brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from codemode.check.brackets import Brackets

_FAR = 40  # tokens between a call and the variable for its result
_NAME = re.compile(r"[A-Za-z_$\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")


@dataclass(frozen=True, slots=True)
class Path:
    """`codemode` with one or two members. `first`: the index of the token `codemode`; `end`: of the token after it."""

    members: tuple[str, ...]
    first: int
    end: int

    @property
    def written(self) -> str:
        return ".".join(self.members)


def paths(text: Brackets) -> Iterator[Path]:
    """Every path that begins with the global `codemode`. It ends before a computed member."""
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
    """Whether `codemode` is the global object everywhere: the program has no other variable of that name."""
    for index, token in enumerate(text.tokens):
        if token.key in ('"codemode', "eval") or (token.key == "codemode" and not _is_mention(text, index)):
            return False
    return True


def enumerates_codemode(text: Brackets) -> bool:
    """Whether the program uses `codemode` as a value, such as in `Object.keys(codemode)` or `"crm" in codemode`."""
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
    """The members of the path that each call calls, by the index of its opening parenthesis.

    The call may use a name for a part of the path: `const {fix} = codemode`, `const find = codemode.fix.search`.
    """
    aliases = _aliases(text)
    by_index = {path.end: path.members for path in paths(text) if text.key(path.end) == "("}
    for index, token in enumerate(text.tokens):
        if (alias := aliases.get(token.key)) is not None and text.key(index - 1) != ".":
            members, end = list(alias), index + 1
            while len(members) < 2 and (member := _member(text, end)) is not None:
                members.append(member[0])
                end = member[1]
            if members and text.key(end) == "(":
                by_index[end] = tuple(members)
    return by_index


def results(text: Brackets) -> dict[str, tuple[str, ...]]:
    """The path of the call whose result, or a part of it, a variable holds: `const {a} = await codemode.x.y()`."""
    by_name: dict[str, tuple[str, ...]] = {}
    for opening, members in calls(text).items():
        index = opening - 1
        while index > max(0, opening - _FAR) and text.key(index) not in ("=", ";", "(", "{"):
            index -= 1
        if text.key(index) == "=" and text.key(index - 1) != ">":
            by_name.update(dict.fromkeys(_declared(text, index - 1), members))
    return by_name


def _aliases(text: Brackets) -> dict[str, tuple[str, ...]]:
    """The members that a variable stands for, by its name."""
    aliases: dict[str, tuple[str, ...]] = {}
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
                aliases[name] = (*members, name) if pattern else tuple(members)
    return aliases


def _declared(text: Brackets, last: int) -> list[str]:
    """The names in the declaration that ends at an index: one name, or those of a flat pattern without renaming."""
    if is_name(text.key(last)):
        return [text.key(last)]
    opening = text.pairs.get(last)
    if opening is None or text.key(last) not in ("}", "]"):
        return []
    keys = [text.key(index) for index in range(opening + 1, last)]
    return [key for key in keys if is_name(key)] if all(key == "," or is_name(key) for key in keys) else []
