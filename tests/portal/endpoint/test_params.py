"""Requests of clients that write null for what they do not have, and of clients that make a mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from portal.endpoint.params import initialize_without_nulls
from tests.portal.portals import portal_over
from tests.portal.upstreams.verbatim import verbatim

pytestmark = pytest.mark.anyio

INITIALIZE: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "c", "version": "1"},
}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Poster:
    """A client that sends what the test says."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http, self._url, self._headers = http, url, dict(HEADERS)

    async def status(self, message: Mapping[str, Any]) -> int:
        response = await self._http.post(self._url, content=json.dumps(message), headers=self._headers)
        return response.status_code

    async def post(self, method: str, params: Any) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = await self._http.post(self._url, content=json.dumps(message), headers=self._headers)
        if (session := response.headers.get("mcp-session-id")) is not None:
            self._headers["mcp-session-id"] = session
        [data] = [line[5:] for line in response.text.splitlines() if line.startswith("data:") and line[5:].strip()]
        answer: dict[str, Any] = json.loads(data)
        return answer


async def test_a_client_that_writes_null_for_what_it_does_not_have_is_served() -> None:
    async with verbatim("stdio", {}) as entry, portal_over({"s": entry}) as portal, httpx2.AsyncClient() as http:
        poster = Poster(http, portal.mcp)
        capabilities = {"roots": None, "sampling": None, "elicitation": None, "experimental": {"x": None}}
        info = {"name": "c", "version": "1", "title": None}
        begun = await poster.post("initialize", {**INITIALIZE, "capabilities": capabilities, "clientInfo": info})
        assert begun["result"]["protocolVersion"] == "2025-06-18"
        params = {"name": "s_fine", "arguments": {}, "_meta": {"progressToken": None}}
        assert (await poster.post("tools/call", params))["result"]["content"] == [{"type": "text", "text": "fine"}]
        assert (await poster.post("tools/list", {"cursor": None, "_meta": {"progressToken": None}}))["result"]["tools"]


async def test_a_notification_may_have_the_id_null_and_a_request_may_not() -> None:
    async with verbatim("stdio", {}) as entry, portal_over({"s": entry}) as portal, httpx2.AsyncClient() as http:
        poster = Poster(http, portal.mcp)
        await poster.post("initialize", INITIALIZE)
        nameless: dict[str, Any] = {"jsonrpc": "2.0", "id": None}
        assert await poster.status({**nameless, "method": "notifications/initialized"}) == 202
        assert await poster.status({**nameless, "method": "tools/list"}) == 400
        assert await poster.status({**nameless, "method": 5}) == 400


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("initialize", {**INITIALIZE, "clientInfo": {"name": "c"}}, "params.clientInfo.version is missing"),
        ("initialize", {**INITIALIZE, "capabilities": {"roots": True}}, "params.capabilities.roots must be an object"),
        ("initialize", {**INITIALIZE, "capabilities": None}, "params.capabilities is missing"),
        ("tools/call", {"name": "s_fine", "arguments": "{}"}, "params.arguments must be an object"),
        ("tools/call", {"arguments": {}}, "params.name is missing"),
        ("tools/list", {"cursor": 5}, "params.cursor must be text"),
        ("logging/setLevel", {"level": "s3cret"}, "params.level must be"),
    ],
)
async def test_params_that_do_not_fit_are_named_with_their_request(
    method: str, params: Mapping[str, Any], words: str
) -> None:
    async with verbatim("stdio", {}) as entry, portal_over({"s": entry}) as portal, httpx2.AsyncClient() as http:
        poster = Poster(http, portal.mcp)
        if method != "initialize":
            await poster.post("initialize", INITIALIZE)
        error = (await poster.post(method, params))["error"]
        assert error["code"] == -32602
        assert error["message"].startswith(f"The request {method} does not fit: ") and words in error["message"]
        assert "s3cret" not in error["message"] and portal.kept.records == []


@pytest.mark.parametrize("body", [b"", b"{", b'"initialize" null', b'{"method": "initialize", "params": null}'])
def test_a_body_that_is_no_such_request_is_left_to_others(body: bytes) -> None:
    assert initialize_without_nulls(body) is None
