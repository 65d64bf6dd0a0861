"""Grants: what a person allowed a client, as a code, then as access and refresh tokens of one family.

Both authorization servers issue and exchange here. A code or refresh token is good once. A second use means that it was
copied, and ends the family (OAuth 2.1 sections 4.1.3 and 4.3.1; RFC 9700 section 4.14).

Windows of one program share what they store, and may refresh at the same moment. For `REUSE_SECONDS` after its use, a
refresh token is therefore answered with the successors that its first use made. They are stored as hashes only, so they
are derived: from the used token, which only its holders know, and a random salt, which only the store knows.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import AwareDatetime, Field

from portal.identity import Identity
from portal.logs import NO_EVENTS, EventSink, event
from portal.objects import Document, StoredIdentity
from portal.state import Kind, Store, Token, Tokens, utc_now

CODE_LIFETIME = timedelta(minutes=2)
REUSE_SECONDS = 10
MAX_SUCCESSORS = 50
ACCESS_PREFIX, REFRESH_PREFIX = "cmp_at_", "cmp_rt_"
USED_TWICE = "a code or token of it was used twice: somebody may have copied it"
D = TypeVar("D")


class GrantDocument(Document):
    """What a token of a grant says of it. `portal` is the id of the portal that issued it."""

    identity: StoredIdentity
    resource: str
    scopes: tuple[str, ...]
    until: AwareDatetime
    auth_time: int = 0
    client_name: str = ""
    portal: str = ""


class CodeDocument(GrantDocument):
    """What a code says: also what its exchange must repeat."""

    challenge: str
    redirect_uri: str
    redirect_uri_given: bool
    nonce: str = Field(repr=False)


class RotationDocument(Document):
    """The salt of the successors of a refresh token that was used a moment ago."""

    salt: str = Field(repr=False)


CODE: Kind[GrantDocument] = Kind("code", CodeDocument)
ACCESS = Kind("access", GrantDocument)
REFRESH = Kind("refresh", GrantDocument)
# Known under the text of the used refresh token until `REUSE_SECONDS` have passed, and ended with its family.
ROTATION = Kind("rotation", RotationDocument)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who allowed which client what, at which resource, and until when.

    `auth_time` is when the person signed in, in seconds since 1970 (OpenID Connect Core section 2). `client_name` is
    what the client was called when it was allowed, `portal` the id of the portal.
    """

    identity: Identity
    client: str
    resource: str
    scopes: tuple[str, ...]
    until: datetime
    family: str
    auth_time: int = 0
    client_name: str = ""
    portal: str = ""

    def document(self, scopes: Sequence[str] | None = None) -> GrantDocument:
        """With `scopes`, of a token that has only these."""
        return GrantDocument(
            identity=self.identity,
            resource=self.resource,
            scopes=self.scopes if scopes is None else tuple(scopes),
            until=self.until,
            auth_time=self.auth_time,
            client_name=self.client_name,
            portal=self.portal,
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
        document.client_name,
        document.portal,
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
    """An access and a refresh token, the successors of a code or refresh token.

    New ones are good once `Grants.exchange` has stored them.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    salt: str = field(repr=False)
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime

    @property
    def seconds(self) -> int:
        """How long the access token is good."""
        return max(1, int((self.expires_at - self.issued_at).total_seconds()))


class Grants:
    """Issues, exchanges and ends codes and tokens of the portal whose id is `portal`. `events` takes rows about grants
    that have ended."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime] = utc_now,
        portal: str = "",
        events: EventSink = NO_EVENTS,
    ) -> None:
        self._events = events
        self._store = store
        self._now = now
        self._portal = portal

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
        client_name: str = "",
    ) -> str:
        """A code for a new grant of this lifetime."""
        now = self._now()
        grant = Grant(
            identity,
            client,
            resource,
            tuple(scopes),
            now + lifetime,
            str(uuid.uuid4()),
            auth_time,
            client_name,
            self._portal,
        )
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
        """A code or refresh token of this client that is unused, or was used a moment ago (only a refresh token).

        Any other that is used ends its family.
        """
        found = await self._store.tokens.find(kind, token)
        if found is None or found.client != client:
            return None
        if found.used_at is not None and await self._store.tokens.find(ROTATION, token) is None:
            await self._store.tokens.revoke_family(found.family)
            self._note_end(found, USED_TWICE)
            return None
        return found

    def pair(self, token: str, grant: Grant, lifetime: timedelta, scopes: Sequence[str]) -> TokenPair:
        """New successors of a code or refresh token, not stored yet.

        The access token ends after `lifetime`, or with the grant.
        """
        now, salt = self._now(), secrets.token_hex(32)
        access, refresh = _derive(ACCESS_PREFIX, token, salt), _derive(REFRESH_PREFIX, token, salt)
        return TokenPair(access, refresh, salt, tuple(scopes), now, min(now + lifetime, grant.until))

    async def exchange(self, kind: Kind[GrantDocument], token: str, pair: TokenPair) -> TokenPair | None:
        """Use up a code or refresh token and store its successors, in one transaction: all of it happens, or nothing.

        Returns `pair` to the first caller. A caller who comes with a refresh token that was used a moment ago gets the
        successors that are good now. Otherwise the token was used twice: the family ends, and there is None.
        """
        given, used = await self._exchange(kind, token, pair)
        if given is None and used is not None:
            self._note_end(used, USED_TWICE)
        return given

    async def _exchange(
        self, kind: Kind[GrantDocument], token: str, pair: TokenPair
    ) -> tuple[TokenPair | None, Token[GrantDocument] | None]:
        """What the caller gets, and the code or refresh token that was shown."""
        async with self._store.transaction() as transaction:
            used = await transaction.tokens.consume(kind, token)
            if used is None:
                return None, None
            if used.reused:
                successors = await self._successors(transaction.tokens, token)
                if successors is None:
                    await transaction.tokens.revoke_family(used.family)
                return successors, used
            grant = grant_of(used)
            access = grant.document(pair.scopes)
            await _issue(transaction.tokens, ACCESS, pair.access, grant, access, pair.expires_at)
            # Also for a client that may not refresh and never sees it: what the client has open lasts as long as
            # a token of the grant does (`Logins`), not as long as one access token.
            await _issue(transaction.tokens, REFRESH, pair.refresh, grant, grant.document(), grant.until)
            if kind is REFRESH:
                rotation = RotationDocument(salt=pair.salt)
                over = self._now() + timedelta(seconds=REUSE_SECONDS)
                await _issue(transaction.tokens, ROTATION, token, grant, rotation, over)
        return pair, used

    async def _successors(self, tokens: Tokens, token: str) -> TokenPair | None:
        """The successors of a refresh token that was used a moment ago; None if they have ended, or for any other.

        One of them may have been used a moment ago too, by a window that was faster: then its own successors.
        """
        for _ in range(MAX_SUCCESSORS):
            rotation = await tokens.find(ROTATION, token)
            if rotation is None:
                return None
            salt = rotation.document.salt
            access_token, token = _derive(ACCESS_PREFIX, token, salt), _derive(REFRESH_PREFIX, token, salt)
            refresh = await tokens.find(REFRESH, token)
            if refresh is None:
                return None
            if refresh.used_at is None:
                access = await tokens.find(ACCESS, access_token)
                if access is None:
                    return None
                scopes = access.document.scopes
                return TokenPair(access_token, token, salt, scopes, self._now(), access.expires_at)
        return None

    async def end(self, family: str) -> None:
        """Revoke every token of a grant."""
        await self._store.tokens.revoke_family(family)

    async def revoke(self, token: str, client: str) -> None:
        """End the grant of an access or refresh token, if it is this client's (RFC 7009 section 2.1)."""
        for kind in (ACCESS, REFRESH):
            found = await self._store.tokens.find(kind, token)
            if found is not None and found.client == client:
                await self.end(found.family)
                self._note_end(found, "its client has given it back")

    def _note_end(self, token: Token[GrantDocument], reason: str) -> None:
        """Write into the log that a grant has ended."""
        document = token.document
        client = document.client_name
        row = event("consent", "revoke", who=document.identity, name=token.client, client=client, reason=reason)
        self._events.write(row)


def _derive(prefix: str, token: str, salt: str) -> str:
    """A successor of `token`: 256 bits that nobody can compute who lacks the token or the salt (HMAC, RFC 2104)."""
    digest = hmac.digest(token.encode("utf-8", "surrogatepass"), (prefix + salt).encode(), "sha256")
    return prefix + base64.urlsafe_b64encode(digest).decode().rstrip("=")


async def _issue(tokens: Tokens, kind: Kind[D], token: str, grant: Grant, document: D, expires_at: datetime) -> None:
    await tokens.issue(
        kind,
        token,
        subject=grant.identity.id,
        client=grant.client,
        family=grant.family,
        document=document,
        expires_at=expires_at,
    )
