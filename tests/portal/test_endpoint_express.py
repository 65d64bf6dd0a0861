"""The short way gives the answers of the SDK's way, for plain requests and for whatever is almost one."""

from __future__ import annotations

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
from sandbox import Engine, InProcessExecutor, Limits
from tests.portal.portals import MODERN, Portal, portal_over
from tests.portal.upstreams.hosting import hosted

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
        async with hosted() as upstream, portal_over({"one": upstream}, code_tool=CodeTool(executor)) as portal:
            yield portal
    finally:
        await executor.aclose()
        engine.close()


def comparable(answer: httpx2.Response) -> tuple[Any, ...]:
    """All of an answer that two equal runs have in common."""
    body = answer.json() if answer.content else None
    if isinstance(body, dict) and "structuredContent" in body.get("result", {}):
        body["result"]["structuredContent"].pop("executionId")
    return answer.status_code, answer.headers.get("content-type"), body


@pytest.mark.anyio
async def test_both_ways_give_the_same_answer_to_every_request(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    async with httpx2.AsyncClient(timeout=20) as http:
        for url in (portal.code, portal.mcp, f"{portal.mcp}?optimize_context=minimize_tools"):
            for headers, message in PLAIN + OTHERS:
                body = json.dumps(message).encode()
                short = await http.post(url, content=body, headers=headers)
                with monkeypatch.context() as patched:
                    patched.setattr(express, "recognise", lambda headers, body: None)
                    long = await http.post(url, content=body, headers=headers)
                assert comparable(short) == comparable(long), (headers, message)


@pytest.mark.anyio
async def test_an_answer_that_takes_long_comes_as_a_stream_kept_alive(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.endpoint.attendance.PING_SECONDS", 0.05)
    slow = changed("params", "arguments", "code", to="await new Promise(done => setTimeout(done, 300)); return 1")
    async with httpx2.AsyncClient(timeout=20) as http:
        answer = await http.post(portal.code, json=slow, headers=HEAD)
    assert answer.headers["content-type"] == "text/event-stream"
    *pings, event = answer.text.strip().split("\r\n\r\n")
    assert pings and set(pings) == {": ping"}
    assert json.loads(event.partition("data: ")[2])["result"]["structuredContent"]["result"] == 1
