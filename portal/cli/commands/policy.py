"""`codemode policy test`: shows what policies decide about a person, with reason and policy.

The policies are those of a file, or those that the portal of a configuration has now: the document's and the stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from portal.access import (
    Access,
    AccessDocument,
    Decision,
    PolicyError,
    PolicyOutcome,
    Standing,
    ToolHints,
    assumed_sources,
    explain,
    read_document,
)
from portal.app import StoredState, access_of_portal, database_place, open_store, read_stored
from portal.bench import is_configuration
from portal.cli.database import say_database, state_errors
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import meant, must_exist
from portal.cli.session import connect, read_config
from portal.cli.show.catalog_page import PortalNames
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.config import Config, read_text
from portal.config import read_document as read_file
from portal.endpoint import ToolSight, sight_in
from portal.errors import InputError
from portal.identity import Group as IdentityGroup
from portal.identity import Identity
from portal.servers import Snapshot

MAX_BYTES = 4 * 1024 * 1024
_TEXTS = {"id", "email", "name", "idp_id", "idp_type", "login_method", "ip", "country", "common_name", "user_risk"}
_LISTS = {"auth_methods", "linked_apps"}
_KINDS = {str: "a text", bool: "true or false", dict: "an object"}


@dataclass(frozen=True, slots=True)
class PolicyQuery:
    """The question to the policies in `file`, or without one to those of a portal of the configuration.

    `identity` is read by `read_identity`. `call` is `server.tool` and `arguments` its JSON object. With `config`, the
    tools that its servers list are decided too. `portal` is the id of the portal, "" for the document's own.
    """

    file: Path | None
    identity: str
    call: str | None = None
    arguments: str = "{}"
    config: Path | None = None
    as_json: bool = False
    portal: str = ""


Tools = ToolHints


class DecisionJson(TypedDict):
    """One decision. `policy` is the id of the policy that decided, or None for the default."""

    effect: str
    reason: str
    policy: str | None
    policy_name: str | None


class RuleJson(TypedDict):
    """One rule of a policy, in words, and whether it matches."""

    part: str
    rule: str
    outcome: str
    problem: str


class ConsideredJson(TypedDict):
    """One policy that was considered, and whether it matches."""

    policy: str
    name: str
    decision: str
    outcome: str
    why: str
    rules: list[RuleJson]


class PortalJson(DecisionJson):
    considered: list[ConsideredJson]


class ToolJson(DecisionJson):
    """`listed_as` is the tool's name for clients, "" where it is hidden; only where servers list their tools."""

    listed_as: NotRequired[str]
    hidden_by: NotRequired[str | None]


class ServerJson(PortalJson):
    tools: dict[str, ToolJson]


class CallJson(DecisionJson):
    server: str
    tool: str


class DecisionsJson(TypedDict):
    """All decisions about one identity; servers by id, tools by raw name."""

    portal: PortalJson
    servers: dict[str, ServerJson]
    warnings: list[str]
    call: NotRequired[CallJson]


async def test(query: PolicyQuery) -> Exit:
    """Print the decisions. The exit code is 1 if the call is denied, or without a call, if the portal is."""
    stdout, stderr = consoles()
    identity = read_identity(query.identity)
    access, config = await access_of(query, stderr)
    tools = tools_in_document(access.document)
    snapshot = Snapshot()
    if config is not None:
        snapshot = await snapshot_of_servers(config, stderr)
        listed = tools_in(snapshot)
        if query.file is None:
            # A portal may show fewer servers than the configuration has.
            listed = {id: listed[id] for id in listed if id in tools}
        tools = merge_tools(tools, listed)
    called = None if query.call is None else decide_call(access, identity, query, tools)
    report = decisions(access, identity, tools, snapshot)
    if called is not None:
        report["call"] = called
    if query.as_json:
        stdout.print_json(data=report)
    else:
        stdout.print(render(report, identity))
    decisive: DecisionJson = report["portal"] if called is None else called
    return Exit.OK if decisive["effect"] == "allow" else Exit.PROGRAM_FAILED


async def access_of(query: PolicyQuery, stderr: Console) -> tuple[Access, Config | None]:
    """The access to ask, and the configuration whose servers list tools.

    Raises:
        CommandError: the file, the configuration or the database cannot be used.
    """
    must_exist(query.file)
    if query.file is not None and not _is_configuration(query.file):
        if query.portal:
            raise CommandError("--portal names a portal of the configuration; a file of policies has one portal.")
        document = read_policies(query.file)
        try:
            access = Access(document, assumed_sources(document))
        except PolicyError as error:
            raise CommandError(f"{query.file}: {error}") from error
        return access, None if query.config is None else read_config(query.config, stderr)[1]
    file, config = read_config(query.file or query.config, stderr, quiet=query.as_json)
    stored = await _read_stored(config, stderr)
    return _access(query.portal, config, stored, str(file)), config


