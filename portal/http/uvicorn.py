"""What the portal changes in uvicorn: bounds on requests and on answers that wait, and the ends of a server.

Neither `HttpToolsProtocol` nor the methods of `Server` are meant to be overridden, so any release may move them.
`tests/portal/test_sdk.py` has a test that says which one moved.
"""

import asyncio
import socket
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, cast

import orjson
import uvicorn
from mcp_types import INVALID_REQUEST
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from portal.http.client_ip import client_ip, is_within
from portal.http.connections import ConnectionRoom
from portal.http.edge import Edge, HttpSettings
from portal.http.refusal import no_room, refuse
from portal.http.unread import Unread
from portal.shares import Full, network_of

if sys.platform != "win32":
    import fcntl
    import termios

# How long what a client still sends is read and dropped after it was refused.
_LINGER_SECONDS = 2.0
LEAST_TAKEN = 16 * 1024
"""Of bytes that wait a client takes as many in `write_time`: slower than any network that people use."""
_AROUND_FIELD = 32
"""What a field of the head counts beside its name and its value, as in HTTP/2 (RFC 9113, section 6.5.2): of empty
ones there would be sixty thousand."""
MOST_BEHIND = 16
"""Requests that may wait behind one that is under way on the same connection."""
RETRY_SECONDS = 5
"""After which a client for whose connection there was no room may come again."""
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class HeadTooLarge(Exception):
    """Raised into the parser, which stops there."""


