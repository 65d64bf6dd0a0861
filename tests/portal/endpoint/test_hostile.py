"""Hostile requests to the MCP endpoint: refused quickly, in our words, and without any effect on the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from mcp_types.jsonrpc import HEADER_MISMATCH

from codemode import CodeTool
from portal.calls import Call, Gate
from portal.gateway import Direction
from portal.upstream import CallContext
from tests.patience import PATIENCE
from tests.portal.portals import MODERN, Portal, portal_over
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

HEAD = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
NEW = {**HEAD, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "one_echo"}
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


@pytest.fixture
async def upstream() -> AsyncIterator[Hosted]:
    async with hosted() as upstream:
        yield upstream


@pytest.fixture
async def portal(upstream: Hosted) -> AsyncIterator[Portal]:
    async with portal_over({"one": upstream}) as portal:
        yield portal


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        yield http


def call(text: str, id: Any = 0, name: str = "one_echo") -> dict[str, Any]:
    params = {"name": name, "arguments": {"text": text}, "_meta": META}
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}


async def opened(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    answer = await http.post(url, json=opening, headers=HEAD)
    return {**HEAD, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}


@pytest.mark.anyio
@pytest.mark.parametrize("generation", ["2025", "2026"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * (5 * 1024 * 1024), 413),
        (b"[" * 100_000 + b"]" * 100_000, 400),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
        (b'{"jsonrpc":"2.0","id":' + b"1" * 5000 + b',"method":"ping"}', 400),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', 400),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', 400),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 400),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 400),
        (b'{"id":1}', 400),
        (b"null", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"{", 400),
    ],
    ids=lambda value: None if isinstance(value, int) else repr(value[:40]),
)
async def test_a_body_that_is_no_message_is_refused(
    generation: str, body: bytes, status: int, portal: Portal, http: httpx2.AsyncClient
) -> None:
    headers = NEW if generation == "2026" else await opened(http, portal.mcp)
    answer = await http.post(portal.mcp, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["message"] and "pydantic" not in answer.text
    after = await http.post(portal.mcp, json=call("fine"), headers=NEW)
    assert after.json()["result"]["content"][0]["text"] == "fine"


@pytest.mark.anyio
@pytest.mark.parametrize("name", [None, "one_fail", "ONE_ECHO", "one_echo, one_fail", "=?base64?b25lX2VjaA==?="])
async def test_a_routing_header_that_says_other_than_the_body_is_refused(
    name: str | None, portal: Portal, http: httpx2.AsyncClient, upstream: Hosted
) -> None:
    headers = {
        **{key: value for key, value in NEW.items() if key != "mcp-name"},
        **({"mcp-name": name} if name else {}),
    }
    answer = await http.post(portal.mcp, json=call("x"), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, HEADER_MISMATCH)
    assert "call echo" not in upstream.upstream.journal.entries


@pytest.mark.anyio
async def test_a_routing_header_given_twice_is_refused(portal: Portal, http: httpx2.AsyncClient) -> None:
    for name in ("mcp-name", "mcp-method", "mcp-protocol-version"):
        answer = await http.post(portal.mcp, json=call("x"), headers=[*NEW.items(), (name, NEW[name])])
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, HEADER_MISMATCH)


@pytest.mark.anyio
async def test_line_breaks_in_names_and_arguments_stay_data(
    portal: Portal, http: httpx2.AsyncClient, upstream: Hosted
) -> None:
    tool = {
        "name": "mirrored",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}},
    }
    upstream.behaviour.more.append(tool)
    await portal.servers.refresh()
    evil = "a\r\nX-Injected: yes"
    encoded = "=?base64?YQ0KWC1JbmplY3RlZDogeWVz?="
    named = {**NEW, "mcp-name": "one_mirrored", "mcp-param-text": encoded}
    await http.post(portal.mcp, json=call(evil, name="one_mirrored"), headers=named)
    assert "call mirrored" in upstream.upstream.journal.entries
    assert "x-injected" not in upstream.upstream.seen_headers[-1]
    lying = {**named, "mcp-param-text": "b"}
    refused = await http.post(portal.mcp, json=call(evil, name="one_mirrored"), headers=lying)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, HEADER_MISMATCH)
    assert upstream.upstream.journal.entries.count("call mirrored") == 1


MIRRORED = {
    "name": "mirrored",
    "inputSchema": {
        "type": "object",
        "properties": {
            "text": {"type": "string", "x-mcp-header": "Text"},
            "in": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
            "plain": {"type": "string"},
        },
    },
}
SMUGGLED = {"mcp-param-plain": "x", "MCP-PARAM-Tenant": "other", "baggage": "b", "x-api-key": "k", "mcp-param-": "y"}


class Replaces:
    """A screening that sends other arguments than the client's."""

    async def screen(
        self, content: dict[str, Any], direction: Direction, call: Call, context: CallContext
    ) -> dict[str, Any]:
        if direction == "incoming" or content["arguments"].get("text") != "secret":
            return content
        return {**content, "arguments": {**content["arguments"], "text": "kept back"}}