async def names_of_portal(portal: str, config: Config, stderr: Console) -> PortalNames:
    """How a portal shows tools and prompts, "" for the document's own: the aliases and descriptions of administrators.

    Raises:
        CommandError: there is no such portal, or its policies cannot be used.
    """
    stored = await _read_stored(config, stderr)
    access = _access(portal, config, stored, "The configuration")
    standing, settings = access.standing(Identity()), PortalNames()
    for server in access.document.servers:
        view = standing.view(server.id)
        settings.tools.update({(server.id, name): setting for name, setting in view.tools.settings.items()})
        settings.prompts.update({(server.id, name): setting for name, setting in view.prompts.settings.items()})
    return settings


def _access(portal: str, config: Config, stored: StoredState, where: str) -> Access:
    try:
        found = access_of_portal(portal, config, stored)
    except PolicyError as error:
        raise CommandError(f"{where}: portal.identity: {error}") from error
    if found is None:
        known = (*config.portals, *(one.id for one in stored.objects.portals))
        raise CommandError(f"There is no further portal {portal!r}. {meant(portal, known)}")
    return found


async def _read_stored(config: Config, stderr: Console) -> StoredState:
    """What the database of the configuration says of access, if it has one; nothing where it is not there yet."""
    if config.portal.identity is None:
        return StoredState()
    place = database_place(config.portal.state)
    with state_errors():
        there = await place.exists()
        say_database(place, stderr, there=there)
        if not there:
            return StoredState()
        with WaitLine(stderr, "Reading the database ..."):
            async with open_store(place.url, lasting=False) as store:
                return await read_stored(store)


def _is_configuration(file: Path) -> bool:
    """Whether a file is a configuration of a portal; policies have `portal` as well, and their servers are a list."""
    try:
        document = read_file(file, largest=MAX_BYTES)
    except InputError:
        return False
    portal = document.get("portal") if isinstance(document, Mapping) else None
    return is_configuration(document) or (isinstance(portal, Mapping) and "identity" in portal)


def read_policies(file: Path) -> AccessDocument:
    """The access policies in a JSON, TOML or YAML file.

    Raises:
        CommandError: the file cannot be read, or is not valid.
    """
    try:
        return read_document(read_file(file, largest=MAX_BYTES), where=str(file))
    except (InputError, PolicyError) as error:
        raise CommandError(str(error)) from error


def read_identity(text: str) -> Identity:
    """The identity for an e-mail address, a JSON object with an identity's members, or `@file` with such an object.

    `groups` are names or objects `{id, name, email}`. A person with an e-mail address and no id counts as logged in.

    Raises:
        CommandError: `text` cannot be read as an identity.
    """
    if text.startswith("@"):
        must_exist(Path(text[1:]))
        try:
            text = read_text(Path(text[1:]), largest=MAX_BYTES)
        except InputError as error:
            raise CommandError(f"--identity: {error}") from error
    if not text.lstrip().startswith("{"):
        return Identity(id=text, email=text if "@" in text else "") if text else Identity()
    try:
        members = json.loads(text)
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
    """A member of an identity from JSON. Raises TypeError or ValueError for a value of a wrong type."""
    if name == "groups":
        return tuple(IdentityGroup(name=one) if isinstance(one, str) else IdentityGroup(**one) for one in value)
    if name in _LISTS:
        return tuple(value)
    expected = str if name in _TEXTS or name == "service_token_id" else bool if name == "certificate" else dict
    if not isinstance(value, expected):
        raise ValueError(f"{name} must be {_KINDS[expected]}")
    return value


def tools_in_document(document: AccessDocument) -> Tools:
    """The tools that a document names, by server, without annotations."""
    portal = {server.server_id: server for server in document.portal.servers}
    tools: dict[str, dict[str, Mapping[str, object]]] = {}
    for server in document.servers:
        names = [setting.name for setting in server.updated_tools]
        if server.id in portal:
            names += [setting.name for setting in portal[server.id].updated_tools]
        policies = [policy.tools for policy in (*server.tool_policies, *document.portal.tool_policies)]
        about = (tools for tools in policies if not tools.servers or server.id in tools.servers)
        names += [name for tools in about for name in tools.names if not set(name) & {"*", "?"}]
        tools[server.id] = {name: {} for name in names}
    return tools


async def snapshot_of_servers(config: Config, stderr: Console) -> Snapshot:
    """What the configured servers list now."""
    async with connect(config, stderr) as session:
        return session.snapshot


