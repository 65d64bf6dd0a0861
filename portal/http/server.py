"""The HTTP server: uvicorn with our bounds, on a socket that we open; it says when it is ready and ends in order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from portal.http.bind import is_loopback, require_safe_bind
from portal.http.parting import Parting
from portal.http.settings import HttpSettings
from portal.http.uvicorn import BoundedHttp, PortalUvicorn

GRACE_SECONDS = 5


@asynccontextmanager
async def running(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    identity: bool = False,
    http: HttpSettings | None = None,
    on_stop: Callable[[], None] | None = None,
) -> AsyncIterator[str]:
    """Serve while the block lasts, inside a running program whose signals it leaves alone. Yields the base URL.

    `on_stop` is called as the server begins to stop, to end streams that would stay open. Requests in flight then have
    a few seconds to finish.

    Raises:
        UnsafeBind: others can reach the address and no identity is configured.
        OSError: the address cannot be listened on.
    """
    require_safe_bind(host, identity=identity)
    with _listen(host, port) as listener:
        server = _server(app, http or HttpSettings(), on_stop)
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


def _server(app: ASGIApp, http: HttpSettings, on_stop: Callable[[], None] | None) -> PortalUvicorn:
    config = uvicorn.Config(
        Parting(app, lambda: server.should_exit),
        http=BoundedHttp.with_settings(http),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(http.keep_alive),
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
