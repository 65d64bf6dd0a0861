"""Streamable HTTP against a server of raw bytes: bad data fails one call with a clear error, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from portal.egress import NameResolver, resolving_by
from portal.errors import (
    AuthorizationRequired,
    OutcomeUnknown,
    ResponseInvalid,
    ResponseTooLarge,
    RpcError,
    SessionExpired,
    UpstreamError,
    UpstreamTimeout,
)
from portal.trace_context import parse
from portal.upstream import CallContext, CallFacts
from tests.patience import PATIENCE
from tests.portal.egress.name_server import name_server
from tests.portal.upstreams.raw import Exchange, OnCall, Raw, raw_upstream
from tests.portal.upstreams.watching import Watched, ready, watched

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def answered_by(on_call: OnCall, *, legacy: bool = False, **settings: Any) -> AsyncIterator[tuple[Raw, Watched]]:
    async with raw_upstream(on_call, legacy=legacy) as raw, ready({"url": raw.url, "type": "http"}, **settings) as up:
        yield raw, up


async def failing_with(on_call: OnCall, expected: type[UpstreamError], **settings: Any) -> UpstreamError:
    """Call once and expect this error. Then the server behaves, and the same connection works."""
    async with answered_by(on_call, **settings) as (raw, up):
        with pytest.raises(expected) as caught:
            await up.call("echo")
        raw.on_call = say_fine
        assert await up.text("echo") == "fine"
        return caught.value


async def say_fine(exchange: Exchange) -> None:
    await exchange.text("fine")


async def test_an_html_error_page_is_told_from_an_answer() -> None:
    async def bad_gateway(exchange: Exchange) -> None:
        await exchange.answer(b"<html>\n<h1>502</h1>" + b"x" * 10_000, status=502, kind="text/html")

    error = await failing_with(bad_gateway, ResponseInvalid)
    assert isinstance(error, ResponseInvalid) and error.status == 502
    assert "HTTP 502 with text/html: <html> <h1>502</h1>" in error.message
    assert len(error.message) < 300


async def test_a_secret_that_is_echoed_back_does_not_reach_the_error() -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.answer(exchange.headers["authorization"].encode(), status=500, kind="text/plain")

    async with answered_by(echo, headers={"authorization": "Bearer hunter2-hunter2"}) as (_, up):
        with pytest.raises(ResponseInvalid) as caught:
            await up.call("echo")
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in repr(up.connection.config)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"jsonrpc":"2.0"', b"[]", b"null", b'"text"', b'{"id":1}', b"[" * 60_000, b"\xff\xfe", b"NaN"],
)
async def test_what_is_no_json_rpc_message_is_an_error(body: bytes) -> None:
    async def malformed(exchange: Exchange) -> None:
        await exchange.answer(body)

    await failing_with(malformed, ResponseInvalid)


@pytest.mark.parametrize("wrong", [0, "other", None, True, 1.5, [1]])
async def test_an_answer_to_another_request_is_an_error_at_once(wrong: object) -> None:
    async def misdirected(exchange: Exchange) -> None:
        await exchange.answer(json.dumps({"jsonrpc": "2.0", "id": wrong, "result": {}}).encode())

    await failing_with(misdirected, ResponseInvalid)


async def test_an_id_turned_into_a_string_is_still_ours() -> None:
    async def stringly(exchange: Exchange) -> None:
        result = {"content": [{"type": "text", "text": "ok"}]}
        await exchange.answer(json.dumps({"jsonrpc": "2.0", "id": str(exchange.id), "result": result}).encode())

    async with answered_by(stringly) as (_, up):
        assert await up.text("echo") == "ok"


async def test_a_json_rpc_error_keeps_its_code_message_and_data_under_any_status() -> None:
    async def refuse(exchange: Exchange) -> None:
        error = {"code": -32602, "message": "no such thing", "data": {"hint": [1]}}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
        await exchange.answer(body, status=400)

    error = await failing_with(refuse, RpcError)
    assert (error.code, error.message, error.data) == (-32602, "no such thing", {"hint": [1]})


@pytest.mark.parametrize("status", [400, 404, 422, 500])
@pytest.mark.parametrize("form", ["batch", "events", "byte order mark"])
async def test_the_error_that_answers_the_request_counts_in_every_form_under_any_status(status: int, form: str) -> None:
    async def refuse(exchange: Exchange) -> None:
        error = {"jsonrpc": "2.0", "id": str(exchange.id), "error": {"code": "-32602", "message": "no such file"}}
        log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x"}}
        text = json.dumps([log, error] if form == "batch" else error)
        text = {"batch": text, "events": f"event: message\ndata: {text}\n\n", "byte order mark": f"\ufeff{text}"}[form]
        kind = "text/event-stream" if form == "events" else "application/json"
        await exchange.answer(text.encode(), status=status, kind=kind)

    for legacy in (False, True):
        async with answered_by(refuse, legacy=legacy) as (raw, up):
            with pytest.raises(RpcError) as caught:
                await up.call("echo")
            assert (caught.value.code, caught.value.message) == (-32602, "no such file")
            assert (caught.value.status, len(raw.calls)) == (status, 1)


@pytest.mark.parametrize("status", [400, 404, 422, 500])
async def test_a_tool_that_says_that_it_failed_is_heard_under_the_status_of_an_error(status: int) -> None:
    async def fail(exchange: Exchange) -> None:
        result = {"content": [{"type": "text", "text": "the disk is full"}], "isError": True}
        body = json.dumps({"jsonrpc": "2.0", "id": exchange.id, "result": result}).encode()
        await exchange.answer(body, status=status)

    for legacy in (False, True):
        async with answered_by(fail, legacy=legacy) as (raw, up):
            result = await up.call("echo")
            assert result["isError"] and result["content"][0]["text"] == "the disk is full"
            assert len(raw.calls) == 1


async def test_a_result_that_contradicts_its_status_is_an_error_that_shows_it() -> None:
    async def contradict(exchange: Exchange) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": exchange.id, "result": {"content": []}}).encode()
        await exchange.answer(body, status=500)

    error = await failing_with(contradict, ResponseInvalid)
    assert error.status == 500 and '"result": {"content": []}' in error.message


LOST_SESSIONS: dict[str, tuple[int, str, Any]] = {
    "text": (404, "text/plain", "Not found"),
    "gone": (410, "text/plain", "gone"),
    "page": (404, "text/html", "<html>not found</html>"),
    "example": (400, "application/json", (-32000, "Bad Request: No valid session ID provided")),
    "example of a stream": (400, "text/plain", "Invalid or missing session ID"),
    "framework": (400, "application/json", '{"error": "Unknown session"}'),
    "started again": (400, "application/json", (-32000, "Bad Request: Server not initialized")),
    "other word": (404, "application/json", (-32001, "Unknown connection")),
    "in an answer": (200, "application/json", (-32602, "Received request before initialization was complete")),
}


@pytest.mark.parametrize("told", LOST_SESSIONS)
async def test_a_session_that_a_server_does_not_know_is_begun_again_however_it_says_so(told: str) -> None:
    status, kind, body = LOST_SESSIONS[told]

    async def in_session(exchange: Exchange) -> None:
        if exchange.headers.get("mcp-session-id") != "session-1":
            await exchange.text("fine")
        elif isinstance(body, str):
            await exchange.answer(body.encode(), status=status, kind=kind)
        else:
            await exchange.error(*body, status=status)

    async def initialize(exchange: Exchange) -> None:
        info = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "n"}}
        await exchange.result(info, also=f"mcp-session-id: session-{len(begun) + 1}")
        begun.append(exchange)

    begun: list[Exchange] = []
    async with raw_upstream(in_session) as raw:
        raw.legacy = True
        raw.overrides |= {"initialize": initialize, "tools/call": in_session}
        raw.overrides["tools/list"] = lambda exchange: exchange.result({"tools": raw.tools})
        async with ready({"url": raw.url, "type": "http"}) as up:
            assert await up.text("echo") == "fine"
            assert len(begun) == 2


async def test_an_error_of_a_tool_about_something_else_that_is_not_initialized_is_no_lost_session() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.error(-32603, "Chat client not initialized")

    async with answered_by(refuse, legacy=True) as (raw, up):
        with pytest.raises(RpcError, match="Chat client not initialized"):
            await up.call("echo")
        assert len(raw.calls) == 1


async def test_what_a_server_says_of_a_session_that_it_never_knows_is_in_the_error() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.error(-32000, "Session limit reached", status=400)

    async with answered_by(refuse, legacy=True) as (_, up):
        with pytest.raises(SessionExpired, match="no longer knows the session: Session limit reached"):
            await up.call("echo")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_demand_for_authorization_carries_its_challenge(status: int) -> None:
    async def demand(exchange: Exchange) -> None:
        await exchange.answer(b"", status=status, also='www-authenticate: Bearer resource_metadata="https://x"')

    error = await failing_with(demand, AuthorizationRequired)
    assert isinstance(error, AuthorizationRequired)
    assert (error.status, error.ran) == (status, "no")
    assert error.challenge == 'Bearer resource_metadata="https://x"'


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("text/plain", b"Missing header X-Api-Key", "; it says: Missing header X-Api-Key"),
        (
            "application/json",
            b'{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"no key"}}',
            "; it says: no key",
        ),
        ("text/html", b"<html>Sign in</html>", ""),
        ("text/plain", b"no " * 100, f"; it says: {'no ' * 25}no\u2026"),
        # Half a word may be half a secret, which nobody finds.
        ("text/plain", b"x" * 500, "; it says: \u2026"),
    ],
)
async def test_a_demand_for_authorization_has_the_server_s_own_words(
    status: int, kind: str, body: bytes, words: str
) -> None:
    async def demand(exchange: Exchange) -> None:
        await exchange.answer(body, status=status, kind=kind)

    error = await failing_with(demand, AuthorizationRequired)
    assert error.message.endswith(f"(HTTP {status}){words}" if status == 403 else words)


async def test_a_demand_for_authorization_says_where_a_token_goes_unless_there_are_credentials() -> None:
    async def demand(exchange: Exchange) -> None:
        await exchange.answer(b"", status=401, also='www-authenticate: Bearer resource_metadata="https://x"')

    async with answered_by(demand) as (_, up):
        with pytest.raises(AuthorizationRequired) as caught:
            await up.call("echo")
        assert '`headers`, as "Authorization": "Bearer ${TOKEN}"' in caught.value.message
        assert "log in with `codemode login up`" in caught.value.message
        with pytest.raises(AuthorizationRequired) as caught:
            await up.call("echo", credentials={"authorization": "Bearer of-this-user"})
        assert caught.value.message == "asks for authorization (HTTP 401)"
    async with answered_by(demand, headers={"Authorization": "Bearer outdated-token"}) as (_, up):
        with pytest.raises(AuthorizationRequired) as caught:
            await up.call("echo")
        assert "the credentials in its configuration are not those it wants" in caught.value.message


@pytest.mark.parametrize(
    "beginning", [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n"]
)
async def test_a_connection_reset_leaves_the_outcome_unknown(beginning: bytes) -> None:
    async def reset(exchange: Exchange) -> None:
        await exchange.send(beginning)
        exchange.abort()

    error = await failing_with(reset, OutcomeUnknown)
    assert error.ran == "unknown" and "may have run" in error.message


async def test_a_truncated_body_leaves_the_outcome_unknown() -> None:
    async def truncate(exchange: Exchange) -> None:
        await exchange.head(200, "content-type: application/json", "content-length: 500")
        await exchange.send(b'{"jsonrpc":"2.0","id":')
        exchange.close()

    await failing_with(truncate, OutcomeUnknown)


async def test_a_truncated_event_stream_leaves_the_outcome_unknown() -> None:
    async def truncate(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(b'data: {"jsonrpc":"2.0","id":')
        exchange.close()

    await failing_with(truncate, OutcomeUnknown)


async def test_what_is_no_http_is_an_error() -> None:
    async def garbage(exchange: Exchange) -> None:
        await exchange.send(b"\x00\x01\x02 no http\r\n\r\n")
        exchange.close()

    await failing_with(garbage, UpstreamError)


async def test_a_request_answered_with_accepted_does_not_hang() -> None:
    async def accepted(exchange: Exchange) -> None:
        await exchange.answer(b"", status=202)

    await failing_with(accepted, ResponseInvalid)


async def test_an_unknown_content_type_is_an_error() -> None:
    async def plain(exchange: Exchange) -> None:
        await exchange.answer(b"hello there", kind="text/plain")

    error = await failing_with(plain, ResponseInvalid)
    assert "text/plain: hello there" in error.message


async def test_a_result_over_the_limit_is_refused_by_its_announced_length() -> None:
    async def announce(exchange: Exchange) -> None:
        await exchange.head(200, "content-type: application/json", "content-length: 100000000")

    await failing_with(announce, ResponseTooLarge, maxResultBytes=10_000)


async def test_a_result_over_the_limit_is_cut_off_while_it_comes() -> None:
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.head(200, "content-type: application/json", "transfer-encoding: chunked")
        while sent < 200_000_000:
            await exchange.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            sent += 0x10000

    await failing_with(endless, ResponseTooLarge, maxResultBytes=1_000_000)
    assert sent < 50_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compression_bomb_is_cut_off_at_the_limit(encoding: str) -> None:
    bomb = b"[" * 100_000_000
    packed = gzip.compress(bomb, 1) if encoding == "gzip" else zlib.compress(bomb, 1)

    async def explode(exchange: Exchange) -> None:
        await exchange.answer(packed, also=f"content-encoding: {encoding}")

    await failing_with(explode, ResponseTooLarge, maxResultBytes=1_000_000)


async def test_a_compressed_answer_that_was_not_asked_for_is_read_all_the_same() -> None:
    async def compress(exchange: Exchange) -> None:
        result = {"content": [{"type": "text", "text": "a" * 600_000}]}
        packed = gzip.compress(json.dumps({"jsonrpc": "2.0", "id": exchange.id, "result": result}).encode())
        await exchange.answer(packed, also="content-encoding: gzip")

    async with answered_by(compress) as (_, up):
        assert await up.text("echo") == "a" * 600_000


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip"])
async def test_damaged_or_unknown_compression_is_an_error(encoding: str) -> None:
    async def damage(exchange: Exchange) -> None:
        await exchange.answer(b"\x1f\x8b\x08nonsense", also=f"content-encoding: {encoding}")

    await failing_with(damage, ResponseInvalid)


async def test_an_event_over_the_limit_is_cut_off() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.send(b"data: ")
        for _ in range(2000):
            await exchange.send(b"x" * 65536)

    await failing_with(endless, ResponseTooLarge, maxResultBytes=1_000_000)


async def test_a_server_that_trickles_meets_the_deadline_and_not_a_timeout_per_byte() -> None:
    async def trickle(exchange: Exchange) -> None:
        await exchange.head(200, "content-type: application/json", "content-length: 100000")
        while True:
            await exchange.send(b" ")
            await asyncio.sleep(0.01)

    error = await failing_with(trickle, UpstreamTimeout, timeout=0.3)
    assert error.ran == "unknown"


async def test_a_redirect_is_followed_only_on_its_own_origin_and_with_its_method() -> None:
    async def elsewhere(exchange: Exchange) -> None:
        await exchange.answer(b"", status=307, also="location: http://169.254.169.254/latest")

    error = await failing_with(elsewhere, ResponseInvalid)
    assert "http://169.254.169.254" in error.message

    async def as_get(exchange: Exchange) -> None:
        await exchange.answer(b"", status=302, also="location: /mcp/")

    await failing_with(as_get, ResponseInvalid)

    async def slash(exchange: Exchange) -> None:
        if exchange.path == "/mcp":
            await exchange.answer(b"", status=308, also="location: /mcp/")
        else:
            await exchange.text(exchange.path)

    async with answered_by(slash) as (_, up):
        assert await up.text("echo") == "/mcp/"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_that_is_not_followed_names_its_target_without_what_may_be_secret(status: int) -> None:
    async def elsewhere(exchange: Exchange) -> None:
        location = "https://user:pass@mcp.example.com/v2/mcp?key=hunter2-hunter2#top"
        await exchange.answer(b"", status=status, also=f"location: {location}")

    error = await failing_with(elsewhere, ResponseInvalid)
    assert error.message == (
        "redirects to https://mcp.example.com/v2/mcp, which is not followed; if that is the server, write that address "
        "into its `url`"
    )


async def test_a_redirect_in_a_circle_ends() -> None:
    async def around(exchange: Exchange) -> None:
        await exchange.answer(b"", status=307, also="location: /mcp")

    await failing_with(around, ResponseInvalid)


def compressed(form: str, body: bytes) -> bytes:
    if form == "gzip":
        return gzip.compress(body)
    bare = zlib.compressobj(wbits=-15)
    return bare.compress(body) + bare.flush()


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("utf-8", ""),
        ("none", ""),
        ("", ""),
        ("identity, gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "bare deflate"),
        ("br", None),
        ("gzip, gzip", None),
    ],
)
async def test_a_body_is_decompressed_as_browsers_do_it(encoding: str, form: str | None) -> None:
    async def answer(exchange: Exchange) -> None:
        body = json.dumps(
            {"jsonrpc": "2.0", "id": exchange.id, "result": {"content": [{"type": "text", "text": "ok"}]}}
        )
        sent = compressed(form, body.encode()) if form else body.encode()
        await exchange.answer(sent, also=f"content-encoding: {encoding}")

    async with answered_by(answer) as (_, up):
        if form is not None:
            assert await up.text("echo") == "ok"
        else:
            with pytest.raises(ResponseInvalid, match="which was not asked for"):
                await up.call("echo")


async def test_a_connection_that_closes_after_every_answer_costs_no_request_that_only_reads() -> None:
    used: set[Any] = set()

    async def once(exchange: Exchange) -> None:
        if exchange.writer in used:
            exchange.abort()
            return
        used.add(exchange.writer)
        results: dict[str, Any] = {
            "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "n"}},
            "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
        }
        if exchange.message["method"] in results:
            await exchange.result(results[exchange.message["method"]])
        else:
            await exchange.error(-32601, "Method not found")

    async with raw_upstream(once) as raw:
        raw.overrides |= dict.fromkeys(("server/discover", "initialize", "tools/list", "ping"), once)
        async with ready({"url": raw.url, "type": "http"}) as up:
            with pytest.raises(OutcomeUnknown):
                for _ in range(2):
                    with suppress(RpcError):
                        await up.call("echo")
            # A call may have had its effect.
            assert len(raw.calls) <= 2


async def test_a_gateway_that_refuses_the_probe_may_let_the_handshake_through() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(b"this method is not allowed", status=403, kind="text/plain")

    async with raw_upstream(say_fine, legacy=True) as raw:
        raw.overrides["server/discover"] = refuse
        async with ready({"url": raw.url, "type": "http"}) as up:
            assert await up.text("echo") == "fine"
        raw.overrides["initialize"] = refuse
        async with watched({"url": raw.url, "type": "http"}) as up:
            connection = await up.until(lambda connection: connection.state == "error")
            assert connection.reason == "refuses access (HTTP 403); it says: this method is not allowed"


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_an_answer_without_a_body_is_said_to_be_nothing(status: int) -> None:
    async def nothing(exchange: Exchange) -> None:
        await exchange.head(status, *([] if status == 204 else ["content-length: 0"]))

    error = await failing_with(nothing, ResponseInvalid)
    assert error.message == f"answered HTTP {status} with nothing"


async def test_progress_and_logs_in_the_answer_reach_the_call_in_order() -> None:
    async def talk(exchange: Exchange) -> None:
        token = exchange.message["params"]["_meta"]["progressToken"]
        await exchange.stream()
        for step in (1, 2):
            params = {"progressToken": token, "progress": step, "total": 2, "message": "on it"}
            await exchange.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "no"}})
        said = {"level": "info", "data": "said"}
        await exchange.event({"jsonrpc": "2.0", "method": "notifications/message", "params": said})
        await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {"content": []}})
        exchange.close()

    heard: list[object] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def on_log(params: object) -> None:
        heard.append(params)

    async with answered_by(talk) as (_, up):
        await up.call("echo", context=CallContext(on_progress=on_progress, on_log=on_log))
    assert heard == [(1, 2, "on it"), (2, 2, "on it"), {"level": "info", "data": "said"}]


async def test_an_interrupted_answer_is_resumed_where_it_stopped() -> None:
    pending: dict[str, object] = {}
    paused = 0

    async def on_pause() -> None:
        nonlocal paused
        paused += 1

    async def interrupt(exchange: Exchange) -> None:
        pending["id"] = exchange.id
        await exchange.stream()
        await exchange.event("", event_id="7", retry=1)
        exchange.close()

    async def resume(exchange: Exchange) -> None:
        if "last-event-id" not in exchange.headers:
            await exchange.answer(b"", status=405)
            return
        assert exchange.headers["last-event-id"] == "7"
        await exchange.stream()
        result = {"content": [{"type": "text", "text": "resumed"}]}
        await exchange.event({"jsonrpc": "2.0", "id": pending["id"], "result": result}, event_id="8")
        exchange.close()

    async with (
        raw_upstream(interrupt, legacy=True, on_get=resume) as raw,
        ready({"url": raw.url, "type": "http"}) as up,
    ):
        assert await up.text("echo", context=CallContext(on_pause=on_pause)) == "resumed"
        assert paused == 1


async def test_an_answer_that_cannot_be_resumed_fails_and_does_not_loop() -> None:
    async def interrupt(exchange: Exchange) -> None:
        await exchange.stream()
        await exchange.event("", event_id="7", retry=1)
        exchange.close()

    async with raw_upstream(interrupt, legacy=True) as raw, ready({"url": raw.url, "type": "http"}) as up:
        with pytest.raises(OutcomeUnknown):
            await up.call("echo")


@pytest.mark.parametrize("refusal", ["404", "400"])
async def test_an_expired_session_is_renewed_and_the_call_made_exactly_once(refusal: str) -> None:
    async with answered_by(say_fine, legacy=True) as (raw, up):

        async def expired(exchange: Exchange) -> None:
            if exchange.headers.get("mcp-session-id") == "session-2":
                await exchange.text("renewed")
            elif refusal == "404":
                await exchange.answer(b"Session not found", status=404, kind="text/plain")
            else:
                await exchange.error(-32000, "Bad Request: No valid session ID provided", status=400)

        raw.session = "session-2"
        raw.overrides["tools/call"] = expired
        assert await up.text("echo") == "renewed"
        asked = [one for one in raw.exchanges if one.message.get("method") == "tools/call"]
        assert [one.headers["mcp-session-id"] for one in asked] == ["session-1", "session-2"]


async def test_a_server_that_expires_every_session_gets_no_endless_retries() -> None:
    async with answered_by(say_fine, legacy=True) as (raw, up):

        async def expired(exchange: Exchange) -> None:
            await exchange.answer(b"Session not found", status=404, kind="text/plain")

        raw.overrides["tools/call"] = expired
        with pytest.raises(UpstreamError) as caught:
            await up.call("echo")
        assert caught.value.ran == "no"
        assert len([one for one in raw.exchanges if one.message.get("method") == "tools/call"]) == 2


async def test_lost_reads_are_repeated_once_and_other_calls_never() -> None:
    answers = 0

    async def lose_the_first(exchange: Exchange) -> None:
        nonlocal answers
        answers += 1
        if answers == 1:
            exchange.abort()
        else:
            await exchange.text("again")

    async with answered_by(lose_the_first) as (_, up):
        assert await up.text("echo", repeatable=True) == "again"
        answers = 0
        with pytest.raises(OutcomeUnknown):
            await up.call("echo")
        assert answers == 1


async def test_cancelling_a_modern_call_closes_its_answer() -> None:
    closed = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        await exchange.stream()
        try:
            while True:
                await exchange.send(b": still here\n\n")
                await asyncio.sleep(0.005)
        except ConnectionError:
            closed.set()
            raise

    async with answered_by(hang) as (raw, up):
        call = asyncio.create_task(up.call("echo"))
        await raw.seen("tools/call")
        call.cancel()
        async with asyncio.timeout(PATIENCE):
            await closed.wait()


async def test_cancelling_a_legacy_call_tells_the_server() -> None:
    async def hang(exchange: Exchange) -> None:
        await exchange.stream()
        await asyncio.Event().wait()

    async with answered_by(hang, legacy=True) as (raw, up):
        call = asyncio.create_task(up.call("echo"))
        asked = await raw.seen("tools/call")
        call.cancel()
        told = await raw.seen("notifications/cancelled")
        assert told.message["params"]["requestId"] == asked.id


PLACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_modern_requests_describe_themselves_in_headers_and_meta() -> None:
    async with answered_by(say_fine) as (raw, up):
        await up.connection.request(
            "tools/call",
            {"name": "é"},
            CallContext(
                meta={"traceparent": "00-1", "of/theirs": "x", "progressToken": 9},
                facts=CallFacts(trace=parse(PLACE)),
            ),
        )
        headers, meta = raw.calls[-1].headers, raw.calls[-1].message["params"]["_meta"]
        assert headers["mcp-protocol-version"] == "2026-07-28"
        assert headers["mcp-method"] == "tools/call"
        assert headers["mcp-name"] == "=?base64?w6k=?="
        assert meta["io.modelcontextprotocol/clientInfo"]["name"] == "portal-tests"
        assert meta["traceparent"] == headers["traceparent"] == PLACE and meta["of/theirs"] == "x"
        assert "progressToken" not in meta
        assert "mcp-session-id" not in headers


async def test_configured_headers_and_credentials_go_out_with_every_request() -> None:
    async with answered_by(say_fine, headers={"x-team": "blue"}) as (raw, up):
        await up.call("echo", credentials={"authorization": "Bearer of-this-user"})
        assert raw.calls[-1].headers["x-team"] == "blue"
        assert raw.calls[-1].headers["authorization"] == "Bearer of-this-user"
        assert all(one.headers["x-team"] == "blue" for one in raw.exchanges)
        await up.call("echo")
        assert "authorization" not in raw.calls[-1].headers


CLOUDS_OWN = [
    "169.254.169.254",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "0.0.0.0",
    "224.0.0.1",
    "2852039166",
    "0xa9.0xfe.43518",
    "１６９.254.169.254",
    "①⑥⑨.254.169。254",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[2001:0:4136:e378:8000:63bf:5601:5601]",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd00:c1::a9fe:a9fe]",
    "100.100.100.200",
]


@pytest.mark.parametrize("host", CLOUDS_OWN)
async def test_addresses_of_clouds_own_services_are_never_connected_to(host: str) -> None:
    async with watched({"url": f"http://{host}/mcp"}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        # What is a number only to the resolver is refused by what it resolves to.
        refusals = ("address is one no server may have", "host name cannot be resolved", "InvalidUrl")
        assert any(refusal in str(connection.reason) for refusal in refusals), connection.reason


async def test_a_name_that_points_to_such_an_address_is_not_followed() -> None:
    with name_server() as names, resolving_by(NameResolver([names.address])):
        names.addresses["rebinding.example"] = ["169.254.169.254"]
        async with watched({"url": "http://rebinding.example/mcp"}) as up:
            connection = await up.until(lambda connection: connection.state == "error")
            assert connection.reason == "its host name leads to an address no server may have"


async def test_a_server_that_is_replaced_by_one_of_the_other_generation_is_negotiated_with_anew() -> None:
    async with answered_by(say_fine) as (raw, up):
        raw.legacy = True
        while up.connection.protocol == "2026-07-28":
            await up.connection.refresh()
        await up.until(lambda connection: connection.state == "ready")
        assert up.connection.listing.protocol == "2025-11-25"
        assert await up.text("echo") == "fine"
        assert up.connection.retry_at is None


async def test_a_server_on_this_machine_is_not_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with answered_by(say_fine) as (_, up):
        assert await up.text("echo") == "fine"
    async with watched({"url": "http://upstream.example/mcp"}) as up:
        connection = await up.until(lambda connection: connection.state == "error")
        assert "cannot be reached" in (connection.reason or ""), "the proxy that is not there"


async def test_a_server_that_takes_no_notices_of_cancelled_calls_gets_only_so_many_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("portal.upstream.transports.http.MAX_NOTICES", 3)
    notice = "notifications/cancelled"

    async def never(exchange: Exchange) -> None:
        await exchange.gone.wait()

    async with answered_by(never, legacy=True) as (raw, up):
        raw.overrides[notice] = never
        calls = [asyncio.create_task(up.call("echo")) for _ in range(10)]
        await raw.seen("tools/call", 10)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        raw.on_call = say_fine
        assert await up.text("echo") == "fine"
        await raw.seen(notice, 3)
        assert sum(one.message.get("method") == notice for one in raw.exchanges) == 3
