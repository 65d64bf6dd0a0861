"""Tells an administrator, once, that a login of the portal is about to end, and that it has ended.

Every process on a database looks at its logins once a minute and when one has changed. The one that stores a notice
first tells it: a line in the log, and a request to the webhook if there is one, which is repeated a bounded number of
times, by whichever process looks next. A login that is well again has its notices taken away, and they can come again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import orjson
import structlog
from pydantic import AwareDatetime

from portal.config import CredentialNoticesSection
from portal.credentials.client_credentials import OwnToken
from portal.credentials.endings import ending, ends_at
from portal.credentials.grants import CREDENTIAL, OWN, STATES, CredentialDocument, State, state_of
from portal.notices import Webhook, WebhookFailed
from portal.objects import Document
from portal.state import AlreadyExists, Clock, Conflict, Follower, Kind, NotFound, StateUnavailable, utc_now

if TYPE_CHECKING:
    from portal.state import Store, Stored, StoredCredential

EVERY_SECONDS = 60.0
MAX_TRIES = 8
# Until a webhook that did not take a notice is asked again; each failure after it doubles them.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
# The clocks of two processes differ: a notice that one has just made must not look untimely to the other.
YOUNG = timedelta(minutes=10)
BY = "portal"

Event = Literal["credential.ending", "credential.ended"]


class CredentialNotice(Document):
    """A notice that was told. `told` is whether the webhook has it, or there is none; if not, it is asked again from
    `next_at` on, as long as it has been asked less than `MAX_TRIES` times."""

    server: str
    event: Event
    at: AwareDatetime
    told: bool = False
    tries: int = 0
    next_at: AwareDatetime


CREDENTIAL_NOTICE = Kind("upstream_credential_notice", CredentialNotice)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What there is to tell. `id` is the same in every process, for the same login and event; `data` is what is told,
    without any token."""

    id: str
    server: str
    event: Event
    data: Mapping[str, object]


class CredentialNotices:
    """An async context manager: while it is open, it looks. `settings` are those in force, `portal` is the name that a
    notice has, and `own_tokens` how it stands with the tokens that this process has asked for as a client.
    """

    def __init__(
        self,
        store: Store,
        settings: Callable[[], CredentialNoticesSection],
        portal: Callable[[], str],
        own_tokens: Callable[[], Mapping[str, OwnToken]],
        *,
        now: Clock = utc_now,
        every: float = EVERY_SECONDS,
    ) -> None:
        self._store = store
        self._settings = settings
        self._portal = portal
        self._own_tokens = own_tokens
        self._now = now
        self._every = every
        self._webhook = Webhook()
        self._follower: Follower | None = None
        self._timer: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("portal.credentials")

    async def __aenter__(self) -> CredentialNotices:
        self._follower = Follower(self._store, {CREDENTIAL.name}, self.look, self._unavailable)
        self._timer = asyncio.create_task(self._look_again(self._follower))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None and self._follower is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            await self._follower.aclose()
        await self._webhook.aclose()

    async def look(self) -> None:
        """Tell what there is to tell and was not told.

        Raises:
            StateUnavailable: the store cannot be read.
        """
        # The notices first: one that is there was made of a login as it was then, or earlier.
        told = {one.id: one for one in await self._store.list(CREDENTIAL_NOTICE)}
        logins = await self._store.credentials.list(CREDENTIAL, subject=OWN)
        now, lead = self._now(), timedelta(seconds=self._settings().lead)
        tokens = self._own_tokens()
        occasions = {one.id: one for one in (*of_logins(logins, now, lead), *of_tokens(tokens))}
        for id, occasion in occasions.items():
            await self._tell(occasion, told.get(id), now)
        known = {one.key.server for one in logins} | tokens.keys()
        for id, stored in told.items():
            # Of a server that this process knows nothing of, another may know something.
            is_over = stored.document.server in known or not id.startswith(_OF_TOKEN)
            if id not in occasions and is_over and stored.document.at + YOUNG <= now:
                await self._forget(id)

    async def _tell(self, occasion: Occasion, stored: Stored[CredentialNotice] | None, now: datetime) -> None:
        settings = self._settings()
        notice = stored.document if stored is not None else None
        if notice is not None and (notice.told or notice.tries >= MAX_TRIES or notice.next_at > now):
            return
        if notice is not None and not settings.webhook:
            return
        tries = notice.tries if notice is not None else 0
        claimed = CredentialNotice(
            server=occasion.server,
            event=occasion.event,
            at=notice.at if notice is not None else now,
            told=not settings.webhook,
            tries=tries + (1 if settings.webhook else 0),
            next_at=now + min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE),
        )
        try:
            if stored is None:
                made = await self._store.create(CREDENTIAL_NOTICE, occasion.id, claimed, by=BY)
            else:
                made = await self._store.replace(CREDENTIAL_NOTICE, stored.id, claimed, by=BY, revision=stored.revision)
        except (AlreadyExists, Conflict, NotFound):
            # Another process tells it.
            return
        if stored is None:
            self._log.warning(_SAID[occasion.event], **occasion.data)
        if settings.webhook:
            await self._send(settings, occasion, made)

    async def _send(
        self, settings: CredentialNoticesSection, occasion: Occasion, claimed: Stored[CredentialNotice]
    ) -> None:
        data = {"portal": self._portal(), **occasion.data}
        body = orjson.dumps({"type": occasion.event, "timestamp": claimed.document.at.isoformat(), "data": data})
        log = self._log.bind(server=occasion.server, notice=occasion.event)
        try:
            await self._webhook.send(settings, occasion.id, int(self._now().timestamp()), body)
        except WebhookFailed as error:
            last = claimed.document.tries >= MAX_TRIES
            log.error("the webhook did not take a notice", reason=str(error), again=not last)
            return
        told = claimed.document.model_copy(update={"told": True})
        try:
            await self._store.replace(CREDENTIAL_NOTICE, claimed.id, told, by=BY, revision=claimed.revision)
        except (Conflict, NotFound):
            log.info("a notice was taken away while the webhook took it")

    async def _forget(self, id: str) -> None:
        try:
            await self._store.delete(CREDENTIAL_NOTICE, id, by=BY)
        except NotFound:
            pass

    async def _look_again(self, follower: Follower) -> None:
        while True:
            follower.again()
            await asyncio.sleep(self._every)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("logins of the portal cannot be looked at", reason=str(error))


