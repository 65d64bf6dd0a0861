"""A client on standard input and output sees what a client over HTTP sees, at a portal of this process or elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client
from mcp_types import ElicitResult, LoggingMessageNotificationParams, jsonrpc_message_adapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codemode import CodeTool
from portal.app import Instance
from portal.config import HttpServer
from portal.http import HttpSettings, running
from portal.stdio import Exchange, InProcess, Remote
from portal.upstream import TooLarge
from tests.patience import PATIENCE
from tests.portal.portals import LEGACY, MODERN, Heard, Portal, portal_over
from tests.portal.stdio.piping import INITIALIZE, piped, talking
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

CODE = "codemode=search_and_execute"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
Where = Callable[[Portal, str], Exchange]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def here(portal: Portal, query: str = "") -> Exchange:
    return InProcess(portal.instance.app, "/mcp", query)


def elsewhere(portal: Portal, query: str = "") -> Exchange:
    return remote(f"{portal.mcp}?{query}")


def remote(url: str) -> Remote:
    return Remote(HttpServer(id="portal", name="portal", url=url, transport="http"), None)


PLACES = pytest.mark.parametrize("place", [here, elsewhere])
MODES = pytest.mark.parametrize("mode", [LEGACY, MODERN])


@asynccontextmanager
async def portal_and_upstream(code: CodeTool | None = None, **settings: Any) -> AsyncIterator[tuple[Portal, Hosted]]:
    async with hosted(Behaviour()) as upstream, portal_over({"one": upstream}, code_tool=code, **settings) as portal:
        yield portal, upstream


@asynccontextmanager
async def client_through(exchange: Exchange, mode: str, **options: Any) -> AsyncIterator[Client]:
    try:
        async with asyncio.timeout(PATIENCE), Client(piped(exchange), mode=mode, cache=None, **options) as client:
            yield client
    finally:
        await exchange.aclose()


@PLACES
@MODES
async def test_code_is_listed_and_runs(place: Where, mode: str, code_tool: CodeTool) -> None:
    async with portal_and_upstream(code_tool) as (portal, _), client_through(place(portal, CODE), mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["code"]
        found = await client.call_tool("code", {"code": "return codemode.one.echo({text: 'ä\\u2028'})"})
        assert found.structured_content is not None and found.structured_content["result"] == "ä\u2028"


@PLACES
@MODES
async def test_progress_and_logs_and_questions_come_through(place: Where, mode: str) -> None:
    heard = Heard(ElicitResult(action="accept", content={}))
    async with (
        portal_and_upstream() as (portal, _),
        client_through(
            place(portal, ""), mode, elicitation_callback=heard.elicit, logging_callback=heard.log
        ) as client,
    ):
        found = await client.call_tool("one_progress", {"text": ""}, progress_callback=heard.progress)
        assert found.content[0].text == "done"  # type: ignore[union-attr]
        assert [step[0] for step in await heard.until("progress", 3)] == [1, 2, 3]
        asked = await client.call_tool("one_ask", {"text": "sure?"})
        assert asked.content[0].text.startswith("accept")  # type: ignore[union-attr]
        assert [one.message for one in heard.of("question")] == ["sure?"]
        if mode == LEGACY:
            await client.session.set_logging_level("debug")
            await client.call_tool("one_log", {"text": "x"})
            (entry,) = await heard.until("log")
            assert isinstance(entry, LoggingMessageNotificationParams) and entry.data == {"said": "x"}


@PLACES
async def test_changes_of_lists_and_of_watched_resources_come_through(place: Where) -> None:
    heard = Heard()
    async with portal_and_upstream() as (portal, upstream):
        async with client_through(place(portal, ""), LEGACY, message_handler=heard.message) as client:
            await client.session.subscribe_resource("test://one")
            await upstream.upstream.touch("test://one")
            await heard.until("notifications/resources/updated")
            await upstream.upstream.change("new")
            await heard.until("notifications/tools/list_changed")
            assert "one_new" in [tool.name for tool in (await client.list_tools()).tools]


@PLACES
async def test_changes_come_on_a_subscription_of_a_client_without_session(place: Where) -> None:
    async with portal_and_upstream() as (portal, upstream):
        exchange = place(portal, "")
        async with talking(exchange) as talk:
            params = {"notifications": {"toolsListChanged": True}, "_meta": META}
            talk.say({"jsonrpc": "2.0", "id": "listen", "method": "subscriptions/listen", "params": params})
            await talk.notified("notifications/subscriptions/acknowledged")
            await upstream.upstream.change("new")
            await talk.notified("notifications/tools/list_changed")
            talk.say(cancellation("listen"))
            talk.say({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": META}})
            assert "one_new" in [tool["name"] for tool in (await talk.answer(2))["result"]["tools"]]
        await exchange.aclose()


def cancellation(id: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "test"}}


def call(id: object, name: str, text: str = "", *, modern: bool = False, **meta: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": name, "arguments": {"text": text}}
    if modern or meta:
        params["_meta"] = {**(META if modern else {}), **meta}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


@PLACES
@MODES
async def test_a_cancelled_call_is_cancelled_at_the_server_and_has_no_answer(place: Where, mode: str) -> None:
    async with portal_and_upstream() as (portal, upstream):
        exchange, modern = place(portal, ""), mode == MODERN
        async with talking(exchange) as talk:
            if not modern:
                await talk.begin()
            talk.say(call("long", "one_hang", modern=modern))
            async with asyncio.timeout(PATIENCE):
                await upstream.upstream.journal.wait("call hang")
                talk.say(cancellation("long"))
                await upstream.upstream.journal.wait("cancelled hang")
            talk.say(call(2, "one_echo", "still here", modern=modern))
            assert (await talk.answer(2))["result"]["content"][0]["text"] == "still here"
            assert not any('"long"' in line for line in talk.written)
        await exchange.aclose()


@PLACES
async def test_what_is_no_message_ends_nothing(place: Where) -> None:
    async with portal_and_upstream() as (portal, _):
        exchange = place(portal, "")
        async with talking(exchange) as talk:
            await talk.begin()
            for line in (b"nonsense", b"{}", b"[]", b"\xff\xfe", b"\x00", b'{"jsonrpc":"2.0","id":1'):
                talk.line(line)
                assert (await talk.answer(None))["error"]["code"] in (-32700, -32600)
            talk.line(TooLarge(b'{"jsonrpc":"2.0","id":5,"method":"x"', b"}}"))
            assert "longer than" in (await talk.answer(5))["error"]["message"]
            talk.say(call(2, "one_echo", "x" * 5 * 1024 * 1024))
            assert "larger than" in (await talk.answer(2))["error"]["message"]
            talk.say({"jsonrpc": "2.0", "id": 3, "method": "no/such"})
            assert (await talk.answer(3))["error"]["code"] == -32601
            talk.say({"jsonrpc": "2.0", "id": 4, "method": "ping"})
            assert (await talk.answer(4))["result"] == {}
        await exchange.aclose()


@PLACES
async def test_numbers_and_odd_letters_pass_unchanged(place: Where) -> None:
    async with portal_and_upstream() as (portal, _):
        exchange = place(portal, "")
        async with talking(exchange) as talk:
            await talk.begin()
            talk.line(
                b'{"jsonrpc":"2.0","id":"\xc3\xa4\xf0\x9f\x8e\x88","method":"tools/call","params":'
                b'{"name":"one_echo","arguments":{"text":"\\u2028\\n\xf0\x9f\x8e\x88","more":123456789012345678901234567890}}}'
            )
            found = await talk.answer("ä🎈")
            assert found["result"]["content"][0]["text"] == "\u2028\n🎈"
        await exchange.aclose()


async def test_an_array_of_2025_03_26_has_one_answer(code_tool: CodeTool) -> None:
    async with portal_and_upstream(code_tool) as (portal, upstream):
        exchange = here(portal)
        async with talking(exchange) as talk:
            await talk.begin("2025-03-26")
            talk.say(
                [call(1, "one_echo", "a"), {"jsonrpc": "2.0", "method": "notifications/x"}, 7, call(2, "one_echo")]
            )
            found = await talk.next()
            assert {one["id"] for one in found} == {1, 2, None}
            talk.say([call(3, "one_echo", "a"), call(4, "one_hang")])
            async with asyncio.timeout(PATIENCE):
                await upstream.upstream.journal.wait("call hang")
            talk.say(cancellation(4))
            assert [one["id"] for one in await talk.next()] == [3]
        await exchange.aclose()


async def test_an_id_that_is_under_way_is_refused() -> None:
    async with portal_and_upstream() as (portal, upstream):
        exchange = here(portal)
        async with talking(exchange) as talk:
            await talk.begin()
            talk.say(call(1, "one_hang"), call(1, "one_echo"))
            assert "under way" in (await talk.answer(1))["error"]["message"]
            upstream.upstream.release.set()
            assert (await talk.answer(1))["result"]["content"][0]["text"] == "released"
        await exchange.aclose()


async def test_a_client_that_closes_its_output_has_what_it_had_asked_before() -> None:
    async with portal_and_upstream() as (portal, _):
        exchange = here(portal)
        async with talking(exchange) as talk:
            talk.say(INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call(1, "one_echo", "a"))
            talk.close()
            async with asyncio.timeout(PATIENCE):
                await talk.running
            assert (await talk.answer(1))["result"]["content"][0]["text"] == "a"
        await exchange.aclose()


async def test_a_client_that_leaves_in_the_middle_of_a_call_waits_for_nothing() -> None:
    async with portal_and_upstream() as (portal, upstream):
        exchange = here(portal)
        async with talking(exchange) as talk:
            await talk.begin()
            talk.say(call(1, "one_hang"))
            async with asyncio.timeout(PATIENCE):
                await upstream.upstream.journal.wait("call hang")
                talk.close()
                await talk.running
            assert talk.told == ["the client closed its output while 1 of its messages were under way"]
        await exchange.aclose()


MIRRORED = {
    "name": "region",
    "inputSchema": {
        "type": "object",
        "properties": {"where": {"type": "string", "x-mcp-header": "Region"}},
    },
}


@PLACES
@pytest.mark.parametrize("listed", [True, False])
async def test_a_tool_whose_arguments_are_repeated_in_headers_can_be_called(place: Where, listed: bool) -> None:
    behaviour = Behaviour(more=[MIRRORED])
    async with hosted(behaviour) as upstream, portal_over({"one": upstream}) as portal:
        exchange = place(portal, "")
        async with talking(exchange) as talk:
            if listed:
                talk.say({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}})
                await talk.answer(1)
            params = {"name": "one_region", "arguments": {"where": "eu"}, "_meta": META}
            talk.say({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
            # It arrives: the server has no such tool behind its list.
            assert (await talk.answer(2))["error"]["message"] == "no tool region"
        await exchange.aclose()


async def test_a_session_that_the_portal_has_lost_is_begun_again() -> None:
    async with portal_and_upstream() as (portal, upstream):
        exchange = elsewhere(portal)
        async with talking(exchange) as talk:
            await talk.begin()
            talk.say({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": "test://one"}})
            await talk.answer(1)
            await lose_sessions(portal.instance)
            talk.say(call(2, "one_echo", "again"))
            assert (await talk.answer(2))["result"]["content"][0]["text"] == "again"
            assert talk.told == ["the portal had ended the session; a new one was begun"]
            assert any("tools/list_changed" in line for line in talk.written)
            await upstream.upstream.touch("test://one")
            await talk.notified("notifications/resources/updated")
        await exchange.aclose()


async def lose_sessions(instance: Instance) -> None:
    """End every session at the portal, as a portal that is started again has none."""
    endpoint = instance.own.endpoint
    for id in [session.client.key for session in endpoint._sessions]:
        await endpoint._manager.end(id)


class Breaking:
    """A portal whose answers to calls break off. `kept` is whether it gives the rest to who comes back for it."""

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept
        self.resumed: list[str] = []

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/mcp", self._answer, methods=["POST", "GET", "DELETE"])])

    async def _answer(self, request: Request) -> Response:
        if request.method == "DELETE":
            return Response(status_code=200)
        if request.method == "GET":
            return self._rest(request.headers.get("last-event-id", ""))
        message = await request.json()
        if message["method"] == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
            return JSONResponse(
                {"jsonrpc": "2.0", "id": message["id"], "result": result}, headers={"mcp-session-id": "s"}
            )
        if "id" not in message:
            return Response(status_code=202)
        number = "id: 1\n" if self.kept else ""
        told = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}})
        junk = "data: this is no message\n\n: nor is this\n\n"
        return Response(f"retry: 1\n{number}data: {told}\n\n{junk}", media_type="text/event-stream")

    def _rest(self, last: str) -> Response:
        if not last:
            return Response(status_code=405)
        self.resumed.append(last)
        if len(self.resumed) == 1:
            # Broken again, with nothing new.
            return Response("", media_type="text/event-stream")
        answer = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": []}}, indent=1)
        lines = "".join(f"data: {line}\n" for line in answer.splitlines())
        return Response(f"id: 2\n{lines}\n", media_type="text/event-stream")


@pytest.mark.parametrize("kept", [True, False])
async def test_a_broken_answer_is_come_back_for_or_may_have_run(kept: bool) -> None:
    breaking = Breaking(kept=kept)
    async with running(breaking.app(), http=HttpSettings()) as url:
        exchange = remote(f"{url}/mcp")
        async with talking(exchange) as talk:
            await talk.begin()
            talk.say(call(1, "x"))
            assert (await talk.notified("notifications/message"))["params"]["data"] == 1
            found = await talk.answer(1)
            if kept:
                assert found["result"] == {"content": []} and breaking.resumed == ["1", "1"]
            else:
                assert found["error"]["code"] == -32011 and "may have run" in found["error"]["message"]
            assert not any("no message" in line for line in talk.written)
        await exchange.aclose()


@pytest.mark.parametrize("text", [b"\xff\xfe", b"\\ud800", b"\\uD83D\\uDE00", b"\xed\xa0\x80", b"caf\xc3\xa9"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
async def test_every_client_can_read_the_letters_of_what_it_gets(text: bytes, mark: bytes) -> None:
    async def answer(_: Request) -> Response:
        body = mark + b'{"jsonrpc":"2.0","id":0,"result":{"n":12345678901234567890123,"text":"' + text + b'"}}'
        return Response(body, 200, {}, "application/json")

    app = Starlette(routes=[Route("/mcp", answer, methods=["POST"])])
    async with running(app, http=HttpSettings()) as url:
        exchange = remote(f"{url}/mcp")
        async with talking(exchange) as talk:
            talk.say(INITIALIZE)
            found = await talk.answer(0)
            assert found["result"]["n"] == 12345678901234567890123
            found["result"]["text"].encode()
            jsonrpc_message_adapter.validate_json(talk.written[-1])
        await exchange.aclose()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, "<html>oops</html>", "The portal answered HTTP 500"),
        (200, "<html>hello</html>", "without an answer to the request"),
        (202, "", "without an answer to the request"),
        (200, '{"jsonrpc":"2.0","id":99,"result":{}}', "without an answer to the request"),
        (400, '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"not so"}}', "not so"),
        (302, "", "redirect"),
    ],
)
async def test_what_is_no_answer_is_an_error_of_the_request(status: int, body: str, words: str) -> None:
    async def answer(request: Request) -> Response:
        headers = {"location": "https://elsewhere.example/mcp"} if status == 302 else {}
        return Response(body, status, headers, "application/json")

    app = Starlette(routes=[Route("/mcp", answer, methods=["POST"])])
    async with running(app, http=HttpSettings()) as url:
        exchange = remote(f"{url}/mcp")
        async with talking(exchange) as talk:
            talk.say(INITIALIZE)
            assert words in (await talk.answer(0))["error"]["message"]
        await exchange.aclose()


async def test_a_portal_that_does_not_answer_is_an_error_of_the_request(free_tcp_port: int) -> None:
    exchange = remote(f"http://127.0.0.1:{free_tcp_port}/mcp")
    async with talking(exchange) as talk:
        talk.say(INITIALIZE)
        found = await talk.answer(0)
        assert found["error"]["code"] == -32010 and "cannot be reached" in found["error"]["message"]
        assert not talk.running.done()
    await exchange.aclose()
