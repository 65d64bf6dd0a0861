"""One JSON line for every call to an upstream: who called what, how long it took, how it ended.

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
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Protocol

import orjson
import structlog

from portal.errors import Outcome
from portal.logs.row import Kind
from portal.shares import Shares

CAPACITY = 10_000
RECENT = 1000
_BATCH_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call. `time` is RFC 3339 in UTC, `protocol` the upstream's version, `error_code` a failure's JSON-RPC code.

    `name` is the raw name of the tool or prompt, or the URI of the resource; `portal` is "" for the document's own
    portal; `identity` and `run_id` may be "". `holder` is whose part it counts in while it waits (`portal.shares`), and
    is not written.
    """

    time: str
    server: str
    kind: Kind
    name: str
    duration_ms: float
    outcome: Outcome
    error_code: int | None = None
    policy: str | None = None
    portal: str = ""
    run_id: str = ""
    identity: str = ""
    protocol: str | None = None
    holder: str = ""


_FIELDS = tuple(field.name for field in fields(CallRecord) if field.name != "holder")


class RecordSink(Protocol):
    def write(self, line: bytes) -> None:
        """Write one JSON line, which ends with a newline. Called from one thread at a time, never the event loop's."""


class RecordLog:
    """Writes records to a sink while the block is open, and the remaining ones at its end.

    `dropped` counts the records that were not written. `recent` has the last `RECENT` records.
    """

    def __init__(self, sink: RecordSink, *, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.recent: deque[CallRecord] = deque(maxlen=RECENT)
        self._sink = sink
        self._capacity = capacity
        self._waiting: list[CallRecord] = []
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

    def write(self, record: CallRecord) -> None:
        """Queue a record. Does not block and does not fail."""
        self.recent.append(record)
        holder = record.holder or record.identity
        if self._room.full_for(holder) is not None:
            self.dropped += 1
            self._unreported[record.identity] += 1
            return
        self._room.take(holder)
        self._waiting.append(record)
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

    def _deliver(self, batch: Sequence[CallRecord], dropped: Mapping[str, int]) -> None:
        for record in batch:
            known = {name: value for name in _FIELDS if (value := getattr(record, name)) is not None}
            self._sink.write(_line({"event": "call", **known}))
        for identity, count in dropped.items():
            whose = {"identity": identity} if identity else {}
            self._sink.write(_line({"event": "calls_dropped", "count": count, **whose}))


def _line(event: dict[str, object]) -> bytes:
    rendered = _RENDER(None, "info", event)
    return (rendered if isinstance(rendered, bytes) else rendered.encode()) + b"\n"


_RENDER = structlog.processors.JSONRenderer(serializer=orjson.dumps)


class Discard:
    """A sink that drops every line, for commands that show calls themselves."""

    def write(self, line: bytes) -> None:
        return None
