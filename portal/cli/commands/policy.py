"""`codemode policy test`: what the policies of a document decide about somebody, with reason and policy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from portal.access import Access, AccessDocument, Considered, Decision, PolicyError, assumed_sources, read_document
from portal.cli.exits import CommandError, Exit
from portal.cli.session import connected, read_config
from portal.cli.show.console import consoles
from portal.config import read_document as read_file
from portal.config import read_text
from portal.errors import InputError
from portal.identity import Group as IdentityGroup
from portal.identity import Identity

MAX_BYTES = 4 * 1024 * 1024
_TEXTS = {"id", "email", "name", "idp_id", "idp_type", "login_method", "ip", "country", "common_name", "user_risk"}
_LISTS = {"auth_methods", "linked_apps"}
_KINDS = {str: "a text", bool: "true or false", dict: "an object"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wants to know. `call` is `server.tool`; `arguments` is JSON."""

    file: Path
    identity: str
    call: str | None = None
    arguments: str = "{}"
    config: Path | None = None
    as_json: bool = False


Tools = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Annotations by server and raw name."""


async def test(asked: Asked) -> Exit:
    """Print the decisions; the exit code is 1 when the call asked about, or else the portal, is denied."""
    stdout, stderr = consoles()
    document = read_policies(asked.file)
    identity = read_identity(asked.identity)
    try:
        access = Access(document, assumed_sources(document))
    except PolicyError as error:
        raise CommandError(f"{asked.file}: {error}") from error
    tools = named_tools(document)
    if asked.config is not None:
        tools = merged(tools, await listed_tools(asked.config, stderr))
    called = None if asked.call is None else decided_call(access, identity, asked, tools)
    found = decisions(access, identity, tools)
    if called is not None:
        found["call"] = called
    if asked.as_json:
        stdout.print_json(data=found)
    else:
        stdout.print(rendered(found, identity))
    decisive = found["portal"] if called is None else called
    return Exit.OK if decisive["effect"] == "allow" else Exit.PROGRAM_FAILED


def read_policies(file: Path) -> AccessDocument:
    """The document in a JSON, TOML or YAML file. Raises `CommandError`."""
    try:
        return read_document(read_file(file, largest=MAX_BYTES), where=str(file))
    except (InputError, PolicyError) as error:
        raise CommandError(str(error)) from error


def read_identity(given: str) -> Identity:
    """An identity: an e-mail address, a JSON object with the members of one, or `@file` with such an object.

    `groups` are names or objects `{id, name, email}`. Somebody with an e-mail address and without an id is logged in.
    Raises `CommandError`.
    """
    if given.startswith("@"):
        try:
            given = read_text(Path(given[1:]), largest=MAX_BYTES)
        except InputError as error:
            raise CommandError(f"--identity: {error}") from error
    if not given.lstrip().startswith("{"):
        return Identity(id=given, email=given if "@" in given else "") if given else Identity()
    try:
        members = json.loads(given)
    except json.JSONDecodeError as error:
        raise CommandError(f"--identity is not JSON: {error}") from error
    known = {one.name for one in fields(Identity)}
    if unknown := sorted(set(members) - known):
        raise CommandError(f"--identity does not know {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    if members.get("email") and "id" not in members:
        members["id"] = members["email"]
    try:
        return Identity(**{name: _member(name, value) for name, value in members.items()})
    except (TypeError, ValueError) as error:
        raise CommandError(f"--identity: {error}") from error


def _member(name: str, value: Any) -> Any:
    if name == "groups":
        return tuple(IdentityGroup(name=one) if isinstance(one, str) else IdentityGroup(**one) for one in value)
    if name in _LISTS:
        return tuple(value)
    wanted = str if name in _TEXTS or name == "service_token_id" else bool if name == "certificate" else dict
    if not isinstance(value, wanted):
        raise ValueError(f"{name} must be {_KINDS[wanted]}")
    return value


def named_tools(document: AccessDocument) -> Tools:
    """The tools a document names, by server; nothing is known of them but their names."""
    portal = {server.server_id: server for server in document.portal.servers}
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for server in document.servers:
        names = [setting.name for setting in server.updated_tools]
        if server.id in portal:
            names += [setting.name for setting in portal[server.id].updated_tools]
        policies = [policy.tools for policy in (*server.tool_policies, *document.portal.tool_policies)]
        about = (tools for tools in policies if not tools.servers or server.id in tools.servers)
        names += [name for tools in about for name in tools.names if not set(name) & {"*", "?"}]
        found[server.id] = {name: {} for name in names}
    return found


async def listed_tools(config: Path, stderr: Console) -> Tools:
    """The tools the configured servers list now."""
    _, read = read_config(config, stderr)
    async with connected(read, stderr) as session:
        return {
            server.id: {str(tool["name"]): _annotations(tool) for tool in server.tools}
            for server in session.snapshot.servers.values()
        }


def merged(named: Tools, listed: Tools) -> Tools:
    return {server: {**named.get(server, {}), **listed.get(server, {})} for server in {**named, **listed}}


def decided_call(access: Access, identity: Identity, asked: Asked, tools: Tools) -> dict[str, Any]:
    server, dot, tool = str(asked.call).partition(".")
    if not dot or not tool:
        raise CommandError(f"--call {asked.call} names no tool; write SERVER.TOOL")
    try:
        arguments = json.loads(asked.arguments)
    except json.JSONDecodeError as error:
        raise CommandError(f"--arguments is not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise CommandError("--arguments must be a JSON object")
    annotations = tools.get(server, {}).get(tool, {})
    return {"server": server, "tool": tool, **told(access.tool(identity, server, tool, annotations, arguments))}


def decisions(access: Access, identity: Identity, tools: Tools) -> dict[str, Any]:
    """Everything there is to say, as JSON."""
    return {
        "portal": {**told(access.portal(identity)), "considered": considered(access.explain(identity))},
        "servers": {
            server: {
                **told(access.server(identity, server)),
                "considered": considered(access.explain(identity, server)),
                "tools": {
                    tool: told(access.tool(identity, server, tool, annotations))
                    for tool, annotations in tools[server].items()
                },
            }
            for server in tools
        },
        "warnings": list(access.warnings),
    }


def told(decision: Decision) -> dict[str, Any]:
    return {
        "effect": decision.effect,
        "reason": decision.reason,
        "policy": decision.policy,
        "policy_name": decision.policy_name,
    }


def considered(policies: Iterable[Considered]) -> list[dict[str, Any]]:
    words = {True: "matches", False: "does not match", None: "cannot be known"}
    return [
        {
            "policy": one.policy,
            "name": one.name,
            "decision": one.decision,
            "outcome": words[one.outcome],
            "why": one.why,
        }
        for one in policies
    ]


def rendered(found: Mapping[str, Any], identity: Identity) -> RenderableType:
    """For people: a line for the portal, each server and each tool; below each place, its policies one by one."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    def line(name: str, decision: Mapping[str, Any], *, bold: bool = False) -> None:
        style = "green" if decision["effect"] == "allow" else "red"
        table.add_row(
            Text(name, style="bold" if bold else ""), Text(decision["effect"], style=style), decision["reason"]
        )

    def policies(place: Mapping[str, Any]) -> None:
        for one in place["considered"]:
            what = f"{one['decision']} {one['name'] or one['policy']}: {one['outcome']} ({one['why']})"
            table.add_row("", "", Text(what, style="dim"))

    line("portal", found["portal"], bold=True)
    policies(found["portal"])
    for server, place in found["servers"].items():
        line(server, place, bold=True)
        policies(place)
        if place["effect"] == "allow":
            for tool, decision in place["tools"].items():
                line(f"  {tool}", decision)
    if "call" in found:
        line(f"call {found['call']['server']}.{found['call']['tool']}", found["call"], bold=True)
    warnings = [Text(f"warning: {warning}", style="yellow") for warning in found["warnings"]]
    return Group(Text(f"{identity.label}", style="bold"), table, *warnings)


def _annotations(tool: Mapping[str, object]) -> Mapping[str, object]:
    found = tool.get("annotations")
    return found if isinstance(found, Mapping) else {}
