"""The HTTP server: uvicorn with our bounds, on a socket that we open; it says when it is ready and ends in order.

Its end is in order for clients too: a request that is cut off gets an answer that says so (`Parting`).
"""

import asyncio
import socket
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
from portal.http.edge import Edge, HttpSettings
from portal.http.refusal import Refusal, refuse
from portal.http.uvicorn import BoundedHttp, PortalUvicorn

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
    with _listen(host, port) as listener:
        server = _server(app, http if isinstance(http, Edge) else Edge(http), on_stop)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        ready = asyncio.create_task(server.ready.wait())
        try:
            await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                raise RuntimeError("The server did not start; its log says why") from task.exception()
            yield base_url(listener)
        finally:
            ready.cancel()
            server.should_exit = True
            await task


def base_url(listener: socket.socket) -> str:
    """`http://host:port` of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _server(app: ASGIApp, edge: Edge, on_stop: Callable[[], None] | None) -> PortalUvicorn:
    config = uvicorn.Config(
        Parting(app, lambda: server.should_exit),
        http=BoundedHttp.with_edge(edge),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(edge.settings.keep_alive),
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = PortalUvicorn(config, on_stop)
    return server


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        if is_loopback(host) and not is_loopback(listener.getsockname()[0]):
            raise OSError(f"{host!r} resolves to {listener.getsockname()[0]}, which others can reach")
        yield listener
    finally:
        listener.close()
