"""MCP servers: `access/ai-controls/mcp/servers`. The store has them as documents and their credentials as secrets."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, Field

from portal.access import settings_of
from portal.admin import credentials
from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.api.revisions import part_of, whole
from portal.admin.capabilities import (
    OfferedCapability,
    Override,
    Overrides,
    PromptOverrides,
    offered,
    part_named,
    with_changes,
)
from portal.admin.credentials import AuthConfigSummary, AuthenticationStatus
from portal.admin.fixes import Fix, fix_of
from portal.admin.pins import ApprovalOperations, require_stored
from portal.admin.server_logins import LoginOperations, OwnLogins, ShownCredential, read_own_logins
from portal.admin.upstreams import ErrorDetails, Status, Upstreams
from portal.config import Labels
from portal.credentials import open_secret, read_scheme_values
from portal.errors import InputError
from portal.objects import (
    MAX_API_TEXT,
    PORTAL,
    SERVER,
    AuthType,
    CapabilitySetting,
    PortalServer,
    ServerDocument,
    packed,
    unpacked,
)
from portal.openapi import parse_document, read_api
from portal.servers import SERVER_CHANGES, ListingChange
from portal.state import KEEP, Broken, Clock, Keep, Store, Stored, Transaction

PATH = "/access/ai-controls/mcp/servers"
MAX_SERVERS = 1000

# No underscore: a tool's name in a portal is `{server}_{tool}`, split at the first underscore.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$", min_length=1, max_length=64)]
Name = Annotated[str, Field(min_length=1, max_length=350)]
Description = Annotated[str, Field(max_length=4096)]
Secret = Annotated[str, Field(max_length=credentials.MAX_CREDENTIALS)]


def _endpoint(value: str) -> str:
    url = value if "://" in value else f"https://{value}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or any(letter in url for letter in ' \\"<>'):
        raise ValueError("must be the http:// or https:// URL of an MCP server")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must have no user, password or fragment; credentials belong in auth_credentials")
    return url


Endpoint = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_endpoint)]


DocumentText = Annotated[str, Field(min_length=1, max_length=MAX_API_TEXT)]
Audience = Annotated[str, Field(max_length=200, pattern=r"^[!-~]*$")]


class _Settings(BaseModel):
    assertion_audience: Audience | None = None
    auth_credentials: Secret | None = Field(default=None, repr=False)
    client_secret: Secret | None = Field(default=None, repr=False)
    description: Description | None = None
    is_shared_oauth_callback_enabled: bool | None = None
    labels: Labels | None = None
    openapi_document: DocumentText | None = Field(default=None, repr=False)
    openapi_url: Endpoint | None = None
    pin: bool | None = None
    secure_web_gateway: bool | None = None
    updated_prompts: PromptOverrides | None = None
    updated_tools: Overrides | None = None


class ServerBody(_Settings):
    """With `openapi_url` or `openapi_document` (ours) it is an API, and `hostname` the base address of its paths."""

    id: Id
    auth_type: AuthType
    hostname: Endpoint
    name: Name


class ServerReplacement(_Settings):
    """Members that are left out stay as they are. `auth_type` and `hostname` cannot be changed and are ignored. An API
    can get another OpenAPI document, an MCP server none."""

    name: Name | None = None


class CapabilityChanges(BaseModel):
    """Settings of single tools and prompts. Of each the members that are sent change, null takes one out; what is not
    named stays, so that two who change different ones at once do not undo each other."""

    updated_tools: Overrides = ()
    updated_prompts: PromptOverrides = ()


class Synced(BaseModel):
    status: Status
    error: str | None = None
    error_details: ErrorDetails | None = None


class ShownServer(BaseModel):
    """One server.

    If `assertion_audience` (ours) is set, calls carry an assertion for it that names the caller. `tools` and `prompts`
    are from the last listing, `offered` (ours) are both with their settings and whether they are approved, and
    `capability_changes` (ours) are the last changes between listings. `fix` (ours) is the next thing to do, null where
    all is well. A server with `pin` (ours) offers only approved definitions; `waiting_approvals` counts those that
    wait. `credential` (ours) is the portal's own login. `labels` (ours), of the server and of single tools in
    `updated_tools`, are for data-flow rules. Of an API `openapi_url` (ours) is where its document is fetched, or
    `openapi_digest` (ours) the SHA-256 of the document that was sent. `notices` (ours) say what is left out.
    """

    id: str
    name: str
    hostname: str
    auth_type: AuthType
    assertion_audience: str = ""
    description: str | None = None
    is_shared_oauth_callback_enabled: bool = False
    labels: tuple[str, ...] = ()
    openapi_url: str | None = None
    openapi_digest: str | None = None
    pin: bool = False
    secure_web_gateway: bool = False
    updated_prompts: tuple[Override, ...] = ()
    updated_tools: tuple[Override, ...] = ()
    auth_config_summary: AuthConfigSummary | None = None
    authentication_status: AuthenticationStatus
    credential: ShownCredential | None = None
    status: Status
    error: str | None = None
    error_details: ErrorDetails | None = None
    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    tools: tuple[Mapping[str, object], ...] = ()
    prompts: tuple[Mapping[str, object], ...] = ()
    offered: tuple[OfferedCapability, ...] = ()
    fix: Fix | None = None
    capability_changes: tuple[ListingChange, ...] = ()
    waiting_approvals: int = 0
    notices: tuple[str, ...] = ()
    created_at: datetime
    created_by: str
    modified_at: datetime
    modified_by: str


class ServerOperations:
    def __init__(self, store: Store, upstreams: Upstreams, clock: Clock, settings: AdminSettings) -> None:
        self._store = store
        self._upstreams = upstreams
        self._clock = clock
        self._settings = settings

    def operations(self) -> list[Operation]:
        item, of = PATH + "/{id}", whole(self._store, SERVER, "MCP server")
        return [
            Operation("GET", PATH, "List MCP servers", self._list, ShownServer, PORTALS, listed=True),
            Operation(
                "POST",
                PATH,
                "Add an MCP server",
                self._create,
                ShownServer,
                PORTALS,
                ServerBody,
                status=201,
                large=True,
            ),
            Operation("GET", item, "Show an MCP server", self._get, ShownServer, PORTALS, of=of),
            Operation(
                "PUT",
                item,
                "Change an MCP server",
                self._replace,
                ShownServer,
                PORTALS,
                ServerReplacement,
                of=of,
                large=True,
            ),
            Operation(
                "PATCH",
                item,
                "Change single tools and prompts of a server",
                self._edit,
                ShownServer,
                PORTALS,
                CapabilityChanges,
                of=part_of(self._store, SERVER, "MCP server", _named_capabilities),
            ),
            Operation("DELETE", item, "Remove an MCP server", self._delete, ShownServer, PORTALS, of=of),
            Operation(
                "POST", f"{item}/sync", "Read the tools and prompts of a server again", self._sync, Synced, PORTALS
            ),
            *ApprovalOperations(partial(require_stored, self._store), self._upstreams).operations(item),
            *LoginOperations(self._store, self._clock, self._settings).operations(item),
        ]

    async def own_logins(self) -> OwnLogins:
        """The portal's own logins, to be shown with their servers."""
        return await read_own_logins(self._store, self._clock, self._settings.lead)

    def shown(self, stored: Stored[ServerDocument], logins: OwnLogins) -> ShownServer:
        document = stored.document
        credential = logins.of(stored.id, document, self._upstreams.own_token(stored.id))
        state = credential.state if credential is not None else None
        status = credentials.authentication_status(document, has_secret=stored.has_secret, state=state)
        observed = self._upstreams.observed(stored.id)
        ends = credential is not None and credential.ending == "soon"
        return ShownServer(
            **observed.model_dump(),
            offered=self.offered(stored, PortalServer(server_id=stored.id)),
            fix=fix_of(observed, document.auth_type, status, fault=self._upstreams.fault(stored.id), login_ends=ends),
            id=stored.id,
            name=document.name,
            hostname=document.hostname,
            auth_type=document.auth_type,
            assertion_audience=document.assertion_audience,
            description=document.description,
            is_shared_oauth_callback_enabled=document.is_shared_oauth_callback_enabled,
            labels=document.labels,
            openapi_url=document.openapi_url,
            openapi_digest=_digest(document),
            pin=document.pin,
            secure_web_gateway=document.secure_web_gateway,
            updated_prompts=tuple(map(_override, document.updated_prompts)),
            updated_tools=tuple(map(_override, document.updated_tools)),
            auth_config_summary=credentials.summary(document),
            authentication_status=status,
            credential=credential,
            created_at=stored.created_at,
            created_by=stored.created_by,
            modified_at=stored.modified_at,
            modified_by=stored.modified_by,
        )

    def offered(self, stored: Stored[ServerDocument], entry: PortalServer) -> tuple[OfferedCapability, ...]:
        """What a server offers at a portal with this entry of it."""
        document = stored.document
        tools = settings_of(document.updated_tools, entry.updated_tools, default_disabled=entry.default_disabled)
        prompts = settings_of(document.updated_prompts, entry.updated_prompts, default_disabled=entry.default_disabled)
        return offered(self._upstreams.definitions(stored.id), tools, prompts, pinned=document.pin)

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownServer]:
        search = request.paging.search.lower()
        scan, logins = await self._store.scan(SERVER), await self.own_logins()
        servers = [
            self.shown(stored, logins)
            for stored in scan.stored
            if search in stored.id.lower() or search in stored.document.name.lower()
        ]
        return ListAnswer(servers, scan.broken)

    async def _get(self, request: ApiRequest) -> ShownServer:
        stored = await self._store.get(SERVER, request.path["id"])
        if stored is None:
            raise not_found("MCP server")
        return self.shown(stored, await self.own_logins())

    async def _create(self, request: ApiRequest) -> ShownServer:
        body = request.read(ServerBody)
        document = ServerDocument(
            name=body.name, hostname=body.hostname, auth_type=body.auth_type, description=body.description
        )
        new = credentials.new_credentials(body.auth_type, body.auth_credentials, body.client_secret)
        api = await asyncio.to_thread(_api_members, body)
        _require_api(body, is_api=bool(api))
        async with self._store.transaction() as transaction:
            scan = await transaction.scan(SERVER)
            if len(scan.stored) + len(scan.broken) >= MAX_SERVERS:
                raise in_use(f"there are {MAX_SERVERS} servers already")
            created = await transaction.create(
                SERVER,
                body.id,
                document.model_copy(update={**_settings(body), **api, **new.members}),
                by=request.by,
                secret=orjson.dumps(new.secret) if new.secret else None,
            )
        return self.shown(created, await self.own_logins())

    async def _replace(self, request: ApiRequest) -> ShownServer:
        body = request.read(ServerReplacement)
        api = await asyncio.to_thread(_api_members, body)
        async with request.transaction(self._store) as transaction:
            # A server that cannot be read is a 409 and must be created again, because the body has no URL.
            stored = await transaction.get(SERVER, request.path["id"])
            if stored is None:
                raise not_found("MCP server")
            before = stored.document
            if api and not before.is_api:
                raise invalid("is for a server that was made as an API; make another server", _pointer(body))
            _require_api(body, is_api=before.is_api)
            changes: dict[str, object] = {"name": body.name or before.name, **_settings(body), **api}
            if "description" in body.model_fields_set:
                changes["description"] = body.description
            secret: bytes | Keep | None = KEEP
            if body.auth_credentials is not None or body.client_secret is not None:
                opened = await _current_secret(transaction, stored.id)
                sent = body.auth_credentials, body.client_secret
                new = credentials.new_credentials(before.auth_type, *sent, before, opened)
                changes |= new.members
                secret = orjson.dumps(new.secret) if new.secret else None
            replaced = await transaction.replace(
                SERVER, stored.id, before.model_copy(update=changes), by=request.by, secret=secret
            )
        return self.shown(replaced, await self.own_logins())

    async def _edit(self, request: ApiRequest) -> ShownServer:
        body = request.read(CapabilityChanges)
        async with request.transaction(self._store) as transaction:
            stored = await transaction.get(SERVER, request.path["id"])
            if stored is None:
                raise not_found("MCP server")
            before = stored.document
            changes = {
                "updated_tools": with_changes(before.updated_tools, body.updated_tools, "updated_tools"),
                "updated_prompts": with_changes(before.updated_prompts, body.updated_prompts, "updated_prompts"),
            }
            replaced = await transaction.replace(SERVER, stored.id, before.model_copy(update=changes), by=request.by)
        return self.shown(replaced, await self.own_logins())

    async def _delete(self, request: ApiRequest) -> ShownServer | Removed:
        id = request.path["id"]
        async with request.transaction(self._store) as transaction:
            users = [
                portal.id
                for portal in await transaction.list(PORTAL)
                if any(server.server_id == id for server in portal.document.servers)
            ]
            if users:
                raise in_use(f"the server is used by the portal {users[0]}; detach it first")
            deleted = await transaction.delete(SERVER, id, by=request.by)
            if await transaction.find(SERVER_CHANGES, id) is not None:
                await transaction.delete(SERVER_CHANGES, id, by=request.by)
        if isinstance(deleted, Broken):
            return Removed(id=deleted.id)
        return self.shown(deleted, await self.own_logins())

    async def _sync(self, request: ApiRequest) -> Synced:
        stored = await self._store.get(SERVER, request.path["id"])
        if stored is None:
            raise not_found("MCP server")
        observed = await self._upstreams.sync(stored.id)
        return Synced(status=observed.status, error=observed.error, error_details=observed.error_details)


