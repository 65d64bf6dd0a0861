"""One structured line for every call to an upstream: who called what, how long it took, how it ended.

Never arguments, results or secrets. Lines go to a sink in batches, off the event loop; what the sink is too slow for
is dropped, counted, and the count is itself a line: nothing is lost in silence.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Literal, Protocol

import orjson
import structlog

from portal.errors import Outcome

Kind = Literal["tool", "prompt", "resource", "completion", "subscription", "setting"]

CAPACITY = 10_000
RECENT = 1000
MAX_NAME = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """`time` is RFC 3339 in UTC, `protocol` the upstream's version, `error_code` the JSON-RPC code of a failed call.

    `name` is the raw name of the tool or prompt, or the URI of the resource; `portal` is "" for the document's own
    portal; `identity` and `run_id` may be "".
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


class RecordSink(Protocol):
    def write(self, line: bytes) -> None:
        """Take one JSON line, newline included. Called from one thread at a time, never the event loop's."""


class RecordLog:
    """An async context manager: while it is open, records given to `write` reach the sink; at the end, the rest."""

    def __init__(self, sink: RecordSink, *, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.recent: deque[CallRecord] = deque(maxlen=RECENT)
        self._sink = sink
        self._capacity = capacity
        self._waiting: list[CallRecord] = []
        self._untold = 0
        self._some = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("portal.records")

    async def __aenter__(self) -> RecordLog:
        self._writer = asyncio.create_task(self._drain(), name="call records")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        writer, self._writer = self._writer, None
        self._some.set()
        if writer is not None:
            await writer

    def write(self, record: CallRecord) -> None:
        """Note a call. Does not block and does not fail."""
        self.recent.append(record)
        if len(self._waiting) >= self._capacity:
            self.dropped += 1
            self._untold += 1
            return
        self._waiting.append(record)
        self._some.set()

    async def _drain(self) -> None:
        while self._writer is not None or self._waiting or self._untold:
            await self._some.wait()
            self._some.clear()
            batch, self._waiting = self._waiting, []
            untold, self._untold = self._untold, 0
            try:
                await asyncio.to_thread(self._deliver, batch, untold)
            except Exception:  # The edge of a background job: a broken sink must not end the log, nor the portal.
                self.dropped += len(batch)
                self._log.exception("call records could not be written", count=len(batch))
            if self._writer is None:
                self._some.set()

    def _deliver(self, batch: Sequence[CallRecord], untold: int) -> None:
        for record in batch:
            fields = {name: value for name, value in asdict(record).items() if value is not None}
            self._sink.write(_line({"event": "call", **fields}))
        if untold:
            self._sink.write(_line({"event": "calls_dropped", "count": untold}))


def _line(event: dict[str, object]) -> bytes:
    rendered = _RENDER(None, "info", event)
    return (rendered if isinstance(rendered, bytes) else rendered.encode()) + b"\n"


_RENDER = structlog.processors.JSONRenderer(serializer=orjson.dumps)


class Discard:
    """A sink for commands that show calls themselves and keep no log of them."""

    def write(self, line: bytes) -> None:
        return None
