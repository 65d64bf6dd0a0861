"""Work whose progress a page reads line by line (NDJSON), and which stops when the page goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
from starlette.types import Receive, Scope, Send

Emit = Callable[[dict[str, object]], None]
Work = Callable[[Emit], Awaitable[None]]

_HEADERS = [
    (b"content-type", b"application/x-ndjson"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]


class Streamed:
    """An ASGI response: runs `work`, which emits JSON objects, and sends each as it comes.

    When the client leaves, the work is cancelled and awaited; what the work raises is the server's to log.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        queue: asyncio.Queue[dict[str, object] | None] = asyncio.Queue()
        work = asyncio.ensure_future(self._work(queue.put_nowait))
        gone = asyncio.ensure_future(_gone(receive))
        for end in (work, gone):
            end.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                line = orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE, default=str)
                await send({"type": "http.response.body", "body": line, "more_body": True})
            if not gone.done():
                work.result()
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
