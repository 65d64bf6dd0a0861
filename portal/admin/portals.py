"""MCP server portals: `access/ai-controls/mcp/portals`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, field_validator

from portal.access import merged
from portal.admin.api.answers import ListAnswer
from portal.admin.api.collection import Removed
from portal.admin.api.errors import broken, conflict, in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.api.revisions import part_of, whole
from portal.admin.capabilities import Override, Overrides, PortalOverrides, ShownOverride, part_named, with_changes
from portal.admin.server_logins import OwnLogins
from portal.admin.servers import Description, Id, Name, ServerOperations, ShownServer
from portal.config import CodeModePolicy
from portal.objects import PORTAL, SERVER, CapabilitySetting, PortalDocument, ServerDocument, Settings
from portal.objects import PortalServer as PortalServerDocument
from portal.state import Broken, Scan, Store, Stored

PATH = "/access/ai-controls/mcp/portals"
MAX_SERVERS = 80
UNREADABLE = "the stored server of this id cannot be read; remove it and add it again"

Entries = tuple[PortalServerDocument, ...]
Known = Mapping[str, ServerDocument]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)]


class AttachedServer(BaseModel):
    """A server attached to a portal, with the portal's settings for it."""

    server_id: Annotated[str, Field(min_length=1, max_length=64)]
    default_disabled: bool = False
    on_behalf: bool = True
    updated_tools: PortalOverrides = ()
    updated_prompts: PortalOverrides = ()


class AttachmentChange(BaseModel):
    """What changes of a server at a portal. Of tools and prompts that are named the members that are sent change, null
    takes one out; all else stays."""

    default_disabled: bool | None = None
    on_behalf: bool | None = None
    updated_tools: Overrides = ()
    updated_prompts: Overrides = ()

    @field_validator("updated_tools", "updated_prompts")
    @classmethod
    def _unlabelled(cls, value: tuple[Override, ...]) -> tuple[Override, ...]:
        if any(one.labels is not None for one in value):
            raise ValueError("has labels: they are the server's, for all portals")
        return value


class _Settings(BaseModel):
    description: Description | None = None
    allow_code_mode: bool | None = None
    code_mode: CodeModePolicy | None = None
    secure_web_gateway: bool | None = None
    servers: Annotated[tuple[AttachedServer, ...], Field(max_length=MAX_SERVERS)] | None = None


class PortalBody(_Settings):
    id: Id
    hostname: Host
    name: Name


class PortalReplacement(_Settings):
    """Members that are left out stay as they are. An answer of GET may be sent back: other members are ignored."""

    hostname: Host | None = None
    name: Name | None = None


class ShownPortalServer(ShownServer):
    server_id: str
    default_disabled: bool
    on_behalf: bool
    updated_tools: tuple[ShownOverride, ...] = ()  # type: ignore[assignment]
    updated_prompts: tuple[ShownOverride, ...] = ()  # type: ignore[assignment]


class ShownPortal(BaseModel):
    id: str
    name: str
    hostname: str
    description: str | None = None
    code_mode: CodeModePolicy
    allow_code_mode: bool
    secure_web_gateway: bool
    servers: tuple[ShownPortalServer, ...]
    created_at: datetime
    created_by: str
    modified_at: datetime
    modified_by: str


def code_mode_of(
    policy: CodeModePolicy | None, allowed: bool | None, before: CodeModePolicy | None
) -> CodeModePolicy | None:
    """The code mode set by `code_mode`, by the older `allow_code_mode`, or by both; None if they disagree.

    A client may send back the answer of a GET with one of the two changed: the changed one counts.
    """
    if policy is None and allowed is None:
        return before or CodeModePolicy.OPT_IN
    if policy is not None and (allowed is None or allowed == (policy != CodeModePolicy.OFF)):
        return policy
    if policy is not None and policy != before:
        return None
    if allowed is False:
        return CodeModePolicy.OFF
    return before if before not in (None, CodeModePolicy.OFF) else CodeModePolicy.OPT_IN


