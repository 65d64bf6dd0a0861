"""The last word to clients whose requests are cut off because the server ends."""

import asyncio
from collections.abc import Callable
from typing import Final

import orjson
from mcp_types import CONNECTION_CLOSED
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.guard import BODY
from portal.http.refusal import Refusal, refuse

_LAST: Final = "The portal is being stopped and has ended this request. Calls that it had made may have run."


class Parting:
    """Wrap an ASGI application: a request cancelled while `ending()` is answered, and no fault of the application's.

    On a stream of events that has begun, the answer is its last event: a client told nothing would come back for it.
    """

    def __init__(self, app: ASGIApp, ending: Callable[[], bool]) -> None:
        self._app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started: Headers | None = None

        async def noting(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = Headers(raw=message.get("headers", []))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._ending():
                raise
            refusal = Refusal(503, "stopping", _LAST, CONNECTION_CLOSED)
            if started is None:
                await refuse(refusal)(scope, receive, send)
                return
            is_stream = started.get("content-type", "").startswith("text/event-stream")
            request_id = _request_id(scope.get(BODY)) if is_stream else None
            last = b"" if request_id is None else b"event: message\r\ndata: %b\r\n\r\n"
            await send({"type": "http.response.body", "body": last and last % refuse(refusal, request_id).body})


def _request_id(body: object) -> str | int | None:
    """Of a JSON-RPC request; None when the body is something else."""
    try:
        request = orjson.loads(body) if isinstance(body, bytes) else None
    except orjson.JSONDecodeError:
        return None
    found = request.get("id") if isinstance(request, dict) else None
    return found if isinstance(found, str | int) else None
