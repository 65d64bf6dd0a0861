"""Bodies over real sockets: nothing is read before somebody asks, and what is read is bounded for each and for all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from portal.http import Edge, Guard, HttpSettings, body_of, running
from portal.http.bodies import Reading, Rooms
from portal.shares import Shares
from tests.hostile.lateness import STALL, least_late
from tests.patience import PATIENCE
from tests.portal.http.raw import Answer, connected, send

pytestmark = pytest.mark.anyio

MIB = 1 << 20
SETTINGS = HttpSettings(proxies=(ip_network("127.0.0.1/32"),), forms=("/form",), oauth=("/form",))
TIGHT = Rooms(
    strangers=Reading(Shares(6, 3), Shares(64 * 1024, 32 * 1024)), callers=Reading(Shares(9, 2), Shares(4 * MIB, MIB))
)


async def of_caller(request: Request) -> JSONResponse:
    """What a credential is needed for: whoever shows none is refused."""
    who = request.headers.get("x-caller")
    if who is None:
        return JSONResponse({}, 401)
    body = await body_of(request.scope, request.receive).read(4 * MIB, who)
    return JSONResponse({"length": len(body)})


async def of_stranger(request: Request) -> JSONResponse:
    return JSONResponse({"length": len(await request.body())})


@asynccontextmanager
async def portal(settings: HttpSettings = SETTINGS, rooms: Rooms | None = None) -> AsyncIterator[str]:
    app = Starlette(
        routes=[
            Route("/caller", of_caller, methods=["POST", "PUT"]),
            Route("/stranger", of_stranger, methods=["POST"]),
            Route("/form", of_stranger, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, edge=Edge(settings), rooms=rooms)],
    )
    async with running(app, http=settings) as url:
        yield url


def head(path: str, size: int | str, *more: str, method: str = "POST") -> str:
    """The head of a request whose body has this size, "chunked" for one that does not say."""
    kind = "application/x-www-form-urlencoded" if path == "/form" else "application/json"
    length = "Transfer-Encoding: chunked" if size == "chunked" else f"Content-Length: {size}"
    lines = ["Host: localhost", "Connection: close", f"Content-Type: {kind}", length, *more]
    return f"{method} {path} HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


@asynccontextmanager
async def unfinished(url: str, *parts: str | bytes) -> AsyncIterator[asyncio.StreamReader]:
    """A request of which no more than this is sent while the block lasts."""
    async with connected(url) as (reader, writer):
        for part in parts:
            writer.write(part.encode() if isinstance(part, str) else part)
        await writer.drain()
        yield reader


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/caller", 4 * MIB, 401),
        ("/caller", "chunked", 401),
        ("/caller", 4 * MIB + 1, 413),
        ("/stranger", 64 * 1024 + 1, 413),
        ("/form", 64 * 1024 + 1, 413),
        ("/nothing-there", 4 * MIB, 404),
    ],
)
async def test_whoever_may_not_send_a_body_is_answered_before_a_byte_of_it_is_sent(
    path: str, size: int | str, status: int
) -> None:
    async with portal() as url:
        assert (await send(url, head(path, size))).status == status


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_caller_may_send_what_a_stranger_may_not(method: str) -> None:
    body = b'"' + b"x" * MIB + b'"'
    async with portal() as url:
        answer = await send(url, head("/caller", len(body), "X-Caller: ada", method=method), body)
        assert (answer.status, answer.body) == (200, b'{"length":%d}' % len(body))
        assert (await send(url, head("/stranger", "chunked"), b"11170\r\n" + b"x" * 70_000)).status == 413


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("unit", "reason"), [(b"[],", "values"), (b'{"a":{}},', "values"), (b"1,", "values"), (b"[", "depth")]
)
async def test_what_would_become_too_many_objects_is_refused_before_the_rest_of_it_has_come(
    unit: bytes, reason: str, method: str
) -> None:
    begun = b"[" + unit * (600_000 // len(unit))
    async with portal() as url:
        answer = await send(url, head("/caller", 4 * MIB, "X-Caller: ada", method=method), begun)
    assert (answer.status, answer.error["data"]) == (400, {"reason": reason})


async def test_the_bodies_on_their_way_of_one_network_leave_room_for_those_of_others() -> None:
    async with portal(rooms=TIGHT) as url, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(unfinished(url, head("/form", 9, "X-Forwarded-For: 2001:db8::1"), b"a=b"))
        await until(lambda: TIGHT.strangers._bodies.of("address:2001:db8::/64") == 3)
        # Of one who has an address of an IPv6 network, all are.
        same = await send(url, head("/form", 9, "X-Forwarded-For: 2001:db8::ffff"), b"a=b")
        assert (same.status, same.headers["retry-after"]) == (429, "2")
        other = await send(url, head("/form", 9, "X-Forwarded-For: 192.0.2.7"), b"a=b", b"&c=def")
        assert other.status == 200
        # What a caller may send has nothing to do with it.
        assert (await send(url, head("/caller", 2, "X-Caller: ada"), b"{", b"}")).status == 200
    await until(lambda: len(TIGHT.strangers._bodies) == 0 and len(TIGHT.strangers._size) == 0)


async def test_the_bytes_on_their_way_are_bounded_for_each_caller_and_for_all() -> None:
    rooms = Rooms(callers=Reading(Shares(9, 5), Shares(2 * MIB, MIB)))
    part = b'"' + b"x" * 700_000
    async with portal(rooms=rooms) as url, AsyncExitStack() as stack:
        for who in ("ada", "bob"):
            await stack.enter_async_context(unfinished(url, head("/caller", 4 * MIB, f"X-Caller: {who}"), part))
        await until(lambda: len(rooms.callers._size) == 2 * len(part))
        assert (await send(url, head("/caller", 4 * MIB, "X-Caller: ada"), part)).status == 429
        assert (await send(url, head("/caller", 4 * MIB, "X-Caller: eve"), part)).status == 503
        small = b'"' + b"x" * 70_000 + b'"'
        assert (await send(url, head("/caller", len(small), "X-Caller: eve"), small)).status == 200
    await until(lambda: len(rooms.callers._size) == 0)


async def test_a_body_that_is_here_at_once_takes_no_room() -> None:
    none = Reading(Shares(0, 0), Shares(0, 0))
    async with portal(rooms=Rooms(none, none)) as url:
        assert (await send(url, head("/stranger", 2) + "{}")).status == 200


async def test_a_slow_body_is_given_up_in_the_words_of_its_path_and_its_room_is_free() -> None:
    rooms = Rooms()
    async with portal(replace(SETTINGS, body_time=0.2), rooms) as url:
        slow = await send(url, head("/form", 100), b"a=b")
        assert (slow.status, b"invalid_request" in slow.body) == (408, True)
        assert (await send(url, head("/caller", 100, "X-Caller: ada"), b"{")).error["data"] == {"reason": "body_time"}
    assert len(rooms.strangers._size) == len(rooms.callers._size) == 0


async def test_a_client_that_leaves_amid_its_body_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    rooms = Rooms()
    async with portal(rooms=rooms) as url:
        async with unfinished(url, head("/caller", 100, "X-Caller: ada"), b"{"):
            await until(lambda: len(rooms.callers._bodies) == 1)
        await until(lambda: len(rooms.callers._bodies) == 0)
    assert "Traceback" not in caplog.text


async def test_hostile_bodies_do_not_hold_up_the_event_loop() -> None:
    bodies = [b"[]" * (2 * MIB), b"[" + b"{}," * MIB, b'"' * 4 * MIB, b'"' + b'\\"' * 2 * MIB]
    async with portal() as url:

        async def attack() -> None:
            sent = (send(url, head("/caller", len(body), "X-Caller: ada"), body) for body in bodies)
            assert {answer.status for answer in await asyncio.gather(*sent)} <= {200, 400, 413}

        late = await least_late(attack)
        assert late.worst < STALL, late


async def test_an_answer_says_that_nobody_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    async with portal() as url:
        for path, more in (("/caller", "X-Caller: ada"), ("/caller", "X: y"), ("/nothing", "X: y"), ("/form", "X: y")):
            answer: Answer = await send(url, head(path, 2, more) + "{}")
            assert answer.headers["cache-control"] == "no-store", path


async def test_a_connection_whose_body_came_after_its_answer_does_not_stay_open() -> None:
    async with portal(replace(SETTINGS, keep_alive=1)) as url:
        begun = head("/caller", 10).replace("Connection: close\r\n", "")
        async with refused(url, begun, b'"12345') as (reader, writer):
            writer.write(b'678"')
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""


@asynccontextmanager
async def refused(
    url: str, begun: str, part: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which a request has been refused of whose body this part was sent."""
    async with connected(url) as (reader, writer):
        writer.write(begun.encode() + part)
        async with asyncio.timeout(PATIENCE):
            assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"{}"
        yield reader, writer
