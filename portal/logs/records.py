"""Rows on their way: a JSON line for each call on the portal's own output, and into the log, where there is one.

A line never has arguments, results or secrets. Lines go to a sink in batches, in a thread, a moment after the calls: a
thread for each would cost a call more than all else here. If the sink is too slow, lines are dropped and counted, and
the count is a line of its own: whose they were, and how many. Of those that wait at most half are of one caller, or of
one network of callers who have not signed in, so nobody's are dropped because of another's flood.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import orjson
import structlog

from portal.logs.row import LogRow, RowName
from portal.shares import Shares

if TYPE_CHECKING:
    from portal.logs.log import CallLog

CAPACITY = 10_000
RECENT = 1000
_BATCH_SECONDS = 0.02


class RecordSink(Protocol):
    def write(self, line: bytes) -> None:
        """Write one JSON line, which ends with a newline. Called from one thread at a time, never the event loop's."""


class RecordLog:
    """Writes lines to a sink while the block is open, and the remaining ones at its end. Rows also go to `log`, whose
    owner is somebody else.

    `dropped` counts the lines that were not written. `recent` has the last `RECENT` rows.
    """

    def __init__(self, sink: RecordSink, log: CallLog | None = None, *, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.recent: deque[LogRow] = deque(maxlen=RECENT)
        self._sink = sink
        self._stored = log
        self._capacity = capacity
        self._waiting: list[LogRow] = []
        self._room = self._empty()
        self._unreported: Counter[str] = Counter()
        self._available = asyncio.Event()
        self._urgent = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("portal.records")

    async def __aenter__(self) -> RecordLog:
        self._writer = asyncio.create_task(self._drain(), name="call records")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        writer, self._writer = self._writer, None
        self._available.set()
        self._urgent.set()
        if writer is not None:
            await writer

    def has_room(self, holder: str = "") -> bool:
        """Whether a call of this holder may go on now; if not, wait for `room`."""
        return self._stored is None or self._stored.has_room(holder)

    async def room(self, holder: str = "") -> None:
        """Return when there is room for a row of this holder."""
        if self._stored is not None:
            await self._stored.room(holder)

    def write(self, row: LogRow, holder: str = "") -> RowName | None:
        """Take a row, which counts in the part of `holder` until it is written. Does not block and does not fail.

        Its name in the log, if it is there.
        """
        self.recent.append(row)
        name = self._stored.write(row, holder) if self._stored is not None else None
        if row.kind != "run":
            # The calls of a run have lines of their own.
            self._write_line(row, holder)
        return name

    def _write_line(self, row: LogRow, holder: str) -> None:
        holder = holder or row.identity
        if self._room.full_for(holder) is not None:
            self.dropped += 1
            self._unreported[row.identity] += 1
            return
        self._room.take(holder)
        self._waiting.append(row)
        self._available.set()
        if len(self._waiting) * 2 >= self._capacity:
            self._urgent.set()

    def _empty(self) -> Shares:
        return Shares(self._capacity, max(self._capacity // 2, 1))

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        # A thread of its own: whatever keeps the others busy, calls are recorded.
        thread = ThreadPoolExecutor(1, "call records")
        try:
            while self._writer is not None or self._waiting or self._unreported:
                await self._available.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_BATCH_SECONDS):
                        await self._urgent.wait()
                self._available.clear()
                self._urgent.clear()
                batch, self._waiting, self._room = self._waiting, [], self._empty()
                dropped, self._unreported = self._unreported, Counter()
                try:
                    await loop.run_in_executor(thread, self._deliver, batch, dropped)
                except Exception:  # The edge of a background job: a broken sink must not end the log, nor the portal.
                    self.dropped += len(batch)
                    self._log.exception("call records could not be written", count=len(batch))
                if self._writer is None:
                    self._available.set()
                    self._urgent.set()
        finally:
            # It may be writing to a sink that takes nothing.
            thread.shutdown(wait=False)

    def _deliver(self, batch: Sequence[LogRow], dropped: Mapping[str, int]) -> None:
        for row in batch:
            self._sink.write(_line({"event": "call", **_members(row)}))
        for identity, count in dropped.items():
            whose = {"identity": identity} if identity else {}
            self._sink.write(_line({"event": "calls_dropped", "count": count, **whose}))


def _members(row: LogRow) -> dict[str, object]:
    """What a line says of a call. `protocol` is the upstream's version."""
    members = {
        "time": row.time,
        "server": row.server,
        "kind": row.kind,
        "name": row.name,
        "duration_ms": row.ms,
        "outcome": row.outcome,
        "error_code": row.error_code,
        "policy": row.policy or None,
        "portal": row.portal,
        "run_id": row.run,
        "identity": row.identity,
        "protocol": row.upstream_protocol or None,
    }
    return {name: value for name, value in members.items() if value is not None}


def _line(event: dict[str, object]) -> bytes:
    rendered = _RENDER(None, "info", event)
    return (rendered if isinstance(rendered, bytes) else rendered.encode()) + b"\n"


_RENDER = structlog.processors.JSONRenderer(serializer=orjson.dumps)


class Discard:
    """A sink that drops every line, for commands that show calls themselves."""

    def write(self, line: bytes) -> None:
        return None
