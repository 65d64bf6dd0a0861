"""The credential that a login gave: its token is shown, and replaced by one process at a time.

A refresh, step by step, and what holds if the process ends after each:

    1  read the credential          nothing has happened
    2  lease it, note the attempt   the lease ends by itself; the next process sees the attempt, in the same version
    3  send the refresh token       the same: whether the request arrived is not known
    4  store the new pair           the next process finds it, in a new version
    5  show the new token           no token is shown that is not stored

A refresh token that may have been used is sent once more, because most authorization servers allow that for a while;
never to one that takes back everything then (`rotating: strict`). After that a new login is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from portal.config import HttpServer
from portal.credentials.challenge import INSUFFICIENT_SCOPE, read_challenge, union
from portal.credentials.client_authentication import authenticated
from portal.credentials.discovery import resource_member
from portal.credentials.errors import LoginNeeded, Misconfigured, NoAnswer, Refused
from portal.credentials.grants import (
    CREDENTIAL,
    Attempt,
    CredentialDocument,
    SealedGrant,
    client_of,
    fits,
    unsealed,
)
from portal.credentials.outbound import Outbound
from portal.credentials.presets import with_preset
from portal.credentials.registration import forget_unknown_client
from portal.credentials.token_source import Held, TokenSource
from portal.credentials.tokens import AccessToken, request_token
from portal.errors import AuthorizationRequired
from portal.state import Clock, SecretUnreadable, StateError, StateUnavailable, utc_now

if TYPE_CHECKING:
    from portal.state import Store, StoredCredential

    Stored = StoredCredential[CredentialDocument]

# Longer than any request for a token takes.
LEASE_SECONDS = 20.0
RETRY_SECONDS = 2.0
MAX_TRIES = 2
_POLL_SECONDS = 0.25
# How long a refresh waits for that of another process: longer than any lease.
MOST_WAITING = 30.0
# How long closing waits for a refresh that is under way.
CLOSING_SECONDS = 5.0
# A token that another process has just stored is used if it lives so much longer.
_WORTH_SECONDS = 10.0


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
        self._how = f" {advice[:1].upper()}{advice[1:]}." if advice else ""
        self._now = now
        self._steady = steady
        self._sleep = sleep
        private = config.oauth is not None and config.oauth.allow_private
        self._outbound = Outbound(config.url, allow_private=private)
        self._stored: Stored | None = None
        self._read = False
        self._reading = asyncio.Lock()
        self._refused = ""
        self._log = structlog.get_logger("portal.credentials").bind(server=config.id)
        # A refresh that is cut off loses the pair that it was answered with.
        self._source = TokenSource(self._fetch, self._seconds, self._log, steady=steady, patience=CLOSING_SECONDS)

    @property
    def present(self) -> bool:
        return self._stored is not None

    @property
    def secrets(self) -> Sequence[str]:
        return self._source.shown

    async def aclose(self) -> None:
        await self._source.aclose()
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
        before = self._stored
        self._source.retry()
        try:
            await self._load()
        except AuthorizationRequired as error:
            if isinstance(error.__cause__, StateUnavailable):
                raise error.__cause__ from None
        return _identity(before) != _identity(self._stored)

    async def headers(self) -> Mapping[str, str]:
        """Implements `Credential`. Empty without a login: the server may not ask for one."""
        if not self._read:
            async with self._reading:
                if not self._read:
                    await self._load()
        if self._stored is None:
            return {}
        return (await self._source.token()).headers

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Implements `Credential`: after a 401 by another token, if there is a way to one without a person."""
        challenge = read_challenge(refused.challenge)
        if self._source.replaces(sent):
            return True
        if self._stored is None:
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
            self._refused = held.access
        await self._source.next()
        return True

    def _required(self, refused: AuthorizationRequired, what: str) -> AuthorizationRequired:
        text = f"{what}{self._how}"
        return AuthorizationRequired(text, status=refused.status, challenge=refused.challenge)

    def _seconds(self) -> float:
        return self._now().timestamp()

    # The store

    async def _load(self) -> None:
        """Read what the store has. A credential for another place, issuer or client than the server's is none."""
        try:
            stored, grant = await self._newest()
        except (StateUnavailable, SecretUnreadable) as error:
            helps = isinstance(error, SecretUnreadable)
            raise AuthorizationRequired(f"its credential cannot be read: {error}", login_helps=helps) from error
        self._read, self._stored = True, stored
        held = self._held(stored, grant) if stored is not None and grant is not None else None
        self._source.held = held if held is not None and held.access != self._refused else None

    async def _newest(self) -> tuple[Stored | None, SealedGrant | None]:
        found = await self._store.credentials.list(CREDENTIAL, subject=self._subject, server=self._config.id)
        fitting = [one for one in found if fits(one.key, self._config.url, self._config.oauth)]
        if not fitting:
            return None, None
        stored = fitting[-1]
        secret = await self._store.credentials.secret(CREDENTIAL, stored.key)
        return (stored, unsealed(secret)) if secret is not None else (None, None)

    def _held(self, stored: Stored, grant: SealedGrant) -> Held:
        """The token to show while it lives, whatever has become of the refresh token."""
        document = stored.document
        expires = document.expires_at
        lifetime = None if expires is None else (expires - document.issued_at).total_seconds()
        return Held.of(grant.access, document.scope, lifetime, document.issued_at.timestamp())

    async def _want(self, scope: str) -> None:
        """Note what the next login should ask for."""
        assert self._stored is not None
        wanted = union(self._stored.document.wanted_scope, scope)
        if wanted != self._stored.document.wanted_scope:
            document = self._stored.document.model_copy(update={"wanted_scope": wanted})
            rows, stored = self._store.credentials, self._stored
            try:
                # Not while it is being replaced: that would cost the outcome.
                noted = await rows.settle(CREDENTIAL, stored.key, stored.version, document, unless_leased=True)
            except StateError as error:
                self._log.warning("what a server wants is not noted for the next login", reason=str(error))
                return
            self._stored = noted or self._stored

    # Refreshing

    async def _fetch(self) -> Held:
        try:
            return await self._refreshed()
        except StateError as error:
            raise NoAnswer(str(error)) from error

    async def _refreshed(self) -> Held:
        """A token that lives, from the store or from the authorization server."""
        owner, began = secrets.token_hex(16), self._steady()
        while True:
            stored, grant = await self._newest()
            self._stored = stored
            if stored is None or grant is None:
                raise LoginNeeded(f"nobody is logged in any more.{self._how}")
            document = stored.document
            if document.state == "needs_reauth":
                raise LoginNeeded(f"{document.reason}{self._how}")
            held = self._held(stored, grant)
            if self._serves(held):
                return held
            if not grant.refresh:
                what = "The server refuses its token" if held.access == self._refused else "Its token has ended"
                await self._give_up(stored, f"{what}, and there is no refresh token.")
            attempt = _next_attempt(document.attempt, grant.refresh)
            is_leased = stored.leased_until is not None and stored.leased_until > self._now()
            if not is_leased and (attempt.tries > MAX_TRIES or (attempt.tries > 1 and self._strict)):
                await self._give_up(stored, "A refresh was begun, and nobody knows what became of it.")
            noted = document.model_copy(update={"state": "refreshing", "attempt": attempt})
            if await self._lease(stored, owner, noted):
                return await self._with_lease(stored, owner, noted, grant)
            # Another process replaces it. Its outcome, or the end of its lease, is worth waiting for.
            if self._steady() > began + MOST_WAITING:
                raise NoAnswer("another process is replacing its token, and does not come to an end")
            await self._sleep(_POLL_SECONDS)

    def _serves(self, held: Held) -> bool:
        """Whether a token from the store is worth showing: it is not the one that was refused, nor about to end."""
        return held.access != self._refused and self._seconds() < min(held.due, held.ends - _WORTH_SECONDS)

    async def _lease(self, stored: Stored, owner: str, noted: CredentialDocument) -> bool:
        rows = self._store.credentials
        return await rows.lease(CREDENTIAL, stored.key, stored.version, owner, LEASE_SECONDS, noted)

    async def _with_lease(self, stored: Stored, owner: str, noted: CredentialDocument, grant: SealedGrant) -> Held:
        before = stored.document.attempt
        while True:
            try:
                token = await self._request(stored, grant)
            except NoAnswer as error:
                if not self._may_be_used(error):
                    # The attempt does not count: the same refresh token may be sent again.
                    await self._settle(stored, noted, attempt=before, state="unknown", reason=_sentence(error))
                    raise
                before, again = noted.attempt, _next_attempt(noted.attempt, grant.refresh)
                if again.tries > MAX_TRIES or self._strict:
                    await self._give_up(stored, f"{_sentence(error)} Its refresh token may have been used.", noted)
                await self._sleep(RETRY_SECONDS)
                noted = noted.model_copy(update={"attempt": again})
                if not await self._lease(stored, owner, noted):
                    return await self._refreshed()
            except Refused as error:
                return await self._after_refusal(stored, noted, error)
            except Misconfigured as error:
                await self._settle(stored, noted, attempt=before, state="misconfigured", reason=str(error))
                raise
            else:
                return await self._store_pair(stored, noted, grant, token)

    def _may_be_used(self, error: NoAnswer) -> bool:
        """Whether the refresh token may have been used by a request that brought no token.

        An answer that is an error says that it was not; but a gateway may say so of an answer that it lost.
        """
        by_gateway = error.status is not None and error.status not in (429, 503)
        return error.arrived or (self._strict and by_gateway)

    async def _request(self, stored: Stored, grant: SealedGrant) -> AccessToken:
        oauth = with_preset(self._config.oauth, stored.key.issuer, self._config.url)
        client = client_of(stored, grant, oauth)
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh}
        form |= resource_member(oauth, stored.key.resource)
        sent, headers = authenticated(client, form, grant.server, int(time.time()))
        confidential = (client.secret, grant.refresh)
        return await request_token(self._outbound, grant.server.token_endpoint, sent, headers, confidential)

    async def _store_pair(
        self, stored: Stored, noted: CredentialDocument, grant: SealedGrant, token: AccessToken
    ) -> Held:
        now = self._now()
        document = noted.model_copy(
            update={
                "state": "ready",
                "reason": "",
                "attempt": None,
                "issued_at": now,
                "expires_at": token.ends_at(now),
                "scope": token.scope or noted.scope,
            }
        )
        # Without a new refresh token the former one stays (RFC 6749 6).
        pair = grant.model_copy(update={"access": token.access, "refresh": token.refresh or grant.refresh})
        secret = pair.model_dump_json().encode()
        settled = await self._store.credentials.settle(CREDENTIAL, stored.key, stored.version, document, secret)
        if settled is None:
            # Meanwhile somebody has logged in again, or has logged out.
            return await self._refreshed()
        self._stored, self._refused = settled, ""
        self._log.info("an access token was replaced", issuer=stored.key.issuer, subject=self._subject)
        return self._held(settled, pair)

    async def _after_refusal(self, stored: Stored, noted: CredentialDocument, error: Refused) -> Held:
        if error.code == "invalid_grant":
            # Somebody may have logged in again. Or another process was faster, although its lease had ended.
            newest, _ = await self._newest()
            if newest is not None and (newest.key, newest.version) != (stored.key, stored.version):
                return await self._refreshed()
            await self._give_up(stored, str(error), noted)
        await forget_unknown_client(self._store, error, stored.key.issuer, stored.key.client)
        await self._settle(stored, noted, attempt=None, state="misconfigured", reason=str(error))
        raise Misconfigured(str(error)) from error

    async def _settle(self, stored: Stored, document: CredentialDocument, **update: object) -> None:
        changed = document.model_copy(update=update)
        tell = changed.state == "needs_reauth"
        rows = self._store.credentials
        settled = await rows.settle(CREDENTIAL, stored.key, stored.version, changed, tell=tell)
        if settled is None:
            # Meanwhile somebody has logged in again, or has logged out.
            settled, _ = await self._newest()
        self._stored = settled

    async def _give_up(self, stored: Stored, reason: str, noted: CredentialDocument | None = None) -> None:
        """
        Raises:
            LoginNeeded: always.
        """
        await self._settle(stored, noted or stored.document, attempt=None, state="needs_reauth", reason=reason)
        self._log.warning("a new login is needed", reason=reason, subject=self._subject)
        raise LoginNeeded(f"{reason}{self._how}")

    @property
    def _strict(self) -> bool:
        issuer = self._stored.key.issuer if self._stored is not None else ""
        return with_preset(self._config.oauth, issuer, self._config.url).rotating == "strict"


def _identity(stored: Stored | None) -> object:
    return None if stored is None else (stored.key, stored.document.granted_at, stored.document.state)


def _next_attempt(before: Attempt | None, refresh: str) -> Attempt:
    digest = hashlib.sha256(refresh.encode()).hexdigest()
    same = before is not None and before.digest == digest
    return Attempt(digest=digest, tries=before.tries + 1 if same and before is not None else 1)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
