"""Grants: what a person allowed a client, as a code, then as access and refresh tokens of one family.

Both authorization servers issue and exchange here. A code or refresh token is good once. A second use means that it was
copied, and ends the family (OAuth 2.1 sections 4.1.3 and 4.3.1; RFC 9700 section 4.14).
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from portal.identity import Identity
from portal.objects import Document, StoredIdentity
from portal.state import Kind, Store, Token, Tokens, utc_now

CODE_LIFETIME = timedelta(minutes=2)
ACCESS_PREFIX, REFRESH_PREFIX = "cmp_at_", "cmp_rt_"


class GrantDocument(Document):
    """What a token of a grant says of it."""

    identity: StoredIdentity
    resource: str
    scopes: tuple[str, ...]
    until: AwareDatetime
    auth_time: int = 0


class CodeDocument(GrantDocument):
    """What a code says: also what its exchange must repeat."""

    challenge: str
    redirect_uri: str
    redirect_uri_given: bool
    nonce: str = Field(repr=False)


CODE: Kind[GrantDocument] = Kind("code", CodeDocument)
ACCESS = Kind("access", GrantDocument)
REFRESH = Kind("refresh", GrantDocument)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who allowed which client what, at which resource, and until when.

    `auth_time` is when the person signed in, in seconds since 1970 (OpenID Connect Core section 2).
    """

    identity: Identity
    client: str
    resource: str
    scopes: tuple[str, ...]
    until: datetime
    family: str
    auth_time: int = 0

    def document(self, scopes: Sequence[str] | None = None) -> GrantDocument:
        """With `scopes`, of a token that has only these."""
        return GrantDocument(
            identity=self.identity,
            resource=self.resource,
            scopes=self.scopes if scopes is None else tuple(scopes),
            until=self.until,
            auth_time=self.auth_time,
        )


def grant_of(token: Token[GrantDocument]) -> Grant:
    """The grant behind a code, an access or a refresh token."""
    document = token.document
    return Grant(
        document.identity,
        token.client,
        document.resource,
        document.scopes,
        document.until,
        token.family,
        document.auth_time,
    )


@dataclass(frozen=True, slots=True)
class CodeBinding:
    """The part of an authorization request that the exchange of its code must repeat or that its answer repeats.

    PKCE (RFC 7636), the redirect (RFC 6749 section 4.1.3), and the nonce of an ID token (OpenID Connect Core 3.1.3.6).
    """

    challenge: str
    redirect_uri: str
    redirect_uri_given: bool = True
    nonce: str = ""


def binding_of(token: Token[GrantDocument]) -> CodeBinding | None:
    """What the exchange of a code must repeat; None for another token."""
    document = token.document
    if not isinstance(document, CodeDocument):
        return None
    return CodeBinding(document.challenge, document.redirect_uri, document.redirect_uri_given, document.nonce)


@dataclass(frozen=True, slots=True)
class TokenPair:
    """An access and a refresh token. They are good once `Grants.exchange` has stored them."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime

    @property
    def seconds(self) -> int:
        """How long the access token is good."""
        return max(1, int((self.expires_at - self.issued_at).total_seconds()))


class Grants:
    """Issues, exchanges and ends codes and tokens."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now

    async def code(
        self,
        identity: Identity,
        client: str,
        resource: str,
        scopes: Sequence[str],
        binding: CodeBinding,
        *,
        lifetime: timedelta,
        auth_time: int = 0,
    ) -> str:
        """A code for a new grant of this lifetime."""
        now = self._now()
        grant = Grant(identity, client, resource, tuple(scopes), now + lifetime, str(uuid.uuid4()), auth_time)
        code = secrets.token_urlsafe(32)
        document = CodeDocument(
            **dict(grant.document()),
            challenge=binding.challenge,
            redirect_uri=binding.redirect_uri,
            redirect_uri_given=binding.redirect_uri_given,
            nonce=binding.nonce,
        )
        await _issue(self._store.tokens, CODE, code, grant, document, now + CODE_LIFETIME)
        return code

    async def find(self, kind: Kind[GrantDocument], token: str, client: str) -> Token[GrantDocument] | None:
        """An unused code or refresh token of this client. A used one ends its family."""
        found = await self._store.tokens.find(kind, token)
        if found is None or found.client != client:
            return None
        if found.used_at is not None:
            await self._store.tokens.revoke_family(found.family)
            return None
        return found

    def pair(self, grant: Grant, lifetime: timedelta, scopes: Sequence[str]) -> TokenPair:
        """New tokens for this grant, not stored yet. The access token ends after `lifetime`, or with the grant."""
        now = self._now()
        return TokenPair(
            ACCESS_PREFIX + secrets.token_urlsafe(32),
            REFRESH_PREFIX + secrets.token_urlsafe(32),
            tuple(scopes),
            now,
            min(now + lifetime, grant.until),
        )

    async def exchange(self, kind: Kind[GrantDocument], token: str, pair: TokenPair) -> bool:
        """Use up a code or refresh token and store its successors, in one transaction: all of it happens, or nothing.

        Returns whether this caller was first. If not, the token was used twice, and the family ends.
        """
        async with self._store.transaction() as transaction:
            used = await transaction.tokens.consume(kind, token)
            if used is None:
                return False
            if used.reused:
                await transaction.tokens.revoke_family(used.family)
                return False
            grant = grant_of(used)
            access = grant.document(pair.scopes)
            await _issue(transaction.tokens, ACCESS, pair.access, grant, access, pair.expires_at)
            # Also for a client that may not refresh and never sees it: what the client has open lasts as long as
            # a token of the grant does (`Logins`), not as long as one access token.
            await _issue(transaction.tokens, REFRESH, pair.refresh, grant, grant.document(), grant.until)
        return True

    async def end(self, family: str) -> None:
        """Revoke every token of a grant."""
        await self._store.tokens.revoke_family(family)

    async def revoke(self, token: str, client: str) -> None:
        """End the grant of an access or refresh token, if it is this client's (RFC 7009 section 2.1)."""
        for kind in (ACCESS, REFRESH):
            found = await self._store.tokens.find(kind, token)
            if found is not None and found.client == client:
                await self.end(found.family)


async def _issue(
    tokens: Tokens, kind: Kind[GrantDocument], token: str, grant: Grant, document: GrantDocument, expires_at: datetime
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
