"""The approvals of an instance: asked for by calls, decided by people, used once.

Nothing is kept here: the store has the truth, and every step is one transaction of it. Whoever waits for a decision is
woken by the store's word of a change, of this process at once and of others within half a second.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

import structlog

from codemode import off_loop
from portal.approvals.errors import ApprovalError, ApprovalImpossible, ApprovalRefused, ApprovalUnknown
from portal.approvals.model import Approval, ApprovalNeed, ApprovalState, Decider, Remember
from portal.approvals.votes import MAX_JUSTIFICATION, SAID, may_decide, may_see, paused_until, remembered, voted
from portal.approvals.written import (
    approval_of,
    canonical,
    digest_of,
    document_of,
    mention_of,
    sealed,
    unsealed,
)
from portal.bounded import Bounded
from portal.identity import Identity
from portal.logs import NO_EVENTS, EventSink, event
from portal.state import (
    APPROVALS,
    ApprovalChange,
    ApprovalCounts,
    ApprovalFilter,
    ApprovalGrant,
    ApprovalRow,
    Clock,
    DocumentInvalid,
    StateError,
    StateUnavailable,
    background,
    utc_now,
)

if TYPE_CHECKING:
    from portal.state import Store

MAX_PENDING_OF_PERSON, MAX_PENDING_OF_PORTAL = 100, 10_000
MAX_AN_HOUR = 1000
"""Approvals that the calls of one person may ask for in an hour, whatever becomes of them."""
EXPIRE_SECONDS, PURGE_SECONDS = 30.0, 900.0
KEPT_DECIDED, KEPT_UNDECIDED = timedelta(days=30), timedelta(days=1)
ARGUMENTS_KEPT = timedelta(minutes=15)
"""How long the arguments stay after an approval has ended: so long a call that did not run may be made again."""
_AGAIN_SECONDS = 1.0
_BEYOND_EXPIRY = 60.0
_HOUR = timedelta(hours=1)


class Approvals:
    """Use it as a block: it follows the store, and ends what is over. Every method may raise `StateUnavailable`."""

    def __init__(self, store: Store, events: EventSink = NO_EVENTS, clock: Clock = utc_now) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._seen: dict[str, int] = {}
        self._news = asyncio.Event()
        # The runs of this process that have asked, of many the latest.
        self._asked: Bounded[str, bool] = Bounded(MAX_PENDING_OF_PORTAL)
        self._ending: set[asyncio.Task[None]] = set()
        self._exits = AsyncExitStack()
        self._log = structlog.get_logger("portal.approvals")

    async def __aenter__(self) -> Approvals:
        async with AsyncExitStack() as exits:
            exits.callback(self._store.subscribe(self._hear))
            await exits.enter_async_context(background(self._follow()))
            await exits.enter_async_context(background(self._clean_up()))
            exits.push_async_callback(self._ended)
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()

    # Asking

    async def found(self, need: ApprovalNeed) -> Approval | None:
        """The approval that was asked for this call already and says what becomes of it; None if there is none.

        Raises:
            ApprovalImpossible: nobody could be shown the call.
        """
        approval = _wanted(need, await _text_of(need), self._clock())
        if need.run:
            self._asked[need.run] = True
        return await self._found(approval)

    async def last(self, need: ApprovalNeed) -> Approval | None:
        """The newest approval that was asked for this call of a run, whatever has become of it; None if there is none.

        Raises:
            ApprovalImpossible: nobody could be shown the call.
        """
        row = _row_of(_wanted(need, await _text_of(need), self._clock()))
        self._asked[need.run] = True
        found = next((one for one in await self._store.approvals.of_call(row) if _same_call(one, row)), None)
        return None if found is None else await self._approval(found)

    async def request(self, need: ApprovalNeed) -> Approval:
        """The approval of this call: the one that was asked for already, or a new one.

        One that is for other arguments, or under another revision of the policy, is for another call. What a person has
        denied is not asked again at once: the denial is returned.

        Raises:
            ApprovalImpossible: it cannot be asked for. The message says why.
        """
        text, now = await _text_of(need), self._clock()
        approval = _wanted(need, text, now)
        if need.run:
            self._asked[need.run] = True
        if (found := await self._found(approval)) is not None:
            return found
        row = _row_of(approval)

        def fits(other: ApprovalRow) -> bool:
            return _same_call(other, row) and _answers(other, now)

        seen = text if need.shown is None else await off_loop(partial(canonical, need.shown), need.shown)
        secret = sealed(seen, approval.justification)
        try:
            kept, made = await self._store.approvals.request(
                row, secret, fits, lambda counts: _admit(counts, now), since=now - _HOUR
            )
        except DocumentInvalid as error:
            raise ApprovalImpossible(
                f"This call needs the approval of people, and it cannot be kept for them: {error}. It did not run."
            ) from None
        return approval if made else await self._approval(kept)

    async def use(self, id: str, digest: bytes, policy_revision: str) -> bool:
        """Whether the approval is good for a call with these arguments under this revision of the policy. It is good
        for one call: of those that ask at the same time one is told so."""
        return await self._store.approvals.use(id, digest, policy_revision)

    async def give_back(self, id: str, digest: bytes, policy_revision: str) -> bool:
        """Make an approval good again that was used for a call of which it is known that it did not run. Whether it
        is."""
        return await self._store.approvals.give_back(id, digest, policy_revision)

    async def again(self, id: str, need: ApprovalNeed, rounds: int, *, back: bool = False) -> bool:
        """Whether the call that used this approval may have its next round, after so many: its server has asked
        something before it ends. Each round may be made once. With `back` the round did not reach the server, and may
        be made again."""
        digest, done = digest_of(need.method, await _text_of(need)), list[bool]()
        before, after = (rounds + 1, rounds) if back else (rounds, rounds + 1)

        def decide(row: ApprovalRow) -> ApprovalChange | None:
            approval, whose = approval_of(row), (row.portal, row.subject, row.client, row.server, row.tool)
            is_this = whose == (need.portal, need.subject, need.client, need.server, need.tool)
            holds = row.digest == digest and row.policy_revision == need.rule.revision
            if row.state != "used" or approval.rounds != before or not (is_this and holds):
                return None
            done.append(True)
            return ApprovalChange(state="used", document=document_of(replace(approval, rounds=after)))

        await self._store.approvals.change(id, decide)
        return bool(done)

    async def changed(self, id: str, patience: float) -> Approval:
        """The approval as soon as it is not pending any more, or as it is after so many seconds.

        Raises:
            ApprovalUnknown: there is none.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        with self._waiter(id) as news:
            approval: Approval | None = None
            while True:
                news.clear()
                try:
                    approval = await self.get(id)
                except StateUnavailable:
                    if approval is None:
                        raise
                    # A person may decide for hours, and the database be away for a moment of it.
                    await asyncio.sleep(_AGAIN_SECONDS)
                    self._news.set()
                self._note_seen(approval, news)
                over = (approval.expires_at - self._clock()).total_seconds()
                if approval.state == "pending" and over <= 0:
                    await self.expire_due()
                    approval = await self.get(id)
                left = min(until - loop.time(), over)
                if approval.state != "pending" or left <= 0:
                    return approval
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await news.wait()

    async def ended(self, approval: Approval) -> Approval:
        """The approval once it is not pending any more: people have decided, or its time is over.

        Raises:
            ApprovalUnknown: there is none by now.
        """
        return await self.changed(approval.id, approval.rule.seconds + _BEYOND_EXPIRY)

    async def withdraw(self, run: str) -> int:
        """End what a run has asked for and does not need any more. How many approvals these were."""
        self._asked.pop(run)
        return await self._store.approvals.withdraw(run)

    def run_ended(self, run: str) -> None:
        """Withdraw in the background what a run of this process has asked for. Costs nothing for one that has not."""
        if self._asked.pop(run):
            task = asyncio.get_running_loop().create_task(self._withdraw(run), name="approvals withdrawn")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    # Deciding

    async def get(self, id: str) -> Approval:
        """
        Raises:
            ApprovalUnknown: there is none.
        """
        row = await self._store.approvals.get(id)
        if row is None:
            raise ApprovalUnknown
        return await self._approval(row)

    async def arguments(self, id: str) -> str | None:
        """The arguments of its call as canonical JSON; None once they are erased.

        Raises:
            ApprovalUnknown: there is none.
        """
        text, _ = unsealed(await self._store.approvals.secret(id))
        if text is None:
            await self.get(id)
        return text

    async def listed(
        self,
        *,
        portal: str | None = None,
        subject: str = "",
        client: str = "",
        run: str = "",
        server: str = "",
        states: Sequence[ApprovalState] = (),
        decider: Decider | None = None,
        before: datetime | None = None,
        limit: int = 100,
    ) -> list[Approval]:
        """Those that have all of this, newest first; with `decider` those that this person may see. `portal` None is
        every portal."""
        which = ApprovalFilter(
            portal=portal,
            subject=subject,
            client=client,
            run=run,
            server=server,
            states=tuple(states),
            before=before,
        )
        if decider is None or decider.administers:
            rows = list(await self._store.approvals.list(which, limit=limit))
        else:
            rows = await self._of_decider(which, decider, limit)
        found: list[Approval] = []
        for row in rows:
            with suppress(ApprovalUnknown):
                approval = await self._approval(row)
                if decider is None or may_see(approval, decider):
                    found.append(approval)
        return found[:limit]

    async def of_run(self, run: str) -> list[Approval]:
        """Those of a run, in the order of its calls."""
        return sorted(await self.listed(run=run, limit=1000), key=lambda one: (one.call, one.created_at))

    def may_decide(self, approval: Approval, decider: Decider, *, approves: bool = True) -> str | None:
        """Why somebody may not approve (or deny) it, None if they may. Pure."""
        return may_decide(approval, decider, approves=approves)

    async def decide(
        self,
        id: str,
        decider: Decider,
        approves: bool,
        *,
        comment: str = "",
        justification: str = "",
        remember: Remember | None = None,
        at: datetime | None = None,
    ) -> Approval:
        """The approval after the decision of one person. The same decision once more changes nothing. Those that have
        the same `at` are one decision: several that are denied so are one denial.

        Raises:
            ApprovalUnknown: there is none.
            ApprovalRefused: they may not decide so, or do not say what has to be said. Nothing is decided.
            ApprovalConflict: it is decided otherwise already, or has ended.
        """
        return await self._decide(id, decider, approves, at or self._clock(), comment, justification, remember)

    async def answer(self, id: str, person: Identity, approves: bool, *, remember: Remember | None = None) -> Approval:
        """The approval after its person has answered in their client, where the policy lets them.

        Raises:
            ApprovalUnknown: there is none.
            ApprovalRefused: the policy does not, it is of somebody else, or they have not signed in.
            ApprovalConflict: it is decided otherwise already, or has ended.
        """
        try:
            decider = Decider.of(person, "client")
        except ValueError as error:
            raise ApprovalRefused(f"This is not yours to decide: {error}.") from None
        return await self.decide(id, decider, approves, remember=remember)

    async def decide_all(
        self,
        run: str,
        decider: Decider,
        approves: bool,
        *,
        comment: str = "",
        justification: str = "",
        remember: Remember | None = None,
    ) -> list[Approval]:
        """Decide about all that a run waits for and that this person may decide. Those that were decided."""
        now, decided = self._clock(), list[Approval]()
        waiting = [one for one in await self.of_run(run) if may_decide(one, decider, approves=approves) is None]
        # One grant a tool is enough, however many of its calls wait. The last one makes it: what still waited then
        # would be withdrawn.
        last = {(one.server, one.tool): one.id for one in waiting}
        for approval in waiting:
            with suppress(ApprovalError):
                kept = remember if last[approval.server, approval.tool] == approval.id else None
                decided.append(await self._decide(approval.id, decider, approves, now, comment, justification, kept))
        return decided

    async def justify(self, id: str, decider: Decider, justification: str) -> Approval:
        """The approval after its requester has said what the call is for, once, before others decide about it: they
        decide about what they have seen.

        Raises:
            ApprovalUnknown: there is none.
            ApprovalRefused: they are somebody else, it is not pending any more, they say nothing, or have said
                something else before.
        """
        justification = justification.strip()[:MAX_JUSTIFICATION]
        if (before := await self._store.approvals.get(id)) is None:
            raise ApprovalUnknown
        text, said = unsealed(await self._store.approvals.secret(id))

        def decide(row: ApprovalRow) -> ApprovalChange | None:
            approval = approval_of(row)
            if approval.subject != decider.subject:
                raise ApprovalRefused("Only the person whose call it is says what it is for.")
            if approval.state != "pending" or approval.votes or not justification:
                raise ApprovalRefused("What a call is for is said before anybody has decided, in a few words.")
            if said == justification:
                return None
            if said or row.revision != before.revision:
                raise ApprovalRefused(SAID)
            return ApprovalChange(state=row.state, document=row.document, secret=sealed(text or "{}", justification))

        if await self._store.approvals.change(id, decide) is None:
            raise ApprovalUnknown
        return await self.get(id)

    # Remembered

    async def grants(self, *, portal: str | None = None, subject: str = "") -> list[ApprovalGrant]:
        """The remembered approvals that hold, newest first."""
        return list(await self._store.approval_grants.list(portal=portal, subject=subject))

    async def use_grant(self, need: ApprovalNeed) -> bool:
        """Whether a remembered approval is good for this call. It has one use less then."""
        return await self.granted(need) is not None

    async def granted(self, need: ApprovalNeed) -> str | None:
        """As `use_grant`: the id of the grant, None if there is none."""
        if need.method != "tools/call":
            return None
        now = self._clock()
        return await self._store.approval_grants.use(_grant(need, now, now, "", None))

    async def revoke(self, id: str, decider: Decider) -> ApprovalGrant:
        """The remembered approval that does not hold any more. Its person may revoke it, who granted it, and whoever
        administers.

        Raises:
            ApprovalUnknown: there is none.
            ApprovalRefused: it is not theirs.
        """
        row = await self._store.approval_grants.get(id)
        if row is None:
            raise ApprovalUnknown
        theirs = decider.subject == row.subject or row.granted_by in (decider.subject, decider.email)
        if not (decider.administers or theirs):
            raise ApprovalRefused("This remembered approval is somebody else's.")
        if not await self._store.approval_grants.revoke(id):
            raise ApprovalUnknown
        name = f"{row.server}.{row.tool}"
        written = event("consent", "approval/revoke", name=name, policy=row.policy, reason=f"via {decider.via}")
        self._events.write(written._replace(portal=row.portal, identity=decider.subject, email=decider.email))
        return row

    # Ending

    async def expire_due(self) -> int:
        """End those whose time is over. How many they were."""
        return await self._store.approvals.expire()

    async def purge(self) -> None:
        """Erase the arguments of what has ended, and delete what ended long ago."""
        now = self._clock()
        await self._store.approvals.erase(before=now - ARGUMENTS_KEPT)
        await self._store.approvals.purge(decided=now - KEPT_DECIDED, undecided=now - KEPT_UNDECIDED)
        await self._store.approval_grants.purge()

    async def _decide(
        self,
        id: str,
        decider: Decider,
        approves: bool,
        now: datetime,
        comment: str,
        justification: str,
        remember: Remember | None,
    ) -> Approval:
        seen = await self._store.approvals.get(id) if justification.strip() else None
        # The arguments of a row never change: they may be read before.
        text, said = unsealed(await self._store.approvals.secret(id))
        decided: list[Approval] = []

        def decide(row: ApprovalRow) -> ApprovalChange | None:
            before = approval_of(row, said)
            after = voted(
                before,
                decider,
                approves,
                now=now,
                comment=comment,
                justification=justification,
                remember=remember,
            )
            if after is before:
                return None
            decided.append(after)
            secret = None if after.justification == said else sealed(text or "{}", after.justification)
            if secret is not None and (seen is None or row.revision != seen.revision):
                # It was said meanwhile, and somebody may have read that.
                raise ApprovalRefused(SAID)
            return ApprovalChange(
                state=after.state,
                document=document_of(after),
                decided_at=after.decided_at,
                secret=secret,
                grant=_remembered_as(after, now),
            )

        row = await self._store.approvals.change(id, decide)
        if row is None:
            raise ApprovalUnknown
        if decided:
            self._write(decided[0], decider, approves)
        return await self._approval(row)

    def _write(self, approval: Approval, decider: Decider, approves: bool) -> None:
        """Write the row of a decision: who, through what, and what has become of it; never what the call carries."""
        row = event(
            "consent",
            "approval/approve" if approves else "approval/deny",
            "ok" if approves else "denied",
            name=f"{approval.server}.{approval.tool}",
            policy=approval.rule.policy,
            reason=f"{approval.id} via {decider.via}: {approval.state}",
        )
        row = row._replace(portal=approval.portal, run=approval.run, server=approval.server)
        self._events.write(row._replace(identity=decider.subject, email=decider.email))

    async def _of_decider(self, which: ApprovalFilter, decider: Decider, limit: int) -> list[ApprovalRow]:
        """Rows that have the address of somebody, and those that are of their own calls, newest first."""
        found: dict[str, ApprovalRow] = {}
        wanted = [replace(which, mentions=mention_of(decider.email))] if decider.email else []
        if which.subject in ("", decider.subject):
            wanted.append(replace(which, subject=decider.subject))
        for one in wanted:
            found |= {row.id: row for row in await self._store.approvals.list(one, limit=limit)}
        return sorted(found.values(), key=lambda row: row.created_at, reverse=True)

    async def _found(self, approval: Approval) -> Approval | None:
        row = _row_of(approval)
        for other in await self._store.approvals.of_call(row):
            if _same_call(other, row) and _answers(other, approval.created_at):
                return await self._approval(other)
        return None

    async def _approval(self, row: ApprovalRow) -> Approval:
        approval = approval_of(row)
        if not approval.rule.justified:
            return approval
        return replace(approval, justification=unsealed(await self._store.approvals.secret(row.id))[1])

    # Following

    @contextmanager
    def _waiter(self, id: str) -> Iterator[asyncio.Event]:
        news = asyncio.Event()
        self._waiters.setdefault(id, set()).add(news)
        try:
            yield news
        finally:
            waiting = self._waiters[id]
            waiting.discard(news)
            if not waiting:
                del self._waiters[id]
                self._seen.pop(id, None)

    def _note_seen(self, approval: Approval, news: asyncio.Event) -> None:
        """Who waits with `news` has read the approval. If it is another than others have read, they are woken: the next
        look at all of them finds nothing new any more."""
        if self._seen.get(approval.id, approval.revision) != approval.revision:
            for other in self._waiters[approval.id] - {news}:
                other.set()
        self._seen[approval.id] = approval.revision

    def _hear(self, kinds: frozenset[str]) -> None:
        if APPROVALS in kinds and self._waiters:
            self._news.set()

    async def _follow(self) -> None:
        """Wake those whose approval has changed, with one look at all that are waited for."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                revisions = await self._store.approvals.revisions(tuple(self._waiters))
            except StateError as error:
                self._log.debug("approvals cannot be read; it is tried again", reason=str(error))
                self._news.set()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for id, waiting in tuple(self._waiters.items()):
                if revisions.get(id) != self._seen.get(id):
                    for news in waiting:
                        news.set()

    async def _clean_up(self) -> None:
        """End what is over every half minute, and delete what is old every quarter of an hour."""
        loop, purged_at = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            try:
                await self.expire_due()
                if loop.time() - purged_at >= PURGE_SECONDS:
                    await self.purge()
                    purged_at = loop.time()
            except StateUnavailable as error:
                self._log.debug("approvals that are over could not be ended", reason=str(error))
            except StateError as error:
                self._log.error("approvals that are over could not be ended", reason=str(error))

    async def _withdraw(self, run: str) -> None:
        try:
            await self._store.approvals.withdraw(run)
        except StateError as error:
            # They expire.
            self._log.debug("approvals of an ended run could not be withdrawn", reason=str(error))

    async def _ended(self) -> None:
        await asyncio.gather(*self._ending, return_exceptions=True)


async def _text_of(need: ApprovalNeed) -> str:
    """The arguments of a call as `canonical` writes them: many of them for up to a second, so not on the loop."""
    return await off_loop(partial(canonical, need.arguments), need.arguments)


def _wanted(need: ApprovalNeed, arguments: str, now: datetime) -> Approval:
    """The approval that a call needs, as it is asked for."""
    return Approval(
        id=f"apr_{secrets.token_hex(16)}",
        portal=need.portal,
        subject=need.subject,
        email=need.email,
        client=need.client,
        run=need.run,
        call=need.call,
        server=need.server,
        tool=need.tool,
        digest=digest_of(need.method, arguments),
        rule=need.rule,
        destructive=need.destructive,
        justification=need.justification.strip()[:MAX_JUSTIFICATION],
        state="pending",
        revision=1,
        created_at=now,
        expires_at=now + timedelta(seconds=need.rule.seconds),
        method=need.method,
    )


def _row_of(approval: Approval) -> ApprovalRow:
    return ApprovalRow(
        id=approval.id,
        portal=approval.portal,
        subject=approval.subject,
        client=approval.client,
        run=approval.run,
        call=approval.call,
        server=approval.server,
        tool=approval.tool,
        digest=approval.digest,
        policy=approval.rule.policy,
        policy_revision=approval.rule.revision,
        state=approval.state,
        created_at=approval.created_at,
        expires_at=approval.expires_at,
        document=document_of(approval),
    )


def _same_call(found: ApprovalRow, row: ApprovalRow) -> bool:
    names = ("portal", "subject", "client", "run", "call", "server", "tool", "digest", "policy", "policy_revision")
    return all(getattr(found, name) == getattr(row, name) for name in names)


def _answers(found: ApprovalRow, now: datetime) -> bool:
    """Whether an approval says what becomes of a call that is made again."""
    if found.state in ("pending", "approved"):
        return found.expires_at > now
    if found.run:
        # A program makes a call of this number once: that it is made again is the same attempt.
        return found.state in ("denied", "expired")
    return found.state == "denied" and found.decided_at is not None and now - found.decided_at < timedelta(minutes=10)


def _admit(counts: ApprovalCounts, now: datetime) -> None:
    """
    Raises:
        ApprovalImpossible: people are asked too much already.
    """
    start = "This call needs the approval of people"
    if counts.of_subject >= MAX_PENDING_OF_PERSON:
        words = f"and {MAX_PENDING_OF_PERSON} calls of this person wait for one already. Have some decided first"
    elif counts.of_portal >= MAX_PENDING_OF_PORTAL:
        words = "and as many calls of this portal wait for one as may. Try again later"
    elif counts.lately >= MAX_AN_HOUR:
        words = f"and {MAX_AN_HOUR} were asked for within an hour, the most for one person. Try again later"
    elif (until := paused_until(counts.denied_at, now)) is not None:
        minutes = max(1, round((until - now).total_seconds() / 60))
        words = (
            f"and people have denied several calls of this client lately. Nothing more is asked for the next "
            f"{minutes} minutes. Ask the person what they want before calling again"
        )
    else:
        return
    raise ApprovalImpossible(f"{start}, {words}. It did not run.")


def _remembered_as(approval: Approval, now: datetime) -> ApprovalGrant | None:
    remember = remembered(approval)
    if remember is None:
        return None
    run = approval.run if remember.this_run else ""
    need = ApprovalNeed(
        portal=approval.portal,
        subject=approval.subject,
        email=approval.email,
        client=approval.client,
        run=run,
        call=approval.call,
        server=approval.server,
        tool=approval.tool,
        arguments={},
        rule=approval.rule,
    )
    until = now + timedelta(seconds=remember.seconds)
    last = approval.votes[-1]
    return _grant(need, now, until, last.email or last.subject, remember.uses)


def _grant(need: ApprovalNeed, now: datetime, until: datetime, by: str, uses: int | None) -> ApprovalGrant:
    return ApprovalGrant(
        id=f"grant_{secrets.token_hex(16)}",
        portal=need.portal,
        subject=need.subject,
        client=need.client,
        run=need.run,
        server=need.server,
        tool=need.tool,
        policy=need.rule.policy,
        policy_revision=need.rule.revision,
        uses_left=uses,
        until=until,
        granted_by=by,
        created_at=now,
    )
