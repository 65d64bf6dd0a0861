"""Open connections: each network and all have so many, an idle one gives way, and one that asks nothing ends soon."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
import uvicorn
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from structlog.testing import capture_logs

from portal.http import Edge, HttpSettings, running
from portal.http.connections import MOST_LOOKED_AT, QUIET_SECONDS, ConnectionRoom, Idles
from portal.http.server import GONE_SECONDS, listening, most_connections
from portal.http.uvicorn import RETRY_SECONDS, BoundedHttp, PortalUvicorn
from portal.shares import Full
from tests.patience import PATIENCE
from tests.portal.http.raw import Answer

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
MINE, YOURS, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.4"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """`serve` uses uvloop, and whoever embeds the portal what they like."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


# Which one gives way.


@dataclass(eq=False)
class Open:
    """A connection that ends by itself at this time, or is in use."""

    at: float | None = 1.0
    ended: bool = False

    def ends_at(self) -> float | None:
        return self.at

    def end_idle(self) -> None:
        assert self.at is not None, "it is in use"
        self.ended = True


def opened(room: ConnectionRoom, holder: str, *ends: float | None) -> list[Open]:
    """Connections of this holder that have come in."""
    connections = [Open(at) for at in ends]
    for connection in connections:
        assert room.enter(connection, holder) is None
    return connections


def test_in_a_part_that_is_used_up_the_one_that_would_end_first_gives_way_and_none_of_others() -> None:
    room = ConnectionRoom(most=10, each=3)
    [other] = opened(room, "b", 0.5)
    late, early, used = opened(room, "a", 3.0, 2.0, None)
    opened(room, "a", None)
    assert (late.ended, early.ended, used.ended, other.ended) == (False, True, False, False)
    assert (len(room), room.ended, room.refused) == (4, 1, 0)


def test_where_none_of_a_full_part_is_idle_the_newcomer_is_refused_and_others_are_not() -> None:
    room = ConnectionRoom(most=10, each=3)
    used = opened(room, "a", None, None, None)
    full = room.enter(Open(), "a")
    assert full is not None and (full.own, full.most) == (True, 3)
    opened(room, "b", 1.0)
    room.left(used[0])
    opened(room, "a", 1.0)
    assert (room.ended, room.refused) == (0, 1)


def test_where_all_is_taken_the_network_with_the_most_gives_way() -> None:
    room = ConnectionRoom(most=6, each=4)
    [modest] = opened(room, "b", 0.5)
    greedy = opened(room, "a", 4.0, 3.0, None, None)
    [third] = opened(room, "c", 0.1)
    opened(room, "c", None)
    assert [one.ended for one in (modest, *greedy, third)] == [False, False, True, False, False, False]


def test_nobody_gives_way_to_a_network_that_has_as_much_but_it_gives_way_to_itself() -> None:
    room = ConnectionRoom(most=4, each=4)
    others = opened(room, "a", 1.0, 1.0)
    mine = opened(room, "b", None, 2.0)
    opened(room, "b", None)
    assert [one.ended for one in (*others, *mine)] == [False, False, False, True]
    full = room.enter(Open(), "b")
    assert full is not None and (full.own, full.most) == (False, 4)


def test_of_ten_thousand_networks_with_an_idle_connection_each_one_gives_way_to_a_new_network() -> None:
    room = ConnectionRoom(most=200, each=10)
    idle = [opened(room, str(number), 1.0)[0] for number in range(200)]
    opened(room, "new", None)
    assert sum(one.ended for one in idle) == 1


def test_a_trusted_proxy_has_no_part_and_gives_way_to_itself_alone() -> None:
    room = ConnectionRoom(most=6, each=2)
    proxied = opened(room, "", 1.0, 1.0, 1.0, 1.0)
    networks = opened(room, "a", 2.0, None)
    # Somebody else finds room at the network that has the most.
    opened(room, "b", None)
    assert networks[0].ended
    full = room.enter(Open(), "b")
    assert full is not None and not full.own
    # So does the proxy, and where no network has an idle one, at its own.
    opened(room, "", None)
    assert [one.ended for one in proxied].count(True) == 1


def test_where_nobody_signs_in_one_network_may_have_all() -> None:
    room = ConnectionRoom(most=3, each=None)
    opened(room, "a", None, None, None)
    full = room.enter(Open(), "a")
    assert full is not None and (full.own, full.most) == (False, 3)


def test_in_a_flood_only_so_many_are_looked_at() -> None:
    looked = 0

    class Looked(Open):
        def ends_at(self) -> float | None:
            nonlocal looked
            looked += 1
            return None

    room = ConnectionRoom(most=1000, each=1000)
    for _ in range(1000):
        room.enter(Looked(), "a")
    assert room.enter(Open(), "a") is not None
    assert looked <= MOST_LOOKED_AT


