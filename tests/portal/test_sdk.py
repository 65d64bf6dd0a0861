"""The private parts of libraries: each is where `portal.sdk` and `portal.http.uvicorn` look for it, and still needed.

A test that fails after an update names the part that moved; the docstring of the part says what it is for.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import httpx2
import mcp_types as types
import pytest
import uvicorn
from mcp.client import Client
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventStore
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from portal.http import uvicorn as ours
from portal.sdk import (
    StoreForEachSession,
    TooMuchFraming,
    close_pipes,
    connection_of,
    match_whole_paths,
    mount_any_path,
    read_in_turns,
    remove_telemetry,
    sealed,
)
from tests.patience import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_the_connection_of_a_request_is_the_private_one_of_its_session() -> None:
    found: list[Connection] = []

    async def list_tools(ctx: ServerRequestContext[Any, Any], params: Any) -> types.ListToolsResult:
        found.append(connection_of(ctx))
        return types.ListToolsResult(tools=[])

    async with Client(Server[Any]("test", on_list_tools=list_tools)) as client:
        await client.list_tools()
    (connection,) = found
    assert isinstance(connection, Connection)
    for part in ("state", "exit_stack", "session_id", "client_params", "protocol_version"):
        assert hasattr(connection, part), part
    public = {name for name in dir(ServerRequestContext) if not name.startswith("_")}
    assert "connection" not in public, "the SDK has a public way to the connection now: use that"


async def test_telemetry_is_the_only_middleware_that_goes() -> None:
    async def other(ctx: Any, call_next: Any) -> Any:
        return await call_next(ctx)

    server = Server[Any]("test")
    assert [type(middleware).__name__ for middleware in server.middleware] == ["OpenTelemetryMiddleware"]
    server.middleware.append(other)
    remove_telemetry(server)
    assert server.middleware == [other]


def test_a_route_matches_a_path_with_a_line_break_at_its_end_until_it_is_told_to_match_whole_paths() -> None:
    app = Starlette(routes=[Route("/mcp", PlainTextResponse("reached")), Route("/of/{name}", PlainTextResponse("too"))])

    async def statuses() -> list[int]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
            return [(await http.get(path)).status_code for path in ("/mcp%0A", "/of/one%0A", "/mcp", "/of/one")]

    assert anyio.run(statuses) == [200, 200, 200, 200], "Starlette matches whole paths now: this part can go"
    match_whole_paths(app)
    # A name in a path may have a line break: what it names decides.
    assert anyio.run(statuses) == [404, 200, 200, 200]


class Recorded(EventStore):
    """An event store that only counts."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        self.events.append(stream_id)
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        return None


async def test_each_session_reads_its_event_store_once_and_keeps_it() -> None:
    stores: list[Recorded] = []

    def new_store() -> EventStore:
        stores.append(Recorded())
        return stores[-1]

    manager = StoreForEachSession(Server[Any]("test"), new_store)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await manager.handle_request(scope, receive, send)

    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    headers = {"accept": "application/json, text/event-stream"}
    async with manager.run(), httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        for _ in range(2):
            opened = await http.post("/", json=opening, headers=headers)
            assert opened.status_code == 200
            session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
            ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            assert (await http.post("/", json=ping, headers={**headers, **session})).status_code == 200
    assert len(stores) == 2
    # Of the opening and of the ping; under the same names in both stores, which is why there are two.
    assert len(set(stores[0].events)) >= 2
    assert stores[0].events == stores[1].events


