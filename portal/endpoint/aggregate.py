"""One list from many servers: the names of their tools, prompts and resources for clients, and the target of each.

Pure, and immutable. Only the name in the upstreams' MCP dictionaries changes (and the URI, if two servers
list the same one). Order is the order of the configuration, then the upstream's own.

A capability is named `{server}_{tool}`, in at most 64 letters, digits, `_` and `-`. Server ids have no underscore, so
the first one splits a name; the portal itself never splits, it looks names up. SEP-986 allows 128 characters, dots and
slashes, and servers send spaces and umlauts too. But the APIs of models take function names of `[a-zA-Z0-9_-]{1,64}`,
and clients drop another one or fail with their whole request. So another name is listed with the characters that are
taken and a digest of itself. It depends on nothing else, neither on other tools nor on their order.
"""

import asyncio
import hashlib
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Any, Protocol
from urllib.parse import quote, unquote

from portal.endpoint.generations import PROMPT, RESOURCE, TEMPLATE, TOOL, Generation, Item, ItemKind, definition_for
from portal.endpoint.ownership import NOBODY, RESERVED, Ownership, ServerClaims, is_reserved, owner_of

OWNED_SCHEME, OWNED_UI = f"{RESERVED}://", f"ui://{RESERVED}/"
UI_SCHEME = "ui://"
MAX_URI = 8192
MAX_NAME = 64
SMALL, SMALL_CHARS = 100, 16 * 1024
"""Resources and templates of a server, and characters of them, that are read without a thread."""
_ACCEPTED = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")
_OTHERS = re.compile(r"[^A-Za-z0-9-]+")
_DIGEST_CHARS = 10

RawNames = Mapping[tuple[str, str], str]
_NO_ALIASES: RawNames = {}