def test_the_beginning_of_a_flood_is_logged_and_nothing_more_of_it() -> None:
    now = 0.0
    room = ConnectionRoom(most=3, each=2, clock=lambda: now)
    opened(room, "192.0.2.1", None, None)
    with capture_logs() as lines:
        for _ in range(100):
            room.enter(Open(), "192.0.2.1")
            now += QUIET_SECONDS / 2
        assert [(line["event"], line["network"], line["reason"]) for line in lines] == [
            ("there is no room for more connections", "192.0.2.1", "share")
        ]
        # That all is taken is something else.
        opened(room, "192.0.2.2", None)
        room.enter(Open(), "192.0.2.2")
        assert [line["reason"] for line in lines] == ["share", "full"]
        now += QUIET_SECONDS
        room.enter(Open(), "192.0.2.1")
        assert [line["reason"] for line in lines] == ["share", "full", "share"]
        assert lines[-1]["refused"] == 102


class Crowd(RuleBasedStateMachine):
    """Connections come, are used, rest and leave in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.room = ConnectionRoom(most=8, each=3)
        self.open: list[tuple[str, Open]] = []

    @rule(holder=st.sampled_from(["", "a", "b", "c", "d"]), at=st.none() | st.floats(0, 9))
    def come(self, holder: str, at: float | None) -> None:
        before, connection = Counter(whose for whose, _ in self.open), Open(at)
        full = self.room.enter(connection, holder)
        ended = [(whose, one) for whose, one in self.open if one.ended]
        self.open = [(whose, one) for whose, one in self.open if not one.ended]
        if full is None:
            self.open.append((holder, connection))
        assert len(ended) <= (full is None)
        for whose, _ in ended:
            assert whose == holder or (whose and (not holder or before[whose] > before[holder]))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), at=st.none() | st.floats(0, 9))
    def change(self, data: st.DataObject, at: float | None) -> None:
        data.draw(st.sampled_from(self.open))[1].at = at

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.open.remove(found := data.draw(st.sampled_from(self.open)))
        self.room.left(found[1])
        self.room.left(found[1])

    @invariant()
    def it_counts_what_is_open(self) -> None:
        assert len(self.room) == len(self.open) <= 8
        held = Counter(whose for whose, _ in self.open)
        assert all(count <= 3 for whose, count in held.items() if whose)


test_whatever_comes_and_goes_no_more_are_open_than_may_be = Crowd.TestCase


# Over real connections.

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Server:
    """A server that answers at once, or with a stream that lasts until `say`."""

    say: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/", self.answer), Route("/stream", self.stream)])

    async def answer(self, request: Request) -> Response:
        return PlainTextResponse("fine")

    async def stream(self, request: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b": first\n\n"
            await self.say.wait()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def connect(self, address: str, sent: bytes = b"", until: bytes = b"") -> Stream:
        """A connection from this address, over which this was sent and answered up to `until`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        self.stack.callback(writer.close)
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            if until:
                await reader.readuntil(until)
        return reader, writer

    async def ask(self, address: str) -> Answer:
        """The answer over a new connection."""
        reader, writer = await self.connect(address, ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        async with asyncio.timeout(PATIENCE):
            answer = Answer(await reader.read())
        writer.close()
        return answer


@asynccontextmanager
async def serving(settings: HttpSettings, *, identity: bool = True) -> AsyncIterator[Server]:
    found = Server()
    async with running(found.app, http=settings, identity=identity) as url:
        found.port = int(url.rpartition(":")[2])
        async with found.stack:
            yield found
            found.say.set()


async def read(stream: Stream) -> bytes:
    """What comes until the server ends the connection."""
    async with asyncio.timeout(PATIENCE):
        return await stream[0].read()


def few(most: int = 100, each: int = 3, **settings: object) -> HttpSettings:
    return HttpSettings(connections=most, connections_each=each, **settings)  # type: ignore[arg-type]


@LINUX
@pytest.mark.anyio
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n", ASK, ASK + b"\r\n"])
async def test_who_fills_the_part_of_a_network_and_asks_nothing_keeps_nobody_of_it_out(sent: bytes) -> None:
    async with serving(few(header_time=PATIENCE, keep_alive=PATIENCE)) as server:
        answered = b"fine" if ASK in sent else b""
        silent = [await server.connect(MINE, sent, answered) for _ in range(3)]
        # Between two of them, so that each is known to be idle.
        assert (await server.ask(YOURS)).status == 200
        assert (await server.ask(MINE)).status == 200
        assert b"HTTP" not in await read(silent[0])


@LINUX
@pytest.mark.anyio
async def test_a_network_whose_connections_are_all_in_use_is_told_so_and_another_is_served() -> None:
    async with serving(few()) as server:
        streams = [await server.connect(MINE, STREAM, b"first") for _ in range(3)]
        answer = await server.ask(MINE)
        assert (answer.status, answer.headers["retry-after"]) == (429, str(RETRY_SECONDS))
        assert answer.headers["connection"] == "close"
        assert answer.error["data"] == {"reason": "share"}
        assert (await server.ask(YOURS)).status == 200
        server.say.set()
        for stream in streams:
            await stream[0].readuntil(b"0\r\n\r\n")
        assert (await server.ask(MINE)).status == 200


@LINUX
@pytest.mark.anyio
async def test_the_refusal_comes_before_anything_is_sent() -> None:
    async with serving(few(each=1)) as server:
        await server.connect(MINE, STREAM, b"first")
        assert Answer(await read(await server.connect(MINE))).status == 429


@LINUX
@pytest.mark.anyio
async def test_where_all_is_taken_a_newcomer_gets_the_place_of_an_idle_one_and_else_a_503() -> None:
    async with serving(few(most=4, each=4, header_time=PATIENCE)) as server:
        for _ in range(3):
            await server.connect(MINE, STREAM, b"first")
        idle = await server.connect(MINE)
        await server.connect(YOURS, STREAM, b"first")
        assert await read(idle) == b""
        answer = await server.ask(YOURS)
        assert (answer.status, answer.error["data"]) == (503, {"reason": "full"})


@LINUX
@pytest.mark.anyio
async def test_a_trusted_proxy_has_as_many_as_there_are() -> None:
    proxies = [ip_network(f"{PROXY}/32")]
    async with serving(few(most=6, each=2, proxies=proxies)) as server:
        for _ in range(5):
            await server.connect(PROXY, STREAM, b"first")
        assert (await server.ask(MINE)).status == 200
        await server.connect(PROXY, STREAM, b"first")
        assert (await server.ask(PROXY)).status == 503


@pytest.mark.anyio
async def test_where_nobody_signs_in_loopback_has_as_many_as_there_are() -> None:
    async with serving(few(most=6, each=2), identity=False) as server:
        for _ in range(6):
            await server.connect("127.0.0.1", STREAM, b"first")
        assert (await server.ask("127.0.0.1")).status == 503


def test_a_process_that_may_open_few_files_has_room_for_fewer_in_the_same_proportion() -> None:
    settings = HttpSettings(connections=10_000, connections_each=4_000)
    assert most_connections(settings, 65_536) == (10_000, 4_000)
    assert most_connections(settings, 1024) == (512, 204)


@pytest.mark.anyio
@pytest.mark.parametrize("empty", [b"\r\n", b"\r\n\r\n", b"\n"])
async def test_an_empty_line_behind_a_request_keeps_no_connection_open(empty: bytes) -> None:
    async with serving(HttpSettings(header_time=0.2)) as server:
        stream = await server.connect("127.0.0.1", ASK, b"fine")
        stream[1].write(empty)
        assert Answer(await read(stream)).status == 408


@pytest.mark.anyio
async def test_empty_lines_before_a_request_are_no_part_of_it() -> None:
    async with serving(HttpSettings()) as server:
        reader, writer = await server.connect("127.0.0.1", b"\r\n\r\n" + ASK, b"fine")
        writer.write(b"\r\n")
        writer.write(ASK)
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"fine")