class TooManyBehind(Exception):
    """Raised into the parser, which stops there."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's httptools protocol with deadlines and a bound on the head. Bind them with `with_edge`.

    Why: uvicorn keeps a connection for as long as bytes trickle in, and lets header fields grow without end. Here the
    head of a request has a size and a time, its body has a time, and a connection that exceeds one is answered and
    closed. uvicorn also keeps an answer for as long as its client takes nothing of it, and ends a connection at once
    where the client is still sending, which loses the answer. Here a connection on which bytes wait ends when its
    client takes none for a while, or when too many wait for its network; an event stream on which nothing happens has
    nothing that waits. And a client that is refused amid its body has time to read why.

    uvicorn hands the head of an answer to the system, then its body: two calls, two packets, and a client that wakes
    twice. Here what comes of the body at once leaves together with the head.

    When a connection is lost, uvicorn tells only the request that came last: one under way, behind which its client has
    sent another, would go on for ever and hold what it holds. Here it is told as well. And uvicorn reads as many
    requests behind one as come: ten thousand, which one read of the socket brings, take a quarter of a second. Here a
    connection with too many ends.

    uvicorn takes every connection, and one on which an empty line has followed a request has no deadline. Here a
    connection for which there is no room is answered and closed before anything of it is read, and each one has a
    deadline whenever no request is under way.

    If the parser or the transport calls other methods, if the state of a request is no longer in `cycle` and
    `transport`, or if an answer ends its connection otherwise than by `cycle.transport.close`, slow or endless requests
    and unread answers are bounded no more, or refusals lost. If an answer is written otherwise than by
    `cycle.transport.write`, its parts change places.
    """

    edge = Edge()
    unread = Unread()
    room = ConnectionRoom(HttpSettings().connections, None)

    @classmethod
    def with_edge(
        cls, edge: Edge, unread: Unread | None = None, room: ConnectionRoom | None = None
    ) -> "type[BoundedHttp]":
        """A protocol class for `uvicorn.Config(http=...)`; its connections share `unread` and `room`."""
        unread = Unread() if unread is None else unread
        room = ConnectionRoom(edge.settings.connections, edge.settings.connections_each) if room is None else room
        return type("BoundedHttp", (cls,), {"edge": edge, "unread": unread, "room": room})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._most_head_bytes = self.bounds.header_limit
        self._unsaid = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False
        self._watch: asyncio.TimerHandle | None = None
        self._under_way: RequestResponseCycle | None = None
        self._held: bytes | None = None
        self._release: asyncio.Handle | None = None

    @property
    def bounds(self) -> HttpSettings:
        """Those in force now."""
        return self.edge.settings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        ip = self.client[0] if self.client is not None else ""
        # Through a trusted proxy come the connections of everybody.
        if (full := self.room.enter(self, "" if is_within(ip, self.bounds.proxies) else network_of(ip))) is not None:
            self._refused = True
            transport.write(_without_room(full))
            # What the client has sent already may cost it the answer. To wait for it would be room again.
            transport.close()
            return
        # What the system does not take waits, and is watched. Not from the first byte on: the loop would send the head
        # of each answer by itself, instead of head and body together.
        transport.set_write_buffer_limits(high=LEAST_TAKEN, low=0)
        self._arm(self.bounds.header_time, "head")

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unsaid += len(data)
        super().data_received(data)
        if self._unsaid > self._most_head_bytes:
            self._end_endless()
        elif self._deadline is None and self.timeout_keep_alive_task is None and not self._is_asked:
            # Empty lines before a request are no part of it, but they have stopped uvicorn's clock for connections on
            # which nothing is asked.
            self._arm(self.bounds.header_time, "head")

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.left(self)
        self._disarm()
        self._stop_watching()
        self._take_held()
        super().connection_lost(exc)
        under_way, self._under_way = self._under_way, None
        if under_way is not None and not under_way.response_complete:
            under_way.disconnected = True
            under_way.message_event.set()

    @property
    def _is_asked(self) -> bool:
        """Whether a request is under way whose answer is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def ends_at(self) -> float | None:
        """When the connection ends by itself if its client sends nothing, in the time of the loop; None while a request
        is under way or bytes wait."""
        if self._is_asked or self.transport.get_write_buffer_size():
            return None
        ends = self._deadline or self.timeout_keep_alive_task
        return ends.when() if ends is not None else 0.0

    def end_idle(self) -> None:
        """End the connection, on which nothing is under way."""
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_again(self._waiting())

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def cut(self) -> None:
        """End the connection at once, and let go of what waits on it."""
        self._stop_watching()
        # Without this the system would go on to offer what it has of the answer.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _look_again(self, waiting: int) -> None:
        """Bytes wait: see later whether the client has taken some."""
        self._watch = self.loop.call_later(self.bounds.write_time, self._look, waiting)
        scope = cast("Scope | None", self.scope)
        ip = client_ip(scope, self.bounds.proxies) if scope is not None else ""
        self.unread.waits(self, f"address:{network_of(ip)}", self.transport.get_write_buffer_size())

    def _look(self, waited: int) -> None:
        waiting = self._waiting()
        if waited - waiting < LEAST_TAKEN:
            self.cut()
        else:
            self._look_again(waiting)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.unread.ended(self)

    def _waiting(self) -> int:
        """The bytes that the client has not taken: those here, and those that the system keeps, which takes no more
        before a good part of them has gone."""
        return self.transport.get_write_buffer_size() + _in_system(self.transport)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_BEHIND:
            raise TooManyBehind
        super().on_message_begin()
        # Another request may have ended in the same read.
        self._unset_keepalive_if_required()
        bounds = self.bounds
        self._head_bytes, self._most_head_bytes = 0, bounds.header_limit
        self._unsaid = 0
        if self._deadline is None:
            # Otherwise it is that of the connection's first request, and its time has begun with the connection.
            self._arm(bounds.header_time, "head")

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unsaid = 0
        # As `_count`, for what comes most often.
        self._head_bytes += len(name) + len(value) + _AROUND_FIELD
        if self._head_bytes > self._most_head_bytes:
            raise HeadTooLarge
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        # A little longer than the application's own deadline, whose answer is the better one.
        self._arm(self.bounds.body_time + 1.0, "body")
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", _Answer(self, self.cycle))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._unsaid = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        super().on_message_complete()
        if self.cycle.response_complete:
            # Its answer came first, and the rest of it has stopped uvicorn's clock for connections on which nothing is
            # asked.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        # An answer without a body.
        self.send_held()
        super().on_response_complete()

    def hold(self, head: bytes) -> None:
        """Send the head of an answer with what comes of its body in this turn of the loop."""
        self._held = head
        self._release = self.loop.call_soon(self.send_held)

    def send_held(self, body: bytes = b"") -> None:
        """Send the head that is held, if one is, with this part of its body."""
        held = self._take_held()
        if held and body:
            self.transport.writelines((held, body))
        elif part := held or body:
            self.transport.write(part)

    def _take_held(self) -> bytes | None:
        held, self._held = self._held, None
        if held is not None and self._release is not None:
            self._release.cancel()
        return held

    def send_400_response(self, msg: str) -> None:
        if self.pipeline:
            # An answer would be taken for that to the request which is under way.
            self.transport.close()
        elif self._head_bytes > self._most_head_bytes:
            self._answer(431, f"The head of the request is larger than {self._most_head_bytes} bytes.")
        else:
            # Not `msg`: that is uvicorn's word for all of them.
            self._answer(400, "This is no HTTP request that the portal can read.")

    def end_after(self, cycle: RequestResponseCycle) -> None:
        """The answer is sent and ends the connection: let the client read it also while it still sends its body."""
        self.send_held()
        if cycle.more_body and not self.transport.is_closing() and self.transport.can_write_eof():
            self._refused = True
            self._linger()
        else:
            self.transport.close()

    def _end_endless(self) -> None:
        """So much has come of which the parser says nothing: it keeps a field, of the head or of a trailer, that has no
        end."""
        if self._is_asked:
            self.transport.close()
        elif not self._refused:
            self._head_bytes = self._unsaid
            self.send_400_response("")

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._most_head_bytes:
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
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n" % (status, _REASONS[status], len(body))
        )
        self.send_held(head + body)
        self._disarm()
        if self.transport.can_write_eof() and not self._is_asked:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        self._disarm()
        self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class _Answer:
    """The transport as an answer uses it. Its head waits for its body, and its end is that of `end_after`: what is
    refused is refused without its body, so that often the answer comes before the client has sent that."""

    __slots__ = ("_begun", "_cycle", "_protocol", "is_closing")

    def __init__(self, protocol: BoundedHttp, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._begun = False
        self.is_closing = protocol.transport.is_closing

    def write(self, data: bytes) -> None:
        if self._begun:
            self._protocol.send_held(data)
        else:
            self._begun = True
            self._protocol.hold(data)

    def close(self) -> None:
        self._protocol.end_after(self._cycle)


def _in_system(transport: asyncio.Transport) -> int:
    """The bytes of a connection that the system has and the client has not confirmed; 0 where it does not say."""
    if sys.platform == "win32":
        return 0
    counted = array("i", [0])
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, counted)
    except OSError:
        return 0
    return counted[0]


def _without_room(full: Full) -> bytes:
    """The answer on a connection for which there is no room."""
    refused = refuse(no_room(full, "connections", RETRY_SECONDS))
    head = b"".join(b"%b: %b\r\n" % header for header in refused.raw_headers)
    status = HTTPStatus(refused.status_code)
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    return b"%b%bconnection: close\r\n\r\n%b" % (line, head, bytes(refused.body))


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
