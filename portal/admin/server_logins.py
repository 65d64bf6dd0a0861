"""The portal's own credential at a server, for callers who do not log in themselves: shown, begun and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import conflict, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.config import HttpServer, UpstreamOAuth
from portal.credentials import (
    OWN,
    STATES,
    CredentialDocument,
    CredentialsInvalid,
    Outbound,
    OwnToken,
    State,
    ending,
    ends_at,
    fits,
    log_out,
    may_log_in,
    open_login_requests,
    request_login,
    state_of,
    stored_logins,
)
from portal.objects import SERVER, ServerDocument
from portal.servers import server_config
from portal.state import Clock, SecretUnreadable, Store

if TYPE_CHECKING:
    from datetime import timedelta

    from portal.state import Stored, StoredCredential

    Login = StoredCredential[CredentialDocument]


class ShownCredential(BaseModel):
    """The portal's own login at a server, or its token as a client there. No token is in it.

    `meaning` and `reason` say what `state` means and why it is so. `expires_at` is the end of the token; `ends_at` is
    that of the login if no refresh can move it, and `ending` how near it is.
    """

    state: State
    meaning: str
    reason: str | None = None
    scope: str | None = None
    wanted_scope: str | None = None
    issuer: str | None = None
    resource: str | None = None
    client_id: str | None = None
    granted_by: str | None = None
    granted_at: datetime | None = None
    expires_at: datetime | None = None
    ends_at: datetime | None = None
    ending: Literal["no", "soon", "ended"] = "no"


class LoginBody(BaseModel):
    """`scope`: permissions that are wanted beside those that the server asks for, with spaces between them."""

    scope: Annotated[str, Field(max_length=4096, pattern=r"^[\x20\x21\x23-\x5b\x5d-\x7e]*$")] = ""


class ShownLoginRequest(BaseModel):
    """`url` is opened by an administrator of the portal, once, until `expires_at`. It is shown only here."""

    url: str
    expires_at: datetime


class EndedOwnLogin(BaseModel):
    """`revoked`: the authorization server has taken back everything. If not, it has taken back what is named, and the
    rest ends by itself."""

    issuer: str
    client_id: str
    scope: str
    granted_by: str
    granted_at: datetime
    revoked: bool
    refresh_token_revoked: bool
    access_token_revoked: bool


class EndedOwnLogins(BaseModel):
    logins: tuple[EndedOwnLogin, ...]


@dataclass(frozen=True, slots=True)
class OwnLogins:
    """The portal's own logins as they are now, by server, and the servers at which one is under way."""

    now: datetime
    lead: timedelta
    by_server: Mapping[str, Sequence[Login]] = field(default_factory=dict)
    begun: frozenset[str] = frozenset()

    def of(self, id: str, document: ServerDocument, token: OwnToken | None) -> ShownCredential | None:
        """What is shown of the login at this server, or of the `token` that the portal asks for as a client; None for a
        server with neither."""
        if document.auth_type != "oauth":
            return None
        if (document.oauth or {}).get("grant") == "client_credentials":
            return _shown_token(token) if token is not None else None
        found = [one for one in self.by_server.get(id, ()) if fits(one.key, document.hostname, _bound_to(document))]
        if not found:
            state: State = "connecting" if id in self.begun else "absent"
            return ShownCredential(state=state, meaning=STATES[state])
        return _shown(found[-1], self.now, self.lead)


async def read_own_logins(store: Store, clock: Clock, lead: timedelta) -> OwnLogins:
    """The portal's own logins, from the store."""
    now = clock()
    by_server: dict[str, list[Login]] = {}
    for one in await stored_logins(store, subject=OWN):
        by_server.setdefault(one.key.server, []).append(one)
    begun = frozenset(one.document.server for one in await open_login_requests(store, now))
    return OwnLogins(now, lead, by_server, begun)


