"""The head of an answer: it leaves with what comes of the body at once, and never waits for what comes later."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from portal.http import Edge
from portal.http.uvicorn import BoundedHttp, PortalUvicorn
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

REQUEST = "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Application:
    """`/whole` has a body of known length, `/later` one that waits for `go_on`, `/empty` none."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        head = [(b"content-length", b"0" if path == "/empty" else b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        if path == "/later":
            await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"" if path == "/empty" else b"body"})


class Pieces(asyncio.Protocol):
    """Puts each piece that the system brings into `pieces`, and b"" at the end."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()

    def data_received(self, data: bytes) -> None:
        self.pieces.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.pieces.put_nowait(b"")

    async def next(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.pieces.get()


@asynccontextmanager
async def connected(application: Application) -> AsyncIterator[tuple[Pieces, asyncio.Transport]]:
    config = uvicorn.Config(
        application, http=BoundedHttp.with_edge(Edge()), port=0, lifespan="off", log_config=None, date_header=False
    )
    server = PortalUvicorn(config, None)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        task = asyncio.create_task(server.serve([listener]))
        await server.ready.wait()
        port = listener.getsockname()[1]
        transport, pieces = await asyncio.get_running_loop().create_connection(Pieces, "127.0.0.1", port)
        try:
            yield pieces, transport
        finally:
            transport.close()
            application.go_on.set()
            server.should_exit = True
            await task


async def test_an_answer_whose_body_comes_at_once_is_one_packet() -> None:
    async with connected(Application()) as (pieces, transport):
        for _ in range(30):
            transport.write(REQUEST.format(path="/whole").encode())
            piece = await pieces.next()
            assert piece.startswith(b"HTTP/1.1 200 OK\r\n") and piece.endswith(b"\r\n\r\nbody")


async def test_a_head_whose_body_comes_later_does_not_wait_for_it() -> None:
    application = Application()
    async with connected(application) as (pieces, transport):
        transport.write(REQUEST.format(path="/later").encode())
        assert (await pieces.next()).endswith(b"content-length: 4\r\n\r\n")
        application.go_on.set()
        assert await pieces.next() == b"body"


@pytest.mark.parametrize(
    "request_line", [REQUEST.format(path="/empty"), REQUEST.format(path="/whole").replace("GET", "HEAD")]
)
async def test_an_answer_without_a_body_leaves_and_the_connection_goes_on(request_line: str) -> None:
    async with connected(Application()) as (pieces, transport):
        for _ in range(2):
            transport.write(request_line.encode())
            assert (await pieces.next()).endswith(b"\r\n\r\n")


async def test_answers_without_bodies_that_are_asked_for_at_once_keep_their_order() -> None:
    async with connected(Application()) as (pieces, transport):
        paths = ["/empty", "/whole", "/empty", "/empty", "/whole"]
        transport.write("".join(REQUEST.format(path=path) for path in paths).encode())
        transport.write(b"GET /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := await pieces.next():
            received += piece
        heads = [part.split(b"\r\n\r\n")[1] for part in received.split(b"HTTP/1.1 200 OK")[1:]]
        assert heads == [b"", b"body", b"", b"", b"body", b"body"]


async def test_a_last_answer_without_a_body_leaves_before_the_connection_ends() -> None:
    async with connected(Application()) as (pieces, transport):
        transport.write(b"HEAD /whole HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await pieces.next()).endswith(b"connection: close\r\n\r\n")
        assert await pieces.next() == b""


async def test_what_cannot_be_read_behind_an_answer_that_has_begun_does_not_come_before_its_head() -> None:
    application = Application()
    async with connected(application) as (pieces, transport):
        transport.write(REQUEST.format(path="/later").encode() + b"\x00no request\r\n\r\n")
        received = b""
        while piece := await pieces.next():
            received += piece
        assert received.startswith(b"HTTP/1.1 ") and received.count(b"HTTP/1.1") <= 2


async def test_a_client_that_leaves_while_a_head_is_held_costs_nobody_else() -> None:
    application = Application()
    async with connected(application) as (_, transport):
        transport.write(REQUEST.format(path="/whole").encode())
        transport.abort()
        port = transport.get_extra_info("peername")[1]
        other, pieces = await asyncio.get_running_loop().create_connection(Pieces, "127.0.0.1", port)
        other.write(REQUEST.format(path="/whole").encode())
        assert (await pieces.next()).endswith(b"body")
        other.close()