async def test_every_end_of_a_session_leads_past_one_method_and_it_can_be_ended_there() -> None:
    ended: list[str] = []
    manager = StoreForEachSession(Server[Any]("test"), Recorded, ended.append, session_idle_timeout=0.2)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await manager.handle_request(scope, receive, send)

    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    headers = {"accept": "application/json, text/event-stream"}

    async def opened(http: httpx2.AsyncClient) -> str:
        return str((await http.post("/", json=opening, headers=headers)).headers["mcp-session-id"])

    async with manager.run(), httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as http:
        by_client = await opened(http)
        await http.delete("/", headers={**headers, "mcp-session-id": by_client})
        from_outside = await opened(http)
        await manager.end(from_outside)
        assert by_client in ended and from_outside in ended
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        for session in (by_client, from_outside):
            assert (await http.post("/", json=ping, headers={**headers, "mcp-session-id": session})).status_code == 404
        by_idleness = await opened(http)
        async with asyncio.timeout(PATIENCE):
            while by_idleness not in ended:
                await asyncio.sleep(0)
        await http.post("/", json=ping, headers=headers)
        assert len(set(ended)) == 4, "the one that was refused too"


async def test_a_mount_matches_a_path_with_a_line_break_only_with_our_expression() -> None:
    inner = PlainTextResponse("reached")
    for mount, expected in ((Mount("/api", inner), 404), (mount_any_path("/api", inner), 200)):
        transport = httpx2.ASGITransport(Starlette(routes=[mount]))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
            assert (await http.get("/api/plain")).text == "reached"
            assert (await http.get("/api/a%0Ab")).status_code == expected, "a plain mount may do by now"
            assert (await http.get("/other/plain")).status_code == 404


@asynccontextmanager
async def left_behind() -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has ended, with a descendant that holds its output."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", "sleep 60 & echo started"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"started\n"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)


async def test_our_ends_of_pipes_close_though_a_descendant_holds_the_others() -> None:
    async with left_behind() as process:
        assert process.stdout is not None
        reading = asyncio.ensure_future(process.stdout.read())
        close_pipes(process)
        # The other end stays open for a minute.
        assert await asyncio.wait_for(reading, PATIENCE) == b""
        # With its pipes and its end the transport is closed too, without being told.
        await asyncio.wait_for(process.wait(), PATIENCE)
        gc.collect()


PARSER = (
    "connection_made",
    "data_received",
    "connection_lost",
    "on_message_begin",
    "on_url",
    "on_header",
    "on_headers_complete",
    "on_body",
    "on_message_complete",
    "send_400_response",
    "pause_writing",
    "resume_writing",
    "on_response_complete",
    "_start_asgi_task",
)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", PARSER)
def test_uvicorn_s_parser_calls_the_methods_that_bound_a_request(name: str) -> None:
    assert name in vars(ours.BoundedHttp)
    assert len(parameters(getattr(ours.BoundedHttp, name))) == len(parameters(getattr(HttpToolsProtocol, name)))


def test_uvicorn_s_parser_has_the_state_that_the_bounds_read() -> None:
    config = uvicorn.Config(PlainTextResponse("x"), http=ours.BoundedHttp)
    config.load()
    protocol = ours.BoundedHttp(
        config=config, server_state=uvicorn.Server(config).server_state, app_state={}, _loop=asyncio.new_event_loop()
    )
    protocol.loop.close()
    assert callable(protocol._unset_keepalive_if_required) and callable(protocol.timeout_keep_alive_handler)
    read = {
        "loop",
        "transport",
        "client",
        "cycle",
        "pipeline",
        "scope",
        "timeout_keep_alive",
        "timeout_keep_alive_task",
    }
    assert read <= vars(protocol).keys()
    # `cycle` is one of these once the head of a request is read.
    source = inspect.getsource(RequestResponseCycle.__init__)
    assert all(f"self.{name} = False" in source for name in ("response_started", "response_complete", "disconnected"))
    assert all(f"self.{name} = " in source for name in ("transport", "more_body", "message_event"))
    # Each part of an answer is written there, and its end is told before the next request begins.
    written = inspect.getsource(RequestResponseCycle.send)
    assert written.count("self.transport.write(") == 3 and "self.on_response()" in written


@pytest.mark.parametrize("name", ["startup", "shutdown", "capture_signals"])
def test_uvicorn_s_server_begins_and_ends_with_the_methods_that_are_ours(name: str) -> None:
    assert name in vars(ours.PortalUvicorn)
    assert parameters(getattr(ours.PortalUvicorn, name)) == parameters(getattr(uvicorn.Server, name))