class LoginOperations:
    def __init__(self, store: Store, clock: Clock, settings: AdminSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings

    def operations(self, item: str) -> list[Operation]:
        """The operations below the path `item` of a server."""
        path = f"{item}/login"
        return [
            Operation(
                "POST",
                path,
                "Begin the portal's own login at a server",
                self._begin,
                ShownLoginRequest,
                PORTALS,
                LoginBody,
                body_required=False,
                status=201,
            ),
            Operation("DELETE", path, "End the portal's own login at a server", self._end, EndedOwnLogins, PORTALS),
        ]

    async def _begin(self, request: ApiRequest) -> ShownLoginRequest:
        stored = await self._server(request)
        if stored.document.auth_type != "oauth":
            raise conflict("the server has no login: its auth_type is not oauth")
        config = await self._config(stored)
        if config is None:
            raise conflict("the stored credentials of the server cannot be used; send auth_credentials again")
        if not may_log_in(config):
            raise conflict("the server has no login: the portal is a client of its own there")
        if not self._settings.login_page:
            raise conflict(f"this portal has no page for it; log in with `codemode login {stored.id}`")
        now, scope = self._clock(), request.read(LoginBody).scope
        begun = await request_login(self._store, stored.id, scope, by=request.by, now=now)
        url = self._settings.delivery.url(f"{self._settings.login_page}?request={begun.secret}")
        return ShownLoginRequest(url=url, expires_at=begun.document.expires_at)

    async def _end(self, request: ApiRequest) -> EndedOwnLogins:
        stored = await self._server(request)
        logins = await stored_logins(self._store, subject=OWN, server=stored.id)
        if not logins:
            raise not_found("login")
        config = await self._config(stored)
        oauth = config.oauth if config is not None else None
        ended: list[EndedOwnLogin] = []
        for one in logins:
            async with Outbound.allowed_by(oauth, one.key.resource) as outbound:
                taken_back = await log_out(self._store, one, outbound, oauth)
            document = one.document
            ended.append(
                EndedOwnLogin(
                    issuer=one.key.issuer,
                    client_id=one.key.client,
                    scope=document.scope,
                    granted_by=document.granted_by,
                    granted_at=document.granted_at,
                    revoked=bool(taken_back),
                    refresh_token_revoked=taken_back.refresh,
                    access_token_revoked=taken_back.access,
                )
            )
        return EndedOwnLogins(logins=tuple(ended))

    async def _server(self, request: ApiRequest) -> Stored[ServerDocument]:
        stored = await self._store.get(SERVER, request.path["id"])
        if stored is None:
            raise not_found("MCP server")
        return stored

    async def _config(self, stored: Stored[ServerDocument]) -> HttpServer | None:
        """The server as it is called; None if it cannot be."""
        try:
            return server_config(stored, await self._store.secret(SERVER, stored.id))
        except (CredentialsInvalid, SecretUnreadable, ValidationError):
            return None


def _shown_token(token: OwnToken) -> ShownCredential:
    lost: Literal["soon", "ended"] = "soon" if token.lives else "ended"
    return ShownCredential(
        state=token.state,
        meaning=STATES[token.state],
        reason=token.reason or None,
        scope=token.scope,
        issuer=token.issuer or None,
        client_id=token.client_id,
        ending=lost if token.state == "misconfigured" else "no",
    )


def _bound_to(document: ServerDocument) -> UpstreamOAuth | None:
    """The issuer, the client and the token endpoint that a login must be of, without any secret."""
    public = document.oauth or {}
    config, registration = public.get("config"), public.get("registration_info")
    members = {**(config if isinstance(config, Mapping) else {})}
    members |= registration if isinstance(registration, Mapping) else {}
    return UpstreamOAuth.model_construct(
        issuer=members.get("issuer"),
        token_endpoint=members.get("token_endpoint"),
        client_id=members.get("client_id") or "",
    )


def _shown(login: Login, now: datetime, lead: timedelta) -> ShownCredential:
    document, state = login.document, state_of(login, now)
    return ShownCredential(
        state=state,
        meaning=STATES[state],
        reason=document.reason or None,
        scope=document.scope,
        wanted_scope=document.wanted_scope or None,
        issuer=login.key.issuer,
        resource=login.key.resource,
        client_id=login.key.client,
        granted_by=document.granted_by,
        granted_at=document.granted_at,
        expires_at=document.expires_at,
        ends_at=ends_at(login, now),
        ending=ending(login, now, lead),
    )