@pytest.mark.anyio
async def test_the_time_for_the_head_of_the_first_request_begins_with_the_connection() -> None:
    class Seen(ConnectionRoom):
        entered: Idles

        def enter(self, connection: Idles, holder: str) -> Full | None:
            self.entered = connection
            return super().enter(connection, holder)

    read_by = asyncio.Event()

    class Reads(BoundedHttp):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            read_by.set()

    room, server = Seen(10, None), Server()
    config = uvicorn.Config(server.app, http=Reads.with_edge(Edge(), room=room), log_config=None)
    portal = PortalUvicorn(config, None)
    with listening("127.0.0.1", 0) as listener:
        task = asyncio.create_task(portal.serve([listener]))
        await portal.ready.wait()
        server.port = listener.getsockname()[1]
        _, writer = await server.connect("127.0.0.1")
        ends = list[float | None]()
        for part in (b"\r\n", b"G", b"ET / HTTP/1.1\r\nHost: loc"):
            read_by.clear()
            writer.write(part)
            async with asyncio.timeout(PATIENCE):
                await read_by.wait()
            ends.append(room.entered.ends_at())
        assert ends[0] is not None and ends == ends[:1] * 3
        writer.close()
        portal.should_exit = True
        await task


@LINUX
@pytest.mark.anyio
async def test_a_burst_of_connections_waits_in_the_system_until_it_is_taken() -> None:
    async with serving(HttpSettings()) as server:
        # The server takes none meanwhile: this is its loop.
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(500)]
        for client in clients[:-1]:
            server.stack.callback(client.close)
        reader, writer = await asyncio.open_connection(sock=clients[-1])
        server.stack.callback(writer.close)
        writer.write(ASK)
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"fine")


@LINUX
def test_a_client_that_is_gone_without_a_word_is_noticed() -> None:
    with listening("127.0.0.1", 0) as listener, socket.socket() as client:
        listener.setblocking(True)
        listener.listen()
        client.connect(listener.getsockname())
        taken, _ = listener.accept()
        with taken:
            assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            options: Sequence[int] = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT)
            idle, between, gone = (taken.getsockopt(socket.IPPROTO_TCP, option) for option in options)
    # Within the time there is more than one question.
    assert (gone, idle + 2 * between <= GONE_SECONDS) == (GONE_SECONDS * 1000, True)
