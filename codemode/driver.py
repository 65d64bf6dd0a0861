"""Runs one program and its calls, until the program ends, its time is over, or it parks.

Nothing outlives the run: calls that are still in flight at its end are cancelled and reported as such. A program that
parks leaves nothing behind either: its calls are cancelled before they leave, and its isolate becomes bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from codemode.caller import ToolCaller
from codemode.calls import Calls, LogDiffers
from codemode.catalog import Catalog, Likeness
from codemode.errors import ParkedUnreadable
from codemode.handle import Agreement, RunHandle
from codemode.pace import Pace, RealPace
from codemode.parking import LoggedCall, LoggedResume, ParkedProgram, PendingCall, ProgramLog
from codemode.places import in_characters
from codemode.recorded import end_of
from codemode.run import Failure, Run
from codemode.waits import Waiting, WallTime
from sandbox import (
    Completed,
    EngineError,
    Execution,
    Failed,
    HostCall,
    Limits,
    LocalStateError,
    Outcome,
    Overloaded,
    Settlement,
    Suspended,
)

_log = logging.getLogger(__name__)

_MOST_NAMES = 8
_AGAIN = 0.1  # seconds until a parked program asks again for an isolate


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedState:
    """How a program parked: what `ParkedProgram` has of it, besides its record, its text and its log."""

    frozen: bytes
    pending: tuple[PendingCall, ...]
    waiting: tuple[Waiting, ...]
    wake_at: float | None
    wall_used: float
    excused: float
    elapsed: float
    taken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a program goes on from. `thawed`: its execution has been thawed; otherwise it repeats the whole log first.
    `tail`: what it received after it was parked."""

    parked: ParkedProgram
    thawed: bool
    tail: Sequence[LoggedResume] = ()


async def drive(
    run: Run,
    source: str,
    execution: Execution,
    *,
    catalog: Catalog,
    caller: ToolCaller,
    limits: Limits,
    pace: Pace | None = None,
    begin: str = "",
    handle: RunHandle | None = None,
    likeness: Likeness | None = None,
    log: ProgramLog | None = None,
    continuation: Continuation | None = None,
) -> ParkedState | None:
    """Run `source` to its end and fill in `run`; or park it. Raises nothing but its own cancellation, and what the
    journal of the handle raises.

    `begin`: what the image of the execution lacks of the catalog (`Catalog.begin`). `handle`: that of the host. Without
    one no call waits for a person, because nobody would tell them. `log`: of a program that may be parked.
    """
    parked = None if continuation is None else continuation.parked
    pace, followed = pace or _pace(parked), handle is not None
    handle = handle or RunHandle()
    calls = Calls(
        *(run, catalog, caller, limits, pace, handle, likeness),
        followed=followed,
        log=log,
        taken=None if parked is None else parked.taken,
    )
    handle.log = log
    course = _Course(run, execution, calls, pace, handle, log)
    ended: Outcome | ParkedState | None = None
    try:
        async with WallTime(limits.wall_time, handle.waits, 0.0 if parked is None else parked.wall_used) as clock:
            async with execution:
                handle.stoppable(clock.end)
                if continuation is None:
                    outcome = await course.start(source, begin)
                else:
                    outcome = await course.go_on(continuation)
                ended = await course.follow(outcome, clock)
        if isinstance(ended, ParkedState):
            if handle.ending is None:
                return ended
            run.failure = handle.ending  # somebody ended it while it was being parked
        else:
            _end(run, source, calls, ended)
            if log is not None:
                log.say(ended.logs)
    except TimeoutError:
        message = f"the run took longer than {limits.wall_time:g} s, waiting for calls included"
        run.failure = handle.ending or Failure("wall_time", "WallTimeExceeded", message)
    except EngineError as error:
        run.failure = Failure.of_engine(error)
    except (LogDiffers, ParkedUnreadable) as difference:
        run.failure = lost(run, f"repeated here, {difference}")
    finally:
        if run.failure is not None or not isinstance(ended, ParkedState):
            run.cancel_pending()
            if log is not None and log.recorded is not None:
                log.recorded.end = end_of(run, ended)
        await calls.close()
    return None


