"""Reads everything a server offers: all pages of its lists, bounded, without the items no client could use.

A listing has raw MCP objects, as the server sent them. Names, descriptions and schemas are hostile input: an item that
is malformed, too large or nested too deeply is skipped with a note, and the others are used. An optional member that is
malformed is left out of its item, with a note. The notes are in the log, in `/healthz` and in `codemode tools`.

Policies decide by the annotations of a tool. A hint that is no boolean is left out, which leaves the default of MCP:
the tool may destroy, and does more than read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map
from mcp_types import Prompt, Resource, ResourceTemplate, Tool
from pydantic import BaseModel, ValidationError

from portal.errors import ResponseInvalid, ResponseTooLarge, RpcError, UpstreamError
from portal.exact import encode
from portal.upstream.transports.bounds import Turn, too_deep
from portal.upstream.transports.protocol import Agreement
from portal.upstream.transports.wire import invalid_response, snippet

MAX_PAGES = 1000
# Empty pages in a row that a list may have.
_MAX_EMPTY_PAGES = 10
# A list that the server's capabilities do not name is asked for all the same, but not waited for.
_UNDECLARED_SECONDS = 5.0
MAX_BYTES = 64 * 1024 * 1024
MAX_ITEM_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_NAME = 256
MAX_NOTES = 50
# Malformed members of one item that are left out one by one. If there are more, whole members are left out.
MAX_REPAIRS = 16
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")

_Place = tuple[int | str, ...]
Request = Callable[[str, Mapping[str, object]], Awaitable[Mapping[str, object]]]
Item = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Listing:
    """What one server offers, in raw MCP objects.

    `private` says that the server lists its tools for one caller: another may get others (`cacheScope`, 2026-07-28).
    `skipped` has a line for each item that was left out, whole or in part, for the first `MAX_NOTES` of them;
    `skipped_count` counts all. `digest` identifies the content; it is "" if the lists were never read. `by_name` has
    the tools by name.
    """

    protocol: str | None = None
    server_info: Mapping[str, object] = field(default_factory=dict)
    capabilities: Mapping[str, object] = field(default_factory=dict)
    instructions: str | None = None
    tools: tuple[Item, ...] = ()
    prompts: tuple[Item, ...] = ()
    resources: tuple[Item, ...] = ()
    resource_templates: tuple[Item, ...] = ()
    skipped: tuple[str, ...] = ()
    skipped_count: int = 0
    digest: str = ""
    private: bool = False
    # Tools whose arguments are repeated in HTTP headers (`x-mcp-header`): by tool name, the header by property path.
    mirrored: Mapping[str, Mapping[tuple[str, ...], str]] = field(default_factory=dict)
    by_name: Mapping[str, Item] = field(default_factory=dict)

    def with_notes(self, lines: Sequence[str]) -> Listing:
        """The same listing with these lines before those about what is left out of it."""
        if not lines:
            return self
        skipped = (*lines, *self.skipped)[:MAX_NOTES]
        return replace(self, skipped=skipped, skipped_count=self.skipped_count + len(lines))


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the lists. `field` is its attribute in `Listing`.

    `essential` are the members that an item must have as they should be; the first of them must be unique in the list.
    No agent can choose a tool whose description cannot be read. `missing` says which member may be null or absent,
    what is in its place for an item of this identity, and what to say of it.
    """

    field: str
    method: str
    key: str
    capability: str
    model: type[BaseModel]
    essential: tuple[str, ...]
    missing: tuple[str, Callable[[str], object], str] | None = None

    @property
    def identity(self) -> str:
        return self.essential[0]


_NAMELESS = ("name", lambda identity: identity, "its URI is in its place")
TOOLS = _Kind(
    "tools",
    "tools/list",
    "tools",
    "tools",
    Tool,
    ("name", "inputSchema", "description"),
    ("inputSchema", lambda identity: {"type": "object"}, "it takes any arguments"),
)
OTHERS = (
    _Kind("prompts", "prompts/list", "prompts", "prompts", Prompt, ("name",)),
    _Kind("resources", "resources/list", "resources", "resources", Resource, ("uri", "name"), _NAMELESS),
    _Kind(
        "resource_templates",
        "resources/templates/list",
        "resourceTemplates",
        "resources",
        ResourceTemplate,
        ("uriTemplate", "name"),
        _NAMELESS,
    ),
)


