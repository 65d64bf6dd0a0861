"""Arguments and results of calls, programs and recorded runs, where the operator has said so: sealed, kept for a time.

    take ─▶ waiting in memory ─▶ a thread: masked, cut, sealed ─▶ a table of the log's database ─▶ removed in time

A recording is neither masked nor cut: changed it could not be repeated. Of one that is too large, the reason is kept.

A content has the name of the row of its call or run (instance and number), and is sealed for that name alone with the
keys of the portal's database (`portal.state`). It is never in the journal, nor anywhere else in the clear: a process
that is killed loses what waits. What there is no room for, or cannot be stored, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from portal.logs.content import MOST_FAILURE, Content, ContentSettings, KeptRecording, Recordable, Wanted
from portal.logs.database import LogDatabase, LogUnavailable
from portal.logs.masking import masked
from portal.logs.row import RowName
from portal.logs.schema import DAY, SEALED_TABLES, contents, recordings
from portal.shares import Shares
from portal.state import Key, KeyRing, KeysUnusable, Place, SecretUnreadable, rewrap, seal, unseal

ROOM_BYTES = 16 * 1024 * 1024
"""Of contents that wait, as they came; of one caller half as much."""
MAX_RECORDING = 4 * 1024 * 1024
"""Bytes of a recording, which are compressed."""
NO_ROOM = "there was no room to keep it when it ended: too many others waited to be stored"
BATCH = 100
PAUSE_SECONDS = 0.25
REMOVE_ROWS = 5_000
_CLOSING_SECONDS = 5.0
_DATA, _NONE = b"\x01", b"\x00"
_OF = {contents.name: "call", recordings.name: "run"}


class _Waiting(NamedTuple):
    name: RowName
    at: int
    content: Content | Recordable | str
    size: int
    holder: str


class ContentLog:
    """Stores contents. Use it as a block. `dropped` counts those that were not stored."""

    def __init__(
        self, database: LogDatabase, keys: KeyRing, settings: Callable[[], ContentSettings], room: int = ROOM_BYTES
    ) -> None:
        self.dropped = 0
        self._database = database
        self._keys = keys
        self._settings = settings
        self._room = Shares(room, max(1, room // 2))
        self._waiting: deque[_Waiting] = deque()
        self._available = asyncio.Event()
        self._urgent = asyncio.Event()
        self._all_stored = asyncio.Event()
        self._hurried = 0
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "contents")
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("portal.logs")

    async def __aenter__(self) -> ContentLog:
        self._task = asyncio.create_task(self._store_all(), name="contents")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        self._available.set()
        self._urgent.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_CLOSING_SECONDS)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False)

    def wants(self, server: str, tool: str) -> Wanted:
        """What of the calls of a tool is kept."""
        return self._settings().wants(server, tool)

    def wants_programs(self) -> bool:
        """Whether the text of a program is kept."""
        return self._settings().programs

    async def read(self, name: RowName) -> dict[str, object] | None:
        """What is kept of the call or run whose row has this name, as `read_content`.

        Raises:
            LogUnavailable: the database does not answer.
            SecretUnreadable: it was changed or moved, or its key is not in the file any more.
        """
        await self._has(name)
        return await self._database.read(partial(read_content, name=name, keys=self._keys))

    async def recording(self, name: RowName) -> KeptRecording | None:
        """What is kept of the run whose row has this name, as `read_recording`. Raises as `read`."""
        await self._has(name)
        return await self._database.read(partial(read_recording, name=name, keys=self._keys))

    async def _has(self, name: RowName) -> None:
        if any(one.name == name for one in self._waiting):
            await self.stored()

    def take(self, name: RowName, at: int, content: Content, size: int, holder: str = "") -> None:
        """Keep the content of the call or run whose row has this name and began `at`. `size` is about how many bytes it
        has. Does not wait and does not fail."""
        self._take(name, at, content, size, holder)

    def record(self, name: RowName, at: int, recording: Recordable | str, holder: str = "") -> None:
        """Keep the recording of the run whose row has this name and began `at`, or why there is none. Does not wait and
        does not fail."""
        size = 256 + (0 if isinstance(recording, str) else recording.size)
        if not self._take(name, at, recording, size, holder) and not isinstance(recording, str):
            self._take(name, at, NO_ROOM, 256, holder)

    def _take(self, name: RowName, at: int, content: Content | Recordable | str, size: int, holder: str) -> bool:
        """Whether there is room for it."""
        if self._closing or self._room.full_for(holder, size) is not None:
            self._drop(1, "there is no room")
            return False
        self._room.take(holder, size)
        self._waiting.append(_Waiting(name, at, content, size, holder))
        self._available.set()
        return True

    async def stored(self) -> None:
        """Return when nothing waits."""
        self._hurried += 1
        try:
            while self._waiting:
                self._all_stored.clear()
                self._urgent.set()
                await self._all_stored.wait()
        finally:
            self._hurried -= 1

    def _drop(self, count: int, why: str) -> None:
        if not self.dropped:
            self._log.warning("contents of calls are not stored", why=why)
        self.dropped += count

    async def _store_all(self) -> None:
        while not self._closing or self._waiting:
            await self._available.wait()
            if not self._closing and not self._hurried:
                # A batch costs a transaction.
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_SECONDS):
                        await self._urgent.wait()
            self._available.clear()
            self._urgent.clear()
            while self._waiting:
                taken = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
                try:
                    await self._store(taken)
                except (LogUnavailable, KeysUnusable, SecretUnreadable) as error:
                    self._drop(len(taken), str(error))
                except Exception:  # The edge of a background job: one content must not keep all later ones out.
                    self._drop(len(taken), "it cannot be stored")
                    self._log.exception("contents of calls cannot be stored")
                for _ in taken:
                    gone = self._waiting.popleft()
                    self._room.give_back(gone.holder, gone.size)
            self._all_stored.set()

    async def _store(self, taken: Sequence[_Waiting]) -> None:
        loop, settings = asyncio.get_running_loop(), self._settings()
        rows = await loop.run_in_executor(self._thread, _sealed, taken, settings, self._keys)
        await self._database.write(partial(_insert, rows=rows))


class _Sealed(NamedTuple):
    table: Table
    row: dict[str, object]


def _sealed(taken: Sequence[_Waiting], settings: ContentSettings, keys: KeyRing) -> list[_Sealed]:
    """What is stored of these. In a thread."""
    # Another process may have made a new key: a former one is forgotten some time.
    keys.reload()
    key = keys.newest
    return [_sealed_one(one, settings, key) for one in taken]


def _sealed_one(one: _Waiting, settings: ContentSettings, key: Key) -> _Sealed:
    if isinstance(one.content, Content):
        table, data = contents, _content(one.content, settings)
    else:
        table, data = recordings, _recording(one.content)
    row = {
        "instance": one.name.instance,
        "number": one.name.number,
        "day": one.at // DAY,
        "kid": key.kid,
        "sealed": seal(data, _place(table, one.name), key),
    }
    return _Sealed(table, row)


def _content(content: Content, settings: ContentSettings) -> bytes:
    kept = {name: value for name, value in content._asdict().items() if value is not None}
    # How a run failed is short, and leaves the program its room.
    room = settings.most // max(1, len(kept.keys() - {"failure"}))
    rooms = {name: MOST_FAILURE if name == "failure" else room for name in kept}
    members = {name: masked(value, settings.masks, rooms[name]) for name, value in kept.items()}
    # Not orjson: a number of any size, and half a character, are kept as they were.
    return json.dumps(members).encode()


def _recording(recording: Recordable | str) -> bytes:
    if isinstance(recording, str):
        return _NONE + recording.encode()
    data = recording.as_bytes()
    if len(data) > MAX_RECORDING:
        return _NONE + f"it has {len(data):,} bytes, and at most {MAX_RECORDING:,} of a run are kept".encode()
    return _DATA + data


def _place(table: Table, name: RowName) -> Place:
    return Place(table.name, _OF[table.name], f"{name.instance}/{name.number}", "sealed")


def _insert(connection: Connection, rows: Sequence[_Sealed]) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for table in SEALED_TABLES:
        if some := [one.row for one in rows if one.table is table]:
            connection.execute(dialect.insert(table).on_conflict_do_nothing(), some)


def read_content(connection: Connection, name: RowName, keys: KeyRing) -> dict[str, object] | None:
    """What is kept of the call whose row has this name: `arguments`, `result`; of a run its `program` and `failure`;
    None if there is nothing.

    Raises:
        SecretUnreadable: it was changed or moved, or its key is not in the file any more.
    """
    data = _opened(connection, contents, name, keys)
    if data is None:
        return None
    opened: dict[str, object] = json.loads(data)
    return opened


def read_recording(connection: Connection, name: RowName, keys: KeyRing) -> KeptRecording | None:
    """What is kept of the run whose row has this name; None if it was not to be recorded, or it is gone. Raises as
    `read_content`."""
    data = _opened(connection, recordings, name, keys)
    if data is None:
        return None
    return KeptRecording(data[1:]) if data[:1] == _DATA else KeptRecording(None, data[1:].decode())


def _opened(connection: Connection, table: Table, name: RowName, keys: KeyRing) -> bytes | None:
    if not connection.dialect.has_table(connection, table.name):
        return None
    query = select(table.c.sealed).where(table.c.instance == name.instance, table.c.number == name.number)
    found = connection.execute(query).scalar()
    return None if found is None else unseal(bytes(found), _place(table, name), keys.find)


def remove_contents(connection: Connection, day: int, most: int = REMOVE_ROWS) -> int:
    """Remove contents and recordings that are older than this day, counted from 1970, at most so many. How many are
    gone."""
    gone = 0
    for table in SEALED_TABLES:
        old = select(table.c.instance, table.c.number).where(table.c.day < day).limit(most - gone)
        found = [tuple(row) for row in connection.execute(old)]
        for instance, number in found:
            this = table.c.instance == instance, table.c.number == number
            connection.execute(delete(table).where(*this))
        gone += len(found)
    return gone


def rewrap_contents(connection: Connection, keys: KeyRing, kid: str, most: int = BATCH) -> int:
    """Put contents and recordings under the key of this id, at most so many. How many that were; one whose key is gone
    is removed."""
    done = 0
    for table in SEALED_TABLES:
        if done < most and connection.dialect.has_table(connection, table.name):
            done += _rewrap(connection, table, keys, kid, most - done)
    return done


def _rewrap(connection: Connection, table: Table, keys: KeyRing, kid: str, most: int) -> int:
    columns = table.c.instance, table.c.number, table.c.sealed
    found = connection.execute(select(*columns).where(table.c.kid != kid).limit(most)).all()
    for instance, number, sealed in found:
        this = table.c.instance == instance, table.c.number == number
        try:
            fresh = rewrap(bytes(sealed), keys.find, keys.find(kid))
        except SecretUnreadable:
            connection.execute(delete(table).where(*this))
            continue
        connection.execute(update(table).where(*this).values(sealed=fresh, kid=kid))
    return len(found)
