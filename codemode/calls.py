"""The calls of one run on their way: started in their order, served here or by the caller, withdrawn when a run parks.

A single call is served in the task that drives the program. Several calls run as tasks, at most `calls_in_flight` at a
time, and all that have settled when the program resumes go back in one batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

import orjson

from codemode.caller import PARKED, CallOutcome, ToolCall, ToolCaller, ToolFailed, ToolReturned
from codemode.catalog import Catalog, CatalogTool, Likeness
from codemode.cost import clipped
from codemode.handle import BEFORE, Agreement, RunHandle
from codemode.local import LocalCalls, is_local
from codemode.offload import off_loop
from codemode.outcome import ToolError, Value, settle
from codemode.pace import Pace, RealPace
from codemode.packed import json_bytes, json_value
from codemode.parking import LoggedCall, PendingCall, ProgramLog
from codemode.returned import Returned
from codemode.run import Failure, Rejection, Run, RunCall, RunFailed
from codemode.waits import Waiting
from sandbox import HostCall, Limits, Settlement

_log = logging.getLogger(__name__)

_MISMATCH_TOKENS = 100
_PATIENCE = 2.0  # seconds that a cancelled call has to stop before the run ends, or goes on, without it
_FAR = 2_000.0  # milliseconds to a timer for which it is worth to park


_GONE = (
    "is not among the tools of this program any more: its server does not offer it now, or a policy does not allow it. "
    "The call did not run."
)
_AGREEMENT = HostCall(BEFORE, "", None)
"""In the place of a call, while people have not agreed to the run."""
T = TypeVar("T")
_Made: TypeAlias = tuple[HostCall, RunCall | None]


class LogDiffers(Exception):
    """A program that is repeated does not do what its log says. The message begins with a verb's subject: "it".

    Where a call differs, `then` is the one in the log, and `now` the one that the program makes in its place."""

    def __init__(self, words: str, then: LoggedCall | None = None, now: HostCall | None = None) -> None:
        super().__init__(words)
        self.then = then
        self.now = now


class _ToPark(Exception):
    """Ends a pace's wait: the calls have been cancelled, so that the run can be parked."""


