"""Tells people that a call waits for them, once, by mail and webhook, whatever number of processes there are.

The rows of the store say who is to be told, and which process does it: nothing is kept here. A call that waits costs
none of this: it is noted afterwards, and a mail server that does not answer is asked again behind it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import structlog

from portal.approvals.approvals import Approvals
from portal.approvals.errors import ApprovalUnknown
from portal.approvals.model import Approval
from portal.approvals.notice_words import NoticePlace, event_body, letter, people
from portal.approvals.written import approval_of
from portal.config import ApprovalNoticesSection
from portal.logs import NO_EVENTS, EventSink, event
from portal.notices import Mail, MailFailed, Message, Webhook, WebhookFailed
from portal.state import (
    APPROVAL_NOTICES,
    APPROVALS,
    WEBHOOK_TARGET,
    ApprovalRow,
    Clock,
    Follower,
    NoticeBatch,
    SecretUnreadable,
    StateUnavailable,
    background,
    utc_now,
)

if TYPE_CHECKING:
    from portal.state import Store

GATHERED = timedelta(seconds=5)
"""How long a mail waits for further calls, so that those of one run come in one."""
EVERY_SECONDS = 60.0
MAX_TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
"""Until what was not taken is sent again; each failure after the first doubles it."""
SEND_SECONDS = 90.0
LEASE = timedelta(minutes=2)
"""After so long what a process has not settled is another's to send: longer than it sends."""
AT_ONCE = 4
KEPT = timedelta(hours=2)
_NOTED_AT_ONCE = 100
_SOONEST_SECONDS = 0.2

Channel = Literal["mail", "webhook"]