async def replay(run: Run, log: ProgramLog, execution: Execution, calls: Calls) -> str | None:
    """Repeat a whole log and fill in `run`, as far as the log goes. Calls nobody. Returns the first difference."""
    try:
        await repeat(run, log, execution, calls)
    except LogDiffers as difference:
        return str(difference)
    except EngineError as error:
        run.failure = Failure.of_engine(error)
    return None


async def repeat(run: Run, log: ProgramLog, execution: Execution, calls: Calls) -> bool:
    """Repeat a whole log and fill in `run`, as far as the log goes. Calls nobody. Returns whether the program ended.

    Raises:
        LogDiffers: the program does not do what the log says.
        EngineError: it cannot run here.
    """
    try:
        async with execution:
            outcome = await _repeat(execution, log, run, calls)
        if isinstance(outcome, Suspended):
            run.logs += outcome.logs
            return False
        _end(run, log.source, calls, outcome)
        run.cancel_pending()
        return True
    finally:
        await calls.close()


def lost(run: Run, why: str) -> Failure:
    """The failure of a run that cannot go on. Its words name what it did."""
    done = [call.tool for call in run.calls if call.status == "ok"]
    names = ", ".join(
        f"{tool} ×{count}" if count > 1 else tool for tool, count in Counter(done).most_common(_MOST_NAMES)
    )
    completed = f"These calls completed: {names}." if done else "No call completed."
    return Failure("lost", "RunLost", f"The run was parked and cannot go on: {why}. {completed}")


