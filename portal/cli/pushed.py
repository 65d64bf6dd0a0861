"""What the admin API was told of people and their devices, taken up by a portal that runs until it is stale."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from portal.access.signals import Assessments
from portal.admin.assessments import KIND, told_of
from portal.cli.beside import beside_changes
from portal.state import StateError, Store
from portal.state.clock import Clock

SHORTEST_WAIT = 0.1


@asynccontextmanager
async def pushed_followed(
    store: Store, assessments: Assessments, changed: Callable[[], None], now: Clock
) -> AsyncIterator[None]:
    """While the block lasts, `assessments` knows what is stored; `changed` is called when that, or its staleness, makes
    a difference."""
    known: set[str] = set()

    async def take_up() -> None:
        stored = await store.list(KIND)
        there = {one.id for one in stored}
        for subject in known - there:
            assessments.forget(subject)
        known.clear()
        known.update(there)
        lately = timedelta(seconds=assessments.fresh_for)
        for one in stored:
            for told in told_of(one.id, one.document, now(), lately):
                assessments.record(told)

    async def follow(outdated: asyncio.Event) -> None:
        while True:
            try:
                left = assessments.until_stale()
                async with asyncio.timeout(None if left is None else max(left, SHORTEST_WAIT)):
                    await outdated.wait()
                outdated.clear()
                await take_up()
            except TimeoutError:
                # Something went stale: who was let in by it hears that the lists are others now.
                pass
            except StateError as error:
                structlog.get_logger("portal.access").error("assessments cannot be read", reason=str(error))
            changed()

    await take_up()
    async with beside_changes(store, {KIND}, follow):
        yield
