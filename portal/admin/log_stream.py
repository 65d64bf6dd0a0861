"""Rows of the log as server-sent events, for as long as a client reads them and may.

Each event has the id of its row. A client that comes back says the last one (`Last-Event-ID`), and gets what follows.
Nothing is kept for a client: whoever reads slowly reads later from the log, and whoever does not read is ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import anyio
import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from portal.admin.api.application import refusal_of
from portal.admin.api.errors import AdminError
from portal.admin.log_reading import busy, shown
from portal.logs import Filters, LogPage, Tail
from portal.shares import Full, Shares
from portal.state import StateError

STREAMS, STREAMS_EACH = 32, 8
"""Clients that may follow the log, and those with one token."""
CHECK_SECONDS = 2.0
"""How often it is looked whether an idle client may still follow; rows are never sent without that."""
BEAT_SECONDS = 15.0
SEND_SECONDS = 30.0
"""Within this a client must read what it was sent."""
RETRY_MS = 2_000
_HEAD = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # Or nginx gathers events before it passes them on.
    (b"x-accel-buffering", b"no"),
]


class StreamRoom(Shares):
    """Room for those who follow the log."""

    def __init__(self) -> None:
        super().__init__(STREAMS, STREAMS_EACH)


class LogStream(Response):
    """The answer that goes on. `permitted` raises when its client may not follow any more."""

    media_type = "text/event-stream"

    def __init__(
        self,
        tail: Tail,
        filters: Filters,
        begin: int,
        room: StreamRoom,
        holder: str,
        permitted: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__()
        self._tail = tail
        self._filters = filters
        self._begin = begin
        self._room = room
        self._holder = holder
        self._permitted = permitted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with self._room.held(self._holder):
                await self._answer(scope, receive, send)
        except Full as full:
            await refusal_of(busy(full, "streams of the log"))(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_gone)
            await self._send_all(send)
            tasks.cancel_scope.cancel()

    async def _send_all(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        try:
            await _send(send, b"retry: %d\nid: %d\n\n" % (RETRY_MS, self._begin))
            said = clock()
            async with aclosing(self._tail.follow(self._filters, self._begin, pause=CHECK_SECONDS)) as pages:
                async for page in pages:
                    await self._permitted()
                    if page.rows or clock() - said >= BEAT_SECONDS:
                        await _send(send, _events(page))
                        said = clock()
            end = "the portal is being stopped"
        except AdminError:
            end = "the token may not read the log any more"
        except StateError:
            end = "it cannot be known whether the token may still read the log"
        except TimeoutError:
            # The client does not read: nothing reaches it, not even why.
            return
        await _send(send, b"event: end\ndata: %b\n\n" % orjson.dumps({"reason": end}), more=False)


def _events(page: LogPage) -> bytes:
    """A page as events. Without rows it is a sign of life: no event, but the id that a client comes back with."""
    rows = [b"id: %d\ndata: %b\n\n" % (one.id, orjson.dumps(shown(one).model_dump())) for one in page.rows]
    return b"".join(rows) or b": \nid: %d\n\n" % page.reached


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})