class _Notes:
    """A line for each item that is left out, whole or in part; the first ones only, for there may be a million."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def add(self, line: str) -> None:
        self.count += 1
        if len(self.lines) < MAX_NOTES:
            self.lines.append(line)


def declares_no_tools(agreement: Agreement) -> bool:
    """Whether a server is asked for tools although its capabilities do not name them."""
    return TOOLS.capability not in agreement.capabilities


async def fetch(
    request: Request,
    agreement: Agreement,
    *,
    max_items: int,
    previous: Listing | None = None,
    declared_only: bool = False,
) -> Listing:
    """The listing of a server: every list that its capabilities name, and its tools in any case.

    Some servers declare no `tools` and have some, which the official clients list; some declare nothing at all, and
    are asked for everything. A server is not usable without the tools it declares, so their failure is raised. Another
    list that fails is taken from `previous`. With `declared_only` nothing else than the declared lists is asked for.

    Raises:
        UpstreamError: the tools cannot be read.
    """
    notes = _Notes()
    lists: dict[str, tuple[Item, ...]] = {}
    scopes: set[object] = set()

    async def noting(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        page = await request(method, params)
        if method == TOOLS.method and agreement.modern:
            scopes.add(page.get("cacheScope"))
        return page

    if TOOLS.capability in agreement.capabilities:
        lists[TOOLS.field] = await _all_pages(noting, TOOLS, max_items, notes)
    elif not declared_only and (undeclared := await _undeclared(noting, TOOLS, max_items, notes)):
        lists[TOOLS.field] = undeclared
    for kind in OTHERS:
        if kind.capability not in agreement.capabilities:
            ask = not agreement.capabilities and not declared_only
            if ask and (undeclared := await _undeclared(request, kind, max_items, notes)):
                lists[kind.field] = undeclared
            continue
        try:
            lists[kind.field] = await _all_pages(request, kind, max_items, notes)
        except UpstreamError as error:
            # Many servers with resources have no templates, and answer with an error.
            if kind.field != "resource_templates":
                notes.add(f"{kind.method} failed: {snippet(error.full_message)}")
            lists[kind.field] = getattr(previous, kind.field) if previous is not None else ()
    tools = lists.get(TOOLS.field, ())
    return Listing(
        protocol=agreement.version,
        server_info=agreement.server_info,
        capabilities=agreement.capabilities,
        instructions=agreement.instructions,
        tools=tools,
        prompts=lists.get("prompts", ()),
        resources=lists.get("resources", ()),
        resource_templates=lists.get("resource_templates", ()),
        skipped=tuple(notes.lines),
        skipped_count=notes.count,
        digest=await _digest(agreement, lists),
        private="private" in scopes,
        mirrored=await _mirrored(tools) if agreement.modern else {},
        by_name={str(tool["name"]): tool for tool in tools},
    )


async def _undeclared(request: Request, kind: _Kind, max_items: int, notes: _Notes) -> tuple[Item, ...]:
    """The items of a list that the server's capabilities do not name. () if it has no such list, as it should be."""
    try:
        async with asyncio.timeout(_UNDECLARED_SECONDS):
            return await _all_pages(request, kind, max_items, notes)
    except (RpcError, ResponseInvalid, TimeoutError):
        return ()


