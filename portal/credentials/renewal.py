"""A stored grant: its token is replaced by one process at a time, and no grant is lost without a reason.

A refresh, step by step, and what holds if the process ends after each:

    1  read the credential          nothing has happened
    2  lease it, note the attempt   the lease ends by itself; the next process sees the attempt, in the same version
    3  send the refresh token       the same: whether the request arrived is not known
    4  store the new pair           the next process finds it, in a new version
    5  show the new token           the same

If the database fails between 2 and 4, this process alone has the new pair. It shows its token, and stores the pair as
soon as it can: only its own end before that costs a login.

A refresh token that may have been used is sent once more, because most authorization servers allow that for a while;
never to one that takes back everything then (`rotating: strict`). After that a new login is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import structlog

from portal.credentials.errors import LoginNeeded, Misconfigured, NoAnswer, NoStore, Refused
from portal.credentials.grants import Attempt, CredentialDocument, SealedGrant, unsealed
from portal.credentials.token_source import Held
from portal.credentials.tokens import AccessToken
from portal.state import Clock, Kind, SecretUnreadable, StateError, StateUnavailable, utc_now

if TYPE_CHECKING:
    from portal.state import CredentialKey, Store, StoredCredential

    Stored = StoredCredential[CredentialDocument]

# Longer than any request for a token takes.
LEASE_SECONDS = 20.0
RETRY_SECONDS = 2.0
STORE_AGAIN_SECONDS = 0.5
MAX_TRIES = 2
_POLL_SECONDS = 0.25
# How long a refresh waits for that of another process: longer than any lease.
MOST_WAITING = 30.0


class Renewable(Protocol):
    """What is particular to the grants of one kind.

    `how` is a sentence, after a space, that says what a person does for a new one, "" if that belongs into no error;
    `absent` says that there is none.
    """

    kind: Kind[CredentialDocument]
    how: str
    absent: str

    def is_strict(self, key: CredentialKey) -> bool:
        """Whether everything is taken back when a refresh token of this grant comes twice."""

    def fits(self, key: CredentialKey) -> bool:
        """Whether a grant with this key is one for the place that wants the token."""

    def held(self, document: CredentialDocument, grant: SealedGrant) -> Held:
        """The token of a grant."""

    def serves_until(self, held: Held) -> float:
        """Until when, by the clock, a token from the store is used, and not replaced."""

    def ended(self, *, refused: bool) -> str:
        """What is said of a token that was `refused`, or whose time is over, as the first half of a sentence."""

    async def prepare(self) -> None:
        """Get what the request needs before the lease is taken, which does not last for it. Raises as `request`."""

    async def request(self, stored: Stored, grant: SealedGrant) -> AccessToken:
        """A new token for the refresh token of a grant.

        Raises:
            Refused: the authorization server answered with an error.
            NoAnswer: it did not answer.
            Misconfigured: it may not be asked, or what it answers cannot be used.
        """

    def renewed(self, grant: SealedGrant, token: AccessToken, now: datetime) -> tuple[SealedGrant, datetime | None]:
        """The grant with this token, and when the token ends. Without a new refresh token the former one stays
        (RFC 6749 6)."""

    async def after_refusal(self, stored: Stored, error: Refused) -> None:
        """What is to be done when the authorization server refuses this grant's client, or its request."""


