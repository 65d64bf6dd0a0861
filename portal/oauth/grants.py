"""What a person granted a client, as tokens: a code, then access and refresh tokens of one family.

A refresh token is good once. Using one again, or a code again, means that somebody copied it: the family ends
(OAuth 2.1 sections 4.1.3 and 4.3.1; RFC 9700 section 4.14).
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mcp.shared.auth import OAuthToken

from portal.identity import Identity, identity_document, identity_from
from portal.oauth.settings import OAuthSettings
from portal.state import Store, Token, Tokens, utc_now

CODE, ACCESS, REFRESH = "code", "access", "refresh"
CODE_LASTS = timedelta(minutes=2)
ACCESS_PREFIX, REFRESH_PREFIX = "cmp_at_", "cmp_rt_"


@dataclass(frozen=True, slots=True)
class Grant:
    """Who allowed which client what, at which resource, and until when."""

    identity: Identity
    client: str
    resource: str
    scopes: tuple[str, ...]
    until: datetime
    family: str

    def document(self) -> dict[str, Any]:
        return {
            "identity": identity_document(self.identity),
            "resource": self.resource,
            "scopes": list(self.scopes),
            "until": self.until.isoformat(),
        }


def grant_of(token: Token) -> Grant:
    """The grant behind a code, an access or a refresh token."""
    document: Mapping[str, Any] = token.document
    return Grant(
        identity_from(document["identity"]),
        token.client,
        str(document["resource"]),
        tuple(document["scopes"]),
        datetime.fromisoformat(document["until"]),
        token.family,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What of an authorization request its code must remember: PKCE and the redirect (RFC 7636, RFC 6749 4.1.3)."""

    challenge: str
    redirect_uri: str
    redirect_uri_given: bool


class Grants:
    """Issues and ends them."""

    def __init__(self, store: Store, settings: OAuthSettings, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._settings = settings
        self._now = now

    async def code(self, identity: Identity, client: str, resource: str, scopes: list[str], asked: Asked) -> str:
        """A code for what somebody has just allowed."""
        now = self._now()
        grant = Grant(identity, client, resource, tuple(scopes), now + self._settings.grant_duration, str(uuid.uuid4()))
        code = secrets.token_urlsafe(32)
        document = {
            **grant.document(),
            "challenge": asked.challenge,
            "redirect_uri": asked.redirect_uri,
            "redirect_uri_given": asked.redirect_uri_given,
        }
        await self._issue(self._store.tokens, CODE, code, grant, document, now + CODE_LASTS)
        return code

    async def find(self, kind: str, token: str, client: str) -> Token | None:
        """A code or refresh token of this client that was not used. One that was ends its family."""
        found = await self._store.tokens.find(kind, token)
        if found is None or found.client != client:
            return None
        if found.used_at is not None:
            await self._store.tokens.revoke_family(found.family)
            return None
        return found

    async def exchange(self, kind: str, token: str, scopes: list[str] | None = None) -> OAuthToken | None:
        """Use a code or refresh token up, for a new pair. None when somebody else was faster: then the family ends."""
        async with self._store.transaction() as transaction:
            used = await transaction.tokens.consume(kind, token)
            if used is not None and not used.reused:
                return await self._pair(transaction.tokens, grant_of(used), scopes)
            if used is not None:
                await transaction.tokens.revoke_family(used.family)
        return None

    async def end(self, family: str) -> None:
        await self._store.tokens.revoke_family(family)

    async def _pair(self, tokens: Tokens, grant: Grant, scopes: list[str] | None) -> OAuthToken:
        now = self._now()
        access, refresh = ACCESS_PREFIX + secrets.token_urlsafe(32), REFRESH_PREFIX + secrets.token_urlsafe(32)
        expires_at = min(now + self._settings.access_lifetime, grant.until)
        granted = list(grant.scopes) if scopes is None else scopes
        await self._issue(tokens, ACCESS, access, grant, {**grant.document(), "scopes": granted}, expires_at)
        await self._issue(tokens, REFRESH, refresh, grant, grant.document(), grant.until)
        return OAuthToken(
            access_token=access,
            refresh_token=refresh,
            expires_in=max(1, int((expires_at - now).total_seconds())),
            scope=" ".join(granted),
        )

    async def _issue(
        self, tokens: Tokens, kind: str, token: str, grant: Grant, document: dict[str, Any], expires_at: datetime
    ) -> None:
        await tokens.issue(
            kind,
            token,
            subject=grant.identity.id,
            client=grant.client,
            family=grant.family,
            document=document,
            expires_at=expires_at,
        )