class Source(Protocol):
    """The part of an upstream server that the aggregate needs."""

    @property
    def id(self) -> str: ...
    @property
    def prefix(self) -> bool: ...
    @property
    def tools(self) -> tuple[Item, ...]: ...
    @property
    def prompts(self) -> tuple[Item, ...]: ...
    @property
    def resources(self) -> tuple[Item, ...]: ...
    @property
    def resource_templates(self) -> tuple[Item, ...]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a listed name or URI: the server, the raw name and the raw definition."""

    server: str
    name: str
    definition: Item = field(default_factory=dict)


NamedItems = tuple[tuple[str, ...], tuple[Target, ...], tuple[Item, ...]]
"""The tools or prompts of a server: their names in the list, their targets, and the definitions to list."""


Shaped = Mapping[tuple[ItemKind, str], Item]


class ServerLists:
    """The items of one server, made once for all the aggregates that the server is in."""

    def __init__(self, source: Source, raw_tools: RawNames = _NO_ALIASES, raw_prompts: RawNames = _NO_ALIASES) -> None:
        """`raw_tools` and `raw_prompts` are raw names by (server, alias), for tools and prompts that have an alias."""
        self.source = source
        self.raw_tools = raw_tools
        self.raw_prompts = raw_prompts
        self._shaped: dict[Generation, Shaped] = {}
        self._claims: ServerClaims | None = None

    @cached_property
    def tools(self) -> NamedItems:
        return _named_items(self.source, self.source.tools, self.raw_tools)

    @cached_property
    def prompts(self) -> NamedItems:
        return _named_items(self.source, self.source.prompts, self.raw_prompts)

    def shaped(self, generation: Generation) -> Shaped:
        """The definitions that clients of a generation could not read as they are, by kind and own name."""
        shaped = self._shaped.get(generation)
        if shaped is None:
            shaped = self._shaped[generation] = dict(_shaped(self.source, generation))
        return shaped

    @cached_property
    def tools_with_headers(self) -> frozenset[tuple[str, str]]:
        """The tools, by server and raw name, with arguments that clients repeat in `Mcp-Param-*` headers."""
        _, targets, items = self.tools
        return frozenset(
            (target.server, target.name)
            for target, item in zip(targets, items, strict=True)
            if declares_headers(item.get("inputSchema"))
        )

    @cached_property
    def first_words(self) -> frozenset[str]:
        """What comes before the first `_` in names by which its tools and prompts may be called without its id."""
        server = self.source
        raw_names = (str(item["name"]) for item in (*server.tools, *server.prompts) if "_" in item["name"])
        return frozenset(
            raw.partition("_")[0]
            for raw in raw_names
            if not server.prefix or _ACCEPTED.fullmatch(f"{server.id}_{raw}") is None
        )

    @property
    def claims(self) -> ServerClaims:
        """What URIs the server says are its own."""
        if self._claims is None:
            self._claims = ServerClaims(
                self.source.id,
                [resource["uri"] for resource in self.source.resources],
                [template["uriTemplate"] for template in self.source.resource_templates],
            )
        return self._claims

    async def read_claims(self) -> ServerClaims:
        """The same. The first time, many are read in a thread."""
        if self._claims is None:
            uris = [str(resource["uri"]) for resource in self.source.resources]
            texts = [str(template["uriTemplate"]) for template in self.source.resource_templates]
            if len(uris) + len(texts) > SMALL or sum(map(len, uris)) + sum(map(len, texts)) > SMALL_CHARS:
                await asyncio.to_thread(lambda: self.claims)
        return self.claims


Part = tuple[ServerLists, bytes | None, bytes | None]
"""A server with a byte for each of its tools, and one for each of its prompts: 1 to list it, 0 to leave it out. None
lists all."""


@dataclass(frozen=True)
class Aggregate:
    """The lists that a client gets, and the target of each name. Lookups return None for names that are not listed."""

    tools: dict[str, Target]
    prompts: dict[str, Target]
    resources: dict[str, Target]
    templates: tuple[Target, ...]
    tool_list: tuple[Item, ...]
    prompt_list: tuple[Item, ...]
    resource_list: tuple[Item, ...]
    template_list: tuple[Item, ...]
    resource_targets: tuple[Target, ...] = field(default=(), compare=False, repr=False)
    servers: tuple[ServerLists, ...] = field(default=(), compare=False, repr=False)
    ids: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @classmethod
    def build(
        cls, sources: Iterable[Source], raw_tools: RawNames = _NO_ALIASES, raw_prompts: RawNames = _NO_ALIASES
    ) -> "Aggregate":
        """An aggregate of whole servers."""
        return cls.of([(ServerLists(source, raw_tools, raw_prompts), None, None) for source in sources])

    @classmethod
    def of(cls, parts: Sequence[Part], others: frozenset[str] = frozenset()) -> "Aggregate":
        """An aggregate of parts of servers. `others` are the ids of further servers: names that begin with one of them
        are theirs."""
        ids = others.union(lists.source.id for lists, _, _ in parts)
        tools, tool_list = _merged([(lists, lists.tools, shown) for lists, shown, _ in parts], ids)
        prompts, prompt_list = _merged([(lists, lists.prompts, shown) for lists, _, shown in parts], ids)
        resources: dict[str, Target] = {}
        resource_list: list[Item] = []
        resource_targets: list[Target] = []
        templates: list[Target] = []
        template_list: list[Item] = []
        for server in (lists.source for lists, _, _ in parts):
            for resource in server.resources:
                raw = resource["uri"]
                uri = owned_uri(server.id, raw) if raw in resources or is_reserved(raw) else raw
                resources[uri] = Target(server.id, raw, resource)
                resource_targets.append(resources[uri])
                resource_list.append({**resource, "uri": uri})
            for template in server.resource_templates:
                templates.append(Target(server.id, "", template))
                template_list.append(template)
        return cls(
            tools,
            prompts,
            resources,
            tuple(templates),
            tool_list,
            prompt_list,
            tuple(resource_list),
            tuple(template_list),
            tuple(resource_targets),
            tuple(lists for lists, _, _ in parts),
            ids,
        )

    def tool_name(self, name: str) -> str | None:
        """The listed name of a tool: the name itself, or the one under which a tool with this real name is listed.

        A real name is `{server}_{tool}` or only the tool's, where clients could not take it. None if several tools have
        it.
        """
        return name if name in self.tools else self._real_tool_names.get(name)

    def prompt_name(self, name: str) -> str | None:
        """As `tool_name`, for a prompt."""
        return name if name in self.prompts else self._real_prompt_names.get(name)

    def tool(self, name: str) -> Target | None:
        return self.tools.get(self.tool_name(name) or "")

    def prompt(self, name: str) -> Target | None:
        return self.prompts.get(self.prompt_name(name) or "")

    @cached_property
    def _real_tool_names(self) -> Mapping[str, str]:
        return _real_names(self.tools, self.ids)

    @cached_property
    def _real_prompt_names(self) -> Mapping[str, str]:
        return _real_names(self.prompts, self.ids)

    def resource(self, uri: str) -> Target | None:
        """The target of a URI of one of these servers, as if there were no others (`whose`)."""
        claims = [lists.claims for lists in self.servers]
        found = self.whose(uri, claims, only=next(iter(self._offering)) if len(self._offering) == 1 else None)
        return None if found.server is None else self.target(uri, found.server)

    def whose(
        self, uri: str, claims: Sequence[ServerClaims], *, only: str | None = None, settled: bool = True
    ) -> Ownership:
        """Whose a URI is: the server that it names (`owned_uri`), or that lists it to these callers, or `owner_of`.

        `claims` are those of all servers of the portal.
        """
        if len(uri) > MAX_URI:
            return NOBODY
        if (listed := self.resources.get(uri)) is not None:
            return Ownership(listed.server, listed=True)
        if (owned := split_owned_uri(uri)) is not None:
            known = any(one.server == owned[0] for one in claims)
            return Ownership(owned[0], listed=True) if known else NOBODY
        if is_reserved(uri):
            return NOBODY
        return owner_of(uri, claims, seen=self._offering, only=only, settled=settled)

    def target(self, uri: str, server: str) -> Target:
        """The target of a URI that belongs to this server."""
        listed = self.resources.get(uri)
        if listed is not None and listed.server == server:
            return listed
        return Target(server, (split_owned_uri(uri) or ("", uri))[1])

    def template(self, uri_template: str) -> Target | None:
        """The server that lists this template, for completion: the first one, or the one that is named with it
        (`owned_uri`)."""
        owned = split_owned_uri(uri_template)
        for target in self.templates:
            text = target.definition["uriTemplate"]
            if text == uri_template or (target.server, text) == owned:
                return Target(target.server, text)
        return None

    @cached_property
    def _offering(self) -> frozenset[str]:
        """The servers that list resources or templates."""
        sources = (lists.source for lists in self.servers)
        return frozenset(source.id for source in sources if source.resources or source.resource_templates)

    def listed_uri(self, server: str, raw: str) -> str:
        """The URI of a resource of `server` in the list."""
        target = self.resources.get(raw)
        if target is not None and target.server != server:
            return owned_uri(server, raw)
        return raw

    def has_headers(self, target: Target) -> bool:
        """Whether a tool declares arguments which clients repeat in `Mcp-Param-*` headers."""
        return any((target.server, target.name) in lists.tools_with_headers for lists in self.servers)

    def tools_for(self, generation: Generation) -> tuple[Item, ...]:
        """`tool_list` as clients of a generation can read it."""
        items = self._fitted(generation, TOOL, self.tools.values(), self.tool_list)
        if not self._renamed_ui:
            return items
        return tuple(self._with_ui(target, item) for target, item in zip(self.tools.values(), items, strict=True))

    def prompts_for(self, generation: Generation) -> tuple[Item, ...]:
        return self._fitted(generation, PROMPT, self.prompts.values(), self.prompt_list)

    def resources_for(self, generation: Generation) -> tuple[Item, ...]:
        return self._fitted(generation, RESOURCE, self.resource_targets, self.resource_list)

    def templates_for(self, generation: Generation) -> tuple[Item, ...]:
        return self._fitted(generation, TEMPLATE, self.templates, self.template_list)

    @cached_property
    def _renamed_ui(self) -> Mapping[tuple[str, str], str]:
        """The listed URIs of the views of MCP Apps that are listed under another one, by server and own URI."""
        return {
            (target.server, target.name): uri
            for uri, target in self.resources.items()
            if uri != target.name and uri.startswith(OWNED_UI)
        }

    def _with_ui(self, target: Target, item: Item) -> Item:
        """A tool that names its view by the URI under which that is listed (MCP Apps, SEP-1865)."""
        meta = item.get("_meta")
        if not isinstance(meta, Mapping):
            return item
        changed: dict[str, object] = {}
        ui, flat = meta.get("ui"), meta.get("ui/resourceUri")
        if isinstance(ui, Mapping) and (uri := self._renamed_ui.get((target.server, str(ui.get("resourceUri"))))):
            changed["ui"] = {**ui, "resourceUri": uri}
        if uri := self._renamed_ui.get((target.server, str(flat))):
            changed["ui/resourceUri"] = uri
        return {**item, "_meta": {**meta, **changed}} if changed else item

    def _fitted(
        self,
        generation: Generation,
        kind: ItemKind,
        targets: Iterable[Target],
        items: tuple[Item, ...],
    ) -> tuple[Item, ...]:
        shaped = {lists.source.id: lists.shaped(generation) for lists in self.servers}
        if not any(shaped.values()):
            return items
        name = kind.identity
        fitted = []
        for target, item in zip(targets, items, strict=True):
            definition = shaped[target.server].get((kind, target.definition[name]))
            fitted.append(item if definition is None else {**definition, name: item[name]})
        return tuple(fitted)


def _named_items(server: Source, items: tuple[Item, ...], raw_names: RawNames) -> NamedItems:
    """The tools or prompts of a server, under the names that they have unless another server takes them."""
    taken: set[str] = set()
    targets: list[Target] = []
    definitions: list[Item] = []
    names: list[str] = []
    for item in items:
        own_name = item["name"]
        name = exposed_name(server.id, own_name, prefix=server.prefix, taken=taken)
        taken.add(name)
        names.append(name)
        targets.append(Target(server.id, raw_names.get((server.id, own_name), own_name), item))
        definitions.append(item if name == own_name else {**item, "name": name})
    return tuple(names), tuple(targets), tuple(definitions)


def _shaped(server: Source, generation: Generation) -> Iterator[tuple[tuple[ItemKind, str], Item]]:
    lists = (
        (TOOL, server.tools),
        (PROMPT, server.prompts),
        (RESOURCE, server.resources),
        (TEMPLATE, server.resource_templates),
    )
    for kind, items in lists:
        for item in items:
            shaped = definition_for(generation, kind, item)
            if shaped is not item:
                yield (kind, item[kind.identity]), shaped


def _merged(
    parts: Iterable[tuple[ServerLists, NamedItems, bytes | None]], ids: frozenset[str]
) -> tuple[dict[str, Target], tuple[Item, ...]]:
    """Index and list of the tools or prompts of several servers. `ids` are all servers that names may belong to."""
    index: dict[str, Target] = {}
    definitions: list[Item] = []
    for lists, (names, targets, items), part in parts:
        server = lists.source
        if part is not None:
            names, targets = tuple(compress(names, part)), tuple(compress(targets, part))
            items = tuple(compress(items, part))
        foreign = lists.first_words & (ids - {server.id}) if not server.prefix else frozenset[str]()
        if not foreign and index.keys().isdisjoint(names):
            index.update(zip(names, targets, strict=True))
            definitions.extend(items)
            continue
        taken = _Taken(index, foreign)
        for target, item in zip(targets, items, strict=True):
            own_name = target.definition["name"]
            name = exposed_name(server.id, own_name, prefix=server.prefix, taken=taken)
            if name not in index:
                index[name] = target
                definitions.append(item if item["name"] == name else {**item, "name": name})
    return index, tuple(definitions)


@dataclass(frozen=True, slots=True)
class _Taken:
    """The names that a server cannot have: those of servers before it, and all that begin with another server's id,
    whether or not that server lists them now."""

    index: Container[str]
    foreign: frozenset[str]

    def __contains__(self, name: object) -> bool:
        return name in self.index or _owner_in_name(str(name)) in self.foreign


def _owner_in_name(name: str) -> str:
    """The id of the server that a name begins with, if it begins with one: ids have no underscore."""
    server, underscore, _ = name.partition("_")
    return server if underscore else ""


def _real_names(index: Mapping[str, Target], ids: frozenset[str]) -> dict[str, str]:
    """The listed names by real ones, for tools or prompts that are listed under another name than they have."""
    listed: dict[str, str] = {}
    ambiguous: set[str] = set()
    for name, target in index.items():
        for real in real_names(target.server, str(target.definition["name"]), name):
            if _owner_in_name(real) in ids - {target.server} or listed.setdefault(real, name) != name:
                ambiguous.add(real)
    return {real: name for real, name in listed.items() if real not in ambiguous}


def real_names(server: str, raw: str, listed: str) -> tuple[str, ...]:
    """The names by which clients may call what is listed under another name than it has, () if it is not."""
    full_name = f"{server}_{raw}"
    return () if listed in (raw, full_name) else (raw, full_name)


def exposed_name(server: str, raw: str, *, prefix: bool, taken: Container[str]) -> str:
    """The name of `raw` of `server` in the list: deterministic for a given order, and not in `taken`."""
    name = acceptable(f"{server}_{raw}" if prefix else raw)
    if name in taken and not prefix:
        name = acceptable(f"{server}_{raw}")
    if name in taken:
        name = _with_digest(name, f"{server}\0{raw}")
    return name


def acceptable(name: str) -> str:
    """A name that clients take. Another one keeps its head, with `_` for other characters, and ends in its digest."""
    return name if _ACCEPTED.fullmatch(name) else _with_digest(name, name)


def _with_digest(name: str, of: str) -> str:
    digest = hashlib.sha256(of.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{_plain(name)[: MAX_NAME - len(digest) - 1]}_{digest}"


def _plain(name: str) -> str:
    """A name of any length with the characters that clients take: letters without their accents, and `_` for others."""
    if _ACCEPTED.fullmatch(name[:MAX_NAME]):
        return name
    letters = unicodedata.normalize("NFKD", name[: 4 * MAX_NAME]).encode("ascii", "ignore").decode()
    return _OTHERS.sub("_", letters).strip("_")


def owned_uri(server: str, raw: str) -> str:
    """A URI that names its server, for a resource whose own URI another server lists too. The view of an MCP App keeps
    its scheme: clients know it by that.
    """
    scheme = OWNED_UI if raw.startswith(UI_SCHEME) else OWNED_SCHEME
    return f"{scheme}{server}/{quote(raw, safe='')}"


def split_owned_uri(uri: str) -> tuple[str, str] | None:
    """(server, raw URI) of a URI from `owned_uri`, None for any other URI."""
    scheme = next((one for one in (OWNED_SCHEME, OWNED_UI) if uri[: len(one)].lower() == one), None)
    if scheme is None:
        return None
    server, slash, raw = uri[len(scheme) :].partition("/")
    return (server, unquote(raw)) if server and slash and raw else None


def declares_headers(schema: Any) -> bool:
    """Whether a property reachable from the root declares `x-mcp-header`. Cheaper than the SDK's walk of the schema."""
    stack = [schema]
    while stack:
        node = stack.pop()
        properties = node.get("properties") if isinstance(node, Mapping) else None
        if not isinstance(properties, Mapping):
            continue
        for prop in properties.values():
            if isinstance(prop, Mapping) and "x-mcp-header" in prop:
                return True
            stack.append(prop)
    return False
