"""API tokens: what they do not grant is denied at every operation, and they are taken back at once."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import cloudflare
import httpx2
import pytest

from portal.admin.api.errors import AdminError
from portal.admin.api.permissions import ALL, PORTALS, group_id
from portal.admin.tokens import API_TOKEN, ApiTokens, PermissionGroup, TokenBody, TokenPolicy
from portal.state import KeyRing
from tests.patience import PATIENCE
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.login.guarded import Clock
from tests.portal.state.databases import new_state
from tests.portal.state.held import HeldStore


def policy(api: Api, *permissions: str, effect: str = "allow") -> dict[str, object]:
    return {
        "id": "p",
        "effect": effect,
        "permission_groups": [{"id": group_id(permission)} for permission in permissions],
        "resources": {f"com.cloudflare.api.account.{api.account}": "*"},
    }


def make(api: Api, *permissions: str, **more: object) -> tuple[str, str]:
    """Id and value of a new token."""
    body = {"name": "t", "policies": [policy(api, *permissions)], **more}
    answer = api.http.post(api.at("/tokens"), headers=api.headers(), json=body).json()
    return answer["result"]["id"], answer["result"]["value"]


def status(api: Api, value: str, path: str = "/access/ai-controls/mcp/portals") -> int:
    return api.http.get(api.at(path), headers={"Authorization": f"Bearer {value}"}).status_code


def test_the_sdk_makes_shows_changes_rolls_and_takes_back_tokens(api: Api) -> None:
    tokens = api.sdk().accounts.tokens
    made = tokens.create(account_id=api.account, name="ci", policies=[policy(api, PORTALS.read)])  # type: ignore[list-item]
    assert made is not None and made.id and made.value and made.status == "active"
    assert status(api, made.value) == 200
    own = api.sdk(made.value).accounts.tokens.verify(account_id=api.account)
    assert own is not None and (own.id, own.status) == (made.id, "active")
    assert [token.name for token in tokens.list(account_id=api.account)] == ["test", "ci"]
    groups = {group.name for group in tokens.permission_groups.list(account_id=api.account)}
    assert groups == ALL
    rolled = tokens.value.update(made.id, account_id=api.account)
    assert status(api, made.value) == 401 and status(api, rolled) == 200
    changed = tokens.update(
        made.id,
        account_id=api.account,
        name="ci",
        status="disabled",
        policies=[policy(api, PORTALS.read)],  # type: ignore[list-item]
    )
    assert changed is not None and changed.status == "disabled" and status(api, rolled) == 401
    shown = tokens.get(made.id, account_id=api.account)
    assert shown is not None and shown.name == "ci"
    tokens.delete(made.id, account_id=api.account)
    with pytest.raises(cloudflare.NotFoundError):
        tokens.get(made.id, account_id=api.account)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "Basic dGVzdDp0ZXN0", "bearer\tx", "Bearer \u00e9"])
def test_without_a_valid_token_nothing_is_answered(shared: Api, header: str) -> None:
    headers = [(b"authorization", header.encode("latin-1"))] if header else []
    answer = shared.http.get(shared.at("/tokens"), headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["errors"] == [{"code": 10000, "message": "Authentication error"}]


def test_every_operation_refuses_a_token_that_lacks_its_permission(api: Api) -> None:
    by_area = {
        area: (make(api, *(ALL - {area.read, area.write}))[1], make(api, *(ALL - {area.write}))[1])
        for area in {operation.area for operation in api.admin.operations if operation.area}
    }
    for operation in api.admin.operations:
        if operation.area is None:
            continue
        without, reading = by_area[operation.area]
        url = api.at(operation.path.replace("{", "").replace("}", ""))
        for value, denied in ((without, True), (reading, operation.writing)):
            answer = api.http.request(operation.method, url, headers={"Authorization": f"Bearer {value}"}, json={})
            assert (answer.status_code == 403) is denied, (operation.method, operation.path)


def test_reading_does_not_allow_writing_and_a_denial_goes_before_a_grant(api: Api) -> None:
    _, reader = make(api, PORTALS.read)
    portals = api.sdk(reader).zero_trust.access.ai_controls.mcp.portals
    assert list(portals.list(account_id=api.account)) == []
    with pytest.raises(cloudflare.PermissionDeniedError):
        portals.create(account_id=api.account, id="p", hostname="p.example", name="P")
    both = [policy(api, PORTALS.read, PORTALS.write), policy(api, PORTALS.write, effect="deny")]
    _, denied = make(api, PORTALS.read, policies=both)
    assert status(api, denied) == 200
    with pytest.raises(cloudflare.PermissionDeniedError):
        api.sdk(denied).zero_trust.access.ai_controls.mcp.portals.delete("p", account_id=api.account)


def test_nobody_hands_on_more_than_they_hold(api: Api) -> None:
    _, clerk = make(api, "Account API Tokens Write", PORTALS.read)
    headers = {"Authorization": f"Bearer {clerk}"}
    more = {"name": "more", "policies": [policy(api, PORTALS.write)]}
    same = {"name": "same", "policies": [policy(api, PORTALS.read)]}
    assert api.http.post(api.at("/tokens"), headers=headers, json=more).status_code == 403
    assert api.http.post(api.at("/tokens"), headers=headers, json=same).status_code == 200
    full = next(token.id for token in api.sdk().accounts.tokens.list(account_id=api.account) if token.name == "test")
    assert api.http.put(api.at(f"/tokens/{full}/value"), headers=headers, json={}).status_code == 403
    assert api.http.put(api.at(f"/tokens/{full}"), headers=headers, json=same).status_code == 403


def test_a_token_of_another_account_another_time_or_another_place_grants_nothing(api: Api) -> None:
    elsewhere = policy(api, PORTALS.read) | {"resources": {"com.cloudflare.api.account.ffff": "*"}}
    assert status(api, make(api, PORTALS.read, policies=[elsewhere])[1]) == 403
    at = datetime.now(UTC)
    assert status(api, make(api, PORTALS.read, expires_on=(at - timedelta(hours=1)).isoformat())[1]) == 401
    assert status(api, make(api, PORTALS.read, not_before=(at + timedelta(hours=1)).isoformat())[1]) == 401
    places: list[tuple[dict[str, list[str]], int]] = [
        ({"in": ["10.0.0.0/8"]}, 401),
        ({"in": ["127.0.0.1"]}, 200),
        ({"not_in": ["::/0", "127.0.0.0/8"]}, 401),
    ]
    for condition, expected in places:
        value = make(api, PORTALS.read, condition={"request_ip": condition})[1]
        assert status(api, value) == expected
    other = api.at("/tokens").replace(api.account, "f" * 32)
    assert api.http.get(other, headers=api.headers()).status_code == 403


@pytest.mark.anyio
async def test_the_place_of_a_token_is_the_callers_and_not_the_proxys(tmp_path: Path) -> None:
    loopback = [ip_network("127.0.0.0/8")]
    conditions = {"inside": {"in": ["127.0.0.0/8"]}, "there": {"in": ["203.0.113.0/24"]}}
    for proxies, expected in ((loopback, {"inside": 401, "there": 200}), ((), {"inside": 200, "there": 401})):
        folder = tmp_path / str(len(proxies))
        folder.mkdir()
        async with admin_api(folder, proxies=proxies) as api, httpx2.AsyncClient(trust_env=False) as http:
            for name, condition in conditions.items():
                body = {"name": name, "policies": [policy(api, PORTALS.read)], "condition": {"request_ip": condition}}
                made = await http.post(api.at("/tokens"), headers=api.headers(), json=body)
                headers = {"Authorization": f"Bearer {made.json()['result']['value']}"}
                headers["X-Forwarded-For"] = "127.0.0.1, 203.0.113.9"
                answer = await http.get(api.at("/access/ai-controls/mcp/portals"), headers=headers)
                assert answer.status_code == expected[name]


def test_a_permission_that_does_not_exist_cannot_be_granted(shared: Api) -> None:
    wrong = policy(shared, PORTALS.read) | {"permission_groups": [{"id": "0" * 32}]}
    answer = shared.http.post(shared.at("/tokens"), headers=shared.headers(), json={"name": "t", "policies": [wrong]})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["source"]["pointer"] == "/policies/0/permission_groups/0/id"


@pytest.mark.anyio
async def test_the_value_of_a_token_is_not_stored_and_its_deeds_are_in_the_audit_trail(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        made = await api.admin.tokens.create_with_all("second", "ann")
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {made.value}"}) as client:
            body = {"id": "p", "hostname": "p.example", "name": "P"}
            answer = await client.post(api.at("/access/ai-controls/mcp/portals"), json=body)
            assert answer.status_code == 201
        newest = (await api.store.audit())[0]
        assert (newest.action, newest.kind, newest.id, newest.by) == ("create", "portal", "p", f"api-token:{made.id}")
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert made.value.encode() not in content and made.value.removeprefix("cmp_").encode() not in content
        assert hashlib.sha256(made.value.encode()).hexdigest().encode() in content


@pytest.mark.anyio
async def test_a_token_taken_back_through_another_process_is_refused_soon(tmp_path: Path) -> None:
    from portal.admin import create_admin  # noqa: PLC0415
    from portal.state import Store  # noqa: PLC0415

    keys = KeyRing.open(tmp_path / "k")
    url = new_state(tmp_path)
    async with Store.open(url, keys) as here, Store.open(url, keys) as there:
        admin, other = await create_admin(here), await create_admin(there)
        assert admin.account_id == other.account_id
        made = await admin.tokens.create_with_all("t", "ann")
        heard = asyncio.Event()
        there.subscribe(lambda kinds: heard.set())
        assert (await other.tokens.authenticate(f"Bearer {made.value}", "127.0.0.1")).token_id == made.id
        heard.clear()
        await here.delete(API_TOKEN, made.id, by="ann")
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
            # The first notice may still be of the token's making.
            while True:
                try:
                    await other.tokens.authenticate(f"Bearer {made.value}", "127.0.0.1")
                except Exception as error:
                    assert "Authentication" in str(error)
                    break
                await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_a_token_deleted_while_it_is_being_read_is_refused_in_that_request_too(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        tokens = ApiTokens(store, "account")
        made = await tokens.create_with_all("t", "ann")
        header = f"Bearer {made.value}"
        store.hold.begin()
        request = asyncio.create_task(tokens.authenticate(header, "127.0.0.1"))
        await store.hold.answered.wait()
        await store.delete(API_TOKEN, made.id, by="ann")
        store.hold.end()
        with pytest.raises(AdminError):
            await request
        with pytest.raises(AdminError):
            await tokens.authenticate(header, "127.0.0.1")


@pytest.mark.anyio
async def test_a_token_that_is_refused_before_its_time_is_accepted_from_then_on(tmp_path: Path) -> None:
    clock = Clock()
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        tokens = ApiTokens(store, "account", clock)
        allowed = TokenPolicy(
            effect="allow",
            permission_groups=(PermissionGroup(id=group_id(PORTALS.read)),),
            resources={"com.cloudflare.api.account.account": "*"},
        )
        tomorrow = clock() + timedelta(days=1)
        made = await tokens.create(TokenBody(name="t", policies=(allowed,), not_before=tomorrow), "ann")
        with pytest.raises(AdminError):
            await tokens.authenticate(f"Bearer {made.value}", "127.0.0.1")
        clock.ahead = timedelta(days=2)
        assert (await tokens.authenticate(f"Bearer {made.value}", "127.0.0.1")).token_id == made.id
