"""A group of an identity provider can be a role: rules of Access say who is owner, admin or auditor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from portal.admin import AdministratorRoles
from portal.admin.api.permissions import ACCOUNT
from portal.identity import ANONYMOUS, Identity
from portal.login import Administrators, Passwords
from portal.state import plain
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.admin.ruled import ruled_portal
from tests.portal.admin.test_roles import token_with
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, guarded_portal
from tests.portal.login.test_providers import bendable, seen

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ADA = Identity(id="okta:ada", email=EMAIL, idp_id="okta", login_method="okta", auth_methods=("pwd", "mfa"))
PATH = "/access/ai-controls/roles"
STAFF: dict[str, Any] = {"email_domain": {"domain": "example.com"}}
PLATFORM: dict[str, Any] = {"oidc": {"claim_name": "groups", "claim_value": "platform", "identity_provider_id": "oidc"}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def put(api: Api, body: object, token: str = "") -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token or api.token}"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.put(api.at(PATH), headers=headers, json=body)


async def test_a_group_of_a_provider_gives_who_signs_in_there_a_role(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, bendable(portal) as issuer:
        token = (await portal.admin.tokens.create_with_all("test", "test")).value
        url = f"{portal.url}/client/v4/accounts/{portal.admin.account_id}{PATH}"
        body = {"admin": {"include": [PLATFORM]}, "auditor": {"include": [STAFF]}}
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as http:
            made = await http.put(url, json=body)
            assert made.status_code == 200, made.text
            shown = (await http.get(url)).json()["result"]
        assert shown["owner"] is None and shown["admin"] == {"include": [PLATFORM], "require": [], "exclude": []}
        for groups, role in ((["platform", "staff"], "admin"), (["staff"], "auditor")):
            issuer.claims = {"groups": groups}
            async with browser_at(portal.url, issuer.url) as browser:
                await browser.open("/login/with/oidc?return=/logout")
                identity = await seen(portal, browser)
                assert identity is not None
                assert await portal.admin.roles.of(identity) == role


async def test_a_local_account_has_its_own_role_whatever_the_rules_say_and_a_change_holds_at_once(
    tmp_path: Path,
) -> None:
    async with admin_api(tmp_path) as api:
        roles, administrators = api.admin.roles, Administrators(api.store, Passwords(QUICK))
        ada = await administrators.create(EMAIL, "Ada", PASSWORD, by="test", role="auditor")
        assert (await put(api, {"owner": {"include": [{"everyone": {}}]}})).status_code == 200
        assert await roles.of(ada) == "auditor"
        id = ada.id.partition(":")[2]
        await administrators.change_role(id, "admin", by="test")
        assert await roles.of(ada) == "admin"
        await administrators.create("grace@example.com", "Grace", PASSWORD, by="test")
        await administrators.remove(id, by="test")
        assert await roles.of(ada) is None
        assert await roles.of(ANONYMOUS) is None
        assert await roles.of(Identity(service_token_id="robot")) is None


async def test_the_highest_role_counts_and_without_rules_nobody_of_a_provider_has_one(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        roles = api.admin.roles
        assert await roles.of(ADA) is None
        both = {"admin": {"include": [{"email": {"email": EMAIL}}]}, "auditor": {"include": [STAFF]}}
        await put(api, both)
        assert await roles.of(ADA) == "admin"
        await put(api, {"auditor": {"include": [STAFF], "exclude": [{"email": {"email": EMAIL}}]}})
        assert await roles.of(ADA) is None
        await put(api, {"auditor": {"include": [STAFF], "require": [{"email": {"email": "grace@example.com"}}]}})
        assert await roles.of(ADA) is None
        await put(api, {})
        assert await roles.of(ADA) is None


@pytest.mark.parametrize(
    "rules",
    [
        {"include": [PLATFORM]},  # There is no such provider.
        {"include": [{"login_method": {"id": "gone"}}]},
        {"include": [{"geo": {"country_code": "CH"}}]},  # Nothing says in which country somebody is.
        {"include": [{"any_valid_service_token": {}}]},
        {"include": [STAFF], "exclude": [{"device_posture": {"integration_uid": "disk"}}]},
        {"include": [STAFF], "require": [{"geo": {"country_code": "CH"}}]},
    ],
)
async def test_what_cannot_be_known_gives_nobody_a_role(tmp_path: Path, rules: dict[str, Any]) -> None:
    async with admin_api(tmp_path) as api:
        made = await put(api, {"owner": rules})
        assert made.status_code == 200, made.text
        assert await api.admin.roles.of(ADA) is None


async def test_a_broken_rule_gives_nobody_a_role_and_is_shown_and_replaced(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        await put(api, {"owner": {"include": [STAFF]}})
        assert await api.admin.roles.of(ADA) == "owner"
        broken = {"owner": {"include": [STAFF], "exclude": [{"newer": {}}]}, "admin": {"include": [STAFF]}}
        await api.store.replace(plain("settings"), "administrator_roles", broken, by="a newer version")
        assert await api.admin.roles.of(ADA) is None
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(api.at(PATH), headers=api.headers())).status_code == 409
        assert (await put(api, {"admin": {"include": [STAFF]}})).status_code == 200
        assert await api.admin.roles.of(ADA) == "admin"


async def test_groups_and_lists_of_policies_are_those_of_roles_and_stay_while_they_are_used(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api, httpx2.AsyncClient(trust_env=False, headers=api.headers()) as http:
        group = (await http.post(api.at("/access/groups"), json={"name": "Staff", "include": [STAFF]})).json()["result"]
        items = [{"value": EMAIL}]
        made = await http.post(api.at("/gateway/lists"), json={"name": "Leads", "type": "EMAIL", "items": items})
        leads = made.json()["result"]
        by_group, by_list = {"group": {"id": group["id"]}}, {"email_list": {"id": leads["id"]}}
        assert (await put(api, {"owner": {"include": [{"group": {"id": "gone"}}]}})).status_code == 409
        written = await put(api, {"admin": {"include": [by_group], "require": [by_list]}})
        assert written.status_code == 200, written.text
        assert await api.admin.roles.of(ADA) == "admin"
        removals = [f"/access/groups/{group['id']}", f"/gateway/lists/{leads['id']}"]
        refused = [await http.delete(api.at(path)) for path in removals]
        assert [one.status_code for one in refused] == [409, 409]
        assert all("the role admin uses" in one.text for one in refused)
        change = {"name": "Staff", "include": [{"email_domain": {"domain": "other.example"}}]}
        await http.put(api.at(removals[0]), json=change)
        assert await api.admin.roles.of(ADA) is None


async def test_groups_and_providers_of_the_configuration_count_too(tmp_path: Path) -> None:
    groups = [{"id": "staff", "include": [STAFF]}]
    async with ruled_portal(tmp_path, groups=groups, pin=True) as portal:
        rules = {"include": [STAFF], "require": [{"login_method": {"id": "onetimepin"}}]}
        async with httpx2.AsyncClient(trust_env=False, headers=portal.headers()) as http:
            assert (await http.put(portal.at(PATH), json={"auditor": rules})).status_code == 200
        pin = Identity(id=f"onetimepin:{EMAIL}", email=EMAIL, idp_id="onetimepin", login_method="onetimepin")
        assert await portal.admin.roles.of(pin) == "auditor"
        assert await portal.admin.roles.of(ADA) is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"king": {"include": [STAFF]}}, "/king"),
        ({"owner": {"include": []}}, "/owner/include"),
        ({"owner": {"include": [{"email": {}}]}}, "/owner/include/0/email/email"),
        ({"owner": {"include": [STAFF], "excludes": [STAFF]}}, "/owner/excludes"),
    ],
)
async def test_rules_that_say_something_else_are_refused_with_the_place(
    tmp_path: Path, body: dict[str, Any], pointer: str
) -> None:
    async with admin_api(tmp_path) as api:
        answer = await put(api, body)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["source"]["pointer"] == pointer, answer.text


async def test_who_is_no_owner_makes_no_rules_for_what_they_are_not(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        token = await token_with(portal, frozenset({ACCOUNT.read, ACCOUNT.write}))
        headers = {"Authorization": f"Bearer {token}"}
        answer = await http.put(portal.at(PATH), headers=headers, json={"owner": {"include": [STAFF]}})
        assert answer.status_code == 403
        assert (await http.put(portal.at(PATH), headers=headers, json={})).status_code == 200


async def test_a_question_reads_the_store_once_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with admin_api(tmp_path) as api:
        await put(api, {"admin": {"include": [STAFF]}})
        roles = AdministratorRoles(api.store)
        assert await roles.of(ADA) == "admin"

        async def nothing(*_: Any) -> Any:
            raise AssertionError("the store was read")

        with monkeypatch.context() as patched:
            for name in ("find", "scan", "list"):
                patched.setattr(api.store, name, nothing)
            assert await roles.of(ADA) == "admin"
        await put(api, {})
        assert await roles.of(ADA) is None
        roles.close()
