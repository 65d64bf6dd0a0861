"""Streams the progress of work to a page, as lines of JSON (NDJSON), and stops the work when the page disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from starlette.types import Receive, Scope, Send

from portal.exact import encode

Emit = Callable[[dict[str, object]], None]
Work = Callable[[Emit], Awaitable[None]]

_HEADERS = [
    (b"content-type", b"application/x-ndjson"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class ProgressStream:
    """An ASGI response that runs `work` and sends each JSON object that the work emits at once.

    When the client disconnects, the work is cancelled and awaited. Exceptions of the work reach the server.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        queue: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
        work = asyncio.ensure_future(self._work(queue.put_nowait))
        disconnected = asyncio.ensure_future(_disconnected(receive))
        for end in (work, disconnected):
            end.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                line = encode(event, orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE, str)
                await send({"type": "http.response.body", "body": line, "more_body": True})
            if not disconnected.done():
                work.result()
                await send({"type": "http.response.body", "body": b""})
        finally:
            disconnected.cancel()
            work.cancel()
            await asyncio.gather(work, disconnected, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