class _Course:
    """One run on its way through an execution."""

    def __init__(
        self, run: Run, execution: Execution, calls: Calls, pace: Pace, handle: RunHandle, log: ProgramLog | None
    ) -> None:
        self._run = run
        self._execution = execution
        self._calls = calls
        self._pace = pace
        self._handle = handle
        self._log = log
        # The isolate of a thawed program begins to count at its first resume, and knows the time before it was frozen.
        self._excused: float | None = None
        self._enters = False
        """Whether it goes on from a parked program, and has no isolate yet."""

    async def start(self, source: str, begin: str) -> Outcome:
        now, seed = self._pace.begin()
        outcome = await self._execution.start(source, now, seed, begin)
        if self._log is not None:
            self._log.start(now, seed)
            self._log.receive(outcome.calls)
        return outcome

    async def go_on(self, continuation: Continuation) -> Outcome:
        """The outcome up to which the program has come already. Raises LogDiffers when it does not come there."""
        parked, log = continuation.parked, continuation.parked.log
        outcome: Outcome
        self._enters = True
        if continuation.thawed:
            outcome = Suspended((), (), parked.wake_at)
            self._excused = parked.excused
        else:
            outcome = await self._with_room(lambda: _repeat(self._execution, log))
            if not isinstance(outcome, Suspended):
                raise LogDiffers("it ended where it had waited")
            outcome = Suspended((), (), outcome.wake_at)
        self._calls.restore(parked.pending)
        for resume in continuation.tail:
            if not isinstance(outcome, Suspended):
                raise LogDiffers("it ended where it had waited")
            self._run.logs += outcome.logs
            log.say(outcome.logs)
            self._calls.queue(outcome.calls)
            self._calls.repeat(resume.settlements)
            excused, self._excused = self._excused or 0.0, None
            given = log.resume(resume.now, resume.settlements)
            outcome = await self._with_room(partial(self._execution.resume, given, resume.now, excused))
            log.receive(outcome.calls)
            _compare(resume.calls, outcome.calls)
        return outcome

    async def follow(self, outcome: Outcome, clock: WallTime) -> Outcome | ParkedState:
        """The end of the program, or how it parked."""
        run, calls, waits, log = self._run, self._calls, self._handle.waits, self._log
        while isinstance(outcome, Suspended):
            run.logs += outcome.logs
            if log is not None:
                log.say(outcome.logs)
            made = outcome.calls
            if self._handle.agreement is not None:
                calls.queue(made)
                made = ()
                if (parking := await self._agree(self._handle.agreement, outcome.wake_at, clock)) is not None:
                    return parking
            waits.suspend(timer=outcome.wake_at is not None)
            settlements: Sequence[Settlement] | None = await calls.settlements(made, outcome.wake_at)
            while settlements is None:
                if (parking := await self._park(outcome.wake_at, clock)) is not None:
                    return parking
                settlements = await calls.settlements((), outcome.wake_at)
            waits.resume()
            now, excused = self._pace.now(), clock.excused()
            if log is not None:
                settlements = log.resume(now, settlements)
                if self._excused is not None:
                    excused, self._excused = self._excused, None
                if self._handle.journal is not None:
                    await self._handle.journal.resumed(LoggedResume(now, tuple(settlements)))
            if self._enters:
                outcome = await self._with_room(partial(self._execution.resume, settlements, now, excused))
            else:
                outcome = await self._execution.resume(settlements, now, excused)
            if log is not None:
                log.receive(outcome.calls)
        return outcome

    async def _agree(self, agreement: Agreement, wake_at: float | None, clock: WallTime) -> ParkedState | None:
        """None when people have agreed to the run: its calls may start. How the program parked before that."""
        self._handle.waits.suspend(timer=False)  # a timer that is due waits too
        while not await self._calls.agreed(agreement):
            if (parking := await self._park(wake_at, clock)) is not None:
                return parking
        self._handle.agreement = None
        return None

    async def _with_room(self, step: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """The outcome of a step that may need an isolate, and waits for one as long as the run may take: what the calls
        of a parked program returned must not be lost because there is no room at this moment."""
        while True:
            try:
                outcome = await step()
            except Overloaded:
                if not self._enters:
                    raise
                await asyncio.sleep(_AGAIN)
            else:
                self._enters = False
                return outcome

    async def _park(self, wake_at: float | None, clock: WallTime) -> ParkedState | None:
        """How the program parked; None when it has to go on."""
        try:
            frozen = await self._execution.freeze()
        except (Overloaded, LocalStateError) as error:
            _log.warning("run %s goes on, because it cannot be parked: %s", self._run.id, error)
            self._handle.unpark()
            return None
        if not self._handle.wants_to_park:
            return None
        excused = clock.excused()
        return ParkedState(
            frozen=frozen,
            pending=self._calls.pending(),
            waiting=self._calls.waited_for,
            wake_at=wake_at,
            wall_used=clock.used(),
            excused=excused if self._excused is None else self._excused,
            elapsed=self._pace.elapsed(),
            taken=self._calls.taken,
        )


def _pace(parked: ParkedProgram | None) -> Pace:
    return RealPace() if parked is None else RealPace(parked.log.last_now, parked.elapsed)


def _end(run: Run, source: str, calls: Calls, outcome: Outcome) -> None:
    """Fill in how the program ended."""
    run.logs += outcome.logs
    calls.unawaited(outcome.calls)
    if isinstance(outcome, Failed):
        run.failure = in_characters(Failure.of(outcome.error, run.causes), source)
    elif isinstance(outcome, Completed):
        run.value, run.has_value = outcome.value, outcome.has_value


async def _repeat(execution: Execution, log: ProgramLog, run: Run | None = None, calls: Calls | None = None) -> Outcome:
    """What the program comes to when it receives again all that the log has. With `run` and `calls` it fills them in.

    Raises LogDiffers at the first call that the log does not have.
    """
    outcome = await execution.start(log.source, log.now, log.seed, log.begin)
    _compare(log.calls, outcome.calls)
    for resume in log.resumes:
        if not isinstance(outcome, Suspended):
            raise LogDiffers("it ended where it had waited")
        if run is not None and calls is not None:
            run.logs += outcome.logs
            calls.queue(outcome.calls)
            calls.repeat(resume.settlements)
        try:
            outcome = await execution.resume(resume.settlements, resume.now)
        except LocalStateError as error:
            raise LogDiffers(f"it did not wait for what it had got: {error}") from None
        _compare(resume.calls, outcome.calls)
    return outcome


def _compare(logged: Sequence[LoggedCall] | None, made: Sequence[HostCall]) -> None:
    """Raises LogDiffers at the first call that is another than the logged one."""
    if logged is None:
        return
    for before, now in zip_longest(logged, made):
        if before is not None and now is not None and before == LoggedCall.of(now):
            continue
        if now is None:
            words = f"it did not make call {before.id}, of codemode.{before.name}"
        elif before is None:
            words = f"it made call {now.id}, of codemode.{now.name}, which it had not made"
        elif before.name != now.name:
            words = f"it called codemode.{now.name} where it had called codemode.{before.name}, call {now.id}"
        else:
            words = f"it called codemode.{now.name} with other arguments than before, call {now.id}"
        raise LogDiffers(words, before, now)
