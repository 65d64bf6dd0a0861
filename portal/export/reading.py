"""Reads rows of the log into batches: by pages behind an id, and what is done with each page in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from portal.export.job import ExportJob
from portal.export.record import Audiences, Record, record_of
from portal.export.sending import ExportRow
from portal.export.wanted import keys_read
from portal.logs import Filters, LogDatabase, StoredRow, after, count_some

PAGE = 250
"""Rows that are read and written at once: some milliseconds of a thread."""
_BREATH = 16
MAX_SCAN = 20_000
"""Rows that are looked at for one batch: of a filter that few rows pass, progress is noted all the same."""


@dataclass(frozen=True, slots=True)
class BatchReading:
    """Rows for a batch, of so many bytes as text, and the id up to which the log was read for them. `full` if there may
    be more at once."""

    rows: Sequence[ExportRow]
    size: int
    reached: int
    full: bool


@dataclass(slots=True)
class _Filling:
    rows: list[ExportRow]
    size: int
    reached: int
    full: bool = False


class BatchReader:
    """Reads for one job. `text` gives the text of a record of the fields `names`."""

    def __init__(
        self,
        database: LogDatabase,
        job: ExportJob,
        audiences: Callable[[], Audiences],
        names: Sequence[str],
        text: Callable[[Record], bytes],
    ) -> None:
        self._database = database
        self._job = job
        self._audiences = audiences
        self._names = tuple(names)
        self._text = text
        self._keys = keys_read(self._names, job.wanted)
        self._is_exact = self._keys == self._names

    async def read(self, cursor: int, *, until: int = 0, most: int = 0) -> BatchReading:
        """The rows behind `cursor` for one batch, of at most `most` rows if that is less than the job's limit; or all
        of those up to the id `until`: they were a batch before.

        Raises:
            LogUnavailable: the log cannot be read.
        """
        filling, scanned = _Filling([], 0, cursor), 0
        limit = min(most or self._job.limits.rows, self._job.limits.rows)
        while True:
            filters = Filters(until=until + 1 if until else None)
            page = await self._database.read(partial(after, filters=filters, id=filling.reached, limit=PAGE))
            if page:
                await asyncio.to_thread(self._take, page, filling, 0 if until else limit)
            scanned += len(page)
            if filling.full or len(page) < PAGE:
                break
            if scanned >= MAX_SCAN and not until:
                filling.full = True
                break
        return BatchReading(filling.rows, filling.size, max(filling.reached, until), filling.full)

    async def has(self, cursor: int, rows: int) -> bool:
        """Whether there are so many rows behind `cursor`.

        Raises:
            LogUnavailable: the log cannot be read.
        """
        found, _ = await self._database.read(partial(count_some, filters=Filters(since=cursor + 1)))
        return found >= rows

    def _take(self, page: Sequence[StoredRow], filling: _Filling, limit: int) -> None:
        """Take the rows of a page that are wanted; no limit applies with 0."""
        audiences, options, wanted = self._audiences(), self._job.writer.options, self._job.wanted
        for at, stored in enumerate(page):
            if at % _BREATH == 0:
                # The event loop waits for the interpreter meanwhile: it gets it at once, and not after milliseconds.
                time.sleep(0)
            if options.takes(stored):
                record = record_of(stored, self._keys, audiences)
                if wanted.wants(record):
                    text = self._text(record if self._is_exact else {name: record[name] for name in self._names})
                    over = filling.size + len(text) > self._job.limits.bytes or len(filling.rows) >= limit
                    if limit and filling.rows and over:
                        filling.full = True
                        return
                    filling.rows.append(ExportRow(stored.id, text))
                    filling.size += len(text)
            filling.reached = stored.id
