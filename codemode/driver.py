"""Runs one program and its calls, until the program ends or its time is over.

A single call is served in the task that drives the program. Several calls run as tasks, at most `calls_in_flight` at a
time, and all that have settled when the program resumes go back in one batch. Nothing outlives the run: calls that are
still in flight at its end are cancelled and reported as such.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from codemode.caller import CallOutcome, ToolCall, ToolCaller, ToolFailed, ToolReturned
from codemode.catalog import Catalog, CatalogTool, Likeness
from codemode.cost import clipped
from codemode.handle import RunHandle
from codemode.local import LocalCalls
from codemode.offload import off_loop
from codemode.outcome import ToolError, Value, settle
from codemode.pace import Pace, RealPace
from codemode.places import in_characters
from codemode.returned import Returned
from codemode.run import Failure, Rejection, Run, RunCall
from codemode.waits import Waiting, WallTime
from sandbox import EngineError, Execution, Failed, HostCall, Limits, Settlement, Suspended

_log = logging.getLogger(__name__)

_MISMATCH_TOKENS = 100
_PATIENCE = 2.0  # seconds that a cancelled call has to stop before the run ends without it


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
) -> None:
    """Run `source` to its end and fill in `run`. Raises nothing but its own cancellation.

    `begin`: what the image of the execution lacks of the catalog (`Catalog.begin`). `handle`: that of the host. Without
    one no call waits for a person, because nobody would tell them.
    """
    pace, followed = pace or RealPace(), handle is not None
    handle = handle or RunHandle()
    waits = handle.waits
    calls = _Calls(run, catalog, caller, limits, pace, handle, likeness, followed=followed)
    try:
        async with WallTime(limits.wall_time, waits) as clock, execution:
            handle.stoppable(clock.end)
            outcome = await execution.start(source, *pace.begin(), begin)
            while isinstance(outcome, Suspended):
                run.logs += outcome.logs
                waits.suspend(timer=outcome.wake_at is not None)
                settlements = await calls.settlements(outcome.calls, outcome.wake_at)
                waits.resume()
                outcome = await execution.resume(settlements, pace.now(), clock.excused())
        run.logs += outcome.logs
        calls.unawaited(outcome.calls)
        if isinstance(outcome, Failed):
            run.failure = in_characters(Failure.of(outcome.error, run.causes), source)
        else:
            run.value, run.has_value = outcome.value, outcome.has_value
    except TimeoutError:
        message = f"the run took longer than {limits.wall_time:g} s, waiting for calls included"
        run.failure = handle.ending or Failure("wall_time", "WallTimeExceeded", message)
    except EngineError as error:
        run.failure = Failure.of_engine(error)
    finally:
        await calls.close()


class _Calls:
    """The host calls of one run."""

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
    ) -> None:
        self.ready: list[Settlement] = []
        self._run = run
        self._catalog = catalog
        self._caller = caller
        self._limits = limits
        self._local = LocalCalls(run, catalog, limits.tool_result, handle, likeness)
        self._waits = handle.waits
        self._followed = followed
        self._pace = pace
        # Another pace decides about every settlement, so it must see a single call too.
        self._single_at_once = isinstance(pace, RealPace)
        self._queue: deque[tuple[HostCall, RunCall | None]] = deque()
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
        """Start these calls. Returns the settlements that the program resumes with; none when its timer is due."""
        if len(calls) == 1 and wake_at is None and self._single_at_once and not self._tasks and not self.ready:
            return [await self._perform(calls[0], self._record(calls[0]))]
        self._queue.extend((call, self._record(call)) for call in calls)
        self._launch()
        batch = await self._pace.settled(self, wake_at)
        if self._fault is not None:
            raise self._fault
        return batch

    def unawaited(self, calls: Sequence[HostCall]) -> None:
        """Serve calls that the program made as it ended: `emit` counts, tools are only reported as cancelled."""
        for call in calls:
            self._record(call)
        self._local.finish(calls)

    async def close(self) -> None:
        """Cancel the calls in flight and wait until they stop, at most `_PATIENCE` seconds."""
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

    def _record(self, call: HostCall) -> RunCall | None:
        """The record of a tool call, for the answer. The local functions of `codemode` have none."""
        if self._catalog.get(call.name) is None:
            return None
        record = RunCall(len(self._run.calls) + 1, call.name, self._elapsed(), line=call.line)
        self._run.calls.append(record)
        return record

    def _launch(self) -> None:
        while self._queue and len(self._tasks) < self._limits.calls_in_flight:
            task = asyncio.create_task(self._work(*self._queue.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._finished)

    async def _work(self, call: HostCall, record: RunCall | None) -> None:
        settlement = await self._perform(call, record)
        # Every batch replaces the list `ready`, so it must be looked up after the wait.
        self.ready.append(settlement)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._closing or task.cancelled():
            return
        # Our own fault must end the run. Otherwise the program would wait for a call that never settles.
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
        assert entry is not None
        record.at = self._elapsed()
        try:
            result = await self._result(entry, call, record)
        finally:
            record.ms = round(self._elapsed() - record.at, 3)
        if isinstance(result, Value):
            record.status = "ok"
            self._run.returned.append(Returned.of(entry.path, result.encoded))
            return Settlement.value(call.id, orjson.Fragment(result.encoded))
        record.status = "denied" if result.denied else "error"
        self._run.causes.append(Rejection(entry.path, result.message, result.code, result.data, result.about_arguments))
        return _rejecting(call.id, entry.path, result)

    async def _result(self, entry: CatalogTool, call: HostCall, record: RunCall) -> Value | ToolError:
        arguments = {} if call.arguments is None else call.arguments
        if not isinstance(arguments, dict):
            return self._wrong_arguments(entry, "the one argument must be an object")
        if mismatches := self._catalog.argument_check(entry.path).mismatches(arguments):
            return self._wrong_arguments(entry, clipped("; ".join(mismatches), _MISMATCH_TOKENS))
        on_wait = partial(self._wait, call.id, entry.path) if self._followed else None
        made = ToolCall(self._run.id, record.seq, entry.server.id, entry.tool.name, arguments, on_wait, record.line)
        outcome = await self._outcome(made)
        limit = self._limits.tool_result
        return await off_loop(lambda: settle(outcome, limit=limit, tool=entry.path), *_content(outcome))

    def _wait(self, call: int, path: str, waiting: Waiting) -> AbstractAsyncContextManager[None]:
        return self._waits.wait(call, replace(waiting, tool=path, run=self._run.id))

    def _wrong_arguments(self, entry: CatalogTool, reason: str) -> ToolError:
        """The error of a call whose arguments do not match the schema: it shows what the tool expects."""
        message = f"codemode.{entry.path}: {reason}\nExpected: {self._catalog.brief(entry.path)}"
        return ToolError(message, about_arguments=True)

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


def _content(outcome: CallOutcome) -> tuple[Any, ...]:
    """The part of an outcome that has to be converted, and may be large."""
    if isinstance(outcome, ToolReturned):
        return (outcome.result,)
    return (outcome.data,) if isinstance(outcome, ToolFailed) else ()


def _rejecting(call_id: int, path: str, error: ToolError) -> Settlement:
    """The settlement that rejects a call with the program's `ToolError`."""
    properties: dict[str, Any] = {"tool": path}
    if error.denied:
        properties["kind"] = "denied"
    if error.code is not None:
        properties["code"] = error.code
    if error.data is not None:
        properties["data"] = error.data
    return Settlement.error(call_id, name="ToolError", message=error.message, properties=properties)
