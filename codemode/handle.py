"""A run in the hands of the host that started it: its record, what it waits for, and its end from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeAlias

from codemode.parking import LoggedResume, ProgramLog
from codemode.run import Failure, Run
from codemode.waits import OnWait, Waits

BEFORE = 0
"""In the place of a call's id: what is waited for before any call of the program starts."""


class KeptRuns(Protocol):
    """The runs that one client of one person may come back for: what `codemode.runs` is for a program of theirs.

    An id of any other run is unknown: then all of these raise `CatalogError`.
    """

    async def result(self, run_id: str, on_wait: OnWait) -> Run:
        """The record of a run, when it has ended. `on_wait`: for as long as that run waits for a person."""

    async def list(self) -> list[dict[str, object]]:
        """`{id, status, waiting, startedAt, expiresAt}` of each run; times in ISO 8601."""

    async def cancel(self, run_id: str) -> Run:
        """End a run, with the failure that it was cancelled if it had not ended, and forget it. Its record."""


class OwnServers(Protocol):
    """The servers of a portal for the person behind a program: what `codemode.portal` is for it.

    An id of any other server is unknown: then all of these raise `CatalogError`.
    """

    async def servers(self) -> list[dict[str, object]]:
        """`{id, name, description, enabled, connected, login, reason}` of each server."""

    async def choose(self, server: str, *, on: bool) -> None:
        """Turn a server on or off for this person."""

    async def connect(self, server: str, on_wait: OnWait) -> bool:
        """Whether the server can be used, after its person was asked for the login that it needs."""


class RunJournal(Protocol):
    """Where a run that was parked before writes down what it does, before it does it."""

    async def resumed(self, resume: LoggedResume) -> None:
        """Returns when it is stored that the program will receive this; `calls` is None. What it raises stops the run,
        and comes out of `CodeTool.resume`: another process may have taken the run over."""


Agreement: TypeAlias = Callable[[OnWait], Awaitable[None]]
"""Asks people to agree to what a program is about to do. Returns when they have; if they do not, it ends the run."""


class RunHandle:
    """One run. The host makes the handle and gives it to `CodeTool.run`; `runs` is what the program may come back for,
    `servers` those of its person.

    `record` is None until the program is known, and so is `log`, which only a run that may park has. `journal` is for
    a run that goes on after it was parked. `records`: the log keeps what it takes to repeat the run when it has ended.
    """

    def __init__(self, runs: KeptRuns | None = None, servers: OwnServers | None = None) -> None:
        self.waits = Waits()
        self.runs = runs
        self.servers = servers
        self.record: Run | None = None
        self.ending: Failure | None = None
        self.journal: RunJournal | None = None
        self.log: ProgramLog | None = None
        self.records = False
        self.checks_arguments = True
        """Whether calls whose arguments do not match the schema end before they reach the caller."""
        self.agreement: Agreement | None = None
        """What the program waits for at its first suspension, before any call of it starts; None once it is there. It
        may be asked again, in another process too: a run parks while it waits."""
        self.wants_to_park = False
        """Whether the run parks as soon as all that it waits for can be made again."""
        self._wished: Callable[[], None] | None = None
        self._stop: Callable[[], None] | None = None

    def end(self, failure: Failure) -> None:
        """End the run with this failure, and cancel its calls. A run that has ended stays as it is."""
        if self.ending is None:
            self.ending = failure
            if self._stop is not None:
                self._stop()

    def park(self) -> None:
        """Ask the run to park. It does at once or later, or it ends before. Parking that fails takes the wish back."""
        self.wants_to_park = True
        if self._wished is not None:
            self._wished()

    def unpark(self) -> None:
        """Take the wish back. A run that has been parked stays parked."""
        self.wants_to_park = False

    def parkable(self, wished: Callable[[], None]) -> None:
        """The driver says how it learns of the wish to park."""
        self._wished = wished

    @asynccontextmanager
    async def before_it_begins(self) -> AsyncIterator[OnWait]:
        """A block before the program begins, in which it waits for people: how it does so. `end` ends the block."""
        self.waits.begin_call()
        self.waits.suspend(timer=False)
        try:
            async with asyncio.timeout(None) as waiting:
                self.stoppable(lambda: waiting.reschedule(asyncio.get_running_loop().time()))
                yield partial(self.waits.wait, BEFORE)
        except TimeoutError:
            if self.ending is None:
                raise
        finally:
            self._stop = None
            self.waits.resume()
            self.waits.end_call()

    def stoppable(self, stop: Callable[[], None]) -> None:
        """The driver says how it is stopped. A run that was ended before is stopped at once."""
        self._stop = stop
        if self.ending is not None:
            stop()
