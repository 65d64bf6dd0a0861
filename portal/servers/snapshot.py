"""What all servers offer at one moment: immutable, replaced as a whole, so that whoever holds one sees no change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import orjson

import stubs
from portal.config import HttpServer, ServerConfig, advice, programs_taken
from portal.pins import Withheld
from portal.upstream import Listing, State


class Outputs(Protocol):
    """Knows what tools return that do not say so themselves."""

    def of(self, server: str, tools: Iterable[Mapping[str, object]]) -> Mapping[str, stubs.Schema]:
        """Output schemas by raw name, of those tools of a server of which something is known."""


@dataclass(frozen=True, kw_only=True)
class ServerSnapshot:
    """One server. `state`, `reason` and `status` as in `upstream.Connection`; `since` is when the state began,
    `retry_at` when connecting is tried again (Unix times).

    `offer` is the listing as the catalog wants it, with output types that were `learned` where none is declared, by
    raw name of the tool. Of a pinned server `listing` is without what waits for approval, which is `withheld`.
    """

    id: str
    config: ServerConfig
    state: State = "waiting"
    reason: str | None = None
    status: int | None = None
    since: float = 0.0
    retry_at: float | None = None
    listing: Listing = field(default_factory=Listing)
    offer: stubs.Server = field(repr=False)
    learned: Mapping[str, stubs.Schema] = field(default_factory=dict, repr=False)
    withheld: tuple[Withheld, ...] = ()

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def description(self) -> str | None:
        return self.offer.description

    @property
    def transport(self) -> str:
        return self.config.transport_name

    @property
    def prefix(self) -> bool:
        """Whether its tools are listed as `{server}_{tool}`; else by their raw names."""
        return self.config.prefix

    @property
    def protocol(self) -> str | None:
        return self.listing.protocol

    @property
    def tools(self) -> tuple[Mapping[str, object], ...]:
        return self.listing.tools

    @property
    def prompts(self) -> tuple[Mapping[str, object], ...]:
        return self.listing.prompts

    @property
    def resources(self) -> tuple[Mapping[str, object], ...]:
        return self.listing.resources

    @property
    def resource_templates(self) -> tuple[Mapping[str, object], ...]:
        return self.listing.resource_templates

    @property
    def listed(self) -> bool:
        """Whether it was ever read: then it has something to offer, even while it is away."""
        return bool(self.listing.digest)

    @cached_property
    def own_code_mode(self) -> str | None:
        """What to tell the operator when the server is in code mode itself, whose tools are then out of sight."""
        url = self.config.url if isinstance(self.config, HttpServer) else None
        return advice(programs_taken(self.tools), url, self.config.code_mode_upstream)

    def tool(self, name: str) -> Mapping[str, object] | None:
        """The raw tool with this raw name."""
        return self.listing.by_name.get(name)

    def unapproved(self, kind: str, name: str) -> str | None:
        """Why a pinned server's tool or prompt may not be called, as a sentence; None when it may."""
        if not self.config.pin:
            return None
        for waits in self.withheld:
            if (waits.kind, waits.name) == (kind, name):
                return waits.notice
        listed = name in self.listing.by_name if kind == "tool" else any(one["name"] == name for one in self.prompts)
        return None if listed else f"This {kind} is not among those of the pinned server {self.id!r}."


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All enabled servers, in document order. `version` counts the snapshots of one registry."""

    version: int = 0
    servers: Mapping[str, ServerSnapshot] = field(default_factory=dict)

    def catalog_servers(self) -> tuple[stubs.Server, ...]:
        """The servers with something to offer, for `codemode.Catalog.build`."""
        return self._offers

    def unavailable(self) -> dict[str, str]:
        """Why each of the other servers has nothing to offer."""
        return {server.id: server.reason or "still connecting" for server in self.servers.values() if not server.listed}

    def withheld(self) -> dict[tuple[str, str], str]:
        """Why tools are not there that their pinned servers list, by server and raw name."""
        waiting = ((server.id, waits) for server in self.servers.values() for waits in server.withheld)
        return {(server, waits.name): waits.notice for server, waits in waiting if waits.kind == "tool"}

    @cached_property
    def content_id(self) -> str:
        """A hash of everything a client can list: unchanged while only states and reasons change."""
        digest = hashlib.sha256()
        for server in self.servers.values():
            if server.listed:
                parts = (server.id, server.name, server.description or "", str(server.prefix), server.listing.digest)
                digest.update("\0".join(parts).encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def catalog_id(self) -> str:
        """A hash of everything a program can see: what is listed, and what was learned of it."""
        learned = {server.id: dict(server.learned) for server in self.servers.values() if server.listed}
        return hashlib.sha256(self.content_id.encode() + _encoded(learned)).hexdigest()

    @cached_property
    def _offers(self) -> tuple[stubs.Server, ...]:
        return tuple(server.offer for server in self.servers.values() if server.listed)


def offer_of(config: ServerConfig, listing: Listing, learned: Mapping[str, stubs.Schema] | None = None) -> stubs.Server:
    """A listing as stubs and search want it. Total: what has the wrong type is left out."""
    learned = learned or {}
    info = listing.server_info
    described = config.description or _text(info.get("description")) or listing.instructions
    return stubs.Server(
        id=config.id,
        name=_text(info.get("title")) or config.name,
        description=described,
        tools=tuple(_tool(tool, learned.get(tool["name"])) for tool in listing.tools),
    )


def _tool(raw: Mapping[str, object], learned: stubs.Schema | None) -> stubs.Tool:
    annotations = raw.get("annotations")
    title = _text(raw.get("title"))
    if title is None and isinstance(annotations, dict):
        title = _text(annotations.get("title"))
    declared = raw.get("outputSchema")
    output = declared if isinstance(declared, dict | bool) else None
    given = raw.get("inputSchema")
    return stubs.Tool(
        name=str(raw["name"]),
        title=title,
        description=_text(raw.get("description")),
        input_schema=given if isinstance(given, dict | bool) else {"type": "object"},
        output_schema=learned if output is None else output,
        annotations=annotations if isinstance(annotations, dict) else {},
        output_inferred=output is None and learned is not None,
    )


def _encoded(learned: Mapping[str, Mapping[str, stubs.Schema]]) -> bytes:
    """The same bytes for the same shapes."""
    return orjson.dumps(learned, option=orjson.OPT_SORT_KEYS)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
