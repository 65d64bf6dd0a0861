"""The catalog as a Markdown document: servers with their state, tools with their types, prompts and resources. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from codemode import Catalog
from portal.access import DisplaySetting
from portal.cli.show.markdown import code, fenced, inline, paragraphs, table
from portal.servers import ServerSnapshot
from stubs import type_of

LONGEST_TYPE = 120
LONGEST_DEFAULT = 60


@dataclass(frozen=True, slots=True)
class PortalNames:
    """How a portal shows tools and prompts: the settings by server id and raw name."""

    tools: dict[tuple[str, str], DisplaySetting] = field(default_factory=dict)
    prompts: dict[tuple[str, str], DisplaySetting] = field(default_factory=dict)


def catalog_page(title: str, servers: Sequence[ServerSnapshot], catalog: Catalog, names: PortalNames) -> str:
    """The document, with a line end. It depends on nothing but its arguments: there is no time in it."""
    parts = [f"# {inline(title) or 'Tools'}", _overview(servers)]
    for server in servers:
        parts += _server(server, catalog, names)
    return "\n\n".join(filter(None, parts)) + "\n"


def _overview(servers: Sequence[ServerSnapshot]) -> str:
    if not servers:
        return "There is no server."
    rows = (
        (f"[{code(one.id)}](#{_anchor(one.id)})", one.state, str(len(one.tools)), inline(_first_line(one.description)))
        for one in servers
    )
    return table(("Server", "State", "Tools", "What it is"), rows)


def _server(server: ServerSnapshot, catalog: Catalog, names: PortalNames) -> Iterator[str]:
    yield f"## {inline(server.id)}"
    yield _state(server)
    yield paragraphs(server.description or "")
    if server.pending:
        waiting = ", ".join(code(item.name) for item in server.pending)
        yield f"Withheld until they are approved: {waiting}."
    paths = list(catalog.paths(server.id)) if server.listed else []
    if paths:
        yield "### Tools"
        yield table(("Tool", "For clients", "What it does"), (_row(path, server, catalog, names) for path in paths))
        for path in paths:
            yield from _tool(path, server, catalog, names)
    yield from _prompts(server, names)
    yield from _resources(server)


def _state(server: ServerSnapshot) -> str:
    """One line: whether it answers, how much it has, how it is reached."""
    number = {
        "tool": len(server.tools),
        "prompt": len(server.prompts),
        "resource": len(server.resources),
        "resource template": len(server.resource_templates),
    }
    counts = [f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in number.items() if count]
    reason = f" ({inline(server.reason)})" if server.reason else ""
    protocol = f", protocol {inline(server.protocol)}" if server.protocol else ""
    return f"{server.state.capitalize()}{reason}: {', '.join(counts) or 'nothing'}; {server.transport}{protocol}."


def _row(path: str, server: ServerSnapshot, catalog: Catalog, names: PortalNames) -> tuple[str, str, str]:
    raw = _raw_name(catalog, path)
    setting = names.tools.get((server.id, raw), DisplaySetting())
    return f"[{code(path)}](#{_anchor(path)})", _for_clients(server, raw, setting), _summary(server, raw, setting)


def _tool(path: str, server: ServerSnapshot, catalog: Catalog, names: PortalNames) -> Iterator[str]:
    raw = _raw_name(catalog, path)
    setting = names.tools.get((server.id, raw), DisplaySetting())
    tool = server.tool(raw) or {}
    yield f"#### {inline(path)}"
    yield paragraphs(setting.description or tool.get("description") or "No description.")
    yield fenced(catalog.describe(path, full=True), "ts")
    schema = tool.get("inputSchema")
    if rows := list(_parameters(schema if isinstance(schema, Mapping) else {})):
        yield table(("Parameter", "Type", "Required", "What it is"), rows)


def _parameters(schema: Mapping[str, object]) -> Iterator[tuple[str, str, str, str]]:
    properties, required = schema.get("properties"), schema.get("required")
    needed = set(map(str, required)) if isinstance(required, list) else set()
    for name, one in (properties if isinstance(properties, Mapping) else {}).items():
        about = one if isinstance(one, Mapping) else {}
        words = inline(about.get("description") or "")
        if "default" in about:
            default = json.dumps(about["default"], ensure_ascii=False)
            shown = default if len(default) <= LONGEST_DEFAULT else f"{default[:LONGEST_DEFAULT]}..."
            words = f"{words} (default {code(shown)})".strip()
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        kind = type_of({**definitions, **about} if about else one, LONGEST_TYPE)
        yield code(name), code(kind), "yes" if str(name) in needed else "", words


def _prompts(server: ServerSnapshot, names: PortalNames) -> Iterator[str]:
    if not server.prompts:
        return
    yield "### Prompts"
    rows = []
    for prompt in server.prompts:
        raw = str(prompt["name"])
        setting = names.prompts.get((server.id, raw), DisplaySetting())
        arguments = prompt.get("arguments")
        named = [one for one in arguments if isinstance(one, Mapping)] if isinstance(arguments, list) else []
        given = [code(one.get("name")) for one in named]
        words = setting.description or prompt.get("description")
        rows.append((_for_clients(server, raw, setting), ", ".join(given), inline(_first_line(words))))
    yield table(("Prompt", "Arguments", "What it is"), rows)


def _resources(server: ServerSnapshot) -> Iterator[str]:
    listed = [*_addresses(server.resources, "uri"), *_addresses(server.resource_templates, "uriTemplate")]
    if listed:
        yield "### Resources"
        yield table(("Resource", "Name", "Type", "What it is"), listed)


def _addresses(items: Iterable[Mapping[str, object]], member: str) -> Iterator[tuple[str, str, str, str]]:
    for item in items:
        kind = code(item["mimeType"]) if item.get("mimeType") else ""
        yield code(item.get(member)), inline(item.get("name") or ""), kind, inline(_first_line(item.get("description")))


def _for_clients(server: ServerSnapshot, raw: str, setting: DisplaySetting) -> str:
    """The name in the lists of clients without code mode: the portal's alias goes before the server's own name."""
    name = setting.alias or raw
    shown = code(f"{server.id}_{name}" if server.prefix else name)
    if not setting.enabled:
        return f"{shown} (hidden)"
    return f"{shown} (alias of {code(raw)})" if setting.alias else shown


def _summary(server: ServerSnapshot, raw: str, setting: DisplaySetting) -> str:
    tool = server.tool(raw) or {}
    return inline(_first_line(setting.description or tool.get("description")))


def _raw_name(catalog: Catalog, path: str) -> str:
    entry = catalog.get(path)
    return "" if entry is None else entry.tool.name


def _first_line(text: object) -> str:
    return str(text or "").strip().split("\n")[0]


def _anchor(heading: str) -> str:
    """The address of a heading as GitHub and most renderers make it."""
    return re.sub(r"[^\w-]", "", heading.lower())
