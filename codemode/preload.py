"""Makes the trusted JavaScript that defines `codemode` in an isolate, from the names of a catalog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from codemode.text import encodable
from stubs import PROTOCOL_PROPERTIES, Names

_BLOCK_LINES = 64
_SCRIPT = Path(__file__).with_name("preload.js")


def table(names: Names, signatures: Mapping[str, str]) -> str:
    """The names as `preload.js` reads them, as JSON. `signatures`: by path, for errors about wrong names."""
    data = {"servers": _servers(names), "shortcuts": _exceptions(names), "signatures": dict(signatures)}
    return orjson.dumps(data).decode()


def preload(data: str | None) -> str:
    """The preload of an image: the body of `function (host)`.

    `data` is the `table` of all programs of the image. If it is None, each program starts with its own table; else with
    what is `absent` in its catalog, if anything is.
    """
    script = _SCRIPT.read_text(encoding="utf-8") + "\nconst { parse } = JSON;"
    if data is None:
        return f"{script}\nhost.begin = (text) => define(parse(text));"
    # The data is parsed from a string: in an object literal a key `__proto__` would set the prototype. The string is
    # JSON, which is JavaScript too, since ECMAScript 2019 with line separators in it.
    return f"{script}\ndefine(parse({orjson.dumps(data).decode()}));\nhost.begin = (text) => setAbsent(parse(text));"


def common_preload() -> str:
    """What the preloads of all catalogs have in common, as `sandbox.Engine` and its executors take it."""
    return preload(None)


def with_absent(data: str, servers: Mapping[str, str], tools: Mapping[str, str]) -> str:
    """The text that a program starts with: a `table`, or "" where the image has it, with the reasons why servers and
    tools cannot be used now, by their spellings."""
    if not servers and not tools:
        return data
    reasons = f'{{"absent":{orjson.dumps([dict(servers), dict(tools)]).decode()}'
    return f"{reasons},{data[1:]}" if data else f"{reasons}}}"


def _servers(names: Names) -> list[list[Any]]:
    identifiers = {names.server(server_id): server_id for server_id in names.tools}
    servers: list[list[object]] = []
    for identifier, server_id in sorted(identifiers.items()):
        blocks = _blocks(names, server_id)
        if server_id == identifier:
            servers.append([identifier, 0, blocks])
        elif names.servers.get(server_id) == server_id:
            servers.append([identifier, server_id, blocks])
        else:
            servers.append([identifier, 0, blocks, server_id])
    return servers


def _blocks(names: Names, server_id: str) -> list[str]:
    lines: list[tuple[str, str]] = []
    for spelling, raw in names.tools[server_id].items():
        identifier = names.tool(server_id, raw)
        if raw in PROTOCOL_PROPERTIES:  # the script decides where such a name may stand for the tool
            lines.append((raw, f"{raw}\t{identifier}"))
        if _is_writable(spelling):
            lines.append((spelling, spelling if spelling == identifier else f"{spelling}\t{identifier}"))
    # JavaScript compares strings by UTF-16 code units.
    lines.sort(key=lambda line: line[0].encode("utf-16-be", "surrogatepass"))
    return [
        "".join(["\n", *(f"{line}\n" for _, line in lines[start : start + _BLOCK_LINES])])
        for start in range(0, len(lines), _BLOCK_LINES)
    ]


def _is_writable(spelling: str) -> bool:
    """Whether a spelling fits in a line of text. Other tools are reached only by their identifiers."""
    return "\n" not in spelling and "\t" not in spelling and encodable(spelling) == spelling


def _exceptions(names: Names) -> dict[str, str | list[str]]:
    """The short spellings that the script's `shortcut` would resolve differently from `names`."""
    exceptions: dict[str, str | list[str]] = {}
    for spelling in sorted(names.uncertain):
        paths = sorted(names.path(*key) for key in names.shortcut(spelling))
        if (
            (paths or spelling in names.barred)
            and _is_writable(spelling)
            and sorted(_by_rule(names, spelling)) != paths
        ):
            exceptions[spelling] = paths[0] if len(paths) == 1 else paths
    return exceptions


def _by_rule(names: Names, spelling: str) -> list[str]:
    """The script's `shortcut` in Python. The two must agree on every spelling."""
    if key := names.of_path(spelling):
        return [names.path(*key)]
    for position in _underscores(spelling):
        server_id = names.servers.get(spelling[:position])
        if server_id is not None and (raw := names.tools[server_id].get(spelling[position + 1 :])) is not None:
            return [names.path(server_id, raw)]
    owners = ((server_id, members.get(spelling)) for server_id, members in names.tools.items())
    paths = [names.path(server_id, raw) for server_id, raw in owners if raw is not None]
    if len(paths) != 1:
        for position in (position for position, character in enumerate(spelling) if character == "."):
            server_id = names.server_id(spelling[:position])
            if server_id is not None and (raw := names.tools[server_id].get(spelling[position + 1 :])) is not None:
                return [names.path(server_id, raw)]
    return paths


def _underscores(text: str) -> Iterable[int]:
    return (position for position, character in enumerate(text) if character == "_")
