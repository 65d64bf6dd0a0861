"""HTTP with SSE, the oldest transport, used if the newer one is not available."""

from __future__ import annotations

import asyncio

import pytest

from portal.errors import UpstreamError
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.raw import Exchange, raw_upstream
from tests.portal.upstreams.verbatim import FINE, answers_of
from tests.portal.upstreams.watching import ready, watched

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("kind", [{}, {"type": "sse"}], ids=["unnamed", "named"])
async def test_a_server_that_has_only_sse_is_found_and_remembered(kind: dict[str, str]) -> None:
    async with hosted(transport="sse") as host, ready({"url": host.url, **kind}) as up:
        assert up.connection.negotiated.transport == "sse"
        assert up.connection.protocol == "2025-11-25"
        assert await up.text("echo", "hello") == "hello"


async def test_no_older_transport_is_tried_when_the_newer_is_asked_for() -> None:
    async with hosted(transport="sse") as host, watched({"url": host.url, "type": "http"}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert "HTTP 405" in (connection.reason or "")


async def test_what_is_neither_names_the_newer_transport_in_its_reason() -> None:
    async with hosted() as host, watched({"url": host.url.replace("/mcp", "/nothing")}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert "HTTP 404" in (connection.reason or "")


async def test_a_lost_stream_is_opened_again() -> None:
    async with hosted(transport="sse") as host, ready({"url": host.url}) as up:
        hanging = asyncio.create_task(up.call("hang"))
        await host.upstream.journal.wait("call hang")
        await host.restart()
        with pytest.raises(UpstreamError):
            await hanging
        assert await up.text("echo", "again") == "again"


async def test_a_change_of_the_list_is_heard() -> None:
    async with hosted(transport="sse") as host, ready({"url": host.url}) as up:
        await up.call("change", "brand-new")
        await up.until(lambda connection: "brand-new" in connection.listing.by_name)


@pytest.mark.parametrize(
    "endpoint", ["http://169.254.169.254/steal", "//169.254.169.254/steal", "https://127.0.0.1/mcp", "http://[::1"]
)
async def test_an_endpoint_elsewhere_is_refused(endpoint: str) -> None:
    async def never(exchange: Exchange) -> None:
        raise AssertionError("not reached")

    async def name_another(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(f"event: endpoint\ndata: {endpoint}\n\n".encode())
        await asyncio.Event().wait()

    async with raw_upstream(never, on_get=name_another) as raw, watched({"url": raw.url, "type": "sse"}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert "not on its own origin" in (connection.reason or "")
        assert ("169.254.169.254/steal" in (connection.reason or "")) == ("steal" in endpoint)


@pytest.mark.parametrize("acknowledged", ["never", "by the end of the connection", "with an error", "by the answer"])
async def test_an_answer_counts_however_its_message_is_acknowledged(acknowledged: str) -> None:
    streams: list[Exchange] = []
    answers = answers_of({"echo": FINE})

    async def stream(exchange: Exchange) -> None:
        streams.append(exchange)
        await exchange.stream()
        await exchange.send(b"event: endpoint\ndata: /messages\n\n")
        await asyncio.Event().wait()

    async def answer(exchange: Exchange) -> None:
        if "id" not in exchange.message:
            await exchange.answer(b"", status=202)
            return
        method = exchange.message["method"]
        asked = exchange.message["params"]["name"] if method == "tools/call" else method
        text = answers.get(asked, answers["*"]).replace("ID", str(exchange.id))
        if acknowledged == "by the answer":
            await exchange.answer(text.encode())
            return
        await streams[-1].send(f"data: {text}\n\n".encode())
        if acknowledged == "never":
            await asyncio.Event().wait()
        elif acknowledged == "with an error":
            await exchange.answer(b"late", status=500)
        else:
            exchange.abort()

    async with raw_upstream(answer, on_get=stream) as raw:
        methods = ("server/discover", "initialize", "notifications/initialized", "tools/list", "ping")
        raw.overrides |= dict.fromkeys(methods, answer)
        async with ready({"url": raw.url, "type": "sse"}, timeout=20) as up:
            for _ in range(3):
                assert await up.text("echo") == "fine"
            assert len(streams) == 1


async def test_a_stream_that_names_no_endpoint_is_an_error_in_time() -> None:
    async def never(exchange: Exchange) -> None:
        raise AssertionError("not reached")

    async def silent(exchange: Exchange) -> None:
        await exchange.stream()
        await asyncio.Event().wait()

    async with raw_upstream(never, on_get=silent) as raw:
        async with watched({"url": raw.url, "type": "sse"}, connectTimeout=0.2) as up:
            connection = await up.until(lambda connection: connection.state == "error")
            assert "did not answer within 0.2 s" in (connection.reason or "")
