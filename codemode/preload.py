"""The trusted JavaScript that gives programs their `codemode` object, made from the names of a catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from codemode.text import encodable
from stubs import Names

_BLOCK_LINES = 64
_SCRIPT = Path(__file__).with_name("preload.js")


def preload(names: Names, signatures: Mapping[str, str]) -> str:
    """The preload of an image: a body of `function (host)`. `signatures` by path, for errors about wrong names."""
    data = {"servers": _servers(names), "shortcuts": _exceptions(names), "signatures": dict(signatures)}
    # JSON is JavaScript; a line separator inside a string is allowed there since ECMAScript 2019.
    script = _SCRIPT.read_text(encoding="utf-8")
    # `__proto__` as a key of a literal would set the prototype, so the data is parsed, not written out.
    text = orjson.dumps(orjson.dumps(data).decode()).decode()
    return f"const data = JSON.parse({text});\n(function () {{\n{script}\n}})();"


def _servers(names: Names) -> list[list[Any]]:
    identifiers = {names.server(server_id): server_id for server_id in names.tools}
    return [
        [identifier, server_id if names.servers.get(server_id) == server_id and server_id != identifier else 0, blocks]
        for identifier, server_id in sorted(identifiers.items())
        for blocks in [_blocks(names, server_id)]
    ]


def _blocks(names: Names, server_id: str) -> list[str]:
    lines: list[tuple[str, str]] = []
    for spelling, raw in names.tools[server_id].items():
        identifier = names.tool(server_id, raw)
        if _writable(spelling):
            lines.append((spelling, spelling if spelling == identifier else f"{spelling}\t{identifier}"))
    # JavaScript compares strings by UTF-16 code units.
    lines.sort(key=lambda line: line[0].encode("utf-16-be", "surrogatepass"))
    return [
        "".join(["\n", *(f"{line}\n" for _, line in lines[start : start + _BLOCK_LINES])])
        for start in range(0, len(lines), _BLOCK_LINES)
    ]


def _writable(spelling: str) -> bool:
    """Whether a spelling can stand in a line of text; what cannot is reached by its identifier alone."""
    return "\n" not in spelling and "\t" not in spelling and encodable(spelling) == spelling


def _exceptions(names: Names) -> dict[str, str | list[str]]:
    """Short spellings that the rule in the script would resolve otherwise than `names` does."""
    rule = _ShortcutRule(names)
    found: dict[str, str | list[str]] = {}
    for spelling, key in names.shortcuts.items():
        if _writable(spelling) and rule.meaning(spelling) != [path := names.path(*key)]:
            found[spelling] = path
    for spelling, keys in names.ambiguous.items():
        paths = sorted(names.path(*key) for key in keys)
        if _writable(spelling) and sorted(rule.meaning(spelling)) != paths:
            found[spelling] = paths
    return found


class _ShortcutRule:
    """`shortcut` of the script, in Python: the same spelling must mean the same."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._owners: dict[str, list[str]] = {}
        for server_id, members in names.tools.items():
            for spelling in members:
                self._owners.setdefault(spelling, []).append(server_id)

    def meaning(self, spelling: str) -> list[str]:
        names = self._names
        for position in _underscores(spelling):
            server_id = names.servers.get(spelling[:position])
            if server_id is not None and (raw := names.tools[server_id].get(spelling[position + 1 :])) is not None:
                return [names.path(server_id, raw)]
        return [names.path(owner, names.tools[owner][spelling]) for owner in self._owners.get(spelling, ())]


def _underscores(text: str) -> Iterable[int]:
    return (position for position, character in enumerate(text) if character == "_")
