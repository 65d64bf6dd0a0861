"""MCP servers: `access/ai-controls/mcp/servers`. Stored as documents, their credentials as secrets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BaseModel, Field

from portal.admin import credentials
from portal.admin.api.errors import in_use, not_found
from portal.admin.api.operations import Asked, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.capabilities import Override, Overrides
from portal.admin.credentials import AuthConfigSummary, AuthType
from portal.admin.pins import Approvals
from portal.admin.upstreams import ErrorDetails, Status, Upstreams
from portal.servers import SERVER, ListingChange
from portal.state import KEEP, Keep, Store, Stored, Transaction

PATH = "/access/ai-controls/mcp/servers"
MAX_SERVERS = 1000

# No underscore: in a portal a tool is `{server}_{tool}`, taken apart at the first one.
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
        raise ValueError("must have no user, password or fragment; credentials belong into auth_credentials")
    return url


Endpoint = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_endpoint)]


Audience = Annotated[str, Field(max_length=200, pattern=r"^[!-~]*$")]


class _Settings(BaseModel):
    assertion_audience: Audience | None = None
    auth_credentials: Secret | None = Field(default=None, repr=False)
    client_secret: Secret | None = Field(default=None, repr=False)
    description: Description | None = None
    is_shared_oauth_callback_enabled: bool | None = None
    pin: bool | None = None
    secure_web_gateway: bool | None = None
    updated_prompts: Overrides | None = None
    updated_tools: Overrides | None = None


class ServerBody(_Settings):
    id: Id
    auth_type: AuthType
    hostname: Endpoint
    name: Name


class ServerReplacement(_Settings):
    """What is left out stays as it is. `auth_type` and `hostname` cannot be changed and are not looked at."""

    name: Name | None = None


class Synced(BaseModel):
    status: Status
    error: str | None = None
    error_details: ErrorDetails | None = None


class ShownServer(BaseModel):
    """One server. `assertion_audience` (ours): where there is one, calls carry an assertion for it that says who calls.
    `tools` and `prompts` are what it last said it offers, `capability_changes` (ours)
    when that was something else than before. `pin` (ours): it offers only what was approved, `waiting_approvals` is
    how much of it was not."""

    id: str
    name: str
    hostname: str
    auth_type: AuthType
    assertion_audience: str = ""
    description: str | None = None
    is_shared_oauth_callback_enabled: bool = False
    pin: bool = False
    secure_web_gateway: bool = False
    updated_prompts: tuple[Override, ...] = ()
    updated_tools: tuple[Override, ...] = ()
    auth_config_summary: AuthConfigSummary | None = None
    authentication_status: Literal["not_required", "required", "connected", "stale", "manual"]
    status: Status
    error: str | None = None
    error_details: ErrorDetails | None = None
    last_synced: datetime | None = None
    last_successful_sync: datetime | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    prompts: tuple[Mapping[str, Any], ...] = ()
    capability_changes: tuple[ListingChange, ...] = ()
    waiting_approvals: int = 0
    created_at: datetime
    created_by: str
    modified_at: datetime
    modified_by: str


class Servers:
    def __init__(self, store: Store, upstreams: Upstreams) -> None:
        self._store = store
        self._upstreams = upstreams

    def operations(self) -> list[Operation]:
        one = PATH + "/{id}"
        return [
            Operation("GET", PATH, "List MCP servers", self._list, ShownServer, PORTALS, listed=True),
            Operation("POST", PATH, "Add an MCP server", self._create, ShownServer, PORTALS, ServerBody, status=201),
            Operation("GET", one, "Show an MCP server", self._get, ShownServer, PORTALS),
            Operation("PUT", one, "Change an MCP server", self._replace, ShownServer, PORTALS, ServerReplacement),
            Operation("DELETE", one, "Remove an MCP server", self._delete, ShownServer, PORTALS),
            Operation("POST", f"{one}/sync", "Read what a server offers again", self._sync, Synced, PORTALS),
            *Approvals(self._store, self._upstreams).operations(one),
        ]

    def shown(self, stored: Stored) -> ShownServer:
        document = stored.document
        return ShownServer(
            **{key: value for key, value in document.items() if key not in ("oauth", "client_secret_version")},
            **self._upstreams.observed(stored.id).model_dump(),
            id=stored.id,
            auth_config_summary=credentials.summary(document),
            authentication_status=credentials.authentication_status(document, has_secret=stored.has_secret),  # type: ignore[arg-type]
            created_at=stored.created_at,
            created_by=stored.created_by,
            modified_at=stored.modified_at,
            modified_by=stored.modified_by,
        )

    async def _list(self, asked: Asked) -> list[ShownServer]:
        wanted = asked.paging.search.lower()
        return [
            self.shown(stored)
            for stored in await self._store.list(SERVER)
            if wanted in stored.id.lower() or wanted in stored.document["name"].lower()
        ]

    async def _get(self, asked: Asked) -> ShownServer:
        stored = await self._store.get(SERVER, asked.path["id"])
        if stored is None:
            raise not_found("MCP server")
        return self.shown(stored)

    async def _create(self, asked: Asked) -> ShownServer:
        body: ServerBody = asked.body
        public = credentials.read_public(body.auth_type, body.auth_credentials)
        document = {
            "name": body.name,
            "hostname": body.hostname,
            "auth_type": body.auth_type,
            **_settings(body, {}),
            **({"oauth": public} if public else {}),
            "client_secret_version": 1 if body.client_secret else 0,
        }
        secret = _sealed(body, {})
        async with self._store.transaction() as transaction:
            if len(await transaction.list(SERVER)) >= MAX_SERVERS:
                raise in_use(f"there are {MAX_SERVERS} servers already")
            created = await transaction.create(
                SERVER, body.id, document, by=asked.by, secret=None if isinstance(secret, Keep) else secret
            )
        return self.shown(created)

    async def _replace(self, asked: Asked) -> ShownServer:
        body: ServerReplacement = asked.body
        async with self._store.transaction() as transaction:
            stored = await transaction.get(SERVER, asked.path["id"])
            if stored is None:
                raise not_found("MCP server")
            before = stored.document
            public = credentials.read_public(before["auth_type"], body.auth_credentials)
            document = {
                **before,
                "name": body.name or before["name"],
                **_settings(body, before),
                **({"oauth": public} if public else {}),
                "client_secret_version": before["client_secret_version"] + (1 if body.client_secret else 0),
            }
            secret = _sealed(body, await _opened(transaction, stored.id))
            replaced = await transaction.replace(SERVER, stored.id, document, by=asked.by, secret=secret)
        return self.shown(replaced)

    async def _delete(self, asked: Asked) -> ShownServer:
        id = asked.path["id"]
        async with self._store.transaction() as transaction:
            users = [
                portal.id
                for portal in await transaction.list("portal")
                if any(server["server_id"] == id for server in portal.document["servers"])
            ]
            if users:
                raise in_use(f"the server is used by the portal {users[0]}; detach it first")
            return self.shown(await transaction.delete(SERVER, id, by=asked.by))

    async def _sync(self, asked: Asked) -> Synced:
        stored = await self._store.get(SERVER, asked.path["id"])
        if stored is None:
            raise not_found("MCP server")
        observed = await self._upstreams.sync(stored.id)
        return Synced(status=observed.status, error=observed.error, error_details=observed.error_details)


def _settings(body: _Settings, before: Mapping[str, Any]) -> dict[str, Any]:
    """What was sent over what there was; what is null or left out stays, but for a description, which null removes."""
    plain = {
        "assertion_audience": "",
        "is_shared_oauth_callback_enabled": False,
        "pin": False,
        "secure_web_gateway": False,
    }
    given = body.model_dump(mode="json", exclude_none=True, include={*plain, "updated_tools", "updated_prompts"})
    described = body.description if "description" in body.model_fields_set else before.get("description")
    kept = {key: before[key] for key in (*plain, "updated_tools", "updated_prompts") if key in before}
    return {**plain, "updated_tools": [], "updated_prompts": [], **kept, **given, "description": described}


def _sealed(body: _Settings, before: Mapping[str, str]) -> bytes | Keep:
    given = {"auth_credentials": body.auth_credentials, "client_secret": body.client_secret}
    if all(value is None for value in given.values()):
        return KEEP
    return orjson.dumps(credentials.seal_together(before, given))


async def _opened(transaction: Transaction, id: str) -> Mapping[str, str]:
    secret = await transaction.secret(SERVER, id)
    opened: Mapping[str, str] = orjson.loads(secret) if secret else {}
    return opened