def of_logins(
    logins: Sequence[StoredCredential[CredentialDocument]], now: datetime, lead: timedelta
) -> Iterator[Occasion]:
    """What there is to tell of logins."""
    for login in logins:
        match ending(login, now, lead):
            case "soon":
                yield _of_login(login, "credential.ending", now)
            case "ended":
                yield _of_login(login, "credential.ended", now)


def of_tokens(tokens: Mapping[str, OwnToken]) -> Iterator[Occasion]:
    """What there is to tell of tokens that the portal asks for as a client, by server. An authorization server that
    does not answer is nothing to tell: it is asked again."""
    for server, token in tokens.items():
        if token.state == "misconfigured":
            yield _of_token(server, token, "credential.ending" if token.lives else "credential.ended")


def _of_login(login: StoredCredential[CredentialDocument], event: Event, now: datetime) -> Occasion:
    key, document, state, at = login.key, login.document, state_of(login, now), ends_at(login, now)
    reason = document.reason or ("" if document.refreshable else "The authorization server gave no refresh token.")
    nears = event == "credential.ending"
    when = f" It ends at {at:%Y-%m-%d %H:%M} UTC at the latest." if at is not None and nears else ""
    what = "cannot be renewed" if nears else "has ended"
    data = {
        "server": key.server,
        "grant": "authorization_code",
        "state": state,
        "reason": reason or STATES[state],
        "issuer": key.issuer,
        "client_id": key.client,
        "scope": document.scope,
        "granted_by": document.granted_by,
        "granted_at": document.granted_at.isoformat(),
        "ends_at": at.isoformat() if at is not None else None,
        "text": f"The login of the portal at {key.server} {what}.{when} {_SAYS_WHAT_TO_DO[state]}",
    }
    of_this_login = [key.digest.hex(), document.granted_at.isoformat(), event]
    return Occasion(f"{_OF_LOGIN}{_digest(of_this_login)}", key.server, event, data)


def _of_token(server: str, token: OwnToken, event: Event) -> Occasion:
    data = {
        "server": server,
        "grant": "client_credentials",
        "state": token.state,
        "reason": token.reason,
        "issuer": token.issuer,
        "client_id": token.client_id,
        "scope": token.scope,
        "granted_by": None,
        "granted_at": None,
        "ends_at": None,
        "text": f"The portal gets no new token for {server} as the client that is configured. Look at its `oauth`.",
    }
    return Occasion(f"{_OF_TOKEN}{_digest([server, token.issuer, token.client_id, event])}", server, event, data)


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


_OF_LOGIN, _OF_TOKEN = "login-", "token-"
_SAID: Mapping[Event, str] = {
    "credential.ending": "a login of the portal is about to end",
    "credential.ended": "a login of the portal has ended",
}
_AGAIN = "Log in again."
_SAYS_WHAT_TO_DO: Mapping[State, str] = {
    "absent": _AGAIN,
    "connecting": _AGAIN,
    "ready": _AGAIN,
    "expiring": _AGAIN,
    "refreshing": _AGAIN,
    "unknown": "The authorization server does not answer, and is asked again with the next call.",
    "needs_reauth": _AGAIN,
    "misconfigured": "Change the `oauth` of the server as the reason says.",
}