class ApprovalNotices:
    """An async context manager: while it is open, it tells. `settings` are those in force; `mail` is the mail server,
    None without one; `places` are the portals of this process with pages to link to, by id; `client_name` gives what a
    client of a portal calls itself, "" where that is not known.

    `counts` are what became of notices since this process began, as (channel, "told" or "refused" or "given up").
    """

    def __init__(
        self,
        store: Store,
        approvals: Approvals,
        settings: Callable[[], ApprovalNoticesSection],
        mail: Callable[[], Mail | None],
        places: Callable[[], Mapping[str, NoticePlace]],
        client_name: Callable[[str, str], Awaitable[str]],
        events: EventSink = NO_EVENTS,
        clock: Clock = utc_now,
        *,
        gathered: timedelta = GATHERED,
    ) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._store = store
        self._approvals = approvals
        self._settings = settings
        self._mail = mail
        self._places = places
        self._client_name = client_name
        self._events = events
        self._clock = clock
        self._gathered = gathered
        self._webhook = Webhook()
        self._followers: dict[str, Follower] = {}
        self._timers: dict[Channel, asyncio.TimerHandle] = {}
        self._exits = AsyncExitStack()
        self._log = structlog.get_logger("portal.approvals")

    async def __aenter__(self) -> ApprovalNotices:
        channels: tuple[Channel, ...] = ("mail", "webhook")
        async with AsyncExitStack() as exits:
            exits.callback(self._stop_timers)
            work = {"note": (APPROVALS, self.note)} | {
                one: (APPROVAL_NOTICES, partial(self._send_and_wait, one)) for one in channels
            }
            for name, (kind, run) in work.items():
                self._followers[name] = Follower(self._store, {kind}, run, self._unavailable)
                exits.push_async_callback(self._followers[name].aclose)
            await exits.enter_async_context(background(self._look_again()))
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()
        await self._webhook.aclose()

    def again(self) -> None:
        """Look now: settings, or the address of a portal, may be others."""
        for follower in self._followers.values():
            follower.again()

    async def note(self) -> None:
        """Write down who is to be told of what was asked for since, where anybody is.

        Raises:
            StateUnavailable: the store cannot be read or written.
        """
        while (settings := self._settings()).webhook or settings.mails:
            rows = await self._store.approvals.unnoted(list(self._places()), _NOTED_AT_ONCE)
            wanted = [(row, await self._targets(row, settings)) for row in rows]
            noted = await self._store.approval_notices.note(wanted, self._clock() + self._gathered) if wanted else 0
            # Those that have changed meanwhile are told of as changed.
            if len(rows) < _NOTED_AT_ONCE or not noted:
                return

    async def send(self, channel: Channel) -> None:
        """Tell what is due by this way. What is not taken is due again later, a few times.

        Raises:
            StateUnavailable: the store cannot be read or written.
        """
        while batches := await self._store.approval_notices.claim(
            list(self._places()),
            webhook=channel == "webhook",
            most=AT_ONCE,
            lease=LEASE,
            mails_an_hour=self._settings().mails_an_hour,
        ):
            await asyncio.gather(*(self._tell(batch, channel) for batch in batches))

    # Telling

    async def _tell(self, batch: NoticeBatch, channel: Channel) -> None:
        place = self._places().get(batch.portal)
        if place is None:
            # The portal has just gone from this process.
            await self._store.approval_notices.settle(batch.id, self._clock() + FIRST_PAUSE)
            return
        waiting = [one for one in await self._read(batch.approvals) if self._is_for(one, batch.target)]
        if not waiting:
            await self._store.approval_notices.settle(batch.id, "ended")
            return
        # More than these were begun and never settled: what kills the process must not do so for ever.
        problem = "it was begun too often without an end" if batch.tries > MAX_TRIES else ""
        problem = problem or await self._problem(batch, channel, waiting, place)
        if not problem:
            self.counts[channel, "told"] += 1
            await self._store.approval_notices.settle(batch.id, "told")
            return
        await self._failed(batch, channel, waiting, problem)

    async def _problem(
        self, batch: NoticeBatch, channel: Channel, waiting: Sequence[Approval], place: NoticePlace
    ) -> str:
        """Why it was not taken, "" if it was."""
        names = [await self._client_name(one.portal, one.client) if one.client else "" for one in waiting]
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if channel == "webhook":
                    await self._post(waiting[0], names[0], place)
                else:
                    calls = list(zip(waiting, names, strict=True))
                    await self._mail_to(letter(batch.target, batch.id, calls, place, batch.full_until))
        except (MailFailed, WebhookFailed) as failure:
            return str(failure)
        except TimeoutError:
            return f"it took more than {SEND_SECONDS:g} s"
        return ""

    async def _post(self, approval: Approval, client: str, place: NoticePlace) -> None:
        body = event_body(approval, client, place)
        # The receiver knows by this what it has had already, also from a process that has ended since.
        await self._webhook.send(self._settings(), f"{approval.id}.requested", int(self._clock().timestamp()), body)

    async def _mail_to(self, message: Message) -> None:
        if (mail := self._mail()) is None:
            raise MailFailed("no mail server is configured any more")
        await mail.send(message)

    async def _failed(self, batch: NoticeBatch, channel: Channel, waiting: Sequence[Approval], problem: str) -> None:
        again = batch.tries < MAX_TRIES
        self.counts[channel, "refused"] += 1
        self._log.error(
            "people could not be told that calls wait for them",
            channel=channel,
            reason=problem,
            approvals=len(waiting),
            again=again,
        )
        if again:
            pause = min(FIRST_PAUSE * 2 ** (batch.tries - 1), LONGEST_PAUSE)
            await self._store.approval_notices.settle(batch.id, self._clock() + pause)
            return
        await self._store.approval_notices.settle(batch.id, "failed")
        self.counts[channel, "given up"] += 1
        for approval in waiting:
            name = f"{approval.server}.{approval.tool}"
            reason = f"{approval.id} by {channel}, {batch.tries} times: {problem}"
            row = event("consent", "approval/notice", "error", name=name, policy=approval.rule.policy, reason=reason)
            self._events.write(row._replace(portal=approval.portal, run=approval.run, server=approval.server))

    # Whom

    async def _targets(self, row: ApprovalRow, settings: ApprovalNoticesSection) -> Sequence[str]:
        try:
            approval = approval_of(row)
            if approval.rule.justified:
                # What it is for is sealed.
                approval = await self._approvals.get(row.id)
        except (ApprovalUnknown, SecretUnreadable):
            return ()
        named = people(approval, members=settings.mail, person=settings.to_person)
        return (*named, WEBHOOK_TARGET) if settings.webhook else named

    def _is_for(self, approval: Approval, target: str) -> bool:
        """Whether it still waits, and for them."""
        settings = self._settings()
        if approval.state != "pending" or approval.expires_at <= self._clock():
            return False
        if target == WEBHOOK_TARGET:
            return bool(settings.webhook)
        return target in people(approval, members=settings.mail, person=settings.to_person)

    async def _read(self, ids: Sequence[str]) -> list[Approval]:
        found: list[Approval] = []
        for id in ids:
            try:
                found.append(await self._approvals.get(id))
            except (ApprovalUnknown, SecretUnreadable):
                continue
        return found

    # When

    async def _send_and_wait(self, channel: Channel) -> None:
        """Send what is due, and once more when the next is."""
        settings = self._settings()
        if not (settings.webhook if channel == "webhook" else settings.mails):
            return
        await self.send(channel)
        due = await self._store.approval_notices.next_due(list(self._places()), webhook=channel == "webhook")
        if due is not None:
            self._wake(channel, due)

    def _wake(self, channel: Channel, due: datetime) -> None:
        if (timer := self._timers.pop(channel, None)) is not None:
            timer.cancel()
        seconds = max(_SOONEST_SECONDS, (due - self._clock()).total_seconds())
        loop = asyncio.get_running_loop()
        self._timers[channel] = loop.call_later(seconds, self._followers[channel].again)

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    async def _look_again(self) -> None:
        """Another process may have ended with what it had begun, and settings may be others."""
        looks = 0
        while True:
            self.again()
            await asyncio.sleep(EVERY_SECONDS)
            looks += 1
            if looks % 60 == 1:
                try:
                    await self._store.approval_notices.purge(before=self._clock() - KEPT)
                except StateUnavailable as error:
                    self._unavailable(error)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("notices of approvals wait for the database", reason=str(error))
