"""Nobody gives themselves a role by changing what its rules look at: groups, lists and identity providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.admin.api.permissions import permissions_of_role
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.admin.test_roles import token_with

pytestmark = pytest.mark.anyio
ROLES = "/access/ai-controls/roles"
MINE: dict[str, Any] = {"email": {"email": "mallory@example.com"}}
BOSS: dict[str, Any] = {"email": {"email": "boss@example.com"}}
OIDC = {"issuer": "https://login.example.com", "client_id": "portal", "client_secret": "secret"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def made(http: httpx2.AsyncClient, portal: Ruled, path: str, body: object) -> str:
    answer = await http.post(portal.at(path), json=body)
    assert answer.status_code < 300, answer.text
    return str(answer.json()["result"]["id"])


async def test_an_admin_does_not_become_an_owner_by_what_the_rules_of_owners_look_at(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        http.headers.update(portal.headers())
        inner = await made(http, portal, "/access/groups", {"name": "Board", "include": [BOSS]})
        outer = await made(http, portal, "/access/groups", {"name": "Owners", "include": [{"group": {"id": inner}}]})
        other = await made(http, portal, "/access/groups", {"name": "Others", "include": [BOSS]})
        items = [{"value": "boss@example.com"}]
        leads = await made(http, portal, "/gateway/lists", {"name": "Leads", "type": "EMAIL", "items": items})
        provider = {"name": "Staff", "type": "oidc", "config": OIDC}
        idp = await made(http, portal, "/access/identity_providers", provider)
        owners = {"include": [{"group": {"id": outer}}, {"email_list": {"id": leads}}]}
        set_rules = await http.put(portal.at(ROLES), json={"owner": owners})
        assert set_rules.status_code == 200, set_rules.text

        http.headers["Authorization"] = f"Bearer {await token_with(portal, permissions_of_role('admin'))}"
        tried = [
            ("PUT", f"/access/groups/{inner}", {"name": "Board", "include": [MINE]}),
            ("PUT", f"/access/groups/{outer}", {"name": "Owners", "include": [MINE]}),
            ("PUT", f"/gateway/lists/{leads}", {"name": "Leads", "items": [{"value": "mallory@example.com"}]}),
            ("PATCH", f"/gateway/lists/{leads}", {"append": [{"value": "mallory@example.com"}]}),
            ("POST", "/access/identity_providers", {**provider, "name": "Mine"}),
            (
                "PUT",
                f"/access/identity_providers/{idp}",
                {**provider, "config": {**OIDC, "issuer": "https://e.example"}},
            ),
        ]
        for method, path, body in tried:
            answer = await http.request(method, portal.at(path), json=body)
            assert answer.status_code == 403, (method, path, answer.status_code, answer.text)
            assert "owner" in answer.json()["errors"][0]["message"]
        free = await http.put(portal.at(f"/access/groups/{other}"), json={"name": "Others", "include": [MINE]})
        assert free.status_code == 200, free.text

        http.headers.update(portal.headers())
        for method, path, body in tried:
            answer = await http.request(method, portal.at(path), json=body)
            assert answer.status_code < 300, (method, path, answer.text)


async def test_where_no_rule_gives_a_role_an_admin_has_everything_of_admins(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        http.headers["Authorization"] = f"Bearer {await token_with(portal, permissions_of_role('admin'))}"
        group = await made(http, portal, "/access/groups", {"name": "Board", "include": [BOSS]})
        await made(http, portal, "/access/identity_providers", {"name": "Staff", "type": "oidc", "config": OIDC})
        changed = await http.put(portal.at(f"/access/groups/{group}"), json={"name": "Board", "include": [MINE]})
        assert changed.status_code == 200
