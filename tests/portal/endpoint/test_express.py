"""The short way gives the answers of the SDK's way, for plain requests and for whatever is almost one."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode import CodeTool
from portal.endpoint import express
from portal.endpoint.express import recognise
from portal.endpoint.sessions import Sessions
from sandbox import Engine, InProcessExecutor, Limits
from tests.patience import PATIENCE
from tests.portal.portals import MODERN, Portal, portal_over
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

META = "io.modelcontextprotocol/"
HEAD = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": MODERN,
    "mcp-method": "tools/call",
    "mcp-name": "code",
}
CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {
        "name": "code",
        "arguments": {"code": "3"},
        "_meta": {
            f"{META}protocolVersion": MODERN,
            f"{META}clientCapabilities": {},
            f"{META}clientInfo": {"name": "t", "version": "1"},
        },
    },
}
LIST: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": "a",
    "method": "tools/list",
    "params": {"_meta": CALL["params"]["_meta"]},
}
LIST_HEAD = {**{name: value for name, value in HEAD.items() if name != "mcp-name"}, "mcp-method": "tools/list"}

Change = Callable[[dict[str, Any]], Any]


def changed(*path: str, to: Any = None) -> dict[str, Any]:
    """The call with one member replaced, or removed when `to` is None."""
    message = copy.deepcopy(CALL)
    inner = message
    for step in path[:-1]:
        inner = inner[step]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return message


PLAIN = [
    (HEAD, CALL),
    (HEAD, changed("id", to="text")),
    (HEAD, changed("id", to=0)),
    (HEAD, changed("params", "arguments")),
    (HEAD, changed("params", "arguments", to={"code": 3, "x": 1})),
    (HEAD, changed("params", "arguments", "code", to="throw 1")),
    (HEAD, changed("params", "arguments", "code", to="return '\u2028\ud83d\ude00'")),
    (HEAD, changed("params", "_meta", f"{META}clientInfo")),
    (HEAD, changed("params", "_meta", "com.example/trace", to="x")),
    (HEAD, changed("params", "_meta", f"{META}clientCapabilities", to={"elicitation": {"form": {}}, "roots": {}})),
    (LIST_HEAD, LIST),
    *(
        ({**HEAD, "mcp-name": name}, changed("params", to={**CALL["params"], "name": name, "arguments": {"text": "x"}}))
        for name in (
            "one_echo",
            "one_structured",
            "one_fail",
            "one_ghost",
            "one_mirrored",
            "one_log",
            "one_ask",
            "query",
        )
    ),
]
OTHERS = [
    (HEAD, changed("jsonrpc", to="1.0")),
    (HEAD, changed("id", to=1.5)),
    (HEAD, changed("id", to=True)),
    (HEAD, changed("id", to=[])),
    (HEAD, changed("id")),
    (HEAD, changed("method", to="tools/list")),
    (HEAD, changed("params", to=[])),
    (HEAD, changed("params")),
    (HEAD, changed("params", "name", to="one_echo")),
    (HEAD, changed("params", "arguments", to=[])),
    (HEAD, changed("params", "extra", to=1)),
    (HEAD, changed("params", "requestState", to="x")),
    (HEAD, changed("params", "_meta")),
    (HEAD, changed("params", "_meta", to=3)),
    (HEAD, changed("params", "_meta", "progressToken", to=1)),
    (HEAD, changed("params", "_meta", f"{META}logLevel", to="info")),
    (HEAD, changed("params", "_meta", f"{META}logLevel", to="loud")),
    (HEAD, changed("params", "_meta", f"{META}clientCapabilities")),
    (HEAD, changed("params", "_meta", f"{META}clientCapabilities", to=3)),
    (HEAD, changed("params", "_meta", f"{META}clientCapabilities", to={"elicitation": 3})),
    (HEAD, changed("params", "_meta", f"{META}clientInfo", to={"name": 3})),
    (HEAD, changed("params", "_meta", f"{META}protocolVersion", to="2025-11-25")),
    (HEAD, changed("params", "_meta", f"{META}protocolVersion", to="2030-01-01")),
    ({**HEAD, "mcp-name": "cod"}, CALL),
    ({**HEAD, "mcp-name": "=?base64?Y29kZQ==?="}, CALL),
    ({**HEAD, "mcp-method": "tools/list"}, CALL),
    ({**HEAD, "mcp-protocol-version": "2030-01-01"}, CALL),
    ({**HEAD, "accept": "application/json"}, CALL),
    ({**HEAD, "accept": "*/*"}, CALL),
    ({**HEAD, "mcp-param-code": "3"}, CALL),
    ({name: value for name, value in HEAD.items() if name != "mcp-name"}, CALL),
    (HEAD, [CALL]),
    (HEAD, "text"),
    (LIST_HEAD, {**LIST, "params": {**LIST["params"], "cursor": "x"}}),
    ({**LIST_HEAD, "mcp-name": "x"}, LIST),
]


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@pytest.mark.parametrize(("headers", "message"), PLAIN)
def test_a_plain_request_is_recognised(headers: dict[str, str], message: Any) -> None:
    assert recognise(raw(headers), json.dumps(message).encode()) is not None


@pytest.mark.parametrize(("headers", "message"), OTHERS)
def test_anything_else_or_more_is_not(headers: dict[str, str], message: Any) -> None:
    assert recognise(raw(headers), json.dumps(message).encode()) is None


def test_a_header_given_twice_is_not_plain() -> None:
    for name in ("mcp-method", "mcp-name", "mcp-protocol-version", "accept"):
        twice = [*raw(HEAD), (name.encode(), HEAD[name].encode())]
        assert recognise(twice, json.dumps(CALL).encode()) is None


@given(st.binary(max_size=100))
def test_a_body_that_is_no_request_is_not_recognised(body: bytes) -> None:
    assert recognise(raw(HEAD), body) is None


@pytest.fixture
async def portal() -> AsyncIterator[Portal]:
    engine = Engine(Limits())
    executor = InProcessExecutor(engine)
    try:
        mirrored = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}
        more = [{"name": "mirrored", "inputSchema": mirrored}]
        async with (
            hosted(Behaviour(more=more)) as upstream,
            portal_over({"one": upstream}, code_tool=CodeTool(executor)) as portal,
        ):
            yield portal
    finally:
        await executor.aclose()
        engine.close()


def comparable(answer: httpx2.Response) -> tuple[Any, ...]:
    """All of an answer that two equal runs have in common."""
    body = answer.json() if answer.content else None
    if isinstance(body, dict) and "structuredContent" in body.get("result", {}):
        body["result"]["structuredContent"].pop("executionId", None)
    return answer.status_code, answer.headers.get("content-type"), body


@pytest.mark.anyio
async def test_both_ways_give_the_same_answer_to_every_request(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        for url in (portal.code, portal.mcp, f"{portal.mcp}?optimize_context=minimize_tools"):
            for headers, message in PLAIN + OTHERS:
                body = json.dumps(message).encode()
                short = await http.post(url, content=body, headers=headers)
                with monkeypatch.context() as patched:
                    patched.setattr(express, "recognise", lambda headers, body: None)
                    long = await http.post(url, content=body, headers=headers)
                assert comparable(short) == comparable(long), (headers, message)


OLD_CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "code", "arguments": {"code": "3"}}}
OLD = [
    OLD_CALL,
    {**OLD_CALL, "id": "text"},
    {**OLD_CALL, "params": {"name": "code"}},
    {**OLD_CALL, "params": {"name": "code", "arguments": {"code": "throw 1"}, "_meta": {"com.example/x": 1}}},
    {**OLD_CALL, "params": {"name": "code", "arguments": {"code": "return '\u2028'", "more": 1}}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
]
OLD_OTHERS = [
    {**OLD_CALL, "params": {"name": "one_echo", "arguments": {"text": "x"}}},
    {**OLD_CALL, "params": {"name": "code", "arguments": []}},
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "x"}},
    {"jsonrpc": "2.0", "id": 1, "method": "ping"},
]


async def opened(http: httpx2.AsyncClient, url: str, capabilities: dict[str, Any] | None = None) -> dict[str, str]:
    """The headers of a new 2025 session."""
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": capabilities or {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    plain = {name: HEAD[name] for name in ("accept", "content-type")}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    answer = await http.post(url, json=opening, headers=plain)
    session = {**plain, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post(url, json=ready, headers=session)).status_code == 202
    assert (
        await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=session)
    ).status_code == 200
    return session


def message_of(answer: httpx2.Response) -> Any:
    """The JSON-RPC message of an answer, however it came."""
    streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
    text = (
        next(line[6:] for line in answer.text.splitlines() if line.startswith("data: {")) if streamed else answer.text
    )
    message = json.loads(text)
    if "structuredContent" in message.get("result", {}):
        message["result"]["structuredContent"].pop("executionId", None)
    return message


@pytest.mark.anyio
async def test_both_ways_give_the_same_answer_in_a_session(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        for url in (portal.code, portal.mcp):
            session = await opened(http, url)
            for message in OLD + OLD_OTHERS:
                short = await http.post(url, json=message, headers=session)
                with monkeypatch.context() as patched:
                    patched.setattr(express, "recognise", lambda headers, body: None)
                    long = await http.post(url, json=message, headers=session)
                assert (short.status_code, message_of(short)) == (long.status_code, message_of(long)), message
                plain = message in OLD and (url == portal.code or message.get("method") == "tools/list")
                assert short.headers["content-type"].startswith("application/json" if plain else "text/event-stream")


@pytest.mark.anyio
async def test_a_session_of_nobody_or_of_another_version_or_with_questions_takes_the_long_way(portal: Portal) -> None:
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        session = await opened(http, portal.code)
        unknown = await http.post(portal.code, json=OLD_CALL, headers={**session, "mcp-session-id": "x"})
        assert unknown.status_code == 404
        other = await http.post(portal.code, json=OLD_CALL, headers={**session, "mcp-protocol-version": "2025-06-18"})
        asked = await opened(http, portal.code, {"elicitation": {}})
        for answer in (other, await http.post(portal.code, json=OLD_CALL, headers=asked)):
            assert answer.headers["content-type"].startswith("text/event-stream")
        await http.delete(portal.code, headers=session)
        assert (await http.post(portal.code, json=OLD_CALL, headers=session)).status_code == 404


@pytest.mark.anyio
async def test_a_session_is_over_for_its_client_as_soon_as_it_is_told_so(portal: Portal) -> None:
    """What the session held is given back later; a request that comes sooner must not be answered."""
    original = Sessions._end
    late: list[tuple[Sessions, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sessions, "_end", lambda self, key: late.append((self, key)))
        async with httpx2.AsyncClient() as http:
            session = await opened(http, portal.code)
            assert (await http.post(portal.code, json=OLD_CALL, headers=session)).status_code == 200
            assert (await http.delete(portal.code, headers=session)).status_code == 200
            assert (await http.post(portal.code, json=OLD_CALL, headers=session)).status_code == 404
    for book, key in late:
        original(book, key)


@pytest.mark.anyio
async def test_a_session_that_ends_stops_its_programs(portal: Portal) -> None:
    endless = {**OLD_CALL, "params": {"name": "code", "arguments": {"code": "await codemode.one.hang({text: ''})"}}}
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        session = await opened(http, portal.code)
        running = asyncio.create_task(http.post(portal.code, json=endless, headers=session))
        probe = {"name": "one_journal", "arguments": {"text": "call hang"}}
        await http.post(portal.mcp, json={**OLD_CALL, "params": probe}, headers=await opened(http, portal.mcp))
        await http.delete(portal.code, headers=session)
        assert (await running).json()["error"]["code"] == -32800
        probe = {"name": "one_journal", "arguments": {"text": "cancelled hang"}}
        await http.post(portal.mcp, json={**OLD_CALL, "params": probe}, headers=await opened(http, portal.mcp))


@pytest.mark.anyio
async def test_logs_of_a_session_come_ahead_of_the_answer(portal: Portal) -> None:
    logging = {
        **OLD_CALL,
        "params": {"name": "code", "arguments": {"code": "await codemode.one.log({text: 'hi'}); return 1"}},
    }
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        session = await opened(http, portal.code)
        level = {"jsonrpc": "2.0", "id": 2, "method": "logging/setLevel", "params": {"level": "info"}}
        await http.post(portal.code, json=level, headers=session)
        answer = await http.post(portal.code, json=logging, headers=session)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event.get("method") for event in events] == ["notifications/message", None]
    assert events[0]["params"]["data"] == {"said": "hi"}
    assert events[1]["result"]["structuredContent"]["result"] == 1


@pytest.mark.anyio
async def test_an_answer_that_takes_long_comes_as_a_stream_kept_alive(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.express.PING_SECONDS", 0.05)
    slow = changed("params", "arguments", "code", to="await new Promise(done => setTimeout(done, 300)); return 1")
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        answer = await http.post(portal.code, json=slow, headers=HEAD)
    assert answer.headers["content-type"] == "text/event-stream"
    *pings, event = answer.text.strip().split("\r\n\r\n")
    assert pings and set(pings) == {": ping"}
    assert json.loads(event.partition("data: ")[2])["result"]["structuredContent"]["result"] == 1
