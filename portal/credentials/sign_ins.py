"""What a person's sign-in at an identity provider left: tokens that say who they are, to ask for others with.

They are kept sealed, in one row for a person and a provider, where the provider's setting says so (`keep_tokens`). Each
sign-in replaces them, and signing out everywhere deletes them. When they have ended the provider is asked for new ones,
as for the token of a login (`renewal`).

Source: OpenID Connect Core 12 (refresh tokens), RFC 8693 3 (types of tokens).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import structlog

from portal.credentials.client_authentication import RegisteredClient, authenticated
from portal.credentials.errors import LoginNeeded, Misconfigured, NoAnswer, NoStore, Refused
from portal.credentials.grants import SIGN_IN, CredentialDocument, SealedGrant
from portal.credentials.metadata import ServerMetadata
from portal.credentials.outbound import Outbound
from portal.credentials.renewal import Renewal
from portal.credentials.token_source import Held
from portal.credentials.tokens import MAX_TOKEN, AccessToken, read_jwt, request_token
from portal.jose import KeyUnknown, TokenInvalid
from portal.login import (
    LoginFailed,
    Oidc,
    OidcProvider,
    SignedIn,
    claims_of_verified,
    end_of,
    read_renewed_id_token,
    same_issuer,
    stored_provider,
)
from portal.state import (
    Clock,
    CredentialKey,
    DocumentInvalid,
    SecretUnreadable,
    StateError,
    StateUnavailable,
    utc_now,
)

if TYPE_CHECKING:
    from portal.state import Store, StoredCredential

    Stored = StoredCredential[CredentialDocument]

WhichToken = Literal["id_token", "access_token"]
# Together with a request for tokens less than a lease.
KEYS_SECONDS = 3.0
# The login shows the client's secret in the same way.
_METHOD = "client_secret_basic"


async def keep_sign_in(store: Store, now: Clock, signed_in: SignedIn) -> None:
    """Store the tokens of a sign-in in place of the former ones of this person at this provider; without tokens nothing
    is kept of either. Tokens that are larger than the portal takes are not kept, and the log says so.
    """
    identity, tokens = signed_in.identity, signed_in.tokens
    log = structlog.get_logger("portal.credentials").bind(provider=identity.idp_id, subject=identity.id)
    former = await store.credentials.list(SIGN_IN, subject=identity.id, server=identity.idp_id)
    key: CredentialKey | None = None
    if tokens is not None and read_jwt(tokens.id_token):
        key = CredentialKey(identity.id, identity.idp_id, tokens.issuer, "", tokens.client_id)
        moment = now()
        document = CredentialDocument(
            state="ready", granted_at=moment, granted_by=identity.id, issued_at=moment, expires_at=tokens.ends_at
        )
        grant = SealedGrant(
            access=_bounded(tokens.access),
            refresh=_bounded(tokens.refresh),
            server=ServerMetadata(issuer=tokens.issuer, token_endpoint=tokens.token_endpoint),
            identity=tokens.id_token,
            access_ends_at=tokens.access_ends_at,
        )
        try:
            await store.credentials.put(SIGN_IN, key, document, grant.model_dump_json().encode())
        except DocumentInvalid as error:
            key = None
            log.warning("the tokens of a sign-in are not kept", reason=str(error))
    elif tokens is not None:
        reason = f"the ID token is longer than {MAX_TOKEN} characters"
        log.warning("the tokens of a sign-in are not kept", reason=reason)
    for one in former:
        if one.key != key:
            await store.credentials.delete(SIGN_IN, one.key)


async def forget_sign_ins(store: Store, subject: str) -> None:
    """Delete all that is kept of the sign-ins of a person."""
    for one in await store.credentials.list(SIGN_IN, subject=subject):
        await store.credentials.delete(SIGN_IN, one.key)


async def forget_unused(store: Store, kept: Sequence[Stored]) -> None:
    """Delete those of the kept sign-ins that are at providers that are there no more, or whose setting was taken
    back."""
    for id in {one.key.server for one in kept}:
        if await _keeps_tokens(store, id):
            continue
        for one in kept:
            if one.key.server == id:
                await store.credentials.delete(SIGN_IN, one.key)


async def _keeps_tokens(store: Store, id: str) -> bool:
    try:
        provider = await stored_provider(store, id)
    except SecretUnreadable:
        # Its secret will be written anew.
        return True
    return isinstance(provider, OidcProvider) and provider.keep_tokens


@dataclass(frozen=True, slots=True)
class SubjectToken:
    """A token that says who a person is. `kind` is its type (RFC 8693 3), `server` the identity provider that it is
    from, `client` the portal there."""

    token: str = field(repr=False)
    kind: str
    server: ServerMetadata
    client: RegisteredClient


class SignIn:
    """The sign-in of `subject` at the identity provider with this id, as the store has it. `which` of its tokens is
    wanted. `now` is the time that tokens live by, `steady` one in seconds that is never set.
    """

    def __init__(
        self,
        store: Store,
        subject: str,
        id: str,
        which: WhichToken,
        *,
        now: Clock = utc_now,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._subject = subject
        self._id = id
        self._which = which
        self._kept: _KeptTokens | None = None
        self._renewal: Renewal | None = None
        self._now, self._steady, self._sleep = now, steady, sleep

    @property
    def name(self) -> str:
        """What people call the identity provider, as far as that is known."""
        return self._kept.name if self._kept is not None else self._id

    async def token(self) -> SubjectToken:
        """A token that lives, from the store or from the provider.

        Raises:
            LoginNeeded: there is none, and a new sign-in brings one.
            Misconfigured: an administrator must change something.
            NoAnswer: the provider or the database does not answer.
        """
        kept, renewal = await self._current()
        held = await renewal.token()
        if not held.access or self._now().timestamp() >= held.ends:
            raise LoginNeeded(f"{kept.name} gives no new {_NAMES[self._which]} without a sign-in.{kept.how}")
        kind = f"urn:ietf:params:oauth:token-type:{self._which}"
        return SubjectToken(held.access, kind, await kept.server(), kept.client)

    def renew(self, refused: str) -> bool:
        """Whether there is a way to another token than this one, which is `refused`."""
        if self._renewal is None or not self._renewal.renewable:
            return False
        self._renewal.refused = refused
        return True

    async def aclose(self, patience: float) -> None:
        """Wait so many seconds until what the provider answered is stored."""
        if self._renewal is not None:
            await self._renewal.aclose(patience)

    async def begun(self) -> object:
        """What is another value after each sign-in; None without one.

        Raises:
            StateUnavailable: the store cannot be read.
        """
        found = await self._store.credentials.list(SIGN_IN, subject=self._subject, server=self._id)
        return [(one.key, one.document.granted_at) for one in found] or None

    async def _current(self) -> tuple[_KeptTokens, Renewal]:
        """What is kept, and how it is renewed, with the provider as it is configured now."""
        try:
            provider = await stored_provider(self._store, self._id)
        except StateUnavailable as error:
            raise NoStore(error.words) from error
        except StateError as error:
            raise NoAnswer(str(error)) from error
        if not isinstance(provider, OidcProvider):
            raise Misconfigured(
                f"`identityProvider` in its `oauth` is {self._id}, and the portal has no such identity provider for "
                "OpenID Connect."
            )
        if not provider.keep_tokens:
            raise Misconfigured(
                f"it needs what {provider.name} says of who you are, and the portal does not keep that. An "
                f"administrator must write `keep_tokens: true` into the `config` of the identity provider {self._id}."
            )
        if self._kept is None or self._renewal is None or self._kept.provider != provider:
            kept = self._kept = _KeptTokens(provider, self._which)
            self._renewal = Renewal(
                kept,
                self._store,
                self._subject,
                self._id,
                now=self._now,
                steady=self._steady,
                sleep=self._sleep,
            )
        return self._kept, self._renewal


class _KeptTokens:
    """Implements `Renewable`: the tokens of sign-ins at one identity provider."""

    kind = SIGN_IN

    def __init__(self, provider: OidcProvider, which: WhichToken) -> None:
        self.provider = provider
        self.name = provider.name
        self.how = f" Sign in to the portal again, with {provider.name}."
        self.absent = f"it needs what {provider.name} says of who you are, and nothing is kept of a sign-in there."
        self.client = RegisteredClient(provider.client_id, provider.client_secret, method=_METHOD)
        self._which = which
        self._oidc = Oidc(provider)
        # What a request for new tokens needs: where it goes, and the keys to check an ID token with.
        self._prepared: tuple[ServerMetadata, object] | None = None

    def is_strict(self, key: CredentialKey) -> bool:
        return False

    def fits(self, key: CredentialKey) -> bool:
        # Tokens that another issuer gave, or that were given to another client, are none of this provider's.
        issuer = self.provider.issuer
        return key.client == self.provider.client_id and (not issuer or same_issuer(key.issuer, issuer))

    async def server(self) -> ServerMetadata:
        """The provider as an authorization server, by its configuration and its discovery document.

        Raises:
            NoAnswer: it cannot be found.
        """
        try:
            endpoints = await self._oidc.endpoints()
        except LoginFailed as error:
            raise NoAnswer(f"{self.name} cannot be asked: {error}") from error
        return ServerMetadata(issuer=endpoints.issuer or endpoints.token, token_endpoint=endpoints.token)

    def held(self, document: CredentialDocument, grant: SealedGrant) -> Held:
        by_id = self._which == "id_token"
        token, ends = (grant.identity, document.expires_at) if by_id else (grant.access, grant.access_ends_at)
        lifetime = None if ends is None else (ends - document.issued_at).total_seconds()
        return Held.of(token, document.scope, lifetime, document.issued_at.timestamp())

    def serves_until(self, held: Held) -> float:
        # It is used up in the request that follows.
        return held.ends

    def ended(self, *, refused: bool) -> str:
        name = _NAMES[self._which]
        return f"{self.name} refuses your {name}" if refused else f"Your {name} of {self.name} has ended"

    async def prepare(self) -> None:
        # Without keys a new ID token could not be checked, when the refresh token is used up.
        self._prepared = await self.server(), await self._published()

    async def request(self, stored: Stored, grant: SealedGrant) -> AccessToken:
        """A new ID token counts only if it is about the same person (OpenID Connect Core 12.2)."""
        assert self._prepared is not None
        server, keys = self._prepared
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh}
        sent, headers = authenticated(self.client, form, server, int(time.time()))
        confidential = (self.client.secret, grant.refresh)
        async with provider_outbound(server) as outbound:
            try:
                token = await request_token(outbound, server.token_endpoint, sent, headers, confidential)
            except Refused as error:
                if error.code == "invalid_grant":
                    raise
                ask = f"An administrator must check the portal's client at {self.name}."
                raise Refused(f"{error} {ask}", error.code) from error
        if token.identity:
            await self._check(grant, token, keys)
        return token

    def renewed(self, grant: SealedGrant, token: AccessToken, now: datetime) -> tuple[SealedGrant, datetime | None]:
        # A provider need not give a new ID token (OpenID Connect Core 12.2). The former one may live on.
        identity = token.identity or grant.identity
        tokens = {
            "access": token.access,
            "refresh": token.refresh or grant.refresh,
            "identity": identity,
            "access_ends_at": token.ends_at(now),
        }
        return grant.model_copy(update=tokens), end_of(claims_of_verified(identity), now)

    async def after_refusal(self, stored: Stored, error: Refused) -> None:
        """Nothing: the client is the administrator's."""

    async def _published(self) -> object:
        try:
            return await self._oidc.keys()
        except LoginFailed as error:
            raise NoAnswer(f"{self.name} cannot be asked: {error}") from error

    async def _check(self, grant: SealedGrant, token: AccessToken, keys: object) -> None:
        client = self.provider.client_id
        try:
            try:
                read_renewed_id_token(client, grant.identity, token.identity, token.access, keys)
            except KeyUnknown:
                keys = await self._newer_keys()
                read_renewed_id_token(client, grant.identity, token.identity, token.access, keys)
        except TokenInvalid as error:
            raise Misconfigured(
                f"{self.name} answered with an ID token that does not hold ({error}). It is not used. An administrator "
                "must ask the operator of the identity provider."
            ) from error

    async def _newer_keys(self) -> object:
        """The keys that the provider publishes now, while the lease lasts."""
        try:
            async with asyncio.timeout(KEYS_SECONDS):
                return await self._published()
        except (TimeoutError, NoAnswer) as error:
            raise NoAnswer(f"{self.name} gives no keys to check its new ID token with", arrived=True) from error


def provider_outbound(server: ServerMetadata) -> Outbound:
    """For requests to an identity provider: an administrator named it, and may have it at a private address."""
    return Outbound(server.token_endpoint, allow_private=True)


_NAMES: dict[WhichToken, str] = {"id_token": "ID token", "access_token": "access token"}


def _bounded(token: str) -> str:
    fits = len(token) <= MAX_TOKEN and token.isascii() and token.isprintable()
    return token if fits else ""
