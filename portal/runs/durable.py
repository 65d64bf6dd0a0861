"""Parked runs go on: this process claims those that may, has each resumed in a task, and writes how that went.

Several processes do so on one database. Nothing is kept here of a run that nobody runs: the rows have everything. What
a claim is worth, its revision decides (`portal.state.RunRows`), not this process's view of the time.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeAlias, TypeVar

import structlog

from portal.runs.live import Owner
from portal.state import (
    LIVE,
    RUNS,
    Clock,
    DocumentInvalid,
    EndOfRun,
    FinishedRun,
    Parking,
    ParkReason,
    RunCandidate,
    RunClaim,
    RunDocument,
    RunFilter,
    RunsFull,
    RunState,
    RunTaken,
    RunTooLarge,
    StateUnavailable,
    StoredRun,
    utc_now,
)

if TYPE_CHECKING:
    from portal.state import Store

T = TypeVar("T")

LEASE_SECONDS: Final = 30.0
RENEW_SECONDS: Final = 10.0
AT_ONCE: Final = 16
"""Runs of parked programs that go on in a process at once, of one person a quarter of them."""
APPROVALS: Final = "approvals"
_SETTLED: Final = timedelta(hours=1)  # after so long every process has heard of a new portal
PORTAL_REMOVED: Final = "the portal at which it ran was removed"
_LONGEST_SLEEP = 30.0  # the clock may be set
_AGAIN_SECONDS = 1.0  # until runs that are due and that nobody could claim are looked at again
_PACE = 0.02  # between two looks: many changes may come at once
_REST = 20  # times as long as a look for what was heard of took, until the next
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_BACK_OFF = timedelta(seconds=10)  # of a run that could not be resumed
_ENDING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NextPark:
    """The run waits again, with this checkpoint."""

    parking: Parking
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class NextHold:
    """The run waits, and has not got on: its checkpoint and what came after it stay as they are."""

    reason: ParkReason
    document: RunDocument
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NextAttempt:
    """The run begins again at its checkpoint, after a while. `in_vain`: this attempt is counted."""

    in_vain: bool = False


@dataclass(frozen=True, slots=True)
class NextEnd:
    """The run has ended. `stored` is called once that is stored, and never where somebody else has ended it before."""

    finished: FinishedRun
    stored: Callable[[], None]


RunOutcome: TypeAlias = NextPark | NextHold | NextAttempt | NextEnd | FinishedRun
"""How it went with a run that was resumed: it waits again, could not be resumed now, or has ended."""
Resume: TypeAlias = Callable[[RunClaim], Awaitable[RunOutcome]]


class RunLogins(Protocol):
    """The logins that runs were begun with."""

    kinds: AbstractSet[str]
    """What the store tells when some of them may have ended."""

    async def lasts(self, subject: str, family: str) -> bool:
        """Whether the login of this subject with tokens of this family has not ended."""


@dataclass(frozen=True, slots=True)
class DurableSettings:
    """How long a claim holds and when it is renewed, in seconds; how many runs go on at once, and of one person; how
    long the end of a run is kept that could not be stored as it should be."""

    lease: float = LEASE_SECONDS
    renew: float = RENEW_SECONDS
    at_once: int = AT_ONCE
    each: int = AT_ONCE // 4
    keep: timedelta = timedelta(days=1)


@dataclass(slots=True, eq=False)
class _Claimed:
    """A run that this process runs. `taken`: not any more. `writing`: it is over, and its outcome is being written."""

    claim: RunClaim
    lease_until: datetime
    task: asyncio.Task[None] | None = None
    taken: bool = False
    writing: bool = False
    written: bool = False


class _PendingLook:
    """A look for something that was `heard` of. After one it rests for many times as long as that took."""

    def __init__(self, heard: bool) -> None:
        self.heard = heard
        self._rests_until = 0.0

    @property
    def seconds(self) -> float:
        """In how many seconds to look."""
        return self._rests_until - asyncio.get_running_loop().time() if self.heard else math.inf

    async def look(self, work: Callable[[], Awaitable[None]]) -> None:
        """Look by this work, if it is time."""
        loop = asyncio.get_running_loop()
        if self.seconds > 0:
            return
        # What is heard while it looks may be something that it has not seen.
        began, self.heard = loop.time(), False
        try:
            await work()
        except BaseException:
            self.heard = True
            raise
        self._rests_until = loop.time() + _REST * (loop.time() - began)


async def _known_in_log(ended: Sequence[StoredRun]) -> bool:
    """Where nobody can ask the log."""
    return True


class DurableRuns:
    """`async with DurableRuns(...)`. `owner` is the id of this process, which no other has. `resume` runs a claimed run
    on, and may be cancelled at any moment; every write that it makes for the run names the revision of its claim.
    `portals` gives those whose runs this process resumes, None for all. `known` gives all portals that there are, None
    where that is not known: runs of others end as this process begins. `on_end` is told of a run that ends without
    being resumed. `in_log` has the rows of runs that have ended be in the log; False while that cannot be said. Runs
    whose login has ended by `logins` are ready at once: whoever resumes one ends it.
    """

    def __init__(
        self,
        store: Store,
        resume: Resume,
        *,
        owner: str,
        portals: Callable[[], Collection[str] | None] = lambda: None,
        known: Callable[[], Collection[str] | None] = lambda: None,
        on_end: Callable[[StoredRun], None] = lambda run: None,
        in_log: Callable[[Sequence[StoredRun]], Awaitable[bool]] = _known_in_log,
        logins: RunLogins | None = None,
        settings: DurableSettings = DurableSettings(),
        clock: Clock = utc_now,
    ) -> None:
        self.rows = store.runs
        self._store = store
        self._resume = resume
        self._on_end = on_end
        self._in_log = in_log
        self._logins = logins
        self._owner = owner
        self._portals = portals
        self._known = known
        self._settings = settings
        self._lease = timedelta(seconds=settings.lease)
        self._clock = clock
        self._mine: dict[str, _Claimed] = {}
        self._waiters: dict[str, dict[asyncio.Future[None], str]] = {}
        """Who waits for a change of a run, by its id, each with the stage that the run was in."""
        self._changed = asyncio.Event()
        self._decisions = _PendingLook(True)
        self._ended_logins = _PendingLook(logins is not None)
        self._begins = True
        self._removed = set[str]()
        """Portals whose runs are to be ended."""
        self._closing = asyncio.Event()
        self._leaving = False
        """Whether who waits for a run is sent away."""
        self._worker: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._log = structlog.get_logger("portal.runs")

    @property
    def going_on(self) -> int:
        """How many runs this process runs now."""
        return len(self._mine)

    async def __aenter__(self) -> Self:
        self._unsubscribe = self._store.subscribe(self._heard)
        self._worker = asyncio.create_task(self._work(), name="parked runs")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self, patience: float = 0.0) -> None:
        """Claim nothing more, give the runs under way so many seconds to end or to park, and give the rest back:
        another process may take them at once. Who waits here for a run hears that this process stops."""
        self._unsubscribe()
        self._closing.set()
        self._changed.set()
        if self._worker is not None:
            # Not cancelled at once: a claim that is just being made would be nobody's until its lease is over.
            await asyncio.wait({self._worker}, timeout=_ENDING_SECONDS)
            self._worker.cancel()
            await asyncio.wait({self._worker})
            self._worker = None
        await self._end_tasks(patience)
        for one in tuple(self._mine.values()):
            if not one.taken and not one.written:
                # What cannot be given back now is free when its lease is over.
                with suppress(StateUnavailable):
                    await self.rows.release(one.claim.run.id, one.claim.run.revision)
        self._mine.clear()
        self.send_away()

    def send_away(self) -> None:
        """This process is about to stop: who waits for a run hears so now, while their request can still be
        answered."""
        self._leaving = True
        self._wake(dict.fromkeys(self._waiters, ""))

    def again(self) -> None:
        """Look at once for runs that may go on, as after a change."""
        self._changed.set()

    def portals_removed(self, ids: Collection[str]) -> None:
        """End the runs of these portals, as soon as the database answers."""
        self._removed.update(ids)
        self._changed.set()

    # For whose runs they are

    async def park(self, parking: Parking, checkpoint: bytes) -> StoredRun:
        """Park a run of this process for the first time. While the database does not answer, it is tried again.

        Raises:
            RunsFull, RunTooLarge, DocumentInvalid, AlreadyExists: as `RunRows.park`.
        """
        return await self._stored(lambda: self.rows.park(parking, checkpoint))

    async def find(self, id: str, portal: str, owner: Owner) -> StoredRun | None:
        """The run, if it is one of this owner at this portal."""
        run = await self.rows.get(id)
        whose = None if run is None else (run.portal, run.subject, run.client)
        return run if whose == (portal, owner.person, owner.client) else None

    async def list(self, portal: str, owner: Owner) -> Sequence[StoredRun]:
        """The runs of this owner, the newest first."""
        return await self.rows.list(RunFilter(portal=portal, subject=owner.person, client=owner.client))

    async def wait(self, id: str, portal: str, owner: Owner) -> StoredRun | None:
        """The run once it has ended, whichever process runs it; None if this owner has no such run.

        Raises:
            StateUnavailable: the database does not answer, or this process stops.
        """
        run = await self.find(id, portal, owner)
        while run is not None and run.state in LIVE:
            run = await self.changed(run, portal, owner)
        return run

    async def changed(self, seen: StoredRun, portal: str, owner: Owner) -> StoredRun | None:
        """The run once it waits, waits anew, does not wait any more, or has ended, where it did not so before.
        Otherwise as `wait`."""
        while True:
            changed = asyncio.get_running_loop().create_future()
            # Before the run is read: its change must not come in between.
            self._waiters.setdefault(seen.id, {})[changed] = _stage(seen.state, seen.revision)
            try:
                run = await self.find(seen.id, portal, owner)
                if run is None or _stage(run.state, run.revision) != _stage(seen.state, seen.revision):
                    return run
                if self._leaving:
                    raise StateUnavailable("the portal stops: ask again when it has started")
                await changed
            finally:
                self._leave(seen.id, changed)

    async def result(self, id: str, portal: str, owner: Owner) -> bytes | None:
        """What a run of this owner has left at its end; None if nothing, or not any more."""
        return None if await self.find(id, portal, owner) is None else await self.rows.result(id)

    async def cancel(self, id: str, portal: str, owner: Owner, words: str = "its owner cancelled it") -> bool:
        """End a run of this owner, whichever process runs it; False if it had ended, or there is none."""
        if await self.find(id, portal, owner) is None:
            return False
        return await self.end(id, words)

    async def end(self, id: str, words: str) -> bool:
        """End a run, whosever it is and whichever process runs it; False if it had ended, or there is none."""
        ended = await self.rows.cancel(id, words)
        if ended is not None:
            self._on_end(ended)
        return ended is not None

    async def end_all(self, portal: str, words: str) -> int:
        """End all runs of a portal that have not ended, in these words. How many that were."""
        ended = 0
        async for run in self.rows.each(RunFilter(portal=portal, states=LIVE)):
            ended += await self.end(run.id, words)
        return ended

    async def _end_removed(self) -> None:
        if self._begins and (known := self._known()) is not None:
            # A portal that was made just now may be unknown here only because this process has an older document.
            self._removed.update(set(await self.rows.portals(self._clock() - _SETTLED)).difference(known))
        self._begins = False
        # One of these ids may be there again.
        self._removed.difference_update(self._portals() or ())
        while self._removed:
            portal = next(iter(self._removed))
            await self.end_all(portal, PORTAL_REMOVED)
            self._removed.discard(portal)

    # The worker

    def _heard(self, kinds: frozenset[str]) -> None:
        revoked = self._logins is not None and not kinds.isdisjoint(self._logins.kinds)
        self._decisions.heard |= APPROVALS in kinds
        self._ended_logins.heard |= revoked
        if revoked or kinds & {RUNS, APPROVALS}:
            self._changed.set()

    async def _work(self) -> None:
        pause = 0.0
        while not self._closing.is_set():
            self._changed.clear()
            try:
                seconds = await self._look()
                pause = 0.0
            except StateUnavailable:
                # The database has logged its trouble. What is there stays there.
                pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            except Exception:
                # The edge of a background task: a fault in one look must not end all looking.
                self._log.exception("parked runs could not be looked at")
                pause = min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            if pause:
                await _set_within(self._closing, pause)
            elif not await _set_within(self._closing, _PACE):
                await _set_within(self._changed, seconds)

    async def _look(self) -> float:
        """Do what is to be done now. In how many seconds to look again, if nothing changes before."""
        if not self._mine and await self._finds_none():
            # The other looks are eight queries.
            await self._tell_waiters()
            return _LONGEST_SLEEP
        await self._renew()
        await self._stop_those_taken()
        await self._end_removed()
        while expired := await self.rows.expire_due():
            for run in expired:
                self._on_end(run)
        await self._look_for_unlogged()
        await self.rows.purge()
        await self._decisions.look(self._look_for_decisions)
        await self._ended_logins.look(self._look_for_ended_logins)
        await self._tell_waiters()
        claimed = await self._claim()
        return self._seconds(await self.rows.next_due(self._portals()), claimed)

    async def _finds_none(self) -> bool:
        """Whether there is no run at all. Then what was heard by now is about none; what comes meanwhile may be."""
        heard = [look for look in (self._decisions, self._ended_logins) if look.heard]
        for look in heard:
            look.heard = False
        removed, self._removed = self._removed, set()
        none = False
        try:
            none = not await self.rows.any()
        finally:
            if not none:
                for look in heard:
                    look.heard = True
                self._removed |= removed
        self._begins = self._begins and not none
        return none

    def _seconds(self, due: datetime | None, claimed: int) -> float:
        now = self._clock()
        seconds = min(_LONGEST_SLEEP, self._decisions.seconds, self._ended_logins.seconds)
        if due is not None:
            left = (due - now).total_seconds()
            if left > 0 or len(self._mine) < self._settings.at_once:
                seconds = min(seconds, left if left > 0 or claimed else _AGAIN_SECONDS)
        for one in self._mine.values():
            seconds = min(seconds, (one.lease_until - now).total_seconds() - self._left_at_renewal)
        return max(0.0, seconds)

    async def _look_for_decisions(self) -> None:
        """Runs whose approvals have been decided are ready: those too whose decider was killed before saying so."""
        while await self.rows.ready_decided():
            pass  # so many at once

    async def _look_for_ended_logins(self) -> None:
        """Runs that were begun with a login that has ended are ready."""
        assert self._logins is not None, "otherwise nothing is heard of them"
        lasts: dict[tuple[str, str], bool] = {}
        async for run in self.rows.each(RunFilter(states=("parked",))):
            whose = run.subject, run.document.login
            if whose not in lasts:
                lasts[whose] = await self._logins.lasts(*whose)
            if not lasts[whose]:
                await self.rows.ready(run.id)

    async def _look_for_unlogged(self) -> None:
        """Runs that ended a while ago have their row in the log: those too whose process was killed before it wrote
        that."""
        while ended := await self.rows.take_unlogged():
            if not await self._in_log(ended):
                return
            await self.rows.logged([run.id for run in ended])

    @property
    def _left_at_renewal(self) -> float:
        return self._settings.lease - self._settings.renew

    async def _renew(self) -> None:
        now = self._clock()
        old = {
            id: one
            for id, one in self._mine.items()
            if not one.taken and (one.lease_until - now).total_seconds() <= self._left_at_renewal
        }
        if not old:
            return
        held = await self.rows.renew_all({id: one.claim.run.revision for id, one in old.items()}, self._lease)
        for id, one in old.items():
            if id in held:
                one.lease_until = now + self._lease
            elif not one.writing:
                self._stop(one)

    async def _stop_those_taken(self) -> None:
        """Those that somebody has ended, or that another process has claimed while this one was stopped."""
        running = {id: one for id, one in self._mine.items() if not one.taken and not one.writing}
        found = await self.rows.states(running)
        for id, one in running.items():
            if found.get(id) != ("running", one.claim.run.revision) and not one.writing:
                self._stop(one)

    def _stop(self, one: _Claimed) -> None:
        one.taken = True
        if one.task is not None:
            one.task.cancel()

    async def _claim(self) -> int:
        """Claim as many runs as there is room for. How many that were."""
        claimed = 0
        while len(self._mine) < self._settings.at_once and not self._closing.is_set():
            found = await self.rows.candidates(self._lease, self._portals())
            taken = 0
            for candidate in self._in_turn(found):
                if len(self._mine) >= self._settings.at_once or self._closing.is_set():
                    break
                taken += await self._take(candidate)
            claimed += taken
            if not taken:
                break
        return claimed

    def _in_turn(self, found: Sequence[RunCandidate]) -> Sequence[RunCandidate]:
        """Those of whoever has fewest under way first, and none of who has as many as may be."""
        under_way = Counter((one.claim.run.portal, one.claim.run.subject) for one in self._mine.values())
        turns = [(under_way[one.portal, one.subject] + one.turn, one) for one in found]
        return [one for turn, one in sorted(turns, key=lambda it: it[0]) if turn <= self._settings.each]

    async def _take(self, candidate: RunCandidate) -> int:
        if candidate.id in self._mine:
            # It was taken from this process, whose task for it has not ended yet.
            return 0
        now = self._clock()
        claim = await self.rows.take(candidate, self._owner, self._lease, on_lost=self._on_end)
        if claim is None:
            return 0
        one = self._mine[candidate.id] = _Claimed(claim, now + self._lease)
        one.task = asyncio.create_task(self._go_on(one), name=f"parked run {candidate.id}")
        return 1

    # One run

    async def _go_on(self, one: _Claimed) -> None:
        run = one.claim.run
        try:
            outcome = await self._outcome(one.claim)
            one.writing = True
            with suppress(RunTaken):
                await self._stored(lambda: self._write(run, outcome))
            one.written = True
        except RunTaken:
            one.taken = True
        except asyncio.CancelledError:
            # Of what this process stops or has lost. Whoever cancels says what becomes of the claim.
            if not one.taken and not self._closing.is_set():
                raise
        except StateUnavailable:
            # As this process stops. What cannot be given back either is free when its lease is over.
            pass
        except Exception:
            # The edge of a task that nobody awaits. Without the outcome the run begins again at its checkpoint.
            self._log.exception("the outcome of a parked run could not be stored", run_id=run.id)
            with suppress(StateUnavailable):
                await self._write(run, NextAttempt(in_vain=True))
            one.written = True
        finally:
            if not self._closing.is_set() or one.taken or one.written:
                self._mine.pop(run.id, None)
            self._changed.set()

    async def _outcome(self, claim: RunClaim) -> RunOutcome | RunTooLarge | DocumentInvalid:
        try:
            return await self._resume(claim)
        except RunTaken:
            raise
        except (RunTooLarge, DocumentInvalid) as error:
            return error
        except StateUnavailable:
            # What was to be written ahead was not.
            return NextAttempt()
        except Exception:
            # The edge of a task that nobody awaits. Another attempt may work; after some of them the run is lost.
            self._log.exception("a parked run could not be resumed", run_id=claim.run.id)
            return NextAttempt(in_vain=True)

    async def _write(self, run: StoredRun, outcome: RunOutcome | RunTooLarge | DocumentInvalid) -> None:
        try:
            match outcome:
                case NextPark(parking, checkpoint):
                    await self.rows.park(parking, checkpoint, revision=run.revision)
                case NextHold(reason, document, wake_at):
                    await self.rows.hold(run.id, run.revision, reason, document, wake_at)
                case FinishedRun():
                    await self.rows.end(run.id, run.revision, outcome)
                case NextEnd(finished, stored):
                    await self.rows.end(run.id, run.revision, finished)
                    stored()
                case NextAttempt(in_vain):
                    wake_at = self._clock() + _BACK_OFF
                    await self.rows.release(run.id, run.revision, wake_at=wake_at, in_vain=in_vain)
                case RunTooLarge() | DocumentInvalid():
                    raise outcome
        except (RunsFull, RunTooLarge, DocumentInvalid) as error:
            self._on_end(await self.rows.end(run.id, run.revision, self._failed(run, error)))

    def _failed(self, run: StoredRun, error: Exception) -> FinishedRun:
        end = EndOfRun(state="failed", kind="size", name=type(error).__name__, words=str(error)[:2048])
        document = run.document.model_copy(update={"end": end, "waits": ()})
        return FinishedRun("failed", self._clock() + self._settings.keep, document)

    async def _stored(self, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns, as soon as the database takes it. It may be repeated when its answer was lost."""
        pause = _FIRST_PAUSE
        while True:
            try:
                return await write()
            except StateUnavailable:
                if self._closing.is_set():
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _end_tasks(self, patience: float) -> None:
        tasks = {one.task for one in self._mine.values() if one.task is not None}
        if tasks and patience > 0:
            _, tasks = await asyncio.wait(tasks, timeout=patience)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_ENDING_SECONDS)

    # Who waits

    async def _tell_waiters(self) -> None:
        if self._waiters:
            states = await self.rows.states(tuple(self._waiters))
            self._wake({id: _stage(*states[id]) if id in states else "" for id in self._waiters})

    def _wake(self, stages: Mapping[str, str]) -> None:
        """Wake who waits for these runs, and saw them in another stage."""
        for id, stage in stages.items():
            for changed, seen in self._waiters.get(id, {}).items():
                if seen != stage and not changed.done():
                    changed.set_result(None)

    def _leave(self, id: str, changed: asyncio.Future[None]) -> None:
        waiting = self._waiters.get(id)
        if waiting is not None:
            waiting.pop(changed, None)
            if not waiting:
                del self._waiters[id]


def _stage(state: RunState, revision: int) -> str:
    """What the state of a run means to who waits for it: since which revision it "waits", "goes on", or "ended"."""
    return f"waits since {revision}" if state == "parked" else "goes on" if state in LIVE else "ended"


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set by then. Returns as soon as it is."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
