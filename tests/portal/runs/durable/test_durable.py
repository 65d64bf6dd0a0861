"""Runs that are parked go on in whichever process claims them, and who waits for one hears of its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import anyio
import pytest

from portal.runs import DurableRuns, DurableSettings, Owner, RunOutcome
from portal.state import (
    RunClaim,
    Store,
    StoredRun,
)
from tests.patience import PATIENCE
from tests.portal.state.conftest import Opener
from tests.portal.state.run_parts import SetClock, completed

pytestmark = pytest.mark.anyio

ANN = Owner("ann", "editor")
BOB = Owner("bob", "editor")


class Portal:
    """A process that resumes runs: what each resumed run does is a function by the id of the run."""

    def __init__(self, store: Store, clock: SetClock, owner: str, settings: DurableSettings | None = None) -> None:
        self.store = store
        self.clock = clock
        self.resumed: list[str] = []
        self.programs: dict[str, Callable[[RunClaim], Awaitable[RunOutcome]]] = {}
        self.runs = DurableRuns(store, self._resume, owner=owner, clock=clock, settings=settings or DurableSettings())

    async def _resume(self, claim: RunClaim) -> RunOutcome:
        self.resumed.append(claim.run.id)
        program = self.programs.get(claim.run.id)
        return completed(self.clock.now, claim.checkpoint) if program is None else await program(claim)


class Program:
    """One that goes on until it is let go. `began` and `stopped` say how far it has come."""

    def __init__(self, outcome: Callable[[RunClaim], RunOutcome]) -> None:
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()
        self.go = asyncio.Event()
        self._outcome = outcome

    async def __call__(self, claim: RunClaim) -> RunOutcome:
        self.began.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return self._outcome(claim)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """A hang becomes a failure with a name."""
    with _patience():
        yield


@contextmanager
def _patience() -> Iterator[None]:
    yield


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def opener(opened: Opener, clock: SetClock) -> AsyncIterator[Callable[..., Awaitable[Portal]]]:
    async with AsyncExitStack() as stack:

        async def open_portal(owner: str = "p1", settings: DurableSettings | None = None) -> Portal:
            portal = Portal(await stack.enter_async_context(opened(clock)), clock, owner, settings)
            stack.push_async_callback(portal.runs.aclose)
            return portal

        yield open_portal


async def until(portal: Portal, id: str, *states: str) -> StoredRun:
    """The run once it is in one of these states."""
    changed = asyncio.Event()
    unsubscribe = portal.store.subscribe(lambda _: changed.set())
    try:
        with anyio.fail_after(PATIENCE):
            while True:
                changed.clear()
                run = await portal.runs.rows.get(id)
                if run is not None and run.state in states:
                    return run
                with anyio.move_on_after(1):
                    await changed.wait()
    finally:
        unsubscribe()
