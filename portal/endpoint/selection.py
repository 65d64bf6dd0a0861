"""The part of the servers that one caller may use by the access policies, under the portal's aliases.

Pure, in two steps. A `CuratedServer` is a server with a portal's aliases and descriptions. It is the same for all
callers, and for all portals with the same settings. A `Selection` says which of its tools and prompts one caller has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any
from weakref import WeakValueDictionary

import stubs
from codemode import Catalog, CatalogServer
from portal.access import Capabilities, DisplaySetting, ServerView, Standing, ToolList
from portal.bounded import Bounded
from portal.endpoint.aggregate import Part, RawNames, ServerLists
from portal.servers import ServerSnapshot, Snapshot

_UNCHANGED = Capabilities({}, DisplaySetting())
_MAX_CURATED = 4_096


class CuratedServer:
    """A server with a portal's aliases and descriptions, and all its tools and prompts. Its content never changes."""

    def __init__(self, server: ServerSnapshot, tools: Capabilities, prompts: Capabilities) -> None:
        """`tools` and `prompts` have the aliases and descriptions. Disabled tools and prompts are not left out here."""
        named_tools, named_prompts = _curated(server.tools, tools), _curated(server.prompts, prompts)
        self.listing = (server.id, server.listing.digest, server.prefix, _renamings(tools), _renamings(prompts))
        """Equal for servers with the same lists."""
        self.id = server.id
        self.prefix = server.prefix
        self.tools = tuple(definition for definition, _ in named_tools)
        self.prompts = tuple(definition for definition, _ in named_prompts)
        self.resources = server.resources
        self.resource_templates = server.resource_templates
        self.lists = ServerLists(self, _aliases(server.id, named_tools), _aliases(server.id, named_prompts))
        self.raw_tools = ToolList(server.id, tuple((raw, _annotations(item)) for item, raw in named_tools))
        self.raw_prompts = tuple(raw for _, raw in named_prompts)
        self.catalog = server.catalog if self.tools == server.tools else CatalogServer(_offer(server, self.tools))

    def part(self, tools: bytes | None) -> tuple[CatalogServer, bytes | None]:
        """The same tools for a catalog, which has a tool once even if the server lists it twice."""
        if tools is None or len(self.tools) == len(self.catalog.tools):
            return self.catalog, tools
        return self.catalog, self.catalog.visible(item["name"] for item in compress(self.tools, tools))


class Curated:
    """The curated servers of all portals of an instance, by content."""

    def __init__(self) -> None:
        self._servers: WeakValueDictionary[object, CuratedServer] = WeakValueDictionary()
        # Keeps the most recently used while no view holds them.
        self._recent: Bounded[object, CuratedServer] = Bounded(_MAX_CURATED)

    def of(self, server: ServerSnapshot, tools: Capabilities, prompts: Capabilities) -> CuratedServer:
        key = (server.catalog, server.listing.digest, server.prefix, _renamings(tools), _renamings(prompts))
        curated_server = self._servers.get(key)
        if curated_server is None:
            curated_server = self._servers[key] = CuratedServer(server, tools, prompts)
        self._recent[key] = curated_server
        return curated_server


