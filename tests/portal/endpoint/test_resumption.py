"""A 2025-11-25 client whose connection broke gets its answer when it comes back, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.streamable_http import EventMessage
from mcp_types import JSONRPCMessage, JSONRPCNotification, JSONRPCResponse

from portal.endpoint.resumption import Backlog, SessionEvents
from tests.patience import PATIENCE
from tests.portal.portals import portal_over
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HEAD = {"accept": "application/json, text/event-stream"}


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


async def opened(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    answer = await http.post(url, json=opening, headers=HEAD)
    return {**HEAD, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}


def call(tool: str, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {"text": text}}}


async def cut_after_priming(http: httpx2.AsyncClient, url: str, session: dict[str, str]) -> str:
    """Start a call that hangs and break its connection once the first event is there; that event's id."""
    async with http.stream("POST", url, json=call("one_hang", ""), headers=session) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                return line[4:]
    raise AssertionError("no priming event came")


async def resumed(http: httpx2.AsyncClient, url: str, session: dict[str, str], event: str) -> Any:
    async with http.stream("GET", url, headers={**session, "last-event-id": event}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: {"):
                return json.loads(line[6:])
    return None


async def test_an_answer_is_there_for_a_client_that_comes_back(upstream: Hosted) -> None:
    async with portal_over({"one": upstream}) as portal, httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        session = await opened(http, portal.mcp)
        event = await cut_after_priming(http, portal.mcp, session)
        await upstream.upstream.journal.wait("call hang")
        upstream.upstream.release.set()
        answer = await resumed(http, portal.mcp, session, event)
    assert answer["id"] == 1 and answer["result"]["content"][0]["text"] == "released"


async def test_a_session_cannot_resume_anothers_stream(upstream: Hosted) -> None:
    async with portal_over({"one": upstream}) as portal, httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        ann, bob = await opened(http, portal.mcp), await opened(http, portal.mcp)
        await http.post(portal.mcp, json=call("one_echo", "of bob"), headers=bob)
        event = await cut_after_priming(http, portal.mcp, ann)
        await http.post(portal.mcp, json=call("one_echo", "of bob again"), headers=bob)
        await upstream.upstream.journal.wait("call hang")
        upstream.upstream.release.set()
        answer = await resumed(http, portal.mcp, ann, event)
        assert answer["result"]["content"][0]["text"] == "released"
        assert await resumed(http, portal.mcp, bob, "100") is None


def answer_to(request: int, text: str) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=request, result={"text": text})


async def replayed(store: SessionEvents, last: str) -> tuple[str | None, list[JSONRPCMessage]]:
    seen: list[JSONRPCMessage] = []

    async def take(event: EventMessage) -> None:
        seen.append(event.message)

    return await store.replay_events_after(last, take), seen


async def test_only_what_followed_on_the_same_stream_is_replayed() -> None:
    store = SessionEvents(Backlog())
    priming = await store.store_event("1", None)
    other = JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params={"level": "info"})
    await store.store_event("2", other)
    await store.store_event("1", answer_to(1, "a"))
    assert await replayed(store, priming) == ("1", [answer_to(1, "a")])
    assert await replayed(store, "99") == (None, [])
    assert await replayed(store, "x") == (None, [])


async def test_the_oldest_go_first_when_all_sessions_together_hold_too_much() -> None:
    backlog = Backlog(max_bytes=10_000)
    first, second = SessionEvents(backlog), SessionEvents(backlog)
    primed = await first.store_event("1", None)
    for number in range(20):
        await second.store_event("1", answer_to(number, "x" * 1000))
    assert backlog.bytes <= 10_000
    assert await replayed(first, primed) == (None, [])


async def test_what_is_old_goes_whatever_its_size() -> None:
    store = SessionEvents(Backlog(max_seconds=-1))
    event = await store.store_event("1", None)
    assert await replayed(store, event) == (None, [])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3000)), max_size=40))
def test_the_backlog_never_holds_more_than_it_may(stored: list[tuple[int, int]]) -> None:
    async def fill() -> None:
        backlog = Backlog(max_bytes=5000)
        stores = [SessionEvents(backlog) for _ in range(4)]
        for which, size in stored:
            await stores[which].store_event("s", answer_to(1, "x" * size))
            held = sum(kept.size for store in stores for kept in store._events.values())
            assert held == backlog.bytes <= 5000

    asyncio.run(fill())


async def test_large_answers_of_one_person_push_out_their_own_and_nobody_else_s() -> None:
    backlog = Backlog(max_bytes=10_000, each_bytes=4_000)
    ada, her_other, bob = SessionEvents(backlog, "ada"), SessionEvents(backlog, "ada"), SessionEvents(backlog, "bob")
    his = await bob.store_event("1", None)
    await bob.store_event("1", answer_to(1, "his"))
    hers = await her_other.store_event("1", None)
    for _ in range(20):
        await ada.store_event("1", answer_to(1, "x" * 1_500))
    assert await replayed(her_other, hers) == (None, [])
    stream, messages = await replayed(bob, his)
    assert stream == "1" and len(messages) == 1


async def test_where_all_answers_to_come_back_for_are_too_many_those_of_whoever_has_the_most_go() -> None:
    backlog = Backlog(max_bytes=9_000, each_bytes=6_000)
    ada, bob = SessionEvents(backlog, "ada"), SessionEvents(backlog, "bob")
    his = await bob.store_event("1", None)
    for _ in range(3):
        await ada.store_event("1", answer_to(1, "x" * 1_500))
    for _ in range(2):
        await bob.store_event("1", answer_to(1, "x" * 1_500))
    stream, messages = await replayed(bob, his)
    assert stream == "1" and len(messages) == 2
    assert backlog.bytes <= 9_000
