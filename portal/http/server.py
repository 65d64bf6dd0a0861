"""The HTTP server: uvicorn with our bounds, on a socket that we open; it says when it is ready and ends in order.

Its end is in order for clients too: a request that is cut off gets an answer that says so (`Parting`).
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import orjson
import uvicorn
from mcp_types import CONNECTION_CLOSED
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.bind import is_loopback, require_safe_bind
from portal.http.bodies import body_read
from portal.http.connections import ConnectionRoom
from portal.http.edge import Edge, HttpSettings
from portal.http.refusal import Refusal, refuse
from portal.http.uvicorn import BoundedHttp, PortalUvicorn

if sys.platform != "win32":
    import resource

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

        def noting(message: Message) -> Awaitable[None]:
            nonlocal started
            if message["type"] == "http.response.start":
                started = Headers(raw=message.get("headers", []))
            return send(message)

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
            request_id = _request_id(body_read(scope)) if is_stream else None
            last = b"" if request_id is None else b"event: message\r\ndata: %b\r\n\r\n"
            await send({"type": "http.response.body", "body": last and last % refuse(refusal, request_id).body})


def _request_id(body: bytes) -> str | int | None:
    """Of a JSON-RPC request; None when the body is something else, or nobody has read it."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = request.get("id") if isinstance(request, dict) else None
    return found if isinstance(found, str | int) else None


GRACE_SECONDS = 5
_AT_ONCE: Final = 64
_QUEUE: Final = 2048
"""New connections that asyncio takes before it does something else, and that wait in the system until they are taken.
asyncio knows one number for both."""
GONE_SECONDS: Final = 90
"""For so long a client's system may answer nothing."""


@asynccontextmanager
async def running(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    identity: bool = False,
    http: HttpSettings | Edge | None = None,
    on_stop: Callable[[], None] | None = None,
) -> AsyncIterator[str]:
    """Serve while the block lasts, inside a running program whose signals it leaves alone. Yields the base URL.

    `http` are the bounds; those of an `Edge` may change meanwhile.

    `on_stop` is called as the server begins to stop, to end streams that would stay open. Requests in flight then have
    a few seconds to finish.

    Raises:
        UnsafeBind: others can reach the address and no identity is configured.
        OSError: the address cannot be listened on.
    """
    require_safe_bind(host, identity=identity)
    with listening(host, port) as listener:
        server = _server(app, http if isinstance(http, Edge) else Edge(http), on_stop, identity=identity)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        ready = asyncio.create_task(server.ready.wait())
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                raise RuntimeError("The server did not start; its log says why") from task.exception()
            listener.listen(_QUEUE)
            yield base_url(listener)
        finally:
            ready.cancel()
            server.should_exit = True
            await task


def base_url(listener: socket.socket) -> str:
    """`http://host:port` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: ASGIApp, edge: Edge, on_stop: Callable[[], None] | None, *, identity: bool) -> PortalUvicorn:
    config = uvicorn.Config(
        Parting(app, lambda: server.should_exit),
        http=BoundedHttp.with_edge(edge, room=_room(edge.settings, identity=identity)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_AT_ONCE,
        timeout_keep_alive=int(edge.settings.keep_alive),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = PortalUvicorn(config, on_stop)
    return server


def _room(settings: HttpSettings, *, identity: bool) -> ConnectionRoom:
    """Where nobody signs in connections are the operator's, and no network has a part of its own."""
    most, each = most_connections(settings, _descriptors())
    return ConnectionRoom(most, each if identity else None)


def most_connections(settings: HttpSettings, descriptors: int) -> tuple[int, int]:
    """How many connections there may be, and how many of one network, in a process that may have so many descriptors.

    Half of these are left for files and for connections to servers. Where that is less than the settings say, one
    network's part is smaller in proportion.
    """
    most = min(settings.connections, descriptors // 2)
    return most, max(1, settings.connections_each * most // settings.connections)


def _descriptors() -> int:
    """How many files and connections this process may have open."""
    if sys.platform == "win32":
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket, whose connections notice that their client has gone."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _notice_the_gone(listener)
        listener.setblocking(False)
        listener.bind(address)
        if is_loopback(host) and not is_loopback(listener.getsockname()[0]):
            raise OSError(f"{host!r} resolves to {listener.getsockname()[0]}, which others can reach")
        yield listener
    finally:
        listener.close()


def _notice_the_gone(listener: socket.socket) -> None:
    """Have the system end the connections, which take this from their listener, of clients that answer it no more. A
    client that went away without a word would keep its room for hours, on a stream for ever."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, GONE_SECONDS // 3)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, GONE_SECONDS // 6)
        # Also where bytes wait, which the client's system does not take: then there are no other questions.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_SECONDS * 1000)
