"""The snapshot of what all servers offer: immutable, and replaced as a whole, so that its holders see no change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import orjson

import stubs
from codemode import Catalog, CatalogServer
from portal.config import HttpServer, OpenApiServer, ServerConfig, advice, programs_taken
from portal.exact import within_64_bits
from portal.pins import PendingDefinition
from portal.upstream import Listing, State


class LearnedOutputs(Protocol):
    """The output types of tools that declare none."""

    def of(self, server: str, tools: Iterable[Mapping[str, object]]) -> Mapping[str, stubs.Schema]:
        """Output schemas by raw tool name. A tool without a known output type is left out."""


@dataclass(frozen=True, kw_only=True)
class ServerSnapshot:
    """One server. `state`, `reason` and `status` are those of `upstream.Connection`. `since` is the time the state
    began, `retry_at` the time of the next attempt to connect (Unix times).

    `catalog` is the listing in the catalog's form. `learned` has output schemas by raw tool name, which `catalog` uses
    for tools that declare none. If the server is pinned, `listing` has only approved definitions, and `pending` has
    those that wait for approval. With `wants_login` it shows nothing because this person has no login at it
    that serves.
    """

    id: str
    config: ServerConfig
    state: State = "waiting"
    reason: str | None = None
    status: int | None = None
    since: float = 0.0
    retry_at: float | None = None
    listing: Listing = field(default_factory=Listing)
    catalog: CatalogServer = field(repr=False)
    learned: Mapping[str, stubs.Schema] = field(default_factory=dict, repr=False)
    pending: tuple[PendingDefinition, ...] = ()
    wants_login: bool = False

    @property
    def offer(self) -> stubs.Server:
        return self.catalog.server

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
        """Whether its tools are listed as `{server}_{tool}`. If False, they are listed by their raw names."""
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
    def notices(self) -> tuple[str, ...]:
        """Lines about what is left out of its lists, or of the document of an API, and how many more there are."""
        lines, count = self.listing.skipped, self.listing.skipped_count
        return (*lines, f"and {count - len(lines):,} more") if count > len(lines) else lines

    @property
    def listed(self) -> bool:
        """Whether its lists were ever read. If so, they are offered even while the server is away."""
        return bool(self.listing.digest)

    @property
    def absence(self) -> str:
        """Why a server that was never `listed` is not available: a part of a sentence, for people and agents."""
        return self.reason or "still connecting, and its list of tools has not come yet; try again in a few seconds"

    @cached_property
    def own_code_mode(self) -> str | None:
        """Advice for the operator if the server is in code mode itself, which hides its tools; None if it is not."""
        if isinstance(self.config, OpenApiServer):
            return None
        url = self.config.url if isinstance(self.config, HttpServer) else None
        return advice(programs_taken(self.tools), url, self.config.code_mode_upstream)

    @cached_property
    def turned_off(self) -> ServerSnapshot:
        """The same server for a person who has turned it off: nothing is listed, and the reason says so."""
        how = f'codemode.portal.enable("{self.id}") in a program, or the tool portal_toggle_single_server, turns it on'
        unlisted = Listing()
        return replace(
            self,
            state="error",
            reason=f"you have turned it off; {how}",
            status=None,
            retry_at=None,
            listing=unlisted,
            catalog=CatalogServer(offer_of(self.config, unlisted)),
            learned={},
            pending=(),
            wants_login=False,
        )

    def tool(self, name: str) -> Mapping[str, object] | None:
        """The raw tool with this raw name."""
        return self.listing.by_name.get(name)

    def unapproved(self, kind: str, name: str) -> str | None:
        """The reason a pinned server's tool or prompt may not be called, as a sentence; None if it may be called."""
        if not self.config.pin:
            return None
        for definition in self.pending:
            if (definition.kind, definition.name) == (kind, name):
                return definition.notice
        names = self.listing.by_name if kind == "tool" else {prompt["name"] for prompt in self.prompts}
        return None if name in names else f"This {kind} is not among those of the pinned server {self.id!r}."


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All enabled servers, in document order. `version` counts the snapshots of one registry."""

    version: int = 0
    servers: Mapping[str, ServerSnapshot] = field(default_factory=dict)

    def catalog(self) -> Catalog:
        """The catalog of the servers with something to offer."""
        parts = [(server.catalog, None) for server in self.servers.values() if server.listed]
        return Catalog.of(parts, self.unavailable(), self.pending(), is_part=False)

    def catalog_servers(self) -> tuple[stubs.Server, ...]:
        """The servers whose lists were read."""
        return self._offers

    def unavailable(self) -> dict[str, str]:
        """The reason by server id, for each server whose lists were never read."""
        return {server.id: server.absence for server in self.servers.values() if not server.listed}

    def pending(self) -> dict[tuple[str, str], str]:
        """The notices of tools that wait for approval, by server id and raw tool name."""
        pending = ((server.id, definition) for server in self.servers.values() for definition in server.pending)
        return {(server, tool.name): tool.notice for server, tool in pending if tool.kind == "tool"}

    @cached_property
    def connecting(self) -> frozenset[str]:
        """The ids of the servers whose first attempt to connect and to read their lists has not ended yet."""
        return frozenset(server.id for server in self.servers.values() if server.state == "waiting")

    @cached_property
    def wanting_login(self) -> frozenset[str]:
        """The ids of the servers that show nothing before a login."""
        return frozenset(server.id for server in self.servers.values() if server.wants_login)

    @cached_property
    def content_id(self) -> str:
        """A hash of everything a client can list. It stays the same while only states and reasons change."""
        digest = hashlib.sha256()
        for server in self.servers.values():
            if server.listed:
                parts = (server.id, server.name, server.description or "", str(server.prefix), server.listing.digest)
                digest.update("\0".join(parts).encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def catalog_id(self) -> str:
        """A hash of everything a program can see: the listings and the learned output types."""
        learned = {server.id: dict(server.learned) for server in self.servers.values() if server.listed}
        return hashlib.sha256(self.content_id.encode() + _encoded(learned)).hexdigest()

    @cached_property
    def _offers(self) -> tuple[stubs.Server, ...]:
        return tuple(server.offer for server in self.servers.values() if server.listed)


def tools_by_server(catalog: Catalog) -> dict[str, list[dict[str, object]]]:
    """The tools of a catalog as `codemode.tools` has them, by the id of their server.

    A program may have to call a server by another name: `search` is a function of `codemode`.
    """
    tools: dict[str, list[dict[str, object]]] = {}
    for tool in catalog.tools():
        tools.setdefault(tool["server"], []).append(tool)
    return tools


def offer_of(config: ServerConfig, listing: Listing, learned: Mapping[str, stubs.Schema] | None = None) -> stubs.Server:
    """A listing in the form for stubs and search. Members of a wrong type are left out; nothing is raised."""
    learned = learned or {}
    info = listing.server_info
    described = config.description or _text(info.get("description")) or listing.instructions
    return stubs.Server(
        id=config.id,
        name=_text(info.get("title")) or config.name,
        description=described,
        tools=tuple(_tool(tool, learned.get(str(tool["name"]))) for tool in listing.tools),
    )


def _tool(raw: Mapping[str, object], learned: stubs.Schema | None) -> stubs.Tool:
    annotations = raw.get("annotations")
    title = _text(raw.get("title"))
    if title is None and isinstance(annotations, dict):
        title = _text(annotations.get("title"))
    declared = raw.get("outputSchema")
    output = declared if isinstance(declared, dict | bool) else None
    input_schema = raw.get("inputSchema")
    return stubs.Tool(
        name=str(raw["name"]),
        title=title,
        description=_text(raw.get("description")),
        input_schema=within_64_bits(input_schema) if isinstance(input_schema, dict | bool) else {"type": "object"},
        output_schema=learned if output is None else within_64_bits(output),
        annotations=within_64_bits(annotations) if isinstance(annotations, dict) else {},
        output_inferred=output is None and learned is not None,
    )


def _encoded(learned: Mapping[str, Mapping[str, stubs.Schema]]) -> bytes:
    """Equal bytes for equal schemas."""
    return orjson.dumps(learned, option=orjson.OPT_SORT_KEYS)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
