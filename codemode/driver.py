"""Runs one program: the isolate and its calls side by side, until the program ends or its time is over.

A program that waits for one call is served in the task that drives it; several calls run as tasks, at most
`calls_in_flight` at a time, and whatever has settled by then goes back in one batch. Nothing outlives the run: calls
still in flight at its end are cancelled and reported as such.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import orjson

from codemode.caller import CallOutcome, ToolCall, ToolCaller, ToolFailed, ToolReturned
from codemode.catalog import Catalog, CatalogTool
from codemode.cost import clipped
from codemode.local import LocalCalls
from codemode.offload import beside
from codemode.outcome import ToolError, Value, settle
from codemode.pace import Pace, RealPace
from codemode.run import CallRecord, Failure, Rejection, Run
from sandbox import EngineError, Execution, Failed, HostCall, Limits, Settlement, Suspended

_log = logging.getLogger(__name__)

_MISMATCH_TOKENS = 100
_PATIENCE = 2.0  # seconds a cancelled call may take to stop before the run ends without it


async def drive(
    run: Run,
    source: str,
    execution: Execution,
    *,
    catalog: Catalog,
    caller: ToolCaller,
    limits: Limits,
    pace: Pace | None = None,
) -> None:
    """Run `source` to its end and fill in `run`. Raises only when it is cancelled itself."""
    pace = pace or RealPace()
    calls = _Calls(run, catalog, caller, limits, pace)
    try:
        async with asyncio.timeout(limits.wall_time), execution:
            outcome = await execution.start(source, *pace.begin())
            while isinstance(outcome, Suspended):
                run.logs += outcome.logs
                settlements = await calls.settlements(outcome.calls, outcome.wake_at)
                outcome = await execution.resume(settlements, pace.now())
        run.logs += outcome.logs
        calls.unawaited(outcome.calls)
        if isinstance(outcome, Failed):
            run.failure = Failure.of(outcome.error, run.causes)
        else:
            run.value, run.has_value = outcome.value, outcome.has_value
    except TimeoutError:
        message = f"the run took longer than {limits.wall_time:g} s, waiting for calls included"
        run.failure = Failure("wall_time", "WallTimeExceeded", message)
    except EngineError as error:
        run.failure = Failure.of_engine(error)
    finally:
        await calls.close()


class _Calls:
    """The host calls of one run."""

    def __init__(self, run: Run, catalog: Catalog, caller: ToolCaller, limits: Limits, pace: Pace) -> None:
        self.ready: list[Settlement] = []
        self._run = run
        self._catalog = catalog
        self._caller = caller
        self._limits = limits
        self._local = LocalCalls(run, catalog)
        self._pace = pace
        # What is settled at once need not be asked for.
        self._at_once = isinstance(pace, RealPace)
        self._queue: deque[tuple[HostCall, CallRecord | None]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiter: asyncio.Future[None] | None = None
        self._fault: BaseException | None = None
        self._closing = False

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    @property
    def faulty(self) -> bool:
        return self._fault is not None

    async def settlements(self, calls: Sequence[HostCall], wake_at: float | None) -> list[Settlement]:
        """Start these calls; return what has settled as soon as anything has, or nothing when a timer is due."""
        if len(calls) == 1 and wake_at is None and self._at_once and not self._tasks and not self.ready:
            return [await self._perform(calls[0], self._record(calls[0]))]
        self._queue.extend((call, self._record(call)) for call in calls)
        self._launch()
        settled = await self._pace.settled(self, wake_at)
        if self._fault is not None:
            raise self._fault
        return settled

    def unawaited(self, calls: Sequence[HostCall]) -> None:
        """Calls made as the program ended: blocks are emitted, tools are not called but reported as cancelled."""
        for call in calls:
            self._record(call)
        self._local.finish(calls)

    async def close(self) -> None:
        """Cancel what is still in flight and wait for it to stop, within reason."""
        self._closing = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        for record in self._run.calls:
            if record.status == "pending":
                record.status = "cancelled"
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=_PATIENCE)
            if stuck:
                _log.warning("run %s: %d cancelled calls did not stop", self._run.id, len(stuck))

    def _record(self, call: HostCall) -> CallRecord | None:
        """The line of a tool call in the answer; the local functions of `codemode` have none."""
        if self._catalog.get(call.name) is None:
            return None
        record = CallRecord(len(self._run.calls) + 1, call.name, self._elapsed())
        self._run.calls.append(record)
        return record

    def _launch(self) -> None:
        while self._queue and len(self._tasks) < self._limits.calls_in_flight:
            task = asyncio.create_task(self._work(*self._queue.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    async def _work(self, call: HostCall, record: CallRecord | None) -> None:
        settlement = await self._perform(call, record)
        # `ready` is another list after every batch: it is looked up after the wait, not before.
        self.ready.append(settlement)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing or task.cancelled():
            return
        # A fault of ours must end the run, not leave the program waiting for it.
        self._fault = self._fault or task.exception()
        self._launch()
        self.wake()

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

    async def _perform(self, call: HostCall, record: CallRecord | None) -> Settlement:
        if record is None:
            return await self._local.settle(call)
        entry = self._catalog.get(call.name)
        assert entry is not None
        record.at = self._elapsed()
        try:
            found = await self._outcome(entry, call, record)
        finally:
            record.ms = round(self._elapsed() - record.at, 3)
        if isinstance(found, Value):
            record.status = "ok"
            return Settlement.value(call.id, orjson.Fragment(found.encoded))
        record.status = "denied" if found.denied else "error"
        self._run.causes.append(Rejection(entry.path, found.message, found.code, found.data, found.about_arguments))
        return rejection(call.id, entry.path, found)

    async def _outcome(self, entry: CatalogTool, call: HostCall, record: CallRecord) -> Value | ToolError:
        arguments = {} if call.arguments is None else call.arguments
        if not isinstance(arguments, dict):
            return self._refused(entry, "the one argument must be an object")
        if mismatches := self._catalog.argument_check(entry.path).mismatches(arguments):
            return self._refused(entry, clipped("; ".join(mismatches), _MISMATCH_TOKENS))
        made = ToolCall(self._run.id, record.seq, entry.server.id, entry.tool.name, arguments)
        outcome = await self._called(made)
        return await beside(lambda: settle(outcome, limit=self._limits.tool_result), *_content(outcome))

    def _refused(self, entry: CatalogTool, reason: str) -> ToolError:
        """An error about arguments that never left: it shows what was expected."""
        message = f"codemode.{entry.path}: {reason}\nExpected: {self._catalog.brief(entry.path)}"
        return ToolError(message, about_arguments=True)

    async def _called(self, call: ToolCall) -> CallOutcome:
        try:
            return await self._caller.call_tool(call)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closing or (task is not None and task.cancelling()):
                raise
            # Cancelled from inside, by a client that gave up: the program may go on.
            return ToolFailed("the call was cancelled on its way")
        except Exception:  # the host call edge: a fault behind it is one failed call, and never the program's to read
            _log.exception("run %s: call %d of %s.%s failed", call.run_id, call.seq, call.server, call.tool)
            return ToolFailed("the call failed inside the portal")

    def _elapsed(self) -> float:
        return round(self._pace.elapsed(), 3)


def _content(outcome: CallOutcome) -> tuple[Any, ...]:
    """What there is to convert of an outcome."""
    if isinstance(outcome, ToolReturned):
        return (outcome.result,)
    return (outcome.data,) if isinstance(outcome, ToolFailed) else ()


def rejection(call_id: int, path: str, error: ToolError) -> Settlement:
    """The settlement that rejects a call with the program's `ToolError`."""
    properties: dict[str, Any] = {"tool": path}
    if error.denied:
        properties["kind"] = "denied"
    if error.code is not None:
        properties["code"] = error.code
    if error.data is not None:
        properties["data"] = error.data
    return Settlement.error(call_id, name="ToolError", message=error.message, properties=properties)
