"""The credential that a login gave: its token is shown, and replaced by one process at a time (`renewal`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from portal.config import HttpServer
from portal.credentials.challenge import INSUFFICIENT_SCOPE, read_challenge, union
from portal.credentials.client_authentication import authenticated
from portal.credentials.discovery import resource_member
from portal.credentials.errors import Refused
from portal.credentials.grants import CREDENTIAL, CredentialDocument, SealedGrant, client_of, fits
from portal.credentials.outbound import Outbound
from portal.credentials.presets import with_preset
from portal.credentials.registration import forget_unknown_client
from portal.credentials.renewal import Renewal
from portal.credentials.token_source import Held, TokenSource
from portal.credentials.tokens import AccessToken, request_token
from portal.errors import AuthorizationRequired
from portal.state import Clock, SecretUnreadable, StateError, StateUnavailable, utc_now

if TYPE_CHECKING:
    from portal.state import CredentialKey, Store, StoredCredential

    Stored = StoredCredential[CredentialDocument]

# How long closing waits for a refresh that is under way.
CLOSING_SECONDS = 5.0
# A token that another process has just stored is used if it lives so much longer.
_WORTH_SECONDS = 10.0


class _Login:
    """Implements `Renewable`: the grants of logins at the authorization server of one server."""

    kind = CREDENTIAL
    absent = "nobody is logged in any more."

    def __init__(self, config: HttpServer, store: Store, outbound: Outbound, how: str) -> None:
        self.how = how
        self._config = config
        self._store = store
        self._outbound = outbound

    def is_strict(self, key: CredentialKey) -> bool:
        return with_preset(self._config.oauth, key.issuer, self._config.url).rotating == "strict"

    def fits(self, key: CredentialKey) -> bool:
        return fits(key, self._config.url, self._config.oauth)

    def held(self, document: CredentialDocument, grant: SealedGrant) -> Held:
        """The token to show while it lives, whatever has become of the refresh token."""
        expires = document.expires_at
        lifetime = None if expires is None else (expires - document.issued_at).total_seconds()
        return Held.of(grant.access, document.scope, lifetime, document.issued_at.timestamp())

    def serves_until(self, held: Held) -> float:
        return min(held.due, held.ends - _WORTH_SECONDS)

    def ended(self, *, refused: bool) -> str:
        return "The server refuses its token" if refused else "Its token has ended"

    async def prepare(self) -> None:
        """Nothing: the grant has it all."""

    async def request(self, stored: Stored, grant: SealedGrant) -> AccessToken:
        oauth = with_preset(self._config.oauth, stored.key.issuer, self._config.url)
        client = client_of(stored, grant, oauth)
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh}
        form |= resource_member(oauth, stored.key.resource)
        sent, headers = authenticated(client, form, grant.server, int(time.time()))
        confidential = (client.secret, grant.refresh)
        return await request_token(self._outbound, grant.server.token_endpoint, sent, headers, confidential)

    def renewed(self, grant: SealedGrant, token: AccessToken, now: datetime) -> tuple[SealedGrant, datetime | None]:
        pair = {"access": token.access, "refresh": token.refresh or grant.refresh}
        return grant.model_copy(update=pair), token.ends_at(now)

    async def after_refusal(self, stored: Stored, error: Refused) -> None:
        await forget_unknown_client(self._store, error, stored.key.issuer, stored.key.client)


class GrantedCredential:
    """Implements `Credential` with the credential of `subject` for one server, as the store has it.

    `advice` says how one logs in, as in "log in with a command", if that belongs into an error. `now` is the time that
    tokens live by, `steady` one in seconds that is never set.
    """

    def __init__(
        self,
        config: HttpServer,
        store: Store,
        subject: str,
        advice: str = "",
        *,
        now: Clock = utc_now,
        steady: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._store = store
        self._subject = subject
        self.advice = advice
        self._now = now
        self._outbound = Outbound.allowed_by(config.oauth, config.url)
        self._read = False
        self._reading = asyncio.Lock()
        self._log = structlog.get_logger("portal.credentials").bind(server=config.id)
        self._login = _Login(config, store, self._outbound, f" {advice[:1].upper()}{advice[1:]}." if advice else "")
        self._renewal = Renewal(self._login, store, subject, config.id, now=now, steady=steady, sleep=sleep)
        # A refresh that is cut off loses the pair that it was answered with.
        self._source = TokenSource(
            self._renewal.token, self._seconds, self._log, steady=steady, patience=CLOSING_SECONDS
        )

    @property
    def present(self) -> bool:
        return self._renewal.stored is not None

    @property
    def secrets(self) -> Sequence[str]:
        return self._source.shown

    async def aclose(self) -> None:
        await self._source.aclose()
        await self._renewal.aclose(CLOSING_SECONDS)
        await self._outbound.aclose()

    @property
    def server(self) -> str:
        """The id of the server."""
        return self._config.id

    async def reload(self) -> bool:
        """Read the credential again; whether it is another one than before, or there is one now, or none any more.

        Raises:
            StateUnavailable: it cannot be read.
        """
        before = self._renewal.stored
        self._source.retry()
        try:
            await self._load()
        except AuthorizationRequired as error:
            if isinstance(error.__cause__, StateUnavailable):
                raise error.__cause__ from None
        return _identity(before) != _identity(self._renewal.stored)

    async def headers(self) -> Mapping[str, str]:
        """Implements `Credential`. Empty without a login: the server may not ask for one."""
        if not self._read:
            async with self._reading:
                if not self._read:
                    await self._load()
        if self._renewal.stored is None:
            return {}
        return (await self._source.token()).headers

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Implements `Credential`: after a 401 by another token, if there is a way to one without a person."""
        challenge = read_challenge(refused.challenge)
        if self._source.replaces(sent):
            return True
        if self._renewal.stored is None:
            return False
        if refused.status == 403:
            if challenge.error == INSUFFICIENT_SCOPE:
                await self._want(challenge.scope)
                wanted = challenge.scope[:200] or "it does not say which"
                raise self._required(refused, f"wants more permissions than the login has ({wanted}).")
            return False
        held = self._source.held
        if not self._source.drop():
            return False
        if held is not None:
            self._renewal.refused = held.access
        await self._source.next()
        return True

    def _required(self, refused: AuthorizationRequired, what: str) -> AuthorizationRequired:
        text = f"{what}{self._login.how}"
        return AuthorizationRequired(text, status=refused.status, challenge=refused.challenge)

    def _seconds(self) -> float:
        return self._now().timestamp()

    # The store

    async def _load(self) -> None:
        """Read what the store has. A credential for another place, issuer or client than the server's is none."""
        try:
            stored, grant = await self._renewal.newest()
        except (StateUnavailable, SecretUnreadable) as error:
            if isinstance(error, StateUnavailable):
                text = f"its credential cannot be read. {error.words}"
                raise AuthorizationRequired(text, login_helps=False) from error
            raise AuthorizationRequired(f"its credential cannot be read: {error}") from error
        self._read, self._renewal.stored = True, stored
        held = self._login.held(stored.document, grant) if stored is not None and grant is not None else None
        held = self._renewal.unstored or held
        self._source.held = held if held is not None and held.access != self._renewal.refused else None

    async def _want(self, scope: str) -> None:
        """Note what the next login should ask for."""
        stored = self._renewal.stored
        assert stored is not None
        wanted = union(stored.document.wanted_scope, scope)
        if wanted == stored.document.wanted_scope:
            return
        document = stored.document.model_copy(update={"wanted_scope": wanted})
        rows = self._store.credentials
        try:
            # Not while it is being replaced: that would cost the outcome.
            noted = await rows.settle(CREDENTIAL, stored.key, stored.version, document, unless_leased=True)
        except StateError as error:
            self._log.warning("what a server wants is not noted for the next login", reason=str(error))
            return
        self._renewal.stored = noted or self._renewal.stored


def _identity(stored: Stored | None) -> object:
    return None if stored is None else (stored.key, stored.document.granted_at, stored.document.state)