class Calls:
    """The host calls of one run: those in flight, those that queue, and the settlements of those that ended.

    In a run with a `log` the calls can be withdrawn while all of them wait and can be made again.
    """

    def __init__(
        self,
        run: Run,
        catalog: Catalog,
        caller: ToolCaller,
        limits: Limits,
        pace: Pace,
        handle: RunHandle,
        likeness: Likeness | None,
        *,
        followed: bool,
        log: ProgramLog | None = None,
        taken: Iterable[str] | None = None,
    ) -> None:
        """`taken`: for a program that goes on, the runs whose results it got before. Its stubs may be of another
        catalog than this."""
        self.ready: list[Settlement] = []
        self._run = run
        self._catalog = catalog
        self._caller = caller
        self._limits = limits
        self._local = LocalCalls(run, catalog, limits.tool_result, handle, likeness, taken or ())
        self._handle = handle
        self._waits = handle.waits
        self._followed = followed
        self._log = log
        self._parkable = log is not None
        self._goes_on = taken is not None
        self._pace = pace
        # Another pace decides about every settlement, so it must see a single call too.
        self._single_at_once = isinstance(pace, RealPace)
        self._queue: deque[_Made] = deque()
        self._tasks: dict[asyncio.Task[None], _Made] = {}
        self._alone: HostCall | None = None
        """The call that the task of the driver itself serves."""
        self._driver: asyncio.Task[object] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._wake_at: float | None = None
        self._fault: BaseException | None = None
        self._closing = False
        self._parking = False
        self._considers = False
        self._unwatch: Callable[[], None] | None = None
        self.waited_for: tuple[Waiting, ...] = ()
        """What the calls waited for when they were withdrawn."""
        if log is not None:
            handle.parkable(self._wish)

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def faulty(self) -> bool:
        return self._fault is not None

    @property
    def taken(self) -> tuple[str, ...]:
        return self._local.taken

    async def settlements(self, calls: Sequence[HostCall], wake_at: float | None) -> list[Settlement] | None:
        """Start these calls. Returns the settlements that the program resumes with; none when its timer is due.

        None when the calls have been withdrawn because the run is to be parked. If it cannot be, this goes on without
        new calls: those that were withdrawn are started again.
        """
        self._wake_at = wake_at
        if self._parkable and self._handle.wants_to_park:
            self._wish()
        if len(calls) == 1 and wake_at is None and self._single_at_once and not self._tasks and not self.ready:
            return await self._single(calls[0])
        self.queue(calls)
        while True:
            self._launch()
            try:
                batch = await self._pace.settled(self, wake_at)
            except _ToPark:
                if await self._have_stopped():
                    return None
                continue
            if self._fault is not None:
                raise self._fault
            return batch

    async def agreed(self, agreement: Agreement) -> bool:
        """Whether people have agreed to the run; False when it is to be parked meanwhile. Where they do not agree, the
        run ends here."""
        self._wake_at = None
        if self._parkable and self._handle.wants_to_park:
            self._wish()

        async def agree() -> bool:
            await agreement(lambda waiting: self._waits.wait(BEFORE, replace(waiting, run=self._run.id)))
            if self._handle.ending is not None:
                # Its clock stops the run, as whoever else ends one.
                await asyncio.get_running_loop().create_future()
            return True

        self._waits.begin_call()
        try:
            return await self._here(_AGREEMENT, agree()) is not None
        finally:
            self._waits.end_call()

    def queue(self, calls: Sequence[HostCall]) -> None:
        """Record these calls; they start when there is room for them."""
        self._queue.extend((call, self._record(call)) for call in calls)

    def pending(self) -> tuple[PendingCall, ...]:
        """The calls that have been withdrawn, or have not started."""
        return tuple(
            PendingCall(call.id, call.name, call.arguments, call.line, 0 if record is None else record.seq)
            for call, record in self._queue
        )

    def restore(self, pending: Iterable[PendingCall]) -> None:
        """Queue the calls of a program that goes on, with their records."""
        records = {record.seq: record for record in self._run.calls if not record.run}
        for one in pending:
            record = records.get(one.seq)
            if record is not None:
                record.status = "pending"
            self._queue.append((HostCall(one.id, one.name, one.arguments, one.line), record))

    def repeat(self, settlements: Iterable[Settlement]) -> None:
        """Record what queued calls were answered before, and make none of them.

        Raises LogDiffers when one of them has not been made.
        """
        queued = {call.id: (call, record) for call, record in self._queue}
        for settlement in settlements:
            made = queued.pop(settlement.id, None)
            if made is None:
                raise LogDiffers(f"it did not make call {settlement.id}, which was answered before")
            self._repeat(*made, settlement)
        self._queue = deque(queued.values())

    def unawaited(self, calls: Sequence[HostCall]) -> None:
        """Serve calls that the program made as it ended: `emit` counts, tools are only reported as cancelled."""
        for call in calls:
            self._record(call)
        self._local.finish(calls)

    async def close(self) -> None:
        """Cancel the calls in flight and wait until they stop, at most `_PATIENCE` seconds."""
        self._closing = True
        if self._unwatch is not None:
            self._unwatch()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=_PATIENCE)
            if stuck:
                _log.warning("run %s: %d cancelled calls did not stop", self._run.id, len(stuck))

    def _record(self, call: HostCall) -> RunCall | None:
        """The record of a tool call, for the answer. The local functions of `codemode` have none."""
        if self._catalog.get(call.name) is None and (not self._goes_on or is_local(call.name)):
            return None
        record = RunCall(len(self._run.calls) + 1, call.name, self._elapsed(), line=call.line)
        self._run.calls.append(record)
        return record

    def _launch(self) -> None:
        while self._queue and len(self._tasks) < self._limits.calls_in_flight:
            made = self._queue.popleft()
            task = asyncio.create_task(self._work(*made))
            self._tasks[task] = made
            task.add_done_callback(self._finished)

    async def _work(self, call: HostCall, record: RunCall | None) -> None:
        settlement = await self._perform(call, record)
        # Every batch replaces the list `ready`, so it must be looked up after the wait.
        self.ready.append(settlement)

    def _finished(self, task: asyncio.Task[None]) -> None:
        made = self._tasks.pop(task)
        if self._closing:
            return
        if task.cancelled():
            # Only the withdrawal cancels a task. One that stops late has been withdrawn all the same.
            self._queue = deque(sorted((*self._queue, made), key=lambda one: one[0].id))
        else:
            # Our own fault must end the run. Otherwise the program would wait for a call that never settles.
            self._fault = self._fault or task.exception()
        if not self._parking:
            self._launch()
            self.wake()

    async def _single(self, call: HostCall) -> list[Settlement] | None:
        """As `settlements`, for one call, in the task of the driver."""
        record = self._record(call)
        settlement = await self._here(call, self._perform(call, record))
        if settlement is None:
            self._queue.append((call, record))
            return None
        return [settlement]

    async def _here(self, call: HostCall, work: Coroutine[object, object, T]) -> T | None:
        """What the work for this call returns, in the task of the driver; None if it was withdrawn."""
        if not self._parkable:
            return await work
        task = self._driver = self._driver or asyncio.current_task()
        assert task is not None
        self._alone, before = call, task.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            # Another cancellation, of the request or at the end of the wall time, goes before ours.
            if not self._parking or task.cancelling() > before + 1:
                raise
            return None
        finally:
            self._alone = None
            if self._parking:
                self._parking = False
                task.uncancel()

    def _wish(self) -> None:
        """The host wants the run to park."""
        if self._unwatch is None and not self._closing:
            self._unwatch = self._waits.watch(self._consider_soon)
        self._consider_soon()

    def _consider_soon(self) -> None:
        """A wait begins or ends, perhaps in the task that would have to be cancelled: look when it has stopped."""
        if not self._considers and not self._closing:
            self._considers = True
            asyncio.get_running_loop().call_soon(self._consider)

    def _consider(self) -> None:
        """Withdraw all calls, if each of them can be made again and the run is worth to be parked."""
        self._considers = False
        if self._closing or self._parking or not self._handle.wants_to_park or not self._may_park():
            return
        self._parking = True
        self.waited_for = self._waits.open
        if self._alone is not None and self._driver is not None:
            self._driver.cancel(PARKED)
            return
        for task in self._tasks:
            task.cancel(PARKED)
        self.wake()

    def _may_park(self) -> bool:
        if self._alone is None and (self._waiter is None or self._waiter.done()):
            return False  # the program computes, or its pace does
        if self.ready or self._fault is not None:
            return False
        if self._wake_at is not None and self._wake_at - self._pace.now() <= _FAR:
            return False
        calls = [self._alone] if self._alone is not None else [call for call, _ in self._tasks.values()]
        waits = self._waits.calls
        return all(waits.get(call.id) for call in calls)

    async def _have_stopped(self) -> bool:
        """Whether all calls stopped before they were answered, so that the run can be parked."""
        if self._tasks:
            _, stuck = await asyncio.wait(tuple(self._tasks), timeout=_PATIENCE)
            if stuck:
                self._handle.unpark()
        self._parking = False
        return not self._tasks and not self.ready and self._fault is None

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def changed(self, seconds: float | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        if self._parking:
            raise _ToPark

    async def _perform(self, call: HostCall, record: RunCall | None) -> Settlement:
        self._waits.begin_call()
        try:
            return await self._settlement(call, record)
        finally:
            self._waits.end_call()

    async def _settlement(self, call: HostCall, record: RunCall | None) -> Settlement:
        if record is None:
            return await self._local.settle(call)
        entry = self._catalog.get(call.name)
        record.at = self._elapsed()
        if entry is None:
            return self._settled(call, record, call.name, ToolError(f"codemode.{call.name} {_GONE}", denied=True))
        try:
            result = await self._result(entry, call, record)
        finally:
            record.ms = round(self._elapsed() - record.at, 3)
        return self._settled(call, record, entry.path, result)

    def _settled(self, call: HostCall, record: RunCall, path: str, result: Value | ToolError) -> Settlement:
        if isinstance(result, Value):
            record.status = "ok"
            if self._log is not None:
                self._log.size += len(result.encoded)
            self._run.returned.append(Returned.of(path, result.encoded))
            return Settlement.value(call.id, orjson.Fragment(result.encoded))
        record.status = "denied" if result.denied else "error"
        self._run.causes.append(Rejection(path, result.message, result.code, result.data, result.about_arguments))
        return _rejecting(call.id, path, result)

    def _repeat(self, call: HostCall, record: RunCall | None, settlement: Settlement) -> None:
        """Record one call as it was answered before."""
        payload = json_bytes(settlement.payload)
        if record is None:
            if settlement.ok:
                self._local.finish([call])
            elif call.name == "runs.result":
                self._run.causes.append(_failure_of_run(json_value(payload)))
        elif settlement.ok:
            self._settled(call, record, call.name, Value(payload))
        else:
            self._settled(call, record, call.name, _tool_error(call.name, json_value(payload)))

    async def _result(self, entry: CatalogTool, call: HostCall, record: RunCall) -> Value | ToolError:
        arguments = {} if call.arguments is None else call.arguments
        if not isinstance(arguments, dict):
            reason = _wrong(self._catalog, entry.path, "the one argument must be an object")
            return ToolError(reason, about_arguments=True)
        if self._handle.checks_arguments and (wrong := wrong_arguments(self._catalog, entry.path, arguments)):
            return ToolError(wrong, about_arguments=True)
        on_wait = partial(self._wait, call.id, entry.path) if self._followed else None
        made = ToolCall(
            self._run.id, record.seq, entry.server.id, entry.tool.name, arguments, on_wait, record.line, call.id
        )
        outcome = await self._outcome(made)
        limit = self._limits.tool_result
        return await off_loop(lambda: settle(outcome, limit=limit, tool=entry.path), *_content(outcome))

    def _wait(self, call: int, path: str, waiting: Waiting) -> AbstractAsyncContextManager[None]:
        return self._waits.wait(call, replace(waiting, tool=path, run=self._run.id))

    async def _outcome(self, call: ToolCall) -> CallOutcome:
        try:
            return await self._caller.call_tool(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closing or (task is not None and task.cancelling()):
                raise
            # Nobody cancelled this task: a client behind the caller gave up, and the program may go on.
            return ToolFailed("the call was cancelled on its way")
        except Exception:  # the host call edge: a fault behind it is one failed call, and the program must not read it
            _log.exception("run %s: call %d of %s.%s failed", call.run_id, call.seq, call.server, call.tool)
            return ToolFailed("the call failed inside the portal")

    def _elapsed(self) -> float:
        return round(self._pace.elapsed(), 3)


def wrong_arguments(catalog: Catalog, path: str, arguments: dict[str, object]) -> str | None:
    """The message for arguments that do not match the schema of a tool: it shows what the tool expects. None where they
    match."""
    mismatches = catalog.argument_check(path).mismatches(arguments)
    return _wrong(catalog, path, clipped("; ".join(mismatches), _MISMATCH_TOKENS)) if mismatches else None


def _wrong(catalog: Catalog, path: str, reason: str) -> str:
    return f"codemode.{path}: {reason}\nExpected: {catalog.brief(path)}"


def _content(outcome: CallOutcome) -> tuple[object, ...]:
    """The part of an outcome that has to be converted, and may be large."""
    if isinstance(outcome, ToolReturned):
        return (outcome.result,)
    return (outcome.data,) if isinstance(outcome, ToolFailed) else ()


def _rejecting(call_id: int, path: str, error: ToolError) -> Settlement:
    """The settlement that rejects a call with the program's `ToolError`."""
    properties: dict[str, object] = {"tool": path}
    if kind := "denied" if error.denied else error.kind:
        properties["kind"] = kind
    if error.code is not None:
        properties["code"] = error.code
    if error.data is not None:
        properties["data"] = error.data
    return Settlement.error(call_id, name="ToolError", message=error.message, properties=properties)


def _tool_error(path: str, payload: object) -> ToolError:
    """The error that a settlement has made of it (`_rejecting`)."""
    _, message, properties = _error(payload)
    code, kind = properties.get("code"), str(properties.get("kind", ""))
    denied = kind == "denied"
    # The message of `_wrong_arguments`: no tool can be asked for it again, its schema may be another one today.
    about_arguments = message.startswith(f"codemode.{path}: ") and "\nExpected: " in message
    code = code if isinstance(code, int) else None
    return ToolError(message, code, properties.get("data"), denied, about_arguments, kind)


def _failure_of_run(payload: object) -> RunFailed:
    name, message, properties = _error(payload)
    return RunFailed(message, name, Failure(str(properties.get("kind", "exception")), name, message))


def _error(payload: object) -> tuple[str, str, dict[str, object]]:
    """The name, the message and the properties of the error that a settlement is."""
    match payload:
        case [str(name), str(message), dict(properties)]:
            return name, message, properties
    raise LogDiffers("it was given an error of another form")