async def test_uvicorn_s_server_is_ready_once_and_says_that_it_begins_to_stop() -> None:
    steps: list[str] = []
    config = uvicorn.Config(PlainTextResponse("x"), port=0, lifespan="off", log_config=None)
    server = ours.PortalUvicorn(config, lambda: steps.append("stopping"))
    before = signal.getsignal(signal.SIGTERM)
    task = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.ready.wait(), 30)
    steps.append("ready")
    assert server.started and signal.getsignal(signal.SIGTERM) is before
    server.should_exit = True
    await task
    assert steps == ["ready", "stopping"]


async def test_a_state_sealed_on_the_short_way_is_opened_by_the_sdks_own_chain() -> None:
    opened: list[str] = []
    boundary = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="test")

    async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        opened.append(str(params.request_state))
        return types.CallToolResult(content=[])

    async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[], ttl_ms=0, cache_scope="private")

    server = Server[Any](
        "test", on_call_tool=call_tool, on_list_tools=list_tools, get_tool_input_schema=lambda name: None
    )
    server.middleware.append(boundary)
    params = {"name": "code", "arguments": {"code": "1"}}
    request = Request({"type": "http", "headers": []})
    result = {"resultType": "input_required", "inputRequests": {}, "requestState": "the state"}
    state = (await sealed(boundary, "tools/call", params, request, result))["requestState"]
    assert "the state" not in state
    async with Client(server, mode="2026-07-28") as client:
        await client.session.call_tool("code", {"code": "1"}, request_state=state, allow_input_required=True)
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await client.session.call_tool("code", {"code": "2"}, request_state=state, allow_input_required=True)
    assert opened == ["the state"]


def chunked(pieces: list[bytes]) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


@asynccontextmanager
async def answering(answers: list[bytes], *, closes: bool = False) -> AsyncIterator[str]:
    """The URL of a server that gives these answers in order, byte by byte as they are."""
    waiting = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while waiting:
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            writer.write(waiting.pop(0))
            if closes:
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


PIECES = [b"a" * size for size in (1, 7, 4096, 5, 70_000, 16_384, 16_380, 3)] * 8


@pytest.mark.parametrize("closes", [False, True])
async def test_answers_that_aiohttp_reads_in_turns_come_whole_and_over_one_connection(closes: bool) -> None:
    body = b"".join(PIECES)
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    plain = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    answers = [chunked(PIECES), early * 3 + chunked(PIECES), plain, chunked([b"end"])]
    async with answering(answers[:1] if closes else answers, closes=closes) as url:
        connector = read_in_turns(aiohttp.TCPConnector(limit=1))
        async with aiohttp.ClientSession(connector=connector, read_bufsize=1024) as http:
            for expected in [body] if closes else [body, body, body, b"end"]:
                async with http.get(url) as response:
                    got = await response.read()
                assert len(got) == len(expected)
                assert got == expected


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 40, "informational"),
        (b"\r\n" * 3_000_000, "before its answer"),
        (chunked([b" "] * 200_000), "around the pieces"),
        (chunked([])[:-5] + b"1;" + b"x" * 1_000_000, "around the pieces"),
    ],
)
async def test_aiohttp_is_stopped_where_an_answer_has_too_much_around_it(answer: bytes, words: str) -> None:
    async with answering([answer]) as url:
        async with aiohttp.ClientSession(connector=read_in_turns(aiohttp.TCPConnector())) as http:
            with pytest.raises(TooMuchFraming, match=words):
                async with http.get(url) as response:
                    await response.read()


async def test_aiohttp_takes_any_number_of_informational_responses_by_itself() -> None:
    async with answering([b"HTTP/1.1 100 Continue\r\n\r\n" * 40 + chunked([b"end"])]) as url:
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert await response.read() == b"end"
