"""The HTTP exchange of a request while it is answered: keep its connection alive, notice when its client leaves.

As the SDK does for the requests it serves (its `_streamable_http_modern`), but nothing is started for an answer that
is quick.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
from starlette.types import Receive, Send

from portal.endpoint.request import at_least
from portal.endpoint.sessions import Session

WATCH_AFTER = 0.005
PING_SECONDS = 15.0
_PING = b": ping\r\n\r\n"
_STREAM = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Attendance:
    """Made in the task that works on the request, which is cancelled when the client leaves: then `left` is true.

    An answer within 15 s is plain JSON with its own status. A later one comes as the event of a stream that was kept
    alive with comments until then, because proxies close connections on which nothing moves.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.left = False
        self._receive = receive
        self._send = send
        self._streaming = False
        self._worker = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER, self._begin)

    async def finish(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send the JSON answer."""
        await self.aclose()
        if self._streaming:
            body = b"event: message\r\ndata: " + body + b"\r\n\r\n"
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def event(self, message: Mapping[str, Any]) -> None:
        """Send a notification ahead of the answer, which makes the answer a stream."""
        await self._stream(b"event: message\r\ndata: " + orjson.dumps(message) + b"\r\n\r\n")

    def relay_logs(self, session: Session) -> Callable[[Mapping[str, Any]], Awaitable[None]]:
        """Sends the log messages of an upstream to the client, from the level on that the session has set."""

        async def relay(params: Mapping[str, Any]) -> None:
            if at_least(params.get("level"), session.log_level):
                await self.event({"jsonrpc": "2.0", "method": "notifications/message", "params": params})

        return relay

    async def aclose(self) -> None:
        """Stop watching. Idempotent."""
        self._timer.cancel()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait({watcher})

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        leaving = asyncio.create_task(self._departure())
        try:
            while True:
                done, _ = await asyncio.wait({leaving}, timeout=PING_SECONDS)
                if done:
                    break
                await self._stream(_PING)
        finally:
            leaving.cancel()
        self.left = True
        if self._worker is not None:
            self._worker.cancel()

    async def _departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _stream(self, part: bytes) -> None:
        if not self._streaming:
            self._streaming = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
