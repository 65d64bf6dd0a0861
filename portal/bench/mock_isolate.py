"""Mocks in JavaScript: they run in an isolate of their own, like a program, and reach nothing but their arguments.

    export default {
      "shop.get_order": ({ id }) => ({ id, total: 12 }),
      "shop.list_orders": { orders: [] },          // a plain value is the result
    };

The isolate lives as long as the run it answers; calls are answered one after the other. Its timers are the run's own
time: a mock that waits a second makes the call take a second, and nobody wait.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from codemode import CallOutcome, ToolFailed
from portal.bench.mock_rules import Reply, returned
from portal.config import read_text
from portal.errors import InputError
from sandbox import Engine, Execution, Failed, HostCall, InProcessExecutor, Limits, Settlement, Suspended

_EXPORT = re.compile(r"^([ \t]*)export[ \t]+default\b", re.MULTILINE)
_LIMITS = Limits(calls=1_000_000, wall_time=86_400.0)
_SLOTS = 8
# After the developer's text, so that their lines stay their own. `mocks` is read once, like what a program captures.
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
    """One file of mocks, and the engine its isolates come from. An async context manager; `paths` after entering."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.paths: tuple[str, ...] = ()
        self._source = ""
        self._engine: Engine | None = None
        self._executor: InProcessExecutor | None = None

    async def __aenter__(self) -> IsolateMocks:
        """Raises InputError when the file is no module of mocks."""
        text = read_text(self.file)
        source, exports = _EXPORT.subn(r"\1globalThis.mocks =", text, count=1)
        if not exports:
            raise InputError(f'{self.file} needs `export default {{"server.tool": (arguments) => result}}`.')
        self._source = source + _SERVE
        self._engine = await asyncio.to_thread(Engine, _LIMITS, slots=_SLOTS)
        self._executor = InProcessExecutor(self._engine)
        try:
            conversation = self.conversation(0.0)
            self.paths = await conversation.names()
            await conversation.aclose()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._executor is not None:
            await self._executor.aclose()
        if self._engine is not None:
            self._engine.close()

    def conversation(self, now: float) -> Conversation:
        """A fresh isolate with the mocks, whose clock starts at `now`."""
        assert self._executor is not None, "mocks are used inside `async with`"
        return Conversation(self._executor.execution(), self._source, self.file, lambda: now)


class Conversation:
    """The isolate of one run. Calls wait for one another."""

    def __init__(self, execution: Execution, source: str, file: Path, now: Callable[[], float]) -> None:
        self._execution = execution
        self._source = source
        self._file = file
        self._now = now()
        self._asked: HostCall | None = None
        self._lock = asyncio.Lock()

    async def names(self) -> tuple[str, ...]:
        """The paths that are mocked. Raises InputError when the file does not run."""
        async with self._lock:
            asked = await self._started()
            if isinstance(asked, str):
                raise InputError(asked)
            return tuple(str(path) for path in asked.arguments)

    async def reply(self, path: str, arguments: dict[str, object], now: float) -> Reply:
        """What the mock of this path answers at this time."""
        async with self._lock:
            self._now = began = max(self._now, now)
            asked = await self._started()
            if not isinstance(asked, str):
                settlement = Settlement.value(asked.id, {"tool": path, "arguments": arguments})
                asked = await self._until_asked(self._execution.resume([settlement], self._now))
            if isinstance(asked, str):
                return Reply(ToolFailed(asked))
            return Reply(_outcome(asked.arguments), self._now - began)

    async def aclose(self) -> None:
        await self._execution.aclose()

    async def _started(self) -> HostCall | str:
        if self._asked is None:
            seed = secrets.token_bytes(32)
            return await self._until_asked(self._execution.start(self._source, self._now, seed))
        return self._asked

    async def _until_asked(self, step: Awaitable[object]) -> HostCall | str:
        """On to the next time the isolate asks for a call; its timers are due at once. Else what went wrong."""
        outcome = await step
        while isinstance(outcome, Suspended) and not outcome.calls and outcome.wake_at is not None:
            self._now = max(self._now, outcome.wake_at)
            outcome = await self._execution.resume([], self._now)
        if isinstance(outcome, Suspended) and len(outcome.calls) == 1:
            self._asked = outcome.calls[0]
            return self._asked
        if isinstance(outcome, Failed):
            place = f", line {outcome.error.line}" if outcome.error.line else ""
            return f"{self._file.name}{place}: {outcome.error.message}"
        return f"{self._file.name} ended before it answered; mocks call nothing but what they define."


def _outcome(reply: object) -> CallOutcome:
    if not isinstance(reply, dict) or "error" in reply:
        reply = reply if isinstance(reply, dict) else {}
        code = reply.get("code")
        return ToolFailed(str(reply.get("error", "")), code if isinstance(code, int) else None, reply.get("data"))
    return returned(reply.get("value"))
