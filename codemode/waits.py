"""What the calls of a run wait for, where that is a person, and the wall time that this does not take.

A call that waits says so (`OnWait`, which a `ToolCall` carries). While every call in flight does, the program computes
nothing and has no timer, the clock of the run stands still: a person may take a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeAlias

WaitKind: TypeAlias = Literal["approval", "login", "question", "timer", "uncertain"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A wait for a person. `text` says what they have to do, and `url` where, if there is a page for it.

    `tool` is the path of the tool that was called, and `run` the run that called it; the driver fills in both. `asked`:
    the client shows the question itself. `kind` is what is waited for. `repeatable`: the call has not left yet, so it
    may be given up while it waits and made again later, by another process too.
    """

    text: str
    url: str | None = None
    tool: str = ""
    run: str = ""
    asked: bool = False
    kind: WaitKind = "question"
    repeatable: bool = False

    def as_dict(self) -> dict[str, str]:
        """What agents read of it: `{tool, text}`, and `url` if there is one."""
        return {"tool": self.tool, "text": self.text, **({} if self.url is None else {"url": self.url})}


OnWait: TypeAlias = Callable[[Waiting], AbstractAsyncContextManager[None]]
"""A block in which a call waits for a person."""


class Waits:
    """The waits of one run. The driver says what the run does, the calls say what they wait for."""

    def __init__(self) -> None:
        self._calls = 0
        self._suspended = False
        self._open: dict[int, tuple[int, Waiting]] = {}
        self._last = 0
        self._watchers: dict[int, Callable[[], None]] = {}

    @property
    def open(self) -> tuple[Waiting, ...]:
        """The waits for people, the oldest first."""
        return tuple(waiting for _, waiting in self._open.values())

    @property
    def only_for_people(self) -> bool:
        """Whether all that the run waits for is a person."""
        return self._suspended and bool(self._open) and len({call for call, _ in self._open.values()}) == self._calls

    @property
    def calls(self) -> dict[int, bool]:
        """The ids of the calls that wait, and whether all that a call waits for is `repeatable`."""
        found: dict[int, bool] = {}
        for call, waiting in self._open.values():
            found[call] = found.get(call, True) and waiting.repeatable
        return found

    def begin_call(self) -> None:
        self._calls += 1
        if self._open:
            self._tell()

    def end_call(self) -> None:
        self._calls -= 1
        if self._open:
            self._tell()

    def suspend(self, *, timer: bool) -> None:
        """The program computes nothing until `resume`. With a `timer` it does not wait for people alone."""
        self._suspended = not timer
        if self._open:
            self._tell()

    def resume(self) -> None:
        self._suspended = False
        if self._open:
            self._tell()

    @asynccontextmanager
    async def wait(self, call: int, waiting: Waiting) -> AsyncIterator[None]:
        """A block in which the call with this id waits for a person."""
        self._last = key = self._last + 1
        self._open[key] = call, waiting
        self._tell()
        try:
            yield
        finally:
            del self._open[key]
            self._tell()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` whenever the waits may be others. The function that is returned ends this."""
        self._last = key = self._last + 1
        self._watchers[key] = watcher

        def unwatch() -> None:
            self._watchers.pop(key, None)

        return unwatch

    def _tell(self) -> None:
        for watcher in tuple(self._watchers.values()):
            watcher()


class WallTime:
    """A block that raises TimeoutError after `limit` seconds in which the run did not wait for people alone."""

    def __init__(self, limit: float, waits: Waits, used: float = 0.0) -> None:
        """`used`: seconds that the run has used before."""
        self._limit = limit
        self._left = max(0.0, limit - used)
        self._waits = waits
        self._timeout = asyncio.timeout(None)
        self._since = 0.0
        self._standing_since: float | None = None
        self._stood = 0.0
        self._over = False

    async def __aenter__(self) -> WallTime:
        self._since = asyncio.get_running_loop().time()
        await self._timeout.__aenter__()
        self._timeout.reschedule(self._since + self._left)
        self._unwatch = self._waits.watch(self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        self._unwatch()
        await self._timeout.__aexit__(kind, error, traceback)

    def end(self) -> None:
        """Raise TimeoutError in the block at the next turn of the event loop."""
        if not self._over:
            self._over = True
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def used(self) -> float:
        """The seconds that the run has used."""
        running = self._standing_since is None
        return self._limit - self._left + (asyncio.get_running_loop().time() - self._since if running else 0.0)

    def excused(self) -> float:
        """The seconds since the last call of this function in which the clock stood still."""
        stood, self._stood = self._stood, 0.0
        return stood

    def _look(self) -> None:
        if self._over or self._timeout.expired():
            return
        now = asyncio.get_running_loop().time()
        if self._waits.only_for_people:
            if self._standing_since is None:
                self._left -= now - self._since
                self._standing_since = now
                self._timeout.reschedule(None)
        elif self._standing_since is not None:
            self._stood += now - self._standing_since
            self._since, self._standing_since = now, None
            self._timeout.reschedule(now + self._left)
