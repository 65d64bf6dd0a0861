"""The part of a snapshot that the access policies give one caller: its servers, tools and prompts, under their aliases.

Pure. The part is a snapshot like any other, so lists, catalogs and searches are made of it in the same way.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import stubs
from portal.access import Capabilities, ServerView, Shown, Standing
from portal.endpoint.aggregate import RawNames
from portal.servers import ServerSnapshot, Snapshot


@dataclass(frozen=True, slots=True)
class Selection:
    """`tools` and `prompts` are raw names by (server, alias), for those that have an alias."""

    snapshot: Snapshot
    tools: RawNames = field(default_factory=dict)
    prompts: RawNames = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Item:
    """A tool or prompt: its index in the server's list, its definition for the caller, its raw name."""

    index: int
    definition: Mapping[str, Any]
    raw: str

    @property
    def name(self) -> str:
        name: str = self.definition["name"]
        return name


def select(snapshot: Snapshot, standing: Standing) -> Selection:
    """The part of a snapshot for the caller of `standing`."""
    servers: dict[str, ServerSnapshot] = {}
    raw_tools: dict[tuple[str, str], str] = {}
    raw_prompts: dict[tuple[str, str], str] = {}
    for identifier, server in snapshot.servers.items():
        if not standing.server(identifier).allowed:
            continue
        settings = standing.view(identifier)
        tools = _select(server.tools, settings.tools, settings)
        prompts = _select(server.prompts, settings.prompts, None)
        servers[identifier] = _select_unapproved(_server(server, tools, prompts), settings)
        raw_tools.update({(identifier, item.name): item.raw for item in tools if item.name != item.raw})
        raw_prompts.update({(identifier, item.name): item.raw for item in prompts if item.name != item.raw})
    return Selection(Snapshot(version=snapshot.version, servers=servers), raw_tools, raw_prompts)


def _select(items: Iterable[Mapping[str, Any]], settings: Capabilities, tools: ServerView | None) -> list[_Item]:
    """The items of a list that are enabled. If two have the same alias, the first gets it and the other keeps its name.

    `tools` is given for tools, about which policies decide one by one.
    """
    listed = list(items)
    taken = {item["name"] for item in listed}
    selected: list[_Item] = []
    for index, item in enumerate(listed):
        raw = item["name"]
        setting = settings.of(raw)
        if not setting.enabled or (tools is not None and not tools.shows(raw, _annotations(item))):
            continue
        alias = setting.alias if setting.alias is not None and setting.alias not in taken else None
        if alias is not None:
            taken.add(alias)
        selected.append(_Item(index, _definition(item, setting, alias), raw))
    return selected


def _definition(item: Mapping[str, Any], setting: Shown, alias: str | None) -> Mapping[str, Any]:
    """The same object if the settings change nothing."""
    if alias is None and setting.description is None:
        return item
    description = {} if setting.description is None else {"description": setting.description}
    return {**item, "name": alias or item["name"], **description}


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    annotations = item.get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def _server(server: ServerSnapshot, tools: list[_Item], prompts: list[_Item]) -> ServerSnapshot:
    """The same object if none of its tools and prompts is hidden or changed."""
    tool_list = tuple(item.definition for item in tools)
    prompt_list = tuple(item.definition for item in prompts)
    if _same(tool_list, server.tools) and _same(prompt_list, server.prompts):
        return server
    listing = replace(
        server.listing,
        tools=tool_list,
        prompts=prompt_list,
        digest=_digest(server.listing.digest, tools, prompts),
        by_name={item.name: item.definition for item in tools},
    )
    offered = tuple(_stub(server.offer.tools[item.index], item) for item in tools)
    learned = {item.name: server.learned[item.raw] for item in tools if item.raw in server.learned}
    return replace(server, listing=listing, offer=replace(server.offer, tools=offered), learned=learned)


def _select_unapproved(server: ServerSnapshot, settings: ServerView) -> ServerSnapshot:
    """Leaves out the unapproved tools and prompts that this caller could not use after an approval either."""
    if not server.pending:
        return server
    capabilities = {"tool": settings.tools, "prompt": settings.prompts}
    enabled = (item for item in server.pending if capabilities[item.kind].of(item.name).enabled)
    return replace(
        server, pending=tuple(item for item in enabled if item.kind == "prompt" or settings.shows(item.name, {}))
    )


def _stub(tool: stubs.Tool, item: _Item) -> stubs.Tool:
    if item.name == tool.name and item.definition.get("description") == tool.description:
        return tool
    description = item.definition.get("description")
    return replace(tool, name=item.name, description=description if isinstance(description, str) else None)


def _same(selected: tuple[Mapping[str, Any], ...], whole: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether they are the same objects."""
    return len(selected) == len(whole) and all(one is other for one, other in zip(selected, whole, strict=True))


def _digest(whole: str, tools: list[_Item], prompts: list[_Item]) -> str:
    """The digest of a part: that of the whole, with what the settings leave and change. "" if it was never read."""
    if not whole:
        return ""
    digest = hashlib.sha256(whole.encode())
    for items in (tools, prompts):
        digest.update(b"\n\n")
        for item in items:
            description = item.definition.get("description")
            parts = (item.raw, item.name, description if isinstance(description, str) else "")
            digest.update("\0".join(parts).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