class PortalOperations:
    def __init__(self, store: Store, servers: ServerOperations) -> None:
        self._store = store
        self._servers = servers

    def operations(self) -> list[Operation]:
        item = PATH + "/{id}"
        at, one = f"{item}/servers", f"{item}/servers/{{server}}"
        of, entry = whole(self._store, PORTAL, "portal"), part_of(self._store, PORTAL, "portal", _named_entry)
        return [
            Operation("GET", PATH, "List portals", self._list, ShownPortal, PORTALS, listed=True),
            Operation("POST", PATH, "Make a portal", self._create, ShownPortal, PORTALS, PortalBody, status=201),
            Operation("GET", item, "Show a portal", self._get, ShownPortal, PORTALS, of=of),
            Operation("PUT", item, "Change a portal", self._replace, ShownPortal, PORTALS, PortalReplacement, of=of),
            Operation("DELETE", item, "Remove a portal", self._delete, ShownPortal, PORTALS, of=of),
            Operation("POST", at, "Attach a server to a portal", self._attach, ShownPortal, PORTALS, AttachedServer),
            Operation(
                "PATCH",
                one,
                "Change a server at a portal",
                self._edit,
                ShownPortal,
                PORTALS,
                AttachmentChange,
                of=entry,
            ),
            Operation("DELETE", one, "Detach a server from a portal", self._detach, ShownPortal, PORTALS, of=entry),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownPortal]:
        search = request.paging.search.lower()
        servers, logins = await self._store.list(SERVER), await self._servers.own_logins()
        scan = await self._store.scan(PORTAL)
        portals = [
            self._shown(stored, servers, logins)
            for stored in scan.stored
            if any(search in text.lower() for text in (stored.id, stored.document.name, stored.document.hostname))
        ]
        return ListAnswer(portals, scan.broken)

    async def _get(self, request: ApiRequest) -> ShownPortal:
        stored = await self._store.get(PORTAL, request.path["id"])
        if stored is None:
            raise not_found("portal")
        return self._shown(stored, await self._store.list(SERVER), await self._servers.own_logins())

    async def _create(self, request: ApiRequest) -> ShownPortal:
        body = request.read(PortalBody)
        async with self._store.transaction() as transaction:
            scan = await transaction.scan(SERVER)
            servers = scan.stored
            before = PortalDocument(name=body.name, hostname=body.hostname)
            document = _document(body, before, scan, None)
            _require_unique_host(document.hostname, body.id, await transaction.list(PORTAL))
            created = await transaction.create(PORTAL, body.id, document, by=request.by)
        return self._shown(created, servers, await self._servers.own_logins())

    async def _replace(self, request: ApiRequest) -> ShownPortal:
        body = request.read(PortalReplacement)
        async with request.transaction(self._store) as transaction:
            existing = await transaction.find(PORTAL, request.path["id"])
            if existing is None:
                raise not_found("portal")
            before = _replaceable(existing, body)
            scan = await transaction.scan(SERVER)
            servers = scan.stored
            document = _document(body, before, scan, before.code_mode if isinstance(existing, Stored) else None)
            _require_unique_host(document.hostname, existing.id, await transaction.list(PORTAL))
            replaced = await transaction.replace(PORTAL, existing.id, document, by=request.by)
        return self._shown(replaced, servers, await self._servers.own_logins())

    async def _delete(self, request: ApiRequest) -> ShownPortal | Removed:
        async with request.transaction(self._store) as transaction:
            servers = await transaction.list(SERVER)
            deleted = await transaction.delete(PORTAL, request.path["id"], by=request.by)
        if isinstance(deleted, Broken):
            return Removed(id=deleted.id)
        return self._shown(deleted, servers, await self._servers.own_logins())

    async def _attach(self, request: ApiRequest) -> ShownPortal:
        entry = request.read(AttachedServer)

        def attached(entries: Entries, servers: Known) -> Entries:
            if entry.server_id not in servers:
                raise invalid("there is no server of this id that can be read", "/server_id")
            if any(one.server_id == entry.server_id for one in entries):
                raise invalid("this server is attached already", "/server_id")
            if len(entries) >= MAX_SERVERS:
                raise in_use(f"a portal has at most {MAX_SERVERS} servers")
            return (*entries, _attached(entry, servers[entry.server_id]))

        return await self._with_entries(request, attached)

    async def _edit(self, request: ApiRequest) -> ShownPortal:
        body, id = request.read(AttachmentChange), request.path["server"]

        def changed(entry: PortalServerDocument) -> PortalServerDocument:
            hidden, on_behalf = body.default_disabled, body.on_behalf
            return entry.model_copy(
                update={
                    "default_disabled": entry.default_disabled if hidden is None else hidden,
                    "on_behalf": entry.on_behalf if on_behalf is None else on_behalf,
                    "updated_tools": with_changes(entry.updated_tools, body.updated_tools, "updated_tools"),
                    "updated_prompts": with_changes(entry.updated_prompts, body.updated_prompts, "updated_prompts"),
                }
            )

        def edited(entries: Entries, servers: Known) -> Entries:
            _require_attached(entries, id)
            return tuple(changed(one) if one.server_id == id else one for one in entries)

        return await self._with_entries(request, edited)

    async def _detach(self, request: ApiRequest) -> ShownPortal:
        id = request.path["server"]

        def detached(entries: Entries, servers: Known) -> Entries:
            _require_attached(entries, id)
            return tuple(one for one in entries if one.server_id != id)

        return await self._with_entries(request, detached)

    async def _with_entries(self, request: ApiRequest, change: Callable[[Entries, Known], Entries]) -> ShownPortal:
        """The portal with other entries of its servers, which `change` makes of those that it has by then."""
        async with request.transaction(self._store) as transaction:
            stored = await transaction.get(PORTAL, request.path["id"])
            if stored is None:
                raise not_found("portal")
            scan = await transaction.scan(SERVER)
            servers = scan.stored
            entries = change(stored.document.servers, {one.id: one.document for one in servers})
            document = stored.document.model_copy(update={"servers": entries})
            replaced = await transaction.replace(PORTAL, stored.id, document, by=request.by)
        return self._shown(replaced, servers, await self._servers.own_logins())

    def _shown(
        self, stored: Stored[PortalDocument], servers: Sequence[Stored[ServerDocument]], logins: OwnLogins
    ) -> ShownPortal:
        document = stored.document
        known = {server.id: server for server in servers}
        return ShownPortal(
            id=stored.id,
            name=document.name,
            hostname=document.hostname,
            description=document.description,
            code_mode=document.code_mode,
            allow_code_mode=document.code_mode != CodeModePolicy.OFF,
            secure_web_gateway=document.secure_web_gateway,
            servers=tuple(
                self._shown_server(entry, known[entry.server_id], logins)
                for entry in document.servers
                if entry.server_id in known
            ),
            created_at=stored.created_at,
            created_by=stored.created_by,
            modified_at=stored.modified_at,
            modified_by=stored.modified_by,
        )

    def _shown_server(
        self, entry: PortalServerDocument, server: Stored[ServerDocument], logins: OwnLogins
    ) -> ShownPortalServer:
        document, hidden = server.document, entry.default_disabled
        shown = self._servers.shown(server, logins).model_dump(exclude={"updated_tools", "updated_prompts", "offered"})
        return ShownPortalServer(
            **shown,
            server_id=server.id,
            offered=self._servers.offered(server, entry),
            default_disabled=hidden,
            on_behalf=entry.on_behalf,
            updated_tools=_merged_overrides(document.updated_tools, entry.updated_tools, hidden),
            updated_prompts=_merged_overrides(document.updated_prompts, entry.updated_prompts, hidden),
        )


