"""The SDK's authorization server routes ask this for everything: clients, codes, tokens (`mcp.server.auth.provider`).

One is made for each request, because what a code or refresh token may be exchanged for depends on what that request
says beside it: the browser that asks, the origin it asks at, the resource it names.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl

from portal.oauth.admission import Admit, refusal_of
from portal.oauth.clients import Clients
from portal.oauth.grants import ACCESS, CODE, REFRESH, Grants, grant_of
from portal.oauth.resources import ResourceUnknown, read_resource
from portal.oauth.settings import OAuthSettings
from portal.state import Store, utc_now

CONSENT = "consent"
CONSENT_PATH = "/authorize/consent"
CONSENT_LASTS = timedelta(minutes=15)
MAX_STATE = 4096
# What the base64url of a SHA-256 is long (RFC 7636 section 4.2).
CHALLENGE_LENGTH = 43


@dataclass(frozen=True, slots=True)
class Authority:
    """What every request's provider shares."""

    store: Store
    settings: OAuthSettings
    clients: Clients
    grants: Grants
    admit: Admit
    now: Callable[[], datetime] = utc_now


@dataclass(frozen=True, slots=True)
class Asking:
    """The request: the origin it came to, the RFC 8707 resource it names, the browser it came from (a hash)."""

    origin: str
    resource: str | None = None
    browser: str = ""


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    def __init__(self, authority: Authority, asking: Asking) -> None:
        self._authority = authority
        self._asking = asking

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return await self._authority.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        await self._authority.clients.register(client_info)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """Keep the request for the consent page, which is where the browser goes."""
        resource = self._resource(params.resource, AuthorizeError)
        if len(params.code_challenge) != CHALLENGE_LENGTH:
            raise AuthorizeError("invalid_request", "code_challenge is not the base64url of a SHA-256")
        if params.state is not None and len(params.state) > MAX_STATE:
            raise AuthorizeError("invalid_request", f"state is longer than {MAX_STATE} characters")
        request = secrets.token_urlsafe(32)
        document = {
            "client": client.client_id,
            "redirect_uri": str(params.redirect_uri),
            "redirect_uri_given": params.redirect_uri_provided_explicitly,
            "state": params.state,
            "scopes": params.scopes or list(self._authority.settings.scopes),
            "challenge": params.code_challenge,
            "resource": resource,
            "browser": self._asking.browser,
        }
        await self._authority.store.tokens.issue(
            CONSENT,
            request,
            subject="",
            client=client.client_id,
            document=document,
            expires_at=self._authority.now() + CONSENT_LASTS,
        )
        return f"{CONSENT_PATH}?request={request}"

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        found = await self._authority.grants.find(CODE, authorization_code, client.client_id)
        if found is None:
            return None
        grant = grant_of(found)
        return AuthorizationCode(
            code=authorization_code,
            scopes=list(grant.scopes),
            expires_at=found.expires_at.timestamp(),
            client_id=found.client,
            code_challenge=str(found.document["challenge"]),
            redirect_uri=AnyUrl(str(found.document["redirect_uri"])),
            redirect_uri_provided_explicitly=bool(found.document["redirect_uri_given"]),
            resource=grant.resource,
            subject=grant.identity.id,
        )

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        self._same_resource(authorization_code.resource)
        return await self._exchange(client, CODE, authorization_code.code)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        found = await self._authority.grants.find(REFRESH, refresh_token, client.client_id)
        if found is None:
            return None
        grant = grant_of(found)
        return RefreshToken(
            token=refresh_token,
            client_id=found.client,
            scopes=list(grant.scopes),
            expires_at=int(found.expires_at.timestamp()),
            resource=grant.resource,
            subject=grant.identity.id,
        )

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        self._same_resource(refresh_token.resource)
        return await self._exchange(client, REFRESH, refresh_token.token, scopes)

    async def load_access_token(self, token: str) -> AccessToken | None:
        found = await self._authority.store.tokens.find(ACCESS, token)
        if found is None:
            return None
        grant = grant_of(found)
        return AccessToken(
            token=token,
            client_id=grant.client,
            scopes=list(grant.scopes),
            expires_at=int(found.expires_at.timestamp()),
            resource=grant.resource,
            subject=grant.identity.id,
        )

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        kind = ACCESS if isinstance(token, AccessToken) else REFRESH
        found = await self._authority.store.tokens.find(kind, token.token)
        if found is not None:
            await self._authority.grants.end(found.family)

    async def _exchange(
        self, client: OAuthClientInformationFull, kind: str, token: str, scopes: list[str] | None = None
    ) -> OAuthToken:
        """A new pair, if the policies of this moment still let that person in."""
        held = await self._authority.grants.find(kind, token, client.client_id)
        if held is None:
            raise TokenError("invalid_grant", f"{kind} token does not exist")
        grant = grant_of(held)
        refusal = refusal_of(await self._authority.admit(grant.identity, urlsplit(grant.resource).path))
        if refusal is not None:
            await self._authority.grants.end(grant.family)
            raise TokenError("invalid_grant", refusal)
        pair = self._authority.grants.pair(grant, self._authority.settings.access_lifetime, scopes)
        if not await self._authority.grants.exchange(kind, token, pair):
            raise TokenError("invalid_grant", f"{kind} token does not exist")
        return OAuthToken(
            access_token=pair.access,
            refresh_token=pair.refresh if "refresh_token" in client.grant_types else None,
            expires_in=pair.seconds,
            scope=" ".join(pair.scopes),
        )

    def _same_resource(self, granted: str | None) -> None:
        """RFC 8707 section 2.2: what a token request names must be what was authorized."""
        if self._asking.resource and self._resource(self._asking.resource, TokenError) != granted:
            raise TokenError("invalid_target", "resource is not the one that was authorized")

    def _resource(self, asked: str | None, error: Callable[..., Exception]) -> str:
        try:
            return read_resource(asked, self._asking.origin, self._authority.settings.path)
        except ResourceUnknown as unknown:
            raise error("invalid_target", str(unknown)) from None
