"""Answers that nobody reads: they do not stay, and who reads slowly or has nothing to read is left alone."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from portal.http import Edge, HttpSettings
from portal.http.unread import Unread
from portal.http.uvicorn import BoundedHttp, PortalUvicorn
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

LARGE = b"x" * 8_000_000
"""More than the system keeps for a connection of its own."""


class Served:
    """A server whose unread answers can be counted. `say` lets its event streams go on."""

    def __init__(self) -> None:
        self.port = 0
        self.unread = Unread()
        self.say = asyncio.Event()

    async def large(self, request: Request) -> Response:
        return Response(LARGE)

    async def events(self, request: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            yield b": first\n\n"
            await self.say.wait()
            yield b": second\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def flood(self, request: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            while True:
                yield b"data: " + b"x" * 10_000 + b"\n\n"
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type="text/event-stream")


@asynccontextmanager
async def served(seconds: float, most: int = 1 << 30, each: int = 1 << 30) -> AsyncIterator[Served]:
    found = Served()
    found.unread = Unread(most, each)
    app = Starlette(routes=[Route("/large", found.large), Route("/events", found.events), Route("/flood", found.flood)])
    http = BoundedHttp.with_edge(Edge(HttpSettings(write_time=seconds)), found.unread)
    server = PortalUvicorn(uvicorn.Config(app, http=http, port=0, log_config=None, timeout_graceful_shutdown=1), None)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        found.port = listener.getsockname()[1]
        task = asyncio.create_task(server.serve([listener]))
        await server.ready.wait()
        try:
            yield found
        finally:
            server.should_exit = True
            await task


@contextmanager
def asked(port: int, path: str, room: int = 4096) -> Iterator[socket.socket]:
    """A client that has asked and reads nothing by itself."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        client.setblocking(False)
        yield client


async def until_cut(client: socket.socket) -> None:
    """Return when the server has ended the connection, whether or not something is unread."""
    poll = select.poll()
    poll.register(client, 0)
    async with asyncio.timeout(PATIENCE):
        while not poll.poll(0):
            await asyncio.sleep(0.01)


def is_cut(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(0))


async def until_waiting(served: Served, size: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(served.unread) < size:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/large", "/flood"])
async def test_who_reads_nothing_is_cut_off_and_an_idle_stream_is_not(path: str) -> None:
    async with served(0.3) as server:
        with asked(server.port, "/events") as idle, asked(server.port, path) as lazy:
            await until_cut(lazy)
            assert len(server.unread) == 0
            assert not is_cut(idle)
            server.say.set()
            loop, text = asyncio.get_running_loop(), b""
            async with asyncio.timeout(PATIENCE):
                while b"second" not in text:
                    text += await loop.sock_recv(idle, 1000)


async def test_who_reads_slowly_gets_the_whole_answer() -> None:
    async with served(0.3) as server:
        with asked(server.port, "/large", room=64 * 1024) as slow:
            loop, size = asyncio.get_running_loop(), 0
            async with asyncio.timeout(PATIENCE):
                while size < len(LARGE):
                    part = await loop.sock_recv(slow, 100_000)
                    assert part, "the connection has ended early"
                    size += len(part)
                    # Slower than the deadline in all, and never as slow as it.
                    await asyncio.sleep(0.01)


async def test_of_too_much_for_one_network_the_answer_that_waits_longest_goes() -> None:
    async with served(PATIENCE, each=10_000_000) as server:
        with asked(server.port, "/large") as first:
            await until_waiting(server, 1_000_000)
            with asked(server.port, "/large") as second:
                await until_cut(first)
                assert not is_cut(second)
                assert len(server.unread) <= 10_000_000


async def test_of_too_much_in_all_whoever_holds_the_most_gives_way() -> None:
    cut: list[str] = []

    class Connection:
        def __init__(self, name: str) -> None:
            self.name = name

        def cut(self) -> None:
            cut.append(self.name)

    unread = Unread(most=10, each=8)
    modest, greedy, second = Connection("modest"), Connection("greedy"), Connection("second")
    unread.waits(modest, "a", 3)
    unread.waits(greedy, "b", 4)
    unread.waits(second, "b", 4)
    assert (cut, len(unread)) == (["greedy"], 7)
    unread.ended(modest)
    unread.ended(second)
    assert len(unread) == 0
