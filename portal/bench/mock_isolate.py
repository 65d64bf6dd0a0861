"""Mocks in JavaScript: they run in an isolate of their own, like a program, and see only their arguments.

    export default {
      "shop.get_order": ({ id }) => ({ id, total: 12 }),
      "shop.list_orders": { orders: [] },          // a plain value is the result
    };

The isolate lives as long as the run. It answers one call after the other. Its timers use the virtual time of the run: a
mock that waits a second makes the call take a second of that time, and no real time.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from codemode import CallOutcome, ToolFailed
from portal.bench.mock_rules import Reply, tool_result
from portal.config import read_text
from portal.errors import InputError
from sandbox import Engine, Execution, Failed, HostCall, InProcessExecutor, Limits, Settlement, Suspended

_EXPORT = re.compile(r"^([ \t]*)export[ \t]+default\b", re.MULTILINE)
_LIMITS = Limits(calls=1_000_000, wall_time=86_400.0)
_SLOTS = 8
# After the developer's text, so that their line numbers stay right. `mocks` is read once, so that later changes of the
# global have no effect.
_SERVE = """
;await (async () => {
  const mocks = globalThis.mocks;
  if (mocks === null || typeof mocks !== "object") throw new TypeError("export default must be an object of mocks");
  let call = await host.ready(Object.keys(mocks));
  for (;;) {
    let reply;
    try {
      const mock = mocks[call.tool];
      const value = typeof mock === "function" ? await mock(call.arguments) : mock;
      reply = { value: value === undefined ? null : value };
    } catch (error) {
      const thrown = error !== null && typeof error === "object" ? error : { message: String(error) };
      reply = { error: String(thrown.message ?? error), code: thrown.code, data: thrown.data };
    }
    try {
      call = await host.reply(reply);
    } catch (error) {
      call = await host.reply({ error: `a mock of ${call.tool} answers with what is no data: ${error.message}` });
    }
  }
})();
"""


class IsolateMocks:
    """One file of mocks, and the engine for its isolates. An async context manager, which sets `paths` on entering."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.paths: tuple[str, ...] = ()
        self._source = ""
        self._engine: Engine | None = None
        self._executor: InProcessExecutor | None = None

    async def __aenter__(self) -> IsolateMocks:
        """Raises `InputError` if the file is not a module of mocks."""
        text = read_text(self.file)
        source, exports = _EXPORT.subn(r"\1globalThis.mocks =", text, count=1)
        if not exports:
            raise InputError(f'{self.file} needs `export default {{"server.tool": (arguments) => result}}`.')
        self._source = source + _SERVE
        self._engine = await asyncio.to_thread(Engine, _LIMITS, slots=_SLOTS)
        self._executor = InProcessExecutor(self._engine)
        try:
            isolate = self.isolate(0.0)
            self.paths = await isolate.names()
            await isolate.aclose()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._executor is not None:
            await self._executor.aclose()
        if self._engine is not None:
            self._engine.close()

    def isolate(self, now: float) -> MockIsolate:
        """A new isolate with the mocks. Its clock starts at `now` (milliseconds since the epoch)."""
        assert self._executor is not None, "mocks are used inside `async with`"
        return MockIsolate(self._executor.execution(), self._source, self.file, lambda: now)


class MockIsolate:
    """The isolate that answers one run, one call at a time."""

    def __init__(self, execution: Execution, source: str, file: Path, now: Callable[[], float]) -> None:
        self._execution = execution
        self._source = source
        self._file = file
        self._now = now()
        self._pending: HostCall | None = None
        self._lock = asyncio.Lock()

    async def names(self) -> tuple[str, ...]:
        """The paths of the mocks. Raises `InputError` if the file fails."""
        async with self._lock:
            request = await self._current_request()
            if isinstance(request, str):
                raise InputError(request)
            return tuple(str(path) for path in request.arguments)

    async def reply(self, path: str, arguments: dict[str, object], now: float) -> Reply:
        """The answer of the mock at `path`. `now` is the time of the call."""
        async with self._lock:
            self._now = began = max(self._now, now)
            request = await self._current_request()
            if not isinstance(request, str):
                settlement = Settlement.value(request.id, {"tool": path, "arguments": arguments})
                request = await self._next_request(self._execution.resume([settlement], self._now))
            if isinstance(request, str):
                return Reply(ToolFailed(request))
            return Reply(_outcome(request.arguments), self._now - began)

    async def aclose(self) -> None:
        await self._execution.aclose()

    async def _current_request(self) -> HostCall | str:
        if self._pending is None:
            seed = secrets.token_bytes(32)
            return await self._next_request(self._execution.start(self._source, self._now, seed))
        return self._pending

    async def _next_request(self, step: Awaitable[object]) -> HostCall | str:
        """The isolate's next request for a call, or what went wrong. Timers fire at once, in virtual time."""
        outcome = await step
        while isinstance(outcome, Suspended) and not outcome.calls and outcome.wake_at is not None:
            self._now = max(self._now, outcome.wake_at)
            outcome = await self._execution.resume([], self._now)
        if isinstance(outcome, Suspended) and len(outcome.calls) == 1:
            self._pending = outcome.calls[0]
            return self._pending
        if isinstance(outcome, Failed):
            place = f", line {outcome.error.line}" if outcome.error.line else ""
            return f"{self._file.name}{place}: {outcome.error.message}"
        return f"{self._file.name} ended before it answered; mocks call nothing but what they define."


def _outcome(reply: object) -> CallOutcome:
    if not isinstance(reply, dict) or "error" in reply:
        reply = reply if isinstance(reply, dict) else {}
        code = reply.get("code")
        return ToolFailed(str(reply.get("error", "")), code if isinstance(code, int) else None, reply.get("data"))
    return tool_result(reply.get("value"))