@dataclass(frozen=True, slots=True)
class SelectedServer:
    """A server with the tools and prompts that a caller has: a byte for each, or None for all of them.

    `state` has as pending only what the caller would have after an approval.
    """

    server: CuratedServer
    state: ServerSnapshot
    tools: bytes | None = None
    prompts: bytes | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The servers that a caller has, in the order of the configuration.

    `is_part` says that policies leave something out, which other callers may have. `hidden` are the servers of the
    portal that the caller does not have, `others` those of them whose names some of these tools and prompts would take.
    """

    servers: Mapping[str, SelectedServer] = field(default_factory=dict)
    is_part: bool = False
    others: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()

    @property
    def content(self) -> object:
        """Equal for selections that are the same for clients and programs."""
        listed = self.listing, tuple(server.server.catalog for server in self._listed())
        missing = (tuple(sorted(self.unavailable().items())), tuple(sorted(self.pending().items())), self.hidden)
        return (listed, self.is_part, missing)

    @property
    def listing(self) -> object:
        """Equal for selections with the same lists."""
        return self.others, tuple((server.server.listing, server.tools, server.prompts) for server in self._listed())

    @property
    def raw_tools(self) -> RawNames:
        """Raw names by (server, alias), for tools that have an alias."""
        return {key: raw for server in self.servers.values() for key, raw in server.server.lists.raw_tools.items()}

    def aggregate_parts(self) -> list[Part]:
        return [(server.server.lists, server.tools, server.prompts) for server in self.servers.values()]

    def catalog(self) -> Catalog:
        """The catalog of the servers that have a listing."""
        parts = [server.server.part(server.tools) for server in self._listed()]
        return Catalog.of(parts, self.unavailable(), self.pending(), is_part=self.is_part, others=self.hidden)

    def unavailable(self) -> dict[str, str]:
        """The reason why each of the other servers is unavailable, by id."""
        return self._states().unavailable()

    def pending(self) -> dict[tuple[str, str], str]:
        """The reason why tools that wait for approval are unavailable, by server and raw name."""
        return self._states().pending()

    def _states(self) -> Snapshot:
        return Snapshot(servers={name: server.state for name, server in self.servers.items()})

    def _listed(self) -> Iterable[SelectedServer]:
        return (server for server in self.servers.values() if server.state.listed)


def select_all(snapshot: Snapshot, curated: Curated) -> Selection:
    """The selection of everything in a snapshot."""
    return Selection(
        {
            name: SelectedServer(curated.of(server, _UNCHANGED, _UNCHANGED), server)
            for name, server in snapshot.servers.items()
        }
    )


def select(snapshot: Snapshot, standing: Standing, curated: Curated, off: frozenset[str] = frozenset()) -> Selection:
    """The part of a snapshot for the caller of `standing`, who has turned some servers off."""
    servers: dict[str, SelectedServer] = {}
    is_part = False
    denied: set[str] = set()
    for name, server in snapshot.servers.items():
        if not standing.server(name).allowed:
            if standing.access.has_server(name):
                is_part = True
                denied.add(name)
            continue
        server = server.turned_off if name in off else server
        settings = standing.view(name)
        curated_server = curated.of(server, settings.tools, settings.prompts)
        tools, hidden = standing.tools(curated_server.raw_tools)
        is_part = is_part or hidden
        prompts = bytes(settings.prompts.of(raw).enabled for raw in curated_server.raw_prompts)
        state = _with_usable_pending(server, settings)
        servers[name] = SelectedServer(curated_server, state, tools, None if all(prompts) else prompts)
    others: frozenset[str] = frozenset()
    if denied:
        others = frozenset().union(*(server.server.lists.first_words for server in servers.values())) & denied
    return Selection(servers, is_part, others, frozenset(denied))


def _with_usable_pending(server: ServerSnapshot, settings: ServerView) -> ServerSnapshot:
    """The server without the pending tools and prompts that this caller could not use after an approval either."""
    if not server.pending:
        return server
    pending = tuple(
        item
        for item in server.pending
        if (settings.shows(item.name, {}) if item.kind == "tool" else settings.prompts.of(item.name).enabled)
    )
    return replace(server, pending=pending)


def _renamings(settings: Capabilities) -> object:
    """The settings that have an alias or description."""
    changed = ((name, setting.alias, setting.description) for name, setting in settings.settings.items())
    return frozenset(setting for setting in changed if setting[1:] != (None, None))


def _curated(items: Iterable[Mapping[str, Any]], settings: Capabilities) -> list[tuple[Mapping[str, Any], str]]:
    """The definitions of a list with the settings applied, each with its raw name.

    If two have the same alias, the first enabled one gets it and the other keeps its name.
    """
    listed = list(items)
    taken = {item["name"] for item in listed}
    curated: list[tuple[Mapping[str, Any], str]] = []
    for item in listed:
        raw = item["name"]
        setting = settings.of(raw)
        alias = setting.alias if setting.enabled and setting.alias not in taken else None
        if alias is not None:
            taken.add(alias)
        curated.append((_definition(item, setting, alias), raw))
    return curated


def _definition(item: Mapping[str, Any], setting: DisplaySetting, alias: str | None) -> Mapping[str, Any]:
    """The definition with the setting applied; the same object if it changes nothing."""
    if alias is None and setting.description is None:
        return item
    description = {} if setting.description is None else {"description": setting.description}
    return {**item, "name": alias or item["name"], **description}


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    annotations = item.get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def _aliases(server: str, named: Iterable[tuple[Mapping[str, Any], str]]) -> Mapping[tuple[str, str], str]:
    return {(server, item["name"]): raw for item, raw in named if item["name"] != raw}


def _offer(server: ServerSnapshot, tools: tuple[Mapping[str, Any], ...]) -> stubs.Server:
    offered = tuple(map(_stub, server.offer.tools, tools))
    return replace(server.offer, tools=offered)


def _stub(tool: stubs.Tool, item: Mapping[str, Any]) -> stubs.Tool:
    description = item.get("description")
    if item["name"] == tool.name and description == tool.description:
        return tool
    return replace(tool, name=item["name"], description=description if isinstance(description, str) else None)