async def _all_pages(request: Request, kind: _Kind, max_items: int, notes: _Notes) -> tuple[Item, ...]:
    items: dict[str, Item] = {}
    received: dict[str, Item] = {}
    cursor: str | int | None = None
    cursors: set[str | int] = set()
    size = empty = 0
    turn = Turn()
    for _ in range(MAX_PAGES):
        result = await request(kind.method, {"cursor": cursor} if cursor is not None else {})
        # Servers in Go write an empty list as null.
        page = [] if kind.key in result and result[kind.key] is None else result.get(kind.key)
        if not isinstance(page, list):
            what = f"the result of {kind.method} has no list `{kind.key}`"
            raise invalid_response(what, encode(result))
        repeated = bool(page) and cursor is not None and all(_known(item, kind, received) for item in page)
        for item in () if repeated else page:
            if len(items) >= max_items:
                notes.add(f"{kind.method}: only the first {max_items} are used (`maxItems`)")
                return tuple(items.values())
            size += _take(item, kind, items, received, notes)
            if size > MAX_BYTES:
                raise ResponseTooLarge(f"{kind.method} has more than {MAX_BYTES} bytes")
            await turn.over()
        following = result.get("nextCursor")
        # A cursor is opaque: a number goes back as it came. "" and null are how some servers write that there is none.
        if following is None or following == "":
            return tuple(items.values())
        if not isinstance(following, str | int) or isinstance(following, bool):
            notes.add(f"{kind.method}: the next page is named by what is no cursor ({snippet(encode(following))})")
            return tuple(items.values())
        cursor = following
        if cursor in cursors:
            notes.add(f"{kind.method}: the server names the same next page twice; stopped there")
            return tuple(items.values())
        if repeated:
            notes.add(f"{kind.method}: the next page has nothing but what was listed before; stopped there")
            return tuple(items.values())
        cursors.add(cursor)
        empty = 0 if page else empty + 1
        if empty >= _MAX_EMPTY_PAGES:
            notes.add(f"{kind.method}: stopped after {empty} empty pages")
            return tuple(items.values())
    notes.add(f"{kind.method}: stopped after {MAX_PAGES} pages")
    return tuple(items.values())


def _known(item: object, kind: _Kind, received: Mapping[str, Item]) -> bool:
    """Whether this very item was listed on an earlier page."""
    if not isinstance(item, dict) or not isinstance(name := item.get(kind.identity), str):
        return False
    return received.get(name) == item


def _take(item: object, kind: _Kind, items: dict[str, Item], received: dict[str, Item], notes: _Notes) -> int:
    """The size of an item in bytes. What is used of it is added to `items`, and the whole to `received`; a line about
    what is not used is added to `notes`.
    """
    if not isinstance(item, dict):
        _note(notes, kind, "an item", f"has no usable `{kind.identity}`")
        return 0
    name = item.get(kind.identity)
    if not isinstance(name, str) or not name or len(name) > (MAX_NAME if kind.identity == "name" else 4096):
        _note(notes, kind, "an item", f"has no usable `{kind.identity}`")
        return 0
    problem = None
    size = 0
    if too_deep(item, MAX_DEPTH):
        problem = f"is nested deeper than {MAX_DEPTH}"
    elif (size := len(encode(item))) > MAX_ITEM_BYTES:
        problem = f"has {size} bytes; the limit is {MAX_ITEM_BYTES}"
    elif name in items:
        problem = "is listed twice; the first is used"
    else:
        received[name] = item
        item = _filled(item, name, kind, notes)
        usable, misfits = _usable(item, kind)
        if usable is None:
            problem = f"is malformed (`{snippet(misfits[0])}`)"
        elif misfits:
            item = usable
            notes.add(
                f"{kind.method}: `{snippet(name)}` is used without what is malformed (`{snippet(', '.join(misfits))}`)"
            )
    if problem is None:
        items[name] = item
        return size
    _note(notes, kind, f"`{snippet(name)}`", problem)
    return 0


def _filled(item: dict[str, object], identity: str, kind: _Kind, notes: _Notes) -> dict[str, object]:
    """The item with the member that may be missing."""
    if kind.missing is None or item.get(kind.missing[0]) is not None:
        return item
    member, value_for, said = kind.missing
    notes.add(f"{kind.method}: `{snippet(identity)}` has no `{member}`; {said}")
    return {**item, member: value_for(identity)}


