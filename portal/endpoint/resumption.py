"""Answers kept for a while, so that a 2025-11-25 client whose connection broke can come back for them (Last-Event-ID).

Each session has a store of its own, because the SDK names streams by request ids, which every client counts from the
same number: with one store for all, one client would be replayed another's answers. What all stores hold together is
bounded in bytes and in time, the oldest going first.
"""

import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse

from portal.sdk import StoreForEachSession

MAX_BYTES = 64 * 1024 * 1024
MAX_SECONDS = 300.0
RETRY_MILLISECONDS = 1000
_SMALL = 256


@dataclass(frozen=True, slots=True)
class Kept:
    stream: str
    message: JSONRPCMessage | None
    size: int
    stored: float


class Backlog:
    """What all sessions' stores hold, oldest first."""

    def __init__(self, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._order: deque[tuple[SessionEvents, str, Kept]] = deque()

    def add(self, store: "SessionEvents", event_id: str, kept: Kept) -> None:
        self._order.append((store, event_id, kept))
        self.bytes += kept.size
        oldest = kept.stored - self._max_seconds
        while self._order and (self.bytes > self._max_bytes or self._order[0][2].stored < oldest):
            owner, expired, dropped = self._order.popleft()
            self.bytes -= dropped.size
            owner.drop(expired)


class SessionEvents(EventStore):
    """The events of one session, by ids that count up."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._events: OrderedDict[str, Kept] = OrderedDict()
        self._ids = count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        event_id = str(next(self._ids))
        kept = self._events[event_id] = Kept(stream_id, message, _size(message), time.monotonic())
        self._backlog.add(self, event_id, kept)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what followed on the same stream; the stream, or None when that is not known any more."""
        last = self._events.get(last_event_id)
        if last is None:
            return None
        later = [(event_id, kept) for event_id, kept in self._events.items() if int(event_id) > int(last_event_id)]
        for event_id, kept in later:
            if kept.stream == last.stream and kept.message is not None:
                await send_callback(EventMessage(kept.message, event_id))
        return last.stream

    def drop(self, event_id: str) -> None:
        self._events.pop(event_id, None)


class ResumableSessions(StoreForEachSession):
    """The SDK's session manager. The events of all its sessions share one `Backlog`."""

    def __init__(self, app: Any, **options: Any) -> None:
        backlog = Backlog()
        super().__init__(app, lambda: SessionEvents(backlog), retry_interval=RETRY_MILLISECONDS, **options)


def _size(message: JSONRPCMessage | None) -> int:
    """About how many bytes a message holds."""
    if message is None or isinstance(message, JSONRPCError):
        return _SMALL
    content = message.result if isinstance(message, JSONRPCResponse) else message.params
    try:
        return _SMALL + len(orjson.dumps(content))
    except TypeError:
        return _SMALL + len(repr(content))