class Renewal:
    """The grant of `subject` for `server`, as the store has it.

    `stored` is what was read last, `unstored` a newer token that the database has not taken yet, `renewable` whether it
    has a refresh token, `refused` a token that is shown no more.
    `now` is the time that tokens live by, `steady` one in seconds that is never set.
    """

    def __init__(
        self,
        of: Renewable,
        store: Store,
        subject: str,
        server: str,
        *,
        now: Clock = utc_now,
        steady: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stored: Stored | None = None
        self.renewable = False
        self.refused = ""
        self.unstored: Held | None = None
        self._storing: asyncio.Task[None] | None = None
        self._of = of
        self._store = store
        self._subject = subject
        self._server = server
        self._log = structlog.get_logger("portal.credentials").bind(server=server, subject=subject)
        self._now = now
        self._steady = steady
        self._sleep = sleep

    async def newest(self) -> tuple[Stored | None, SealedGrant | None]:
        """What the store has. A grant for another place is none.

        Raises:
            StateUnavailable: it cannot be read.
            SecretUnreadable: its secret does not open.
        """
        kind = self._of.kind
        found = await self._store.credentials.list(kind, subject=self._subject, server=self._server)
        fitting = [one for one in found if self._of.fits(one.key)]
        if not fitting:
            return None, None
        stored = fitting[-1]
        secret = await self._store.credentials.secret(kind, stored.key)
        return (stored, unsealed(secret)) if secret is not None else (None, None)

    async def token(self) -> Held:
        """A token that lives, from the store or from the authorization server.

        Raises:
            CredentialError: there is none. The text says why.
        """
        try:
            return await self.replaced()
        except SecretUnreadable as error:
            raise LoginNeeded(f"{_sentence(error)}{self._of.how}") from error
        except StateUnavailable as error:
            # Nothing was sent: without a lease no refresh token leaves.
            raise NoStore(error.words) from error
        except StateError as error:
            raise NoAnswer(str(error)) from error

    async def aclose(self, patience: float) -> None:
        """Wait so many seconds until what was answered is stored."""
        if self._storing is not None:
            await asyncio.wait({self._storing}, timeout=patience)
            self._storing.cancel()
            await asyncio.gather(self._storing, return_exceptions=True)

    async def replaced(self) -> Held:
        """The same. Raises `StateError` too."""
        owner, began = secrets.token_hex(16), self._steady()
        while True:
            if (unstored := self.unstored) is not None and self._serves(unstored):
                return unstored
            stored, grant = await self.newest()
            self.stored = stored
            if stored is None or grant is None:
                raise LoginNeeded(f"{self._of.absent}{self._of.how}")
            document, self.renewable = stored.document, bool(grant.refresh)
            held = self._of.held(document, grant)
            if self._serves(held):
                return held
            if document.state == "needs_reauth":
                raise LoginNeeded(f"{document.reason}{self._of.how}")
            if not grant.refresh:
                what = self._of.ended(refused=self.refused != "" and held.access == self.refused)
                await self._give_up(stored, f"{what}, and there is no refresh token.")
            attempt = _next_attempt(document.attempt, grant.refresh)
            is_leased = stored.leased_until is not None and stored.leased_until > self._now()
            if not is_leased and (attempt.tries > MAX_TRIES or (attempt.tries > 1 and self._of.is_strict(stored.key))):
                await self._give_up(stored, "A refresh was begun, and nobody knows what became of it.")
            await self._of.prepare()
            noted = document.model_copy(update={"state": "refreshing", "attempt": attempt})
            if await self._lease(stored, owner, noted):
                return await self._with_lease(stored, owner, noted, grant)
            # Another process replaces it. Its outcome, or the end of its lease, is worth waiting for.
            if self._steady() > began + MOST_WAITING:
                raise NoAnswer("another process is replacing its token, and does not come to an end")
            await self._sleep(_POLL_SECONDS)

    def _serves(self, held: Held) -> bool:
        """Whether a token from the store is worth showing: it is not the one that was refused, nor about to end."""
        if not held.access or held.access == self.refused:
            return False
        return self._now().timestamp() < self._of.serves_until(held)

    async def _lease(self, stored: Stored, owner: str, noted: CredentialDocument) -> bool:
        rows = self._store.credentials
        return await rows.lease(self._of.kind, stored.key, stored.version, owner, LEASE_SECONDS, noted)

    async def _with_lease(self, stored: Stored, owner: str, noted: CredentialDocument, grant: SealedGrant) -> Held:
        before = stored.document.attempt
        while True:
            try:
                token = await self._of.request(stored, grant)
            except NoAnswer as error:
                if not self._may_be_used(stored, error):
                    # The attempt does not count: the same refresh token may be sent again.
                    await self._settle(stored, noted, attempt=before, state="unknown", reason=_sentence(error))
                    raise
                before, again = noted.attempt, _next_attempt(noted.attempt, grant.refresh)
                if again.tries > MAX_TRIES or self._of.is_strict(stored.key):
                    await self._give_up(stored, f"{_sentence(error)} Its refresh token may have been used.", noted)
                await self._sleep(RETRY_SECONDS)
                noted = noted.model_copy(update={"attempt": again})
                if not await self._lease(stored, owner, noted):
                    return await self.replaced()
            except Refused as error:
                return await self._after_refusal(stored, noted, error)
            except Misconfigured as error:
                await self._settle(stored, noted, attempt=before, state="misconfigured", reason=str(error))
                raise
            else:
                return await self._store_pair(stored, noted, grant, token)

    def _may_be_used(self, stored: Stored, error: NoAnswer) -> bool:
        """Whether the refresh token may have been used by a request that brought no token.

        An answer that is an error says that it was not; but a gateway may say so of an answer that it lost.
        """
        by_gateway = error.status is not None and error.status not in (429, 503)
        return error.arrived or (by_gateway and self._of.is_strict(stored.key))

    async def _store_pair(
        self, stored: Stored, noted: CredentialDocument, grant: SealedGrant, token: AccessToken
    ) -> Held:
        now = self._now()
        pair, ends = self._of.renewed(grant, token, now)
        document = noted.model_copy(
            update={
                "state": "ready",
                "reason": "",
                "attempt": None,
                "issued_at": now,
                "expires_at": ends,
                "scope": token.scope or noted.scope,
            }
        )
        secret = pair.model_dump_json().encode()
        try:
            settled = await self._settled_pair(stored, document, secret)
        except StateUnavailable as error:
            self._log.warning("a new token cannot be stored yet; it is used meanwhile", reason=str(error))
            self.refused = ""
            self.unstored = held = self._of.held(document, pair)
            self._storing = asyncio.create_task(self._store_later(stored, document, secret), name="storing a token")
            return held
        if settled is None:
            # Meanwhile somebody has logged in again, or has logged out.
            return await self.replaced()
        return self._of.held(settled.document, pair)

    async def _settled_pair(self, stored: Stored, document: CredentialDocument, secret: bytes) -> Stored | None:
        settled = await self._store.credentials.settle(self._of.kind, stored.key, stored.version, document, secret)
        if settled is not None:
            self.stored, self.refused = settled, ""
            self._log.info("a token was replaced", issuer=stored.key.issuer)
        return settled

    async def _store_later(self, stored: Stored, document: CredentialDocument, secret: bytes) -> None:
        """Store the pair as soon as the database takes it: the former refresh token is used up, and nobody else has the
        new one. If the credential is of another version by then, somebody has logged in or out, or it was stored."""
        try:
            while True:
                await asyncio.sleep(STORE_AGAIN_SECONDS)
                try:
                    await self._settled_pair(stored, document, secret)
                    return
                except StateUnavailable:
                    continue
        except StateError as error:
            self._log.error("a new token is lost: it cannot be stored", reason=str(error))
        finally:
            self.unstored = None

    async def _after_refusal(self, stored: Stored, noted: CredentialDocument, error: Refused) -> Held:
        if error.code == "invalid_grant":
            # Somebody may have logged in again. Or another process was faster, although its lease had ended.
            newest, _ = await self.newest()
            if newest is not None and (newest.key, newest.version) != (stored.key, stored.version):
                return await self.replaced()
            await self._give_up(stored, str(error), noted)
        await self._of.after_refusal(stored, error)
        await self._settle(stored, noted, attempt=None, state="misconfigured", reason=str(error))
        raise Misconfigured(str(error)) from error

    async def _settle(self, stored: Stored, document: CredentialDocument, **update: object) -> None:
        changed = document.model_copy(update=update)
        tell = changed.state == "needs_reauth"
        rows = self._store.credentials
        settled = await rows.settle(self._of.kind, stored.key, stored.version, changed, tell=tell)
        if settled is None:
            # Meanwhile somebody has logged in again, or has logged out.
            settled, _ = await self.newest()
        self.stored = settled

    async def _give_up(self, stored: Stored, reason: str, noted: CredentialDocument | None = None) -> None:
        """
        Raises:
            LoginNeeded: always.
        """
        await self._settle(stored, noted or stored.document, attempt=None, state="needs_reauth", reason=reason)
        self._log.warning("a new login is needed", reason=reason)
        raise LoginNeeded(f"{reason}{self._of.how}")


def _next_attempt(before: Attempt | None, refresh: str) -> Attempt:
    digest = hashlib.sha256(refresh.encode()).hexdigest()
    same = before is not None and before.digest == digest
    return Attempt(digest=digest, tries=before.tries + 1 if same and before is not None else 1)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
