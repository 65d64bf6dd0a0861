"""Lists of tools in files: of `codemode stubs --json`, of `codemode tools --json`, or a raw tools/list.

    {"servers": [{"id": "shop", "name"?, "description"?, "tools": [{"name", "inputSchema", ...}]}]}
    {"tools": [...]}    {"result": {"tools": [...]}}    [...]       one server, named after its file

The contents come from upstream servers: members of a wrong type are left out, and only a tool without a name is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from codemode import Catalog, isolate_declarations
from portal.bench.json_checks import json_kind
from portal.config import SERVER_SECTIONS, read_document
from portal.errors import InputError
from stubs import Server, Tool

FORMAT = "codemode-tools/1"
_ENDINGS = (".tools", ".tool-list", "-tools")


def as_document(servers: Iterable[Server]) -> dict[str, object]:
    """The document for these servers. `servers_of` reads the same servers from it."""
    return {"format": FORMAT, "servers": [_server_document(server) for server in servers]}


def servers_of(document: object, name: str) -> tuple[Server, ...]:
    """The servers in a document of one of the forms above. `name` names the server of a list without one.

    Raises:
        InputError: the document has no tools, or a tool without a name.
    """
    if isinstance(document, Mapping) and isinstance(document.get("result"), Mapping):
        document = document["result"]
    if isinstance(document, Mapping) and isinstance(document.get("servers"), list):
        servers = tuple(_server(one, f"{name}: server {place}") for place, one in enumerate(document["servers"], 1))
        if len({server.id for server in servers}) < len(servers):
            raise InputError(f"{name} names a server twice.")
        return servers
    if isinstance(document, Mapping):
        document = document.get("tools")
    if isinstance(document, list):
        return (Server(_server_id(name), tools=tuple(_tool(one, name) for one in document)),)
    raise InputError(
        f"{name} holds no tools: expected what `codemode stubs --json` writes, or the answer to a tools/list."
    )


def read_servers(path: Path) -> tuple[Server, ...]:
    """The servers in a file. Raises `InputError` as `servers_of`, and if the file cannot be read."""
    return servers_of(read_document(path), path.name)


def is_configuration(document: object) -> bool:
    """Whether a document is a configuration of servers, and not a list of tools."""
    if not isinstance(document, Mapping):
        return False
    return any(isinstance(document.get(section), Mapping) for section in SERVER_SECTIONS)


def _server_id(name: str) -> str:
    stem = Path(name).name
    for ending in (".json", ".yaml", ".yml", *_ENDINGS):
        stem = stem.removesuffix(ending)
    return re.sub(r"[^A-Za-z0-9-]+", "-", stem).strip("-") or "server"


def _server(value: object, where: str) -> Server:
    if not isinstance(value, Mapping) or not isinstance(value.get("id"), str) or not value["id"]:
        raise InputError(f"{where} needs an id.")
    tools = value.get("tools") or []
    if not isinstance(tools, list):
        raise InputError(f"{where}: tools must be a list, not {json_kind(tools)}.")
    listed = tuple(_tool(tool, where) for tool in tools)
    return Server(value["id"], _text(value.get("name")), _text(value.get("description")), listed)


def _tool(value: object, where: str) -> Tool:
    name = value.get("rawName", value.get("name")) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(name, str):
        raise InputError(f"{where} has a tool without a name.")
    input_schema, output_schema = value.get("inputSchema"), value.get("outputSchema")
    annotations = value.get("annotations")
    return Tool(
        name=name,
        title=_text(value.get("title")),
        description=_text(value.get("description")),
        input_schema=input_schema if isinstance(input_schema, dict | bool) else {"type": "object"},
        output_schema=output_schema if isinstance(output_schema, dict | bool) else None,
        annotations=annotations if isinstance(annotations, dict) else {},
        output_inferred=value.get("outputInferred") is True,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _server_document(server: Server) -> dict[str, object]:
    about = {"id": server.id, "name": server.name, "description": server.description}
    return {**_present(about), "tools": [_tool_document(tool) for tool in server.tools]}


def _tool_document(tool: Tool) -> dict[str, object]:
    document = {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": dict(tool.annotations) or None,
        "outputInferred": tool.output_inferred or None,
    }
    return _present(document)


def _present(document: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in document.items() if value is not None}


_HEAD = """\
// Made by `codemode stubs`; make it again when the servers change. What the servers say of their tools is in it.

"""
_INPUT = """
/** What the run was given: `codemode run --input`, or `input` of a test. */
declare const input: any;

"""


def declaration_file(catalog: Catalog) -> str:
    """One self-contained `.d.ts`. It needs TypeScript's library of the language, without that of browsers or Node."""
    unavailable = "".join(f"// Not available when this was made: {server}\n" for server in catalog.unavailable)
    return f"{_HEAD}{unavailable}{catalog.declarations()}{_INPUT}{isolate_declarations()}"
