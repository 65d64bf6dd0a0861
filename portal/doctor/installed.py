"""Checks of the MCP clients of this machine: those that have the portal have it where it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from portal.app import OwnAddress, leads_to
from portal.clients import FoundClient, Machine, carry, find_clients
from portal.config import Config, HttpServer
from portal.doctor.findings import Diagnosis, notice, ok, trouble
from portal.http import is_loopback

_MOST_CLIENTS = 50


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What a client of this machine has. `named` is the entry that leads here, "" without one; `astray` is an entry
    that looks like one and leads elsewhere, and why."""

    client: str
    title: str
    file: str
    problem: str = ""
    named: str = ""
    astray: str = ""
    why: str = ""


def client_facts(config: Config, machine: Machine) -> Sequence[ClientFacts]:
    """Read the documents of the clients."""
    own = OwnAddress.of(config, names=(socket.gethostname(),), document=config.file)
    paths = frozenset(path.rstrip("/") for path in own.paths)
    return [_facts(one, machine, own, paths) for one in find_clients(machine)[:_MOST_CLIENTS]]


def _facts(found: FoundClient, machine: Machine, own: OwnAddress, paths: frozenset[str]) -> ClientFacts:
    named = astray = why = ""
    for server in found.servers:
        config = carry(server, machine).config
        if config is None:
            continue
        wrong = gone_astray(config.url, server.name, own, paths) if isinstance(config, HttpServer) else ""
        if wrong:
            astray, why = server.name, wrong
        elif leads_to(config, own):
            named = server.name
    return ClientFacts(found.client.id, found.client.title, str(found.file.path), found.problem, named, astray, why)


def gone_astray(url: str, name: str, own: OwnAddress, paths: frozenset[str]) -> str:
    """Why an address that was meant to be the portal's is not, "" if it is, or was not meant to be. Pure."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return ""
    host = parts.hostname or ""
    here = own.listens_at(host, port)
    path = parts.path.rstrip("/")
    if here and path not in paths:
        return f"its path is {path or '/'}, and the portal's is {sorted(paths)[0] or '/'}"
    meant = "codemode" in parts.query or "codemode" in name.lower()
    if not here and meant and is_loopback(host) and own.port and path in paths and not _is_public(parts, own):
        return f"its port is {port}, and the portal's is {own.port}"
    return ""


def _is_public(parts: SplitResult, own: OwnAddress) -> bool:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return ((parts.hostname or "").rstrip("."), port) in own.public


def client_findings(facts: Sequence[ClientFacts]) -> Iterator[Diagnosis]:
    """Everything about the clients. Pure."""
    connected = 0
    for one in facts:
        if one.problem:
            fix = f"correct {one.file}"
            yield notice("clients.file", one.client, one.problem, fix)
        elif one.astray:
            text = f"{one.title} has `{one.astray}` in {one.file}, and it does not lead to this portal: {one.why}."
            yield trouble("clients.portal", one.client, text, f"codemode connect {one.client}")
        elif one.named:
            connected += 1
            yield ok("clients.portal", one.client, f"{one.title} has the portal, as `{one.named}`.")
    if facts and not connected and not any(one.astray for one in facts):
        names = ", ".join(dict.fromkeys(one.title for one in facts))
        text = f"No client of this machine has the portal; there are: {names}."
        yield notice("clients.portal", "clients", text, f"codemode connect {facts[0].client}")
