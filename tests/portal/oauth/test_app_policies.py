"""An application that signs people in by itself has policies of its own; the portal's are not asked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.app import Parts
from portal.app.admission import PortalAdmission
from portal.identity import Identity
from portal.oauth.saas import read_app
from portal.objects import APP
from portal.state import plain
from tests.portal.admin.conftest import admin_api
from tests.portal.portals import opened
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio
ADA = Identity(id="okta:1", email="ada@example.com", idp_id="okta", login_method="okta")
ADMINISTRATOR = Identity(id="local:1", email="root@example.com", idp_id="local", login_method="local")


def document(**more: Any) -> dict[str, Any]:
    return {"name": "Tickets", "type": "saas", "saas_app": {"auth_type": "oidc"}, **more}


async def test_the_policies_of_an_application_decide_who_gets_through_to_it(tmp_path: Path) -> None:
    portal = {"state": new_state(tmp_path), "identity": {}}
    async with opened({"mcpServers": {}, "portal": portal}, parts=Parts(code=None)) as instance:
        assert instance.own.access is not None
        found = PortalAdmission(instance.shared, instance.own.access)
        store = instance.shared.require_store()
        staff = {"name": "Staff", "decision": "allow", "include": [{"email_domain": {"domain": "example.com"}}]}
        await store.create(
            plain("policy"), "staff", {**staff, "exclude": [{"email": {"email": "root@example.com"}}]}, by="t"
        )
        await store.create(plain("app"), "tickets", document(policies=[{"id": "staff", "precedence": 1}]), by="t")
        await store.create(plain("app"), "bare", document(), by="t")
        allowed = await found.admit(ADA, "app:tickets")
        assert (allowed.effect, allowed.policy_name) == ("allow", "Staff")
        assert (await found.admit(ADMINISTRATOR, "app:tickets")).effect == "deny"
        for app in ("app:bare", "app:nothing"):
            assert (await found.admit(ADA, app)).effect == "deny"
        assert (await found.admit(ADA, "/mcp")).effect == "deny"
        assert (await found.admit(ADMINISTRATOR, "/mcp")).effect == "allow"


async def test_an_application_that_signs_people_in_is_made_through_the_api_and_its_secret_shown_once(
    tmp_path: Path,
) -> None:
    async with admin_api(tmp_path) as api, httpx2.AsyncClient(headers=api.headers(), trust_env=False) as http:
        saas: Any = {
            "auth_type": "oidc",
            "redirect_uris": ["https://tickets.example.com/callback"],
            "grant_types": ["authorization_code", "refresh_tokens"],
        }
        async with api.async_sdk() as sdk:
            apps: Any = sdk.zero_trust.access.applications
            made = await apps.create(account_id=api.account, type="saas", name="Tickets", saas_app=saas)
        stored = await api.store.get(APP, made.id)
        assert stored is not None
        app = read_app(stored.id, stored.document)
        assert app is not None
        assert (app.client_id, app.redirect_uris) == (made.saas_app.client_id, tuple(saas["redirect_uris"]))
        assert app.secret_sha256 == hashlib.sha256(made.saas_app.client_secret.encode()).hexdigest()
        url = api.at(f"/access/apps/{made.id}")
        shown = await http.get(url)
        assert app.secret_sha256 not in shown.text
        assert shown.json()["result"]["saas_app"]["client_secret"] is None
        again = await http.put(url, json={**shown.json()["result"], "name": "Renamed"})
        assert again.json()["result"]["name"] == "Renamed"
        kept = await api.store.get(APP, made.id)
        assert kept is not None
        assert kept.document.saas_app == stored.document.saas_app
        bent = {"type": "saas", "name": "Bent", "saas_app": {**saas, "redirect_uris": ["http://evil.example/c"]}}
        assert (await http.post(api.at("/access/apps"), json=bent)).status_code == 400