def _named_entry(
    document: PortalDocument, path: Mapping[str, str], body: BaseModel | None
) -> tuple[str, object] | None:
    """What a change names of the entry of a server: its own settings, or those of single tools and prompts."""
    entry = next((one for one in document.servers if one.server_id == path["server"]), None)
    name = f"servers/{path['server']}"
    if entry is None:
        return name, None
    if not isinstance(body, AttachmentChange):
        return name, entry
    part, content = part_named(
        ((body.updated_tools, entry.updated_tools), (body.updated_prompts, entry.updated_prompts))
    )
    settings = [member for member in ("default_disabled", "on_behalf") if getattr(body, member) is not None]
    said = {member: getattr(entry, member) for member in settings}
    return "/".join((name, *settings, part)), [said, content]


def _require_attached(entries: Entries, server: str) -> None:
    """Raises AdminError: 404 if the portal does not have this server."""
    if not any(one.server_id == server for one in entries):
        raise not_found("this portal's server")


def _merged_overrides(server: Settings, portal: Settings, hidden: bool) -> tuple[ShownOverride, ...]:
    return tuple(map(ShownOverride.of, merged(server, portal, default_disabled=hidden)))


def _replaceable(existing: Stored[PortalDocument] | Broken, body: PortalReplacement) -> PortalDocument:
    """The document to change. A portal that cannot be read is replaced whole.

    Raises:
        AdminError: the portal cannot be read, and the body lacks its name, host name or servers.
    """
    if isinstance(existing, Stored):
        return existing.document
    if body.name is None or body.hostname is None or body.servers is None:
        raise broken(existing)
    return PortalDocument(name=body.name, hostname=body.hostname)


