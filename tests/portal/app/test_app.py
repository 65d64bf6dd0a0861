"""The portal as one HTTP application: its paths, its health, and how it says no."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from portal.admin import PREFIX
from portal.app import Parts, serving
from portal.http import UnsafeBind
from tests.portal.portals import client_of, opened, portal_over
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


async def test_health_names_every_server_its_state_and_why() -> None:
    entries: dict[str, Any] = {"up": None, "down": {"url": "http://127.0.0.1:1/mcp?key=secret-key-of-ann"}}
    async with hosted() as upstream:
        entries["up"] = upstream
        async with portal_over(entries) as portal, httpx2.AsyncClient(verify=False) as http:
            answer = await http.get(f"{portal.url}/healthz")
    said = answer.json()
    assert answer.status_code == 200 and said["status"] == "ok"
    assert said["servers"]["up"]["state"] == "ready" and said["servers"]["up"]["tools"] == 14
    assert said["servers"]["down"]["state"] == "error" and said["servers"]["down"]["reason"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("GET", "/mcp/", 404),
        ("POST", "/other/mcp", 404),
        ("POST", "/healthz", 405),
        ("PUT", "/mcp", 405),
        ("GET", "/mcp", 400),
        ("GET", "/.well-known/oauth-protected-resource/mcp", 404),
    ],
)
async def test_other_paths_and_methods_are_refused_in_one_shape(method: str, path: str, status: int) -> None:
    async with portal_over({}) as portal, httpx2.AsyncClient(verify=False) as http:
        answer = await http.request(method, portal.url + path, json={} if method == "POST" else None)
    assert answer.status_code == status
    body = answer.json()
    assert body["jsonrpc"] == "2.0" and body["id"] is None and body["error"]["message"]
    if status == 405:
        assert answer.headers["allow"]
    if status == 404:
        assert "/mcp" in body["error"]["message"]


async def test_where_nobody_signs_in_a_client_of_the_admin_api_is_told_what_it_needs() -> None:
    async with portal_over({}) as portal, httpx2.AsyncClient(verify=False) as http:
        answer = await http.get(f"{portal.url}{PREFIX}/accounts/a/gateway/rules")
    assert answer.status_code == 404 and "it needs `identity` in `portal`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "query",
    [
        "codemode=on",
        "codemode=search_and_execute&codemode=off",
        "CODEMODE=off",
        "codemode=off&optimize_context=minimize_tools",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_a_url_that_asks_for_what_is_not_defined_is_a_400_that_says_what_is(method: str, query: str) -> None:
    async with portal_over({}) as portal, httpx2.AsyncClient(verify=False) as http:
        answer = await http.request(method, f"{portal.mcp}?{query}", json={} if method == "POST" else None)
    assert answer.status_code == 400
    assert "Allowed: " in answer.json()["error"]["message"]


async def test_the_sentence_of_a_refusal_reaches_the_user_of_an_sdk_client() -> None:
    async with portal_over({}) as portal:
        for mode in ("legacy", "auto", "2026-07-28"):
            with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="Allowed"), flatten_subgroups=True):
                async with client_of(f"{portal.mcp}?codemode=yes", mode) as client:
                    await client.list_tools()


async def test_the_path_is_a_setting() -> None:
    async with portal_over({}, path="/agents/mcp") as portal, client_of(f"{portal.url}/agents/mcp", "legacy") as client:
        assert (await client.list_tools()).tools == []


async def test_hosts_and_origins_of_the_configuration_are_allowed() -> None:
    async with portal_over({}, allowed_hosts=("mcp.example.com",)) as portal, httpx2.AsyncClient(verify=False) as http:
        statuses = [
            (await http.get(f"{portal.url}/healthz", headers={"host": host})).status_code
            for host in ("mcp.example.com", "evil.example.com")
        ]
    assert statuses == [200, 421]


async def test_an_address_others_can_reach_is_refused_without_identity() -> None:
    async with opened({}, parts=Parts(code=None)) as instance:
        with pytest.raises(UnsafeBind, match="identity"):
            async with serving(instance, host="0.0.0.0"):
                pass


async def test_a_crash_outside_mcp_is_a_500_in_the_same_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(snapshot: Any) -> Any:
        raise RuntimeError("secret-detail")

    monkeypatch.setattr("portal.app.instance.health", crash)
    async with opened({}, parts=Parts(code=None)) as instance, serving(instance) as url:
        async with httpx2.AsyncClient(verify=False) as http:
            answer = await http.get(f"{url}/healthz")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert json.loads(answer.text)["error"]["data"]["reason"] == "crash"