def tools_in(snapshot: Snapshot) -> Tools:
    """The tools in a snapshot with their annotations."""
    return {
        server.id: {str(tool["name"]): _annotations(tool) for tool in server.tools}
        for server in snapshot.servers.values()
    }


def _annotations(tool: Mapping[str, object]) -> Mapping[str, object]:
    annotations = tool.get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def merge_tools(named: Tools, listed: Tools) -> Tools:
    """All tools of both. The annotations of listed tools are known, so they win."""
    return {server: {**named.get(server, {}), **listed.get(server, {})} for server in {**named, **listed}}


def decide_call(access: Access, identity: Identity, query: PolicyQuery, tools: Tools) -> CallJson:
    """The decision about the call of a query. Raises `CommandError` if the call or its arguments cannot be read."""
    server, dot, tool = str(query.call).partition(".")
    if not dot or not tool:
        raise CommandError(f"--call {query.call} names no tool; write SERVER.TOOL")
    try:
        arguments = json.loads(query.arguments)
    except json.JSONDecodeError as error:
        raise CommandError(f"--arguments is not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise CommandError("--arguments must be a JSON object")
    annotations = tools.get(server, {}).get(tool, {})
    return {
        "server": server,
        "tool": tool,
        **decision_json(access.tool(identity, server, tool, annotations, arguments)),
    }


def decisions(access: Access, identity: Identity, tools: Tools, snapshot: Snapshot | None = None) -> DecisionsJson:
    """The decisions about an identity: for the portal, each server and each tool, as `portal.access` explains, and the
    names under which a client would have the tools of the snapshot."""
    standing = access.standing(identity)
    found, seen = explain(standing, tools), _seen(snapshot or Snapshot(), standing)
    return {
        "portal": {**decision_json(found.decision), "considered": considered_json(found.considered)},
        "servers": {
            id: {
                **decision_json(server.decision),
                "considered": considered_json(server.considered),
                "tools": {tool: _tool_json(decision, seen.get((id, tool))) for tool, decision in server.tools.items()},
            }
            for id, server in found.servers.items()
        },
        "warnings": list(found.warnings),
    }


def _seen(snapshot: Snapshot, standing: Standing) -> Mapping[tuple[str, str], ToolSight]:
    """What a client would see of each tool that a server lists."""
    sight = sight_in(snapshot, standing)
    return {(server.id, tool.name): tool for server in sight.servers for tool in server.tools}


def _tool_json(decision: Decision, seen: ToolSight | None) -> ToolJson:
    found: ToolJson = {
        "effect": decision.effect,
        "reason": decision.reason if seen is None else seen.reason,
        "policy": decision.policy,
        "policy_name": decision.policy_name,
    }
    if seen is not None:
        found["listed_as"], found["hidden_by"] = seen.listed_as, seen.hidden_by
    return found


def decision_json(decision: Decision) -> DecisionJson:
    return {
        "effect": decision.effect,
        "reason": decision.reason,
        "policy": decision.policy,
        "policy_name": decision.policy_name,
    }


def considered_json(policies: Iterable[PolicyOutcome]) -> list[ConsideredJson]:
    words = {True: "matches", False: "does not match", None: "cannot be known"}
    return [
        {
            "policy": one.policy,
            "name": one.name,
            "decision": one.decision,
            "outcome": words[one.outcome],
            "why": one.why,
            "rules": [
                {"part": rule.part, "rule": rule.rule, "outcome": words[rule.outcome], "problem": rule.problem}
                for rule in one.rules
            ],
        }
        for one in policies
    ]


def render(report: DecisionsJson, identity: Identity) -> RenderableType:
    """A table for people: a line for the portal, each server and each tool, with the policies that were considered."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    def line(name: str, decision: DecisionJson, *, bold: bool = False) -> None:
        style = "green" if decision["effect"] == "allow" else "red"
        table.add_row(
            Text(name, style="bold" if bold else ""), Text(decision["effect"], style=style), decision["reason"]
        )

    def policies(place: PortalJson) -> None:
        for one in place["considered"]:
            what = f"{one['decision']} {one['name'] or one['policy']}: {one['outcome']} ({one['why']})"
            table.add_row("", "", Text(what, style="dim"))

    line("portal", report["portal"], bold=True)
    policies(report["portal"])
    for server, place in report["servers"].items():
        line(server, place, bold=True)
        policies(place)
        if place["effect"] == "allow":
            for tool, decision in place["tools"].items():
                line(f"  {tool}", decision)
    if "call" in report:
        line(f"call {report['call']['server']}.{report['call']['tool']}", report["call"], bold=True)
    warnings = [Text(f"warning: {warning}", style="yellow") for warning in report["warnings"]]
    return Group(Text(f"{identity.label}", style="bold"), table, *warnings)
