"""The HTTP edge over real sockets: what is refused, how that looks, and that a slow client costs nobody else."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from portal.http import Cors, Edge, Guard, HttpSettings, running
from portal.http.uvicorn import MOST_BEHIND
from tests.patience import PATIENCE
from tests.portal.http.raw import Answer, connected, send

pytestmark = pytest.mark.anyio

SETTINGS = HttpSettings(body_limit=1000, header_limit=2000, depth=5, allowed_origins=("https://app.example",))
IMPATIENT = replace(SETTINGS, header_time=0.2, body_time=0.2)
POST = "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def echo(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"length": len(body), "name": request.headers.get("x-name")})


def echo_app(settings: HttpSettings) -> Starlette:
    edge = Edge(settings)
    return Starlette(
        routes=[Route("/echo", echo, methods=["GET", "POST"])],
        middleware=[Middleware(Guard, edge=edge), Middleware(Cors, edge=edge)],
    )


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with running(echo_app(SETTINGS), http=SETTINGS) as url:
        yield url


@pytest.fixture
async def impatient() -> AsyncIterator[str]:
    async with running(echo_app(IMPATIENT), http=IMPATIENT) as url:
        yield url


def request(body: bytes, head: str = POST) -> bytes:
    return f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_a_good_request_passes_with_its_body(url: str) -> None:
    answer = await send(url, request(b'{"a":1}'))
    assert (answer.status, json.loads(answer.body)["length"]) == (200, 7)


async def test_a_byte_order_mark_is_no_part_of_a_body(url: str) -> None:
    answer = await send(url, request(b'\xef\xbb\xbf{"a":1}'))
    assert (answer.status, json.loads(answer.body)["length"]) == (200, 7)


async def test_white_space_round_a_header_value_is_no_part_of_it(url: str) -> None:
    answer = await send(url, request(b"{}", POST + "X-Name: \t padded name \t \r\n"))
    assert json.loads(answer.body)["name"] == "padded name"


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        ("POST /echo HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n", 421, "host"),
        ("POST /echo HTTP/1.1\r\nContent-Type: application/json\r\n", 421, "host"),
        (POST + "Host: evil.example\r\n", 421, "host"),
        (POST + "Origin: http://evil.example\r\n", 403, "origin"),
        (POST + "Origin: null\r\n", 403, "origin"),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\n", 415, "content_type"),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n", 415, "content_type"),
        ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jsonx\r\n", 415, "content_type"),
    ],
)
async def test_a_refused_request_is_told_why(url: str, head: str, status: int, reason: str) -> None:
    answer = await send(url, request(b"{}", head))
    assert (answer.status, answer.error["data"]) == (status, {"reason": reason})


async def test_a_get_is_checked_for_its_host_too(url: str) -> None:
    assert (await send(url, "GET /echo HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n")).status == 421


async def test_an_allowed_origin_may_read_the_answer_and_a_foreign_preflight_is_refused(url: str) -> None:
    preflight = (
        "OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n"
    )
    allowed = await send(url, preflight + "Origin: https://app.example\r\n\r\n")
    assert (allowed.status, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert (await send(url, preflight + "Origin: https://evil.example\r\n\r\n")).status == 403
    answer = await send(url, request(b"{}", POST + "Origin: https://app.example\r\n"))
    assert "mcp-session-id" in answer.headers["access-control-expose-headers"].lower()


async def test_a_body_over_the_limit_is_refused_by_its_declared_size(url: str) -> None:
    answer = await send(url, f"{POST}Connection: close\r\nContent-Length: 100000\r\n\r\n")
    assert (answer.status, answer.error["data"]) == (413, {"reason": "body_size"})


async def test_a_body_over_the_limit_is_refused_by_its_real_size(url: str) -> None:
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    answer = await send(url, f"{POST}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, chunk)
    assert answer.status == 413


async def test_deep_json_is_refused_before_anything_parses_it(url: str) -> None:
    answer = await send(url, request(b"[" * 6 + b"]" * 6))
    assert (answer.status, answer.error["data"]) == (400, {"reason": "depth"})
    assert (await send(url, request(b"[" * 5 + b"]" * 5))).status == 200


@pytest.mark.parametrize(
    "head", ["X: " + "y" * 3000 + "\r\n", "".join(f"X-{n}: y\r\n" for n in range(500)), "X:\r\n" * 60]
)
async def test_a_head_over_the_limit_is_refused(url: str, head: str) -> None:
    assert (await send(url, f"{POST}{head}\r\n")).status == 431


async def test_the_bounds_of_a_connection_are_those_in_force_when_its_request_comes() -> None:
    edge = Edge(SETTINGS)
    async with running(echo_app(SETTINGS), http=edge) as url:
        head = f"{POST}X-Name: {'x' * 500}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        assert (await send(url, head)).status == 200
        edge.replace(replace(SETTINGS, header_limit=400))
        assert (await send(url, head)).status == 431


@pytest.mark.parametrize(
    ("begun", "status"),
    [("GET /", 431), ("GET /echo HTTP/1.1\r\nX: ", 431), ("GET /echo HTTP/1.1\r\nX", 431), (f"{POST}X: y\r\nZ: ", 431)],
)
async def test_a_part_of_the_head_that_has_no_end_is_given_up_before_its_end(url: str, begun: str, status: int) -> None:
    assert (await send_without_end(url, begun)).status == status


async def test_a_trailer_that_has_no_end_ends_the_connection(url: str) -> None:
    with pytest.raises((ConnectionError, EOFError)):
        await send_without_end(url, f"{POST}Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")


async def send_without_end(url: str, begun: str) -> Answer:
    """The answer to what begins like this and does not end."""
    async with connected(url) as (reader, writer), asyncio.timeout(PATIENCE):
        writer.write(begun.encode())
        answer = asyncio.create_task(reader.read())
        while not answer.done():
            writer.write(b"y" * 50_000)
            await writer.drain()
            await asyncio.sleep(0)
        if not (raw := await answer):
            raise EOFError
        return Answer(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /echo HTTP/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        f"{POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}".encode(),
        f"{POST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}".encode(),
        f"{POST}X\0: y\r\n\r\n".encode(),
    ],
)
async def test_what_is_no_http_is_refused_in_the_same_shape_and_closed(url: str, raw: bytes) -> None:
    answer = await send(url, raw)
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.error["data"] == {"reason": "http"}


@pytest.mark.parametrize("part", ["", "POST /ec", POST])
async def test_a_head_that_does_not_arrive_is_given_up(impatient: str, part: str) -> None:
    assert (await send(impatient, part)).status == 408


async def test_a_body_that_does_not_arrive_is_given_up(impatient: str) -> None:
    answer = await send(impatient, f"{POST}Content-Length: 10\r\n\r\n{{")
    assert (answer.status, answer.error["data"]) == (408, {"reason": "body_time"})


async def test_a_refused_client_reads_why_though_it_is_still_sending(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{POST}X: {'y' * 3000}\r\nY: y\r\n".encode())
    async with asyncio.timeout(PATIENCE):
        # What comes after the refusal, and is not read, would reset a closed connection.
        first = await reader.readexactly(1)
        for _ in range(50):
            writer.write(b"Z: " + b"z" * 10_000 + b"\r\n")
            await writer.drain()
        answer = Answer(first + await reader.read())
    writer.close()
    assert answer.status == 431


async def test_requests_that_are_sent_behind_each_other_are_answered_in_order_and_only_so_many_wait(url: str) -> None:
    one, last = "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Name: {}\r\n\r\n", "Connection: close\r\n\r\n"
    asked = [one.format(number) for number in range(MOST_BEHIND + 1)]
    asked[-1] = asked[-1].removesuffix("\r\n") + last
    answers = await send(url, "".join(asked))
    told = re.findall(rb'"name":"(\d+)"', answers.body)
    assert told == [b"%d" % number for number in range(MOST_BEHIND + 1)]
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write((one.format("x") * 10 * MOST_BEHIND).encode())
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()


async def test_many_slow_clients_delay_nobody(impatient: str) -> None:
    slow = [asyncio.create_task(send(impatient, POST)) for _ in range(100)]
    answers = await asyncio.gather(*(send(impatient, request(b"{}")) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert {(await task).status for task in slow} == {408}


async def test_an_address_in_use_is_an_error_that_says_so(url: str) -> None:
    with pytest.raises(OSError, match="in use"):
        async with running(echo_app(SETTINGS), port=int(url.rpartition(":")[2])):
            pass
