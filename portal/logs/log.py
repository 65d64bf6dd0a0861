"""The log of one process: rows come in as calls end, and are stored in batches behind them.

    write ─▶ journal (before the answer) ─▶ batches ─▶ database: rows, chain ─▶ signed each minute
          └▶ whoever watches                                  └▶ added to hours and days ─▶ whole days removed

A row that was written outlives the process (`journal`), and is stored once, however often it is tried. While the
database does not answer, rows wait in the journal. When that is full they are dropped and counted, or callers wait, as
is set.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import structlog

from portal.logs.batch import Batch, Farewell, optimize, remove_before, sign, store
from portal.logs.chain import LogKey
from portal.logs.contents import remove_contents
from portal.logs.database import LogDatabase, LogUnavailable
from portal.logs.folding import (
    fold,
    fold_day,
    make_index,
    missing_indexes,
    remove_sums,
    rows_behind,
    take_former,
)
from portal.logs.journal import DEFAULT_BYTES, MAX_RECORD, Journal, JournalInUse, JournalUnusable
from portal.logs.row import LogRow, RowName, packed, storable, unpacked
from portal.logs.schema import DAY
from portal.shares import STRANGERS, Shares

Mark = tuple[int, int]
WhenFull = Literal["drop", "block"]

BATCH_SECONDS = 0.25
BATCH_ROWS = 500
SIGN_SECONDS = 60.0
REMOVE_SECONDS = 3600.0
FOLD_SECONDS = 10.0
FOLD_LEAST, FOLD_AGE = 2_000, 300_000_000
"""Rows that are added to their hours at once, or fewer when one is so old (microseconds): each time has its cost."""
INDEX_SECONDS = 600.0
REMOVE_ROWS = 5_000
ROOM = 10_000
"""Rows that may wait, of one caller half as many."""
MOST_JOURNALS = 64
"""Processes with a log in one folder."""
_PAUSE, _LONGEST_PAUSE = 0.25, 5.0
_CLOSING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Where a log is: the `url` of its database, the `folder` of its journals and its key, and what their names begin
    with."""

    url: str
    folder: Path
    name: str = "logs"

    @property
    def key(self) -> Path:
        return self.folder / f"{self.name}.key"

    def journal(self, number: int) -> Path:
        return self.folder / f"{self.name}-{number}.journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How many whole days are kept, of rows, of what they add up to and of contents, and what happens when there is no
    room for a row."""

    keep_days: int = 30
    sums_days: int = 400
    when_full: WhenFull = "drop"
    content_days: int = 7

    @property
    def days_of_contents(self) -> int:
        """How many whole days contents and recordings are kept: no longer than rows."""
        return min(self.content_days, self.keep_days)


class CallLog:
    """Use `open`. `write` takes rows on the event loop. `database` is where to ask about them."""

    def __init__(
        self,
        database: LogDatabase,
        journal: Journal,
        key: LogKey,
        settings: Callable[[], LogSettings],
        room: int = ROOM,
    ) -> None:
        self.database = database
        self.trouble = ""
        """Why rows cannot be stored at the moment, "" while they can."""
        self._journal = journal
        self._key = key
        self._settings = settings
        self._waiting: deque[tuple[LogRow, str, Mark]] = deque()
        self._shares = Shares(room, max(1, room // 2))
        # However many networks they come from, strangers leave half of the room to everybody else.
        self._of_strangers = Shares(max(1, room // 2), max(1, room // 4))
        self._available = asyncio.Event()
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()
        self._all_stored = asyncio.Event()
        self._closing = False
        self._hurried = 0
        self._dropping = False
        self._unsigned = False
        self._farewells: list[Farewell] = []
        self._watchers: list[Callable[[LogRow], None]] = []
        self._log = structlog.get_logger("portal.logs")

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        place: LogPlace,
        settings: Callable[[], LogSettings] = LogSettings,
        *,
        journal_bytes: int = DEFAULT_BYTES,
        room: int = ROOM,
    ) -> AsyncIterator[CallLog]:
        """The log at this place until the block ends; then everything is stored, or waits in the journal.

        Raises:
            LogUnusable: the database cannot be used.
            JournalUnusable, LogKeyUnusable: a file of it cannot be.
        """
        async with AsyncExitStack() as stack:
            place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            key = LogKey.open(place.key)
            database = LogDatabase(place.url)
            stack.push_async_callback(database.close)
            await database.open()
            journal = _journal_at(place, journal_bytes)
            stack.callback(journal.close)
            log = cls(database, journal, key, settings, room)
            for row in _left_in(journal):
                log._take_up(row)
            tasks = [
                log._lasting(log._store_all, "storing rows", _LONGEST_PAUSE),
                log._lasting(log._sign_often, "signing", SIGN_SECONDS),
                log._lasting(log._fold_often, "adding rows to their hours", FOLD_SECONDS),
                log._lasting(log._remove_often, "removing old rows", SIGN_SECONDS),
                log._lasting(partial(log._adopt, place, journal), "storing journals of others", SIGN_SECONDS),
            ]
            running = [asyncio.create_task(task) for task in tasks]
            try:
                yield log
            finally:
                await log._close(running)

    @property
    def dropped(self) -> int:
        """How many rows there was no room for, since the journal was made."""
        return self._journal.dropped

    @property
    def waiting(self) -> int:
        """How many rows are not stored yet."""
        return len(self._waiting)

    @property
    def blocks(self) -> bool:
        """Whether calls wait when there is no room for a row."""
        return self._settings().when_full == "block"

    @property
    def content_days(self) -> int:
        """How many whole days contents and recordings are kept."""
        return self._settings().days_of_contents

    def has_room(self, holder: str = "") -> bool:
        """Whether a call of this holder may go on now. Where callers wait, ask before a call, and wait for `room` if
        not."""
        if not self.blocks:
            return True
        return self._has_share(holder) and self._journal.room >= MAX_RECORD

    async def room(self, holder: str = "") -> None:
        """Return when there is room for a row of this holder."""
        while not self.has_room(holder):
            self._room.clear()
            self._urgent.set()
            await self._room.wait()

    def write(self, row: LogRow, holder: str = "") -> RowName | None:
        """Take a row. It counts in the part of `holder` until it is stored. Does not wait and does not fail.

        Its name; None if there was no room for it.
        """
        name: RowName | None = None
        if (text := packed(row)) is None:
            row = storable(row)
            text = packed(row)
        if text is None or not self._has_share(holder) or not self._journal.append(text):
            self._drop()
        else:
            name = RowName(self._journal.instance, self._journal.last)
            self._take_share(holder)
            self._waiting.append((row, holder, self._journal.mark))
            self._available.set()
            if len(self._waiting) >= BATCH_ROWS:
                self._urgent.set()
        for watcher in self._watchers:
            watcher(row)
        return name

    def watch(self, watcher: Callable[[LogRow], None]) -> Callable[[], None]:
        """Call `watcher` with each row as it comes. The function that ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def before_removal(self, farewell: Farewell) -> Callable[[], None]:
        """Call `farewell` in each transaction that removes old rows, before it does. The function that ends it."""
        self._farewells.append(farewell)
        return lambda: self._farewells.remove(farewell)

    async def stored(self) -> None:
        """Return when every row that has been written is in the database."""
        self._hurried += 1
        try:
            while self._waiting:
                self._all_stored.clear()
                self._urgent.set()
                await self._all_stored.wait()
        finally:
            self._hurried -= 1

    def _has_share(self, holder: str) -> bool:
        if self._shares.full_for(holder) is not None:
            return False
        if not holder.startswith(STRANGERS):
            return True
        return self._of_strangers.full_for(holder) is None and 2 * self._journal.room >= self._journal.size

    def _take_share(self, holder: str) -> None:
        self._shares.take(holder)
        if holder.startswith(STRANGERS):
            self._of_strangers.take(holder)

    def _drop(self) -> None:
        self._journal.drop()
        if not self._dropping:
            self._dropping = True
            self._log.warning("there is no room for rows of the log: they are dropped and counted", why=self.trouble)

    def _take_up(self, row: LogRow) -> None:
        self._waiting.append((row, "", self._journal.mark))
        self._shares.take("")
        self._available.set()

    async def _lasting(self, work: Callable[[], Awaitable[None]], what: str, pause: float) -> None:
        """Run a part of the log that lasts. One that had ended without a word would be missed when it is too late."""
        while True:
            try:
                await work()
                return
            except Exception:
                # Whatever it is, it is ours, and the other parts of the log do not suffer from it.
                self._log.exception("a part of the log has failed, and begins again", part=what, seconds=pause)
            await asyncio.sleep(pause)

    # Storing

    async def _store_all(self) -> None:
        pause = _PAUSE
        if self._waiting:
            # When it begins again, of what waits already nobody tells it.
            self._available.set()
        while not self._closing or self._waiting:
            await self._available.wait()
            if not self._closing and not self._hurried:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BATCH_SECONDS):
                        await self._urgent.wait()
            self._available.clear()
            self._urgent.clear()
            # What comes meanwhile is of the next batch: a transaction for each few rows would cost far more than they.
            left = len(self._waiting)
            while left:
                try:
                    left -= await self._store(min(left, BATCH_ROWS))
                except LogUnavailable as error:
                    self._begin_trouble(str(error))
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                else:
                    pause = _PAUSE
                    self._end_trouble()
            if self._waiting:
                self._available.set()

    async def _store(self, most: int) -> int:
        """Store the first rows that wait; how many. If one of them cannot be stored, that one alone is left out."""
        taken = [self._waiting[at] for at in range(most)]
        rows = [(number, row) for row, _, (_, number) in taken]
        batch = Batch(self._journal.instance, rows, self._journal.dropped)
        try:
            await self.database.write(partial(store, batch=batch, now=_now()))
        except LogUnavailable:
            raise
        except Exception:
            # A row that no database takes must not keep all later ones out.
            if most > 1:
                return await self._store(1)
            self._log.exception("a row of the log cannot be stored, and is left out", kind=taken[0][0].kind)
        self._unsigned = True
        self._journal.stored_until(taken[-1][2])
        for _ in range(most):
            _, holder, _ = self._waiting.popleft()
            self._shares.give_back(holder)
            if holder.startswith(STRANGERS):
                self._of_strangers.give_back(holder)
        self._room.set()
        if not self._waiting:
            self._all_stored.set()
        return most

    def _begin_trouble(self, reason: str) -> None:
        if not self.trouble:
            self._log.error("rows of the log cannot be stored; they wait", database=self.database.name, reason=reason)
        self.trouble = reason

    def _end_trouble(self) -> None:
        if self.trouble:
            self._log.info("rows of the log are stored again", database=self.database.name, dropped=self.dropped)
        self.trouble, self._dropping = "", False

    async def _adopt(self, place: LogPlace, own: Journal) -> None:
        """Store what processes have left that have ended without it, and that nobody has begun again."""
        for number in range(MOST_JOURNALS):
            path = place.journal(number)
            if path == own.path or not path.exists():
                continue
            try:
                journal = Journal.open(path)
            except (JournalUnusable, OSError) as error:
                if not isinstance(error, JournalInUse):
                    self._log.error("a journal cannot be read", journal=str(path), reason=str(error))
                continue
            try:
                await self._store_journal(journal)
                journal.remove()
            except LogUnavailable as error:
                self._log.warning("a journal stays until the next start", journal=str(path), reason=str(error))
            except Exception:
                # One journal must not keep the others from being stored.
                self._log.exception("a journal could not be stored, and stays", journal=str(path))
            finally:
                journal.close()

    async def _store_journal(self, journal: Journal) -> None:
        rows = [(journal.last, row) for row in _left_in(journal)]
        for at in range(0, len(rows), BATCH_ROWS):
            batch = Batch(journal.instance, rows[at : at + BATCH_ROWS], journal.dropped)
            await self.database.write(partial(store, batch=batch, now=_now()))
        self._unsigned = True

    # Signing and removing

    async def _sign_often(self) -> None:
        while True:
            await asyncio.sleep(SIGN_SECONDS)
            await self._sign()

    async def _sign(self) -> None:
        if self._unsigned:
            self._unsigned = False
            try:
                await self.database.write(partial(sign, key=self._key, now=_now()))
            except Exception as error:
                # It is tried again, and said unless it is the database: that is said where rows are stored.
                self._unsigned = True
                if not isinstance(error, LogUnavailable):
                    raise

    async def _remove_often(self) -> None:
        while True:
            try:
                await self.remove_old(_now())
                await self.database.write(optimize)
            except LogUnavailable as error:
                self._log.warning("old rows of the log cannot be removed", reason=str(error))
            await asyncio.sleep(REMOVE_SECONDS)

    async def remove_old(self, now: int) -> int:
        """Remove the whole days that are older than is kept. How many rows that were."""
        settings = self._settings()
        # What rows add up to outlasts them.
        await self.fold_all()
        day = now // DAY - settings.keep_days
        gone = 0
        while part := await self.database.write(
            partial(remove_before, day=day, key=self._key, now=now, most=REMOVE_ROWS, farewells=tuple(self._farewells))
        ):
            gone += part
        content_day = now // DAY - settings.days_of_contents
        while await self.database.write(partial(remove_contents, day=content_day)):
            pass
        keep_days = max(settings.sums_days, settings.keep_days)
        await self.database.write(partial(remove_sums, today=now // DAY, keep_days=keep_days))
        return gone

    # Adding up

    async def fold_all(self) -> None:
        """Add every row that is stored to its hour, and every day that is over to the days."""
        while await self.database.write(take_former):
            pass
        while await self.database.write(fold):
            pass
        while await self.database.write(fold_day):
            pass

    async def _fold_often(self) -> None:
        for name in await self.database.read(missing_indexes):
            # Of a large log of an earlier version that takes long, and no part of it can be done before the rest.
            await self.database.write(partial(make_index, name=name), INDEX_SECONDS)
        await self.fold_all()
        while True:
            await asyncio.sleep(FOLD_SECONDS)
            try:
                number, oldest = await self.database.read(partial(rows_behind, most=FOLD_LEAST))
                if number >= FOLD_LEAST or (number and oldest < _now() - FOLD_AGE):
                    await self.fold_all()
            except LogUnavailable:
                # That is said where rows are stored.
                continue

    async def _close(self, running: list[asyncio.Task[None]]) -> None:
        storing, *others = running
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._closing = True
        self._available.set()
        self._urgent.set()
        await asyncio.wait({storing}, timeout=_CLOSING_SECONDS)
        storing.cancel()
        await asyncio.gather(storing, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._sign()
        except TimeoutError:
            pass
        except Exception:
            # The end goes on: what is unsigned is signed at the next start, with the rows that follow.
            self._log.exception("the log could not be signed at its end")


def _left_in(journal: Journal) -> Iterator[LogRow]:
    """The rows that an earlier process left in a journal. `journal.last` is the number of each as it comes."""
    for text in journal.waiting():
        try:
            yield unpacked(text)
        except (ValueError, TypeError):
            structlog.get_logger("portal.logs").error("a row in a journal cannot be read", journal=str(journal.path))


def _journal_at(place: LogPlace, size: int) -> Journal:
    """The first journal that no other process has.

    Raises:
        JournalUnusable: a file is none, or all are in use.
    """
    for number in range(MOST_JOURNALS):
        try:
            return Journal.open(place.journal(number), size)
        except JournalInUse:
            continue
        except OSError as error:
            raise JournalUnusable(f"{place.journal(number)}: {error.strerror or error}") from None
    raise JournalUnusable(f"{place.folder}: {MOST_JOURNALS} processes have a log here already")


def _now() -> int:
    return time.time_ns() // 1000
