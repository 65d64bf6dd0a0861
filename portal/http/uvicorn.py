"""What the portal changes in uvicorn: bounds on the head and the time of a request, and the ends of a server.

Neither `HttpToolsProtocol` nor the methods of `Server` are meant to be overridden, so any release may move them.
`tests/portal/test_sdk.py` has a test that says which one moved.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import uvicorn
from mcp_types import INVALID_REQUEST
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from portal.http.edge import HttpSettings

# How long what a client still sends is read and dropped after it was refused.
_LINGER_SECONDS = 2.0
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class HeadTooLarge(Exception):
    """Raised into the parser, which stops there."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's httptools protocol with deadlines and a bound on the head. Bind the settings with `with_settings`.

    Why: uvicorn keeps a connection for as long as bytes trickle in, and lets header fields grow without end. Here the
    head of a request has a size and a time, its body has a time, and a connection that exceeds one is answered and
    closed. If the parser calls other methods, or the state of a request is no longer in `cycle` and `transport`, a slow
    or endless request is bounded no more.
    """

    bounds = HttpSettings()

    @classmethod
    def with_settings(cls, settings: HttpSettings) -> "type[BoundedHttp]":
        """A protocol class for `uvicorn.Config(http=...)`."""
        return type("BoundedHttp", (cls,), {"bounds": settings})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(self.bounds.header_time, "head")

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._arm(self.bounds.header_time, "head")

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        # A little longer than the application's own deadline, whose answer is the better one.
        self._arm(self.bounds.body_time + 1.0, "body")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > self.bounds.header_limit:
            self._answer(431, f"The head of the request is larger than {self.bounds.header_limit} bytes.")
        else:
            # Not `msg`: that is uvicorn's word for all of them.
            self._answer(400, "This is no HTTP request that the portal can read.")

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.bounds.header_limit:
            raise HeadTooLarge

    def _arm(self, seconds: float, part: str) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._too_slow, part)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self, part: str) -> None:
        if self.transport.is_closing():
            return
        answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if part == "head" and not answered:
            self._answer(408, f"The head of the request took longer than {self.bounds.header_time:g} s to arrive.")
        else:
            self.transport.close()

    def _answer(self, status: int, message: str) -> None:
        """Answer, end our half of the connection, and let the client end its own.

        A socket that is closed before all that has arrived was read resets the connection, and the client may lose the
        answer (RFC 9112, section 9.6).
        """
        if self._refused:
            return
        self._refused = True
        error = {"code": INVALID_REQUEST, "message": message, "data": {"reason": "http"}}
        body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
        head = (
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % (status, _REASONS[status], len(body))
        )
        self.transport.write(head + body)
        self._disarm()
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.transport.can_write_eof() and not answering:
            self.transport.write_eof()
            self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()


class PortalUvicorn(uvicorn.Server):
    """uvicorn's server with an event for being ready, a call as it begins to stop, and no handlers of signals.

    Why: `started` is a flag that would have to be polled; streams must end before uvicorn waits for them; and a server
    inside a running program must leave its signals alone. If uvicorn calls other methods, `ready` is never set, streams
    hold up the end, or the program loses its signals.
    """

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None] | None) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._on_stop is not None:
            self._on_stop()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
