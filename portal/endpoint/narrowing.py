"""What is left of a snapshot for one caller: servers, tools and prompts a policy gives, under the names set for them.

Pure. The result is a snapshot like any other, so lists, catalogs and searches are made of it as they are of the whole.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import stubs
from portal.access import Capabilities, ServerView, Shown, Standing
from portal.servers import ServerSnapshot, Snapshot

Names = Mapping[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Narrowed:
    """`tools` and `prompts` are raw names by (server, shown name), of those that are shown under another one."""

    snapshot: Snapshot
    tools: Names = field(default_factory=dict)
    prompts: Names = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Kept:
    """One capability: its place in the server's list, its definition as shown, its raw name."""

    place: int
    definition: Mapping[str, Any]
    raw: str

    @property
    def name(self) -> str:
        name: str = self.definition["name"]
        return name


def narrowed(snapshot: Snapshot, standing: Standing) -> Narrowed:
    """What the caller of `standing` is shown of a snapshot."""
    servers: dict[str, ServerSnapshot] = {}
    tools: dict[tuple[str, str], str] = {}
    prompts: dict[tuple[str, str], str] = {}
    for identifier, server in snapshot.servers.items():
        if not standing.server(identifier).allowed:
            continue
        view = standing.view(identifier)
        kept_tools = _kept(server.tools, view.tools, view)
        kept_prompts = _kept(server.prompts, view.prompts, None)
        servers[identifier] = _withheld(_server(server, kept_tools, kept_prompts), view)
        tools.update({(identifier, one.name): one.raw for one in kept_tools if one.name != one.raw})
        prompts.update({(identifier, one.name): one.raw for one in kept_prompts if one.name != one.raw})
    return Narrowed(Snapshot(version=snapshot.version, servers=servers), tools, prompts)


def _kept(items: Iterable[Mapping[str, Any]], settings: Capabilities, view: ServerView | None) -> list[_Kept]:
    """Those of a list that are shown. Whoever is first under an alias has it; the next keeps its own name."""
    listed = list(items)
    taken = {item["name"] for item in listed}
    kept: list[_Kept] = []
    for place, item in enumerate(listed):
        raw = item["name"]
        shown = settings.of(raw)
        if not shown.enabled or (view is not None and not view.shows(raw, _annotations(item))):
            continue
        alias = shown.alias if shown.alias is not None and shown.alias not in taken else None
        if alias is not None:
            taken.add(alias)
        kept.append(_Kept(place, _as_shown(item, shown, alias), raw))
    return kept


def _as_shown(item: Mapping[str, Any], shown: Shown, alias: str | None) -> Mapping[str, Any]:
    if alias is None and shown.description is None:
        return item
    described = {} if shown.description is None else {"description": shown.description}
    return {**item, "name": alias or item["name"], **described}


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    annotations = item.get("annotations")
    return annotations if isinstance(annotations, Mapping) else {}


def _server(server: ServerSnapshot, tools: list[_Kept], prompts: list[_Kept]) -> ServerSnapshot:
    """The same object when nothing of it is hidden or renamed."""
    shown_tools = tuple(one.definition for one in tools)
    shown_prompts = tuple(one.definition for one in prompts)
    if _same(shown_tools, server.tools) and _same(shown_prompts, server.prompts):
        return server
    listing = replace(
        server.listing,
        tools=shown_tools,
        prompts=shown_prompts,
        digest=_digest(server.listing.digest, tools, prompts),
        by_name={one.name: one.definition for one in tools},
    )
    offered = tuple(_offered(server.offer.tools[one.place], one) for one in tools)
    learned = {one.name: server.learned[one.raw] for one in tools if one.raw in server.learned}
    return replace(server, listing=listing, offer=replace(server.offer, tools=offered), learned=learned)


def _withheld(server: ServerSnapshot, view: ServerView) -> ServerSnapshot:
    """What waits for approval, for those only who might use it."""
    if not server.withheld:
        return server
    settings = {"tool": view.tools, "prompt": view.prompts}
    shown = (waits for waits in server.withheld if settings[waits.kind].of(waits.name).enabled)
    return replace(server, withheld=tuple(one for one in shown if one.kind == "prompt" or view.shows(one.name, {})))


def _offered(tool: stubs.Tool, kept: _Kept) -> stubs.Tool:
    if kept.name == tool.name and kept.definition.get("description") == tool.description:
        return tool
    described = kept.definition.get("description")
    return replace(tool, name=kept.name, description=described if isinstance(described, str) else None)


def _same(shown: tuple[Mapping[str, Any], ...], whole: tuple[Mapping[str, Any], ...]) -> bool:
    """Whether they are the same objects."""
    return len(shown) == len(whole) and all(one is other for one, other in zip(shown, whole, strict=True))


def _digest(whole: str, tools: list[_Kept], prompts: list[_Kept]) -> str:
    """What is shown is known by the whole it is of, and by what was done to it."""
    if not whole:
        return ""
    digest = hashlib.sha256(whole.encode())
    for kept in (tools, prompts):
        digest.update(b"\n\n")
        for one in kept:
            described = one.definition.get("description")
            parts = (one.raw, one.name, described if isinstance(described, str) else "")
            digest.update("\0".join(parts).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