_COPIED = ("assertion_audience", "is_shared_oauth_callback_enabled", "labels", "pin", "secure_web_gateway")


def _settings(body: _Settings) -> dict[str, object]:
    """The settings in the body. One that is null or left out stays. Not `description`: null removes that."""
    names = (*_COPIED, "updated_tools", "updated_prompts")
    return {name: value for name in names if (value := getattr(body, name)) is not None}


def _pointer(body: _Settings) -> str:
    return "/openapi_url" if body.openapi_url else "/openapi_document"


def _api_members(body: _Settings) -> dict[str, object]:
    """The members of a server with the OpenAPI document of the body, {} if it has none. It is parsed, for a thread.

    Raises:
        AdminError: it cannot be used.
    """
    text, url = body.openapi_document, body.openapi_url
    if text and url:
        raise invalid("does not go with openapi_url: send one of the two", "/openapi_document")
    if url:
        return {"openapi_url": url, "openapi_packed": None}
    if not text:
        return {}
    try:
        read_api(parse_document(text.encode(), largest=MAX_API_TEXT))
    except (InputError, RecursionError) as error:
        why = str(error) if isinstance(error, InputError) else "it is nested too deeply"
        raise invalid(f"is no OpenAPI document that can be used: {why[:300]}", "/openapi_document") from None
    stored = packed(text)
    if stored is None:
        raise invalid("is too large to be stored: let the portal fetch it from openapi_url", "/openapi_document")
    return {"openapi_url": None, "openapi_packed": stored}


def _require_api(body: _Settings, *, is_api: bool) -> None:
    """
    Raises:
        AdminError: there are values for security schemes, which only the document of an API has.
    """
    if not is_api and body.auth_credentials and '"credentials"' in body.auth_credentials:
        try:
            values = read_scheme_values(body.auth_credentials)
        except ValueError:
            return
        if values:
            raise invalid("has credentials by security scheme, which are for an API", "/auth_credentials")


def _digest(document: ServerDocument) -> str | None:
    if not document.openapi_packed:
        return None
    try:
        return hashlib.sha256(unpacked(document.openapi_packed).encode()).hexdigest()
    except ValueError:
        return None


def _named_capabilities(
    document: ServerDocument, path: Mapping[str, str], body: BaseModel | None
) -> tuple[str, object] | None:
    """The settings of the tools and prompts that a change names."""
    if not isinstance(body, CapabilityChanges):
        return None
    return part_named(((body.updated_tools, document.updated_tools), (body.updated_prompts, document.updated_prompts)))


def _override(setting: CapabilitySetting) -> Override:
    return Override.model_validate(setting.model_dump())


async def _current_secret(transaction: Transaction, id: str) -> Mapping[str, str]:
    return open_secret(await transaction.secret(SERVER, id))