def _usable(item: dict[str, object], kind: _Kind) -> tuple[dict[str, object] | None, list[str]]:
    """The item without the optional members that do not fit, and the places of these.

    The same object if all of it fits, None if a member does not fit without which the item is of no use.
    """
    places: list[_Place] = [("annotations", name) for name in _loose_hints(item)] if kind is TOOLS else []
    named = [".".join(map(str, place)) for place in places]
    kept = item
    for turn in range(MAX_REPAIRS + 1):
        for place in places:
            kept = _without(kept, place)
        error = _misfit(kept, kind)
        if error is None:
            return kept, named
        if error.error_count() > MAX_REPAIRS or turn >= MAX_REPAIRS - 1:
            places = _misfitting_members(kept, kind)
        else:
            # One place at a time, because removing an item of a list moves the others.
            places = [_place_of(error)]
        for place in places:
            if not place or place[0] in kind.essential:
                return None, [".".join(map(str, place))]
        named.extend(name for place in places if (name := ".".join(map(str, place))) not in named)
    return None, named


def _misfitting_members(item: Item, kind: _Kind) -> list[_Place]:
    """The members that do not fit: an essential one, or all the others. Not from one error with a place for each fault,
    of which there may be a hundred thousand.
    """
    essential = {name: item[name] for name in kind.essential if name in item}
    if (error := _misfit(essential, kind)) is not None:
        return [_place_of(error)]
    others = {name: value for name, value in item.items() if name not in essential}
    return [(name,) for name, value in others.items() if _misfit({**essential, name: value}, kind) is not None]


def _misfit(item: Item, kind: _Kind) -> ValidationError | None:
    try:
        kind.model.model_validate(item)
    except ValidationError as error:
        return error
    return None


def _place_of(error: ValidationError) -> _Place:
    """The place of the first fault."""
    return error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]


def _loose_hints(tool: Item) -> list[str]:
    """The hints of a tool that are neither booleans nor null. The model also takes "yes", which no policy does."""
    annotations = tool.get("annotations")
    if not isinstance(annotations, dict):
        return []
    return [name for name in _HINTS if not isinstance(annotations.get(name), bool | None)]


def _without(item: dict[str, object], place: _Place) -> dict[str, object]:
    """The item without the innermost part of it that this place leads to, and without what is empty then."""
    part, *rest = place
    inner, kept = item.get(str(part)), {name: value for name, value in item.items() if name != part}
    if rest and isinstance(inner, list):
        # As an object with numbers for names, and back.
        numbered = {str(at): value for at, value in enumerate(inner)}
        shorter = _without(numbered, (str(rest[0]), *rest[1:])) if str(rest[0]) in numbered else {}
        return {**item, str(part): list(shorter.values())} if shorter else kept
    if rest and isinstance(inner, dict) and rest[0] in inner:
        shorter = _without(inner, tuple(rest))
        return {**item, str(part): shorter} if shorter else kept
    return kept


def _note(notes: _Notes, kind: _Kind, what: str, problem: str) -> None:
    notes.add(f"{kind.method}: {what} {problem}")


async def _mirrored(tools: tuple[Item, ...]) -> dict[str, Mapping[tuple[str, ...], str]]:
    found: dict[str, Mapping[tuple[str, ...], str]] = {}
    turn = Turn()
    for tool in tools:
        await turn.over()
        schema = tool.get("inputSchema")
        if b"x-mcp-header" in encode(schema) and find_invalid_x_mcp_header(schema) is None:
            found[str(tool["name"])] = x_mcp_header_map(schema)
    return found


async def _digest(agreement: Agreement, lists: Mapping[str, tuple[Item, ...]]) -> str:
    # With what the server says of itself: it may say something else to another caller.
    said = [agreement.version, agreement.instructions, agreement.capabilities, agreement.server_info]
    digest = hashlib.sha256(encode(said))
    turn = Turn()
    for name, items in lists.items():
        digest.update(name.encode())
        for item in items:
            digest.update(encode(item))
            await turn.over()
    return digest.hexdigest()