def _document(
    body: PortalBody | PortalReplacement,
    before: PortalDocument,
    servers: Scan[ServerDocument],
    code_mode: CodeModePolicy | None,
) -> PortalDocument:
    """The document to store: `before` with the members of `body`. `code_mode` is the current code mode, or None. A
    server that cannot be read is not shown, so that a list without it does not detach it."""
    policy = code_mode_of(body.code_mode, body.allow_code_mode, code_mode)
    if policy is None:
        raise invalid("allow_code_mode and code_mode contradict each other; send one of them", "/code_mode")
    attached = before.servers if body.servers is None else _all_attached(body.servers, before.servers, servers)
    gateway = body.secure_web_gateway
    return before.model_copy(
        update={
            "name": body.name or before.name,
            "hostname": (body.hostname or before.hostname).lower(),
            "description": body.description if "description" in body.model_fields_set else before.description,
            "code_mode": policy,
            "secure_web_gateway": before.secure_web_gateway if gateway is None else gateway,
            "servers": attached,
        }
    )


def _all_attached(wanted: Sequence[AttachedServer], before: Entries, servers: Scan[ServerDocument]) -> Entries:
    """The entries of the servers that are wanted, and those of servers that cannot be read, as they are."""
    known = {server.id: server.document for server in servers.stored}
    unreadable = {server.id for server in servers.broken}
    hidden = {entry.server_id: entry for entry in before if entry.server_id in unreadable}
    ids = [entry.server_id for entry in wanted]
    for index, id in enumerate(ids):
        if id in unreadable and id not in hidden:
            raise invalid(UNREADABLE, f"/servers/{index}/server_id")
        if id not in known and id not in hidden:
            raise invalid("there is no server of this id", f"/servers/{index}/server_id")
        if id in ids[:index]:
            raise invalid("this server is attached already", f"/servers/{index}/server_id")
    made = (hidden.get(entry.server_id) or _attached(entry, known[entry.server_id]) for entry in wanted)
    return (*made, *(entry for id, entry in hidden.items() if id not in ids))


def _attached(entry: AttachedServer, server: ServerDocument) -> PortalServerDocument:
    """The entry to store, without overrides that only repeat the server's settings: an answer sent back has those."""

    def own(portal: Settings, server_settings: Settings) -> tuple[CapabilitySetting, ...]:
        enabled = {one.name: one.enabled for one in server_settings}
        return tuple(one for one in portal if entry.default_disabled or _adds_something(one, enabled.get(one.name)))

    return PortalServerDocument(
        server_id=entry.server_id,
        default_disabled=entry.default_disabled,
        on_behalf=entry.on_behalf,
        updated_tools=own(entry.updated_tools, server.updated_tools),
        updated_prompts=own(entry.updated_prompts, server.updated_prompts),
    )


def _adds_something(override: CapabilitySetting, enabled: bool | None) -> bool:
    """Whether a portal's override differs from `enabled`, the server's own setting for the tool."""
    if override.alias or override.description:
        return True
    return override.enabled is not None and override.enabled != enabled


def _require_unique_host(hostname: str, id: str, portals: Sequence[Stored[PortalDocument]]) -> None:
    if any(other.document.hostname == hostname and other.id != id for other in portals):
        raise conflict("another portal has this hostname")
