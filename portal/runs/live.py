"""One run of a program in a task of its own, which the request that started it waits for, though not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from math import inf
from typing import Any

import structlog

from codemode import RunHandle, Waiting
from portal.flows import RunLabels
from portal.runs.line import Line

Result = dict[str, Any]
_TEXT_CHARS = 200


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose runs they are: a person, by the key of their identity, with one client."""

    person: str
    client: str


class LiveRun:
    """`handle` is what the program is run with, `line` its way to the client. `holder`: in whose part it counts
    (`portal.shares.holder_of`), by default its owner's. `read` is what it has read of what is labelled."""

    def __init__(
        self,
        id: str,
        owner: Owner,
        handle: RunHandle,
        line: Line,
        holder: str | None = None,
        read: RunLabels | None = None,
    ) -> None:
        self.id = id
        self.owner = owner
        self.holder = owner.person if holder is None else holder
        self.handle = handle
        self.line = line
        self.read = RunLabels() if read is None else read
        self.parked = False
        """Whether the program goes on from the database, and this run is over."""
        self.left = False
        """Whether its client has left it: nobody waits for its answer, and nobody will."""
        self._task: asyncio.Task[Result] | None = None

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    @property
    def stopped(self) -> bool:
        """Whether it ended without a record of its end: its client left, or we failed."""
        task = self._task
        return task is not None and task.done() and (task.cancelled() or task.exception() is not None)

    def start(self, work: Coroutine[object, object, Result]) -> asyncio.Task[Result]:
        self._task = asyncio.create_task(work, name=f"run {self.id}")
        return self._task

    def stop(self) -> None:
        """Stop the program and its calls: its client has left. It leaves no answer."""
        self.left = True
        if self._task is not None:
            self._task.cancel()

    async def answer(
        self,
        leaves_at: Callable[[], float],
        *,
        every: float = inf,
        on_waiting: Callable[[str], Awaitable[None]] | None = None,
    ) -> Result | None:
        """The answer of the program; None as soon as its client will not wait much longer for a person.

        `leaves_at`: the time of the event loop until which the client waits. A client that shows a question itself
        knows what it waits for, and is waited for. `on_waiting` is called with what the program waits for, `every` so
        many seconds.

        Raises whatever the work raises.
        """
        assert self._task is not None
        loop, waits = asyncio.get_running_loop(), self.handle.waits
        tell_at = inf
        while not self._task.done():
            next_at = inf
            if waiting := waits.open:
                now = loop.time()
                if waits.only_for_people and not any(one.asked for one in waiting):
                    if now >= (next_at := leaves_at()):
                        return None
                if on_waiting is not None:
                    tell_at = min(tell_at, now + every)
                    if now >= tell_at:
                        tell_at = now + every
                        await on_waiting(in_words(waiting))
                        continue
                    next_at = min(next_at, tell_at)
            else:
                tell_at = inf
            await self.change(next_at)
        return self._task.result()

    async def change(self, until: float = inf) -> None:
        """Returns when the run has ended, waits for something else, or it is this time of the event loop."""
        assert self._task is not None
        loop = asyncio.get_running_loop()
        changed: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not changed.done():
                changed.set_result(None)

        timer = loop.call_at(until, wake) if until < inf else None
        unwatch = self.handle.waits.watch(wake)
        self._task.add_done_callback(wake)
        try:
            if not self._task.done():
                await changed
        finally:
            unwatch()
            self._task.remove_done_callback(wake)
            if timer is not None:
                timer.cancel()

    def note_fault(self, task: asyncio.Task[Result]) -> None:
        """Log what went wrong in a run that nobody waits for any more."""
        if not task.cancelled() and (error := task.exception()) is not None:
            structlog.get_logger("portal.runs").error("run_failed", run_id=self.id, exc_info=error)


def in_words(waiting: tuple[Waiting, ...]) -> str:
    """What a program waits for, in one line for people."""
    first = " ".join(waiting[0].text.split())[:_TEXT_CHARS]
    others = f", and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    page = f" {waiting[0].url}" if waiting[0].url else ""
    return f"Waiting for a person: {first}{others}{page}"
