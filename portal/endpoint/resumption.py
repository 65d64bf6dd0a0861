"""Answers stay for a while, so that a 2025-11-25 client whose connection broke can come back for them (Last-Event-ID).

Each session has a store of its own, because the SDK names streams by request ids, which every client counts from the
same number: with one store for all, one client would be replayed another's answers. What all stores hold together is
bounded in bytes and in time, and so is what those of one person hold: large answers of one push out their own.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import Any

import orjson
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse
from starlette.types import Receive, Scope, Send

from portal.sdk import StoreForEachSession
from portal.shares import Full, Shares

MAX_BYTES, MAX_BYTES_FOR_EACH = 64 * 1024 * 1024, 16 * 1024 * 1024
MAX_SECONDS = 300.0
RETRY_MILLISECONDS = 1000
_SMALL = 256


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """`size` is in bytes, `stored` on the monotonic clock. A stream begins with an event without a message."""

    stream: str
    message: JSONRPCMessage | None
    size: int
    stored: float


@dataclass(slots=True, eq=False)
class _Entry:
    store: "SessionEvents"
    id: str
    event: StoredEvent


class Backlog:
    """The events in the stores of all sessions, within bounds of bytes and age, and of bytes for each holder."""

    def __init__(
        self, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS, each_bytes: int = MAX_BYTES_FOR_EACH
    ) -> None:
        self._shares = Shares(max_bytes, each_bytes)
        self._max_seconds = max_seconds
        # By numbers that count up, so the oldest first: all of them, and by holder.
        self._numbers = count()
        self._all: OrderedDict[int, _Entry] = OrderedDict()
        self._of: dict[str, OrderedDict[int, _Entry]] = {}

    @property
    def bytes(self) -> int:
        return len(self._shares)

    def add(self, store: "SessionEvents", event_id: str, event: StoredEvent) -> None:
        """Enter an event. Those that are too old are evicted, and as many of its holder's own as its part has no room
        for; where all of it is full, as many of whoever has the most. One that there is no room for at all is not kept.
        """
        while True:
            try:
                self._shares.take(store.holder, event.size)
            except Full as full:
                whose = store.holder if full.own else self._shares.largest
                if whose not in self._of:
                    store.drop(event_id)
                    return
                self._evict(next(iter(self._of[whose])))
            else:
                break
        number = next(self._numbers)
        entry = self._all[number] = _Entry(store, event_id, event)
        self._of.setdefault(store.holder, OrderedDict())[number] = entry
        oldest = event.stored - self._max_seconds
        while self._all and next(iter(self._all.values())).event.stored < oldest:
            self._evict(next(iter(self._all)))

    def _evict(self, number: int) -> None:
        entry = self._all.pop(number)
        own = self._of[entry.store.holder]
        del own[number]
        if not own:
            del self._of[entry.store.holder]
        self._shares.give_back(entry.store.holder, entry.event.size)
        entry.store.drop(entry.id)


class SessionEvents(EventStore):
    """The events of one session, by ids that count up. They count in the part of `holder`."""

    def __init__(self, backlog: Backlog, holder: str = "") -> None:
        self.holder = holder
        self._backlog = backlog
        self._events: OrderedDict[str, StoredEvent] = OrderedDict()
        self._ids = count(1)

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        event_id = str(next(self._ids))
        event = self._events[event_id] = StoredEvent(stream_id, message, _size(message), time.monotonic())
        self._backlog.add(self, event_id, event)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send the later events of the same stream, and return its id; None if the event is no longer there."""
        last = self._events.get(last_event_id)
        if last is None:
            return None
        # A copy: events come and go while these are being sent.
        later = [(event_id, event) for event_id, event in self._events.items() if int(event_id) > int(last_event_id)]
        for event_id, event in later:
            if event.stream == last.stream and event.message is not None:
                await send_callback(EventMessage(event.message, event_id))
        return last.stream

    def drop(self, event_id: str) -> None:
        self._events.pop(event_id, None)


# The SDK makes the store of a session within the request that begins it, and does not say whose that is.
_HOLDER: ContextVar[str] = ContextVar("holder", default="")


class ResumableSessions(StoreForEachSession):
    """The SDK's session manager. The events of all its sessions share one `Backlog`."""

    def __init__(self, app: Any, *, ended: Callable[[str], None], **options: Any) -> None:
        backlog = Backlog()
        super().__init__(
            app,
            lambda: SessionEvents(backlog, _HOLDER.get()),
            ended,
            retry_interval=RETRY_MILLISECONDS,
            **options,
        )

    async def open(self, holder: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may begin a session, which counts in the part of `holder`."""
        _HOLDER.set(holder)
        await self.handle_request(scope, receive, send)


def _size(message: JSONRPCMessage | None) -> int:
    """About how many bytes a message holds."""
    if message is None or isinstance(message, JSONRPCError):
        return _SMALL
    content = message.result if isinstance(message, JSONRPCResponse) else message.params
    try:
        return _SMALL + len(orjson.dumps(content))
    except TypeError:
        return _SMALL + len(repr(content))
