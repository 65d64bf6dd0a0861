"""Follows the log: rows of this process and of others, behind an id, none twice and none left out.

Rows have ids only in the database. So whoever follows reads there; the log only tells when there may be something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import structlog

from portal.logs.database import READERS, LogUnavailable
from portal.logs.log import BATCH_SECONDS, CallLog
from portal.logs.pages import LogPage, newer
from portal.logs.query import Filters, newest_id
from portal.logs.row import LogRow

LOOK_SECONDS = 1.0
"""How often it is looked for rows of other processes."""
TAIL_ROWS = 100
_AGAIN_SECONDS = 1.0


class Tail:
    """One for all who follow a log. `close` ends them; the log itself may end after that."""

    def __init__(self, log: CallLog) -> None:
        self._log = log
        self._wakes: set[asyncio.Event] = set()
        self._written = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        # However many follow from long ago, a reader stays for those who ask for pages.
        self._turn = asyncio.Semaphore(max(1, READERS - 1))

    def close(self) -> None:
        """Let everybody who follows come to an end."""
        self._closed = True
        self._wake()

    async def newest(self) -> int:
        """Where whoever begins now begins: the id of the last row.

        Raises:
            LogUnavailable: the database does not answer.
        """
        return await self._log.database.read(newest_id)

    async def follow(self, filters: Filters, id: int, *, pause: float = 15.0) -> AsyncGenerator[LogPage]:
        """Pages of rows that follow an id, until `close`. At least each `pause` seconds there is a page, which may be
        empty; `reached` grows all the same. While the database does not answer, pages are empty."""
        with self._listening() as wake:
            reached = id
            while not self._closed:
                # Before it is read: what comes after that wakes.
                wake.clear()
                try:
                    read = partial(newer, filters=filters, id=reached, limit=TAIL_ROWS)
                    async with self._turn:
                        page = await self._log.database.read(read)
                except LogUnavailable:
                    await self._until_woken(wake, _AGAIN_SECONDS)
                    yield LogPage([], False, reached)
                    continue
                reached = page.reached
                if page.rows or page.more:
                    yield page
                if not page.more and not await self._until_woken(wake, pause):
                    yield LogPage([], False, reached)

    @staticmethod
    async def _until_woken(wake: asyncio.Event, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        return wake.is_set()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    @contextmanager
    def _listening(self) -> Iterator[asyncio.Event]:
        wake = asyncio.Event()
        self._wakes.add(wake)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield wake
        finally:
            self._wakes.discard(wake)
            if not self._wakes and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        """Wake those who follow when the newest row is another one. While nobody follows, nobody looks."""
        newest, log = 0, structlog.get_logger("portal.logs")
        end = self._log.watch(self._note)
        try:
            while True:
                try:
                    found = await self._log.database.read(newest_id)
                    if found != newest:
                        newest = found
                        self._wake()
                except LogUnavailable:
                    pass
                except Exception:
                    # Who follows must not wait for ever because one look went wrong.
                    log.exception("it could not be looked for new rows of the log; it is tried again")
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._written.wait()
                        # What has come is stored with its batch, and many rows are then one look.
                        await asyncio.sleep(BATCH_SECONDS)
                self._written.clear()
        finally:
            end()

    def _note(self, row: LogRow) -> None:
        self._written.set()
