"""Stored objects that cannot be read: the API says so, and can replace or delete them."""

from __future__ import annotations

from typing import Any

import pytest
from anyio.from_thread import BlockingPortal

from portal.state import plain
from tests.portal.admin.conftest import Api

EVERYONE: list[dict[str, Any]] = [{"everyone": {}}]
HUSH = "hush-7f3a"
MCP = "/access/ai-controls/mcp"
BROKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "policy": ("/access/policies", {"name": "Odd", "decision": HUSH, "include": EVERYONE}),
    "group": ("/access/groups", {"name": "Odd", "include": [{HUSH: {}}]}),
    "app": ("/access/apps", {"type": HUSH, "name": "Odd"}),
    "custom_page": ("/access/custom_pages", {"name": "Odd", "type": HUSH, "custom_html": HUSH}),
    "identity_provider": ("/access/identity_providers", {"type": 3, "config": {"secret": HUSH}}),
    "list": ("/gateway/lists", {"name": "Odd", "type": HUSH}),
    "server": (f"{MCP}/servers", {"name": "Odd", "hostname": HUSH}),
    "portal": (f"{MCP}/portals", {"name": "Odd", "hostname": "odd.example.com", "servers": HUSH}),
    "service_token": ("/access/service_tokens", {"name": "Odd", "client_id": HUSH}),
    "api_token": ("/tokens", {"name": "Odd", "hash": HUSH}),
    "invitation": ("/members", {"email": "odd@example.com", "expires_at": HUSH}),
    "assessment": ("/access/assessments", {"device_posture": {"disk": HUSH}}),
}
WHOLE: dict[str, dict[str, Any]] = {
    "policy": {"name": "Mended", "decision": "deny", "include": EVERYONE},
    "group": {"name": "Mended", "include": EVERYONE},
    "app": {"type": "mcp_portal", "name": "Mended", "domain": "odd.example.com"},
    "custom_page": {"name": "Mended", "type": "forbidden", "custom_html": "<p>No</p>"},
    "identity_provider": {"name": "Mended", "type": "onetimepin"},
    "portal": {"name": "Mended", "hostname": "odd.example.com", "servers": []},
}


def put_in(api: Api, loop: BlockingPortal, kind: str) -> str:
    path, document = BROKEN[kind]

    async def create() -> None:
        await api.store.create(plain(kind), "odd", document, by="test")

    loop.call(create)
    return api.at(path)


@pytest.mark.parametrize("kind", list(BROKEN))
def test_a_broken_object_is_named_and_can_be_deleted(api: Api, loop: BlockingPortal, kind: str) -> None:
    url = put_in(api, loop, kind)
    listed = api.http.get(url, headers=api.headers()).json()
    assert listed["success"] and "odd" not in [one.get("id") for one in listed["result"]]
    [message] = listed["messages"]
    assert message["code"] == 12141 and "'odd' cannot be read" in message["message"]
    shown = api.http.get(f"{url}/odd", headers=api.headers())
    assert shown.status_code == 409 and shown.json()["errors"][0]["code"] == 12141
    assert "replace or delete it" in shown.text and HUSH not in shown.text + str(listed)
    assert api.http.delete(f"{url}/odd", headers=api.headers()).status_code in (200, 202)
    assert api.http.get(url, headers=api.headers()).json()["messages"] == []
    assert api.http.get(f"{url}/odd", headers=api.headers()).status_code == 404


@pytest.mark.parametrize("kind", list(WHOLE))
def test_a_broken_object_can_be_replaced(api: Api, loop: BlockingPortal, kind: str) -> None:
    url = put_in(api, loop, kind)
    mended = api.http.put(f"{url}/odd", headers=api.headers(), json=WHOLE[kind])
    assert mended.status_code == 200 and mended.json()["result"]["name"] == "Mended", mended.text
    assert api.http.get(f"{url}/odd", headers=api.headers()).json()["result"]["name"] == "Mended"


def test_a_broken_portal_is_replaced_whole_and_a_broken_server_made_again(api: Api, loop: BlockingPortal) -> None:
    portals, servers = put_in(api, loop, "portal"), put_in(api, loop, "server")
    partly = api.http.put(f"{portals}/odd", headers=api.headers(), json={"name": "Mended"})
    assert partly.status_code == 409 and "replace or delete it" in partly.text
    assert api.http.put(f"{servers}/odd", headers=api.headers(), json={"name": "Mended"}).status_code == 409
    body = {"id": "odd", "name": "Odd", "hostname": "https://odd.example.com/mcp", "auth_type": "unauthenticated"}
    assert api.http.post(servers, headers=api.headers(), json=body).status_code == 409
    assert api.http.delete(f"{servers}/odd", headers=api.headers()).json()["result"] == {"id": "odd"}
    assert api.http.post(servers, headers=api.headers(), json=body).status_code == 201


def test_a_broken_object_keeps_nothing_else_from_being_changed(api: Api, loop: BlockingPortal) -> None:
    for kind in ("policy", "group", "custom_page"):
        put_in(api, loop, kind)
    group = {"name": "Outer", "include": [{"group": {"id": "odd"}}]}
    assert api.http.post(api.at("/access/groups"), headers=api.headers(), json=group).status_code == 201
    app = {"type": "mcp_portal", "name": "A", "domain": "a.example", "policies": ["odd"], "custom_pages": ["odd"]}
    made = api.http.post(api.at("/access/apps"), headers=api.headers(), json=app)
    assert made.status_code == 201, made.text
    # What uses it keeps it from being removed, as it would if it could be read.
    assert api.http.delete(api.at("/access/policies/odd"), headers=api.headers()).status_code == 409