def sent(upstream: Hosted) -> dict[str, str]:
    """The headers of the last call that nobody but the client could have chosen."""
    headers = upstream.upstream.seen_headers[-1]
    return {name: value for name, value in headers.items() if name.startswith(("mcp-param", "baggage", "x-"))}


@pytest.mark.anyio
async def test_of_a_clients_headers_only_the_portals_own_copy_of_an_argument_goes_out(
    upstream: Hosted, http: httpx2.AsyncClient, code_tool: CodeTool
) -> None:
    upstream.behaviour.more.append(MIRRORED)
    screened = Gate(screenings=[Replaces()])
    async with portal_over({"one": upstream}, gate=screened, code_tool=code_tool) as portal:
        session = await opened(http, portal.mcp)

        async def made(arguments: dict[str, Any], headers: dict[str, str], name: str = "one_mirrored") -> Any:
            params = {"name": name, "arguments": arguments, "_meta": META}
            message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
            url = portal.code if name == "code" else portal.mcp
            return await http.post(url, json=message, headers=headers)

        modern = {**NEW, "mcp-name": "one_mirrored", **SMUGGLED}
        await made({"plain": "x"}, modern)
        assert sent(upstream) == {}, "declared by no parameter"
        await made(
            {"text": "secret", "in": {"n": 7}, "plain": "x"}, {**modern, "mcp-param-text": "secret", "mcp-param-n": "7"}
        )
        assert sent(upstream) == {"mcp-param-text": "kept back", "mcp-param-n": "7"}, "as the screenings have it"
        await made({"text": "hello"}, {**modern, "mcp-name": "one_echo", "mcp-param-text": "lie"}, "one_echo")
        assert sent(upstream) == {}
        await made({"text": "secret"}, {**session, **SMUGGLED, "mcp-param-text": "lie"})
        assert sent(upstream) == {"mcp-param-text": "kept back"}
        program = {"code": 'return await codemode.one.mirrored({text: "of a program"})'}
        await made(program, {**NEW, "mcp-name": "code", **SMUGGLED, "mcp-param-text": "lie"}, "code")
        assert sent(upstream) == {"mcp-param-text": "of a program"}
        asked = upstream.upstream.journal.entries.count("call mirrored")
        lies = [{"mcp-param-text": text} for text in ("lie", "=?base64?!?=", "")]
        for lie in (*lies, {}, {"mcp-param-text": "a", "mcp-param-n": "1"}):
            refused = await made({"text": "a"}, {**modern, **lie})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, HEADER_MISMATCH)
        twice = [*{**modern, "mcp-param-text": "a"}.items(), ("mcp-param-text", "a")]
        params = {"name": "one_mirrored", "arguments": {"text": "a"}, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
        assert (await http.post(portal.mcp, json=message, headers=twice)).status_code == 400
        assert upstream.upstream.journal.entries.count("call mirrored") == asked


@pytest.mark.anyio
async def test_a_client_that_is_told_only_names_need_not_repeat_an_argument_in_a_header(
    upstream: Hosted, http: httpx2.AsyncClient
) -> None:
    upstream.behaviour.more.append(MIRRORED)
    async with portal_over({"one": upstream}) as portal:
        url = f"{portal.mcp}?optimize_context=minimize_tools"
        named = {**NEW, "mcp-name": "one_mirrored"}
        await http.post(url, json=call("a", name="one_mirrored"), headers=named)
        assert sent(upstream) == {"mcp-param-text": "a"}
        lie = await http.post(url, json=call("a", name="one_mirrored"), headers={**named, "mcp-param-text": "b"})
        assert lie.json()["error"]["code"] == HEADER_MISMATCH


@pytest.mark.anyio
async def test_two_hundred_clients_with_one_request_id_never_get_each_others_answers(
    portal: Portal, http: httpx2.AsyncClient
) -> None:
    async def one(number: int) -> None:
        async with httpx2.AsyncClient(timeout=PATIENCE, verify=False) as client:
            for turn in range(3):
                said = f"{number}-{turn}"
                answer = (await client.post(portal.mcp, json=call(said), headers=NEW)).json()
                assert "result" in answer and answer["result"]["content"][0]["text"] == said, answer

    await asyncio.gather(*(one(number) for number in range(200)))


@pytest.mark.anyio
async def test_sessions_past_the_limit_are_refused_and_the_others_go_on(upstream: Hosted) -> None:
    async with portal_over({"one": upstream}) as portal, httpx2.AsyncClient(timeout=PATIENCE, verify=False) as http:
        session = await opened(http, portal.mcp)
        made = await asyncio.gather(*(opened(http, portal.mcp) for _ in range(50)))
        assert len({each["mcp-session-id"] for each in made}) == 50
        answer = await http.post(portal.mcp, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=session)
        assert answer.status_code == 200
