"""A job at work: it has its lease, reads a batch, names it, sends it until it is taken, and goes on behind it.

claim ─▶ read ─▶ name the batch ─▶ send ─▶ delivered: the cursor goes on
                      ▲             └▶ not taken: wait, and send the same again
                      └── whoever has the job next begins with the batch that was named
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from portal.export import progress as stored
from portal.export.job import ExportJob
from portal.export.progress import ExportProgress, RefusedBatch
from portal.export.reading import BatchReader, BatchReading
from portal.export.sending import ExportBatch, NotTaken, Sender
from portal.logs import LogDatabase, LogUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPace:
    """Seconds: how often a job looks for new rows, how long it is its process's own, the first and the longest pause
    before a batch is sent again, and the longest that a receiver may ask for. `refusals` is how often a batch must be
    refused until it is given up."""

    poll: float = 1.0
    lease: float = 15.0
    first_pause: float = 1.0
    longest_pause: float = 300.0
    longest_wish: float = 3600.0
    refusals: int = 3


class _Lost(Exception):
    """Another process has the job."""


class _Stopped(Exception):
    """The job has stopped, until it is changed."""


class JobRun:
    """Runs one job until it is cancelled. `holder` names this process's run of it."""

    def __init__(
        self, job: ExportJob, database: LogDatabase, sender: Sender, reader: BatchReader, holder: str, pace: ExportPace
    ) -> None:
        self._job = job
        self._database = database
        self._sender = sender
        self._reader = reader
        self._holder = holder
        self._pace = pace
        self._most = 0
        self._failing = False
        self._log = structlog.get_logger("portal.export").bind(job=job.id, destination=job.shown)

    async def run(self) -> None:
        while True:
            try:
                await self._hold()
            except _Stopped:
                # A change of it begins another run.
                await asyncio.Event().wait()
            except (LogUnavailable, _Lost) as error:
                self._log.debug("a job of the export waits", reason=str(error) or "another process has it")
            except Exception:
                # The edge of a background task: nobody awaits it, and it must go on.
                self._log.exception("a job of the export failed")
            await asyncio.sleep(self._pace.poll)

    async def _hold(self) -> None:
        """Work while the job is this process's own."""
        claim = partial(
            stored.claim, job=self._job.id, holder=self._holder, start=self._job.start, seconds=self._pace.lease
        )
        reached = await self._database.write(claim)
        if reached is None:
            return
        try:
            if reached.stopped == self._job.revision:
                raise _Stopped
            work, lease = asyncio.create_task(self._work(reached)), asyncio.create_task(self._renew())
            try:
                await asyncio.wait({work, lease}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (work, lease):
                    task.cancel()
                results = await asyncio.gather(work, lease, return_exceptions=True)
            if isinstance(results[0], Exception):
                raise results[0]
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(self._pace.lease):
                await self._database.write(partial(stored.release, job=self._job.id, holder=self._holder))
        except (LogUnavailable, TimeoutError):
            self._log.debug("a job of the export stays this process's own until its lease ends")

    async def _renew(self) -> None:
        """Return when the job is no longer this process's own."""
        until = time.monotonic() + self._pace.lease
        while time.monotonic() < until:
            await asyncio.sleep(self._pace.lease / 4)
            asked = time.monotonic()
            renew = partial(stored.renew, job=self._job.id, holder=self._holder, seconds=self._pace.lease)
            try:
                async with asyncio.timeout(self._pace.lease / 2):
                    if not await self._database.write(renew):
                        return
            except (LogUnavailable, TimeoutError):
                continue
            until = asked + self._pace.lease

    async def _work(self, reached: ExportProgress) -> None:
        cursor, first, last = reached.cursor, reached.first, reached.last
        self._failing = bool(reached.error)
        due = 0.0
        while True:
            if last:
                reading = await self._reader.read(cursor, until=last)
            else:
                await self._wait(due, cursor)
                reading = await self._reader.read(cursor, most=self._most)
                if reading.reached == cursor:
                    await asyncio.sleep(self._pace.poll)
                    continue
                first, last = (reading.rows[0].id if reading.rows else 0), reading.reached
            if reading.rows:
                await self._write(partial(stored.begin, first=first, last=last))
                last = await self._deliver(reading, first, last)
                due = 0.0 if reading.full else time.monotonic() + self._job.limits.interval
            else:
                await self._write(partial(stored.deliver, last=last, rows=0, size=0, refused=None))
            cursor, first, last = last, 0, 0

    async def _wait(self, due: float, cursor: int) -> None:
        """Return when a batch is due: after the interval, or when there are enough rows."""
        while (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._pace.poll))
            if left > self._pace.poll and await self._reader.has(cursor, self._most or self._job.limits.rows):
                return

    async def _deliver(self, reading: BatchReading, first: int, last: int) -> int:
        """Send a batch until it is taken or given up. The id behind which to go on: a batch that is too large for its
        receiver is cut."""
        rows, size, refused, pause = list(reading.rows), reading.size, 0, self._pace.first_pause
        while True:
            batch = ExportBatch(self._job.stream, first, last, rows)
            try:
                rejected = await self._sender.send(batch)
            except NotTaken as error:
                await self._write(partial(stored.fail, error=str(error)))
                self._tell(error, batch)
                if error.refusal == "too large" and len(rows) > 1:
                    rows = rows[: len(rows) // 2]
                    self._most, last, size = len(rows), rows[-1].id, sum(len(row.text) for row in rows)
                    await self._write(partial(stored.begin, first=first, last=last))
                    continue
                refused += error.refusal in ("batch", "too large")
                if refused >= self._pace.refusals:
                    await self._give_up(batch, str(error))
                    return last
                wished = min(error.retry_after or 0.0, self._pace.longest_wish)
                await asyncio.sleep(max(wished, pause * random.uniform(0.5, 1.0)))
                pause = min(2 * pause, self._pace.longest_pause)
            else:
                part = _refused(batch, rejected, "the receiver says that it did not take them") if rejected else None
                taken = len(rows) - rejected
                await self._write(partial(stored.deliver, last=last, rows=taken, size=size, refused=part))
                self._well()
                return last

    async def _give_up(self, batch: ExportBatch, reason: str) -> None:
        if self._job.on_refused == "stop":
            self._log.error("a job of the export stops: a batch was refused", batch=batch.key, reason=reason)
            await self._write(partial(stored.stop, revision=self._job.revision))
            raise _Stopped
        self._log.error("a batch was refused, and is left out", batch=batch.key, rows=len(batch.rows), reason=reason)
        refused = _refused(batch, len(batch.rows), reason)
        await self._write(partial(stored.deliver, last=batch.last, rows=0, size=0, refused=refused))

    async def _write(self, work: Callable[..., bool]) -> None:
        """
        Raises:
            _Lost: another process has the job.
            LogUnavailable: nothing was written.
        """

        def written(connection: Connection) -> bool:
            return work(connection, job=self._job.id, holder=self._holder)

        if not await self._database.write(written):
            raise _Lost

    def _tell(self, error: NotTaken, batch: ExportBatch) -> None:
        if not self._failing:
            self._log.warning("a batch is not taken; it is sent again", batch=batch.key, reason=str(error))
        self._failing = True

    def _well(self) -> None:
        if self._failing:
            self._log.info("batches are taken again")
        self._failing = False


def _refused(batch: ExportBatch, rows: int, reason: str) -> RefusedBatch:
    return RefusedBatch(batch.first, batch.last, rows, time.time_ns() // 1000, reason)
