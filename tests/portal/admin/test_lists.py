"""Lists that policies refer to, written by Cloudflare's SDK, decide at the portal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from cloudflare import APIStatusError

from portal.identity import Identity
from portal.state import plain
from tests.portal.admin.ruled import ruled_portal
from tests.portal.admin.test_served import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ADA = Identity(id="ada", email="Ada@example.com", ip="192.0.2.7")
EVE = Identity(id="eve", email="eve@example.com", ip="192.0.2.8")


async def test_who_is_on_a_list_comes_in_and_whoever_is_taken_off_does_not(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal:
        lists: Any = portal.sdk.zero_trust.gateway.lists
        account = {"account_id": portal.account}
        staff = await lists.create(
            **account, name="Staff", type="EMAIL", description="All", items=[{"value": "ada@example.com"}]
        )
        office = await lists.create(**account, name="Office", type="IP", items=[{"value": "192.0.2.0/24"}])
        assert (staff.type, staff.description, [item.value for item in staff.items]) == (
            "EMAIL",
            "All",
            ["ada@example.com"],
        )
        await portal.portal_app(
            policies=[
                {
                    "name": "Staff in the office",
                    "decision": "allow",
                    "include": [{"email_list": {"id": staff.id}}],
                    "require": [{"ip_list": {"id": office.id}}],
                }
            ]
        )

        def allowed(who: Identity) -> bool:
            return portal.access_now.portal(who).allowed

        async def both() -> bool:
            return allowed(ADA) and allowed(EVE)

        async def nobody() -> bool:
            return not allowed(ADA) and not allowed(EVE)

        async def only_ada() -> bool:
            return allowed(ADA) and not allowed(EVE)

        await eventually(only_ada)
        assert portal.access_now.warnings == ()
        edited = await lists.edit(staff.id, **account, append=[{"value": "eve@example.com", "description": "New"}])
        assert (edited.count, edited.items[0].created_at, edited.items[1].description) == (
            2,
            staff.items[0].created_at,
            "New",
        )
        await eventually(both)
        await lists.edit(staff.id, **account, remove=["EVE@example.com", "nobody@example.com"])
        await eventually(only_ada)
        await lists.update(office.id, **account, name="Elsewhere", items=[{"value": "198.51.100.0/24"}])
        await eventually(nobody)
        # What is left out stays.
        renamed = await lists.update(office.id, **account, name="Far away")
        assert [item.value for item in renamed.items] == ["198.51.100.0/24"]
        found = {one.name: (one.type, one.count) async for one in lists.list(**account)}
        assert found == {"Staff": ("EMAIL", 1), "Far away": ("IP", 1)}
        assert [item.value async for item in lists.items.list(staff.id, **account)] == ["ada@example.com"]
        assert (await lists.get(staff.id, **account)).name == "Staff"
        with pytest.raises(APIStatusError, match="uses this list"):
            await lists.delete(staff.id, **account)
        approvers = await lists.create(**account, name="Approvers", type="EMAIL")
        policies: Any = portal.sdk.zero_trust.access.policies
        groups = [{"approvals_needed": 1, "email_addresses": [], "email_list_uuid": approvers.id}]
        asking = {"approval_required": True, "approval_groups": groups, "include": [{"everyone": {}}]}
        asked = await policies.create(**account, name="Asked", decision="allow", **asking)
        with pytest.raises(APIStatusError, match="'Asked' uses this list"):
            await lists.delete(approvers.id, **account)
        await policies.delete(asked.id, **account)
        await lists.delete(approvers.id, **account)
        spare = await lists.create(**account, name="Spare", type="IP")
        await lists.delete(spare.id, **account)
        assert len(await portal.store.list(plain("list"))) == 2


async def test_a_list_holds_only_what_it_is_of_and_each_once(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, httpx2.AsyncClient(headers=portal.headers(), trust_env=False) as http:
        url = portal.at("/gateway/lists")
        for kind, value in (("EMAIL", "example.com"), ("IP", "192.0.2.0/33"), ("URL", "https://a.example")):
            body = {"name": "Bent", "type": kind, "items": [{"value": value}]}
            assert (await http.post(url, json=body)).status_code == 400
        twice = [{"value": "192.0.2.1"}, {"value": "192.0.2.1"}]
        made = (await http.post(url, json={"name": "One", "type": "IP", "items": twice})).json()["result"]
        assert made["count"] == 1
        one = f"{url}/{made['id']}"
        assert (await http.patch(one, json={"append": [{"value": "ada@example.com"}]})).status_code == 400
        assert (await http.put(one, json={"name": "One", "items": [{"value": "x"}]})).status_code == 400
        many = [{"value": f"10.0.{number // 256}.{number % 256}"} for number in range(5000)]
        assert (await http.patch(one, json={"append": many})).status_code == 409
        assert (await http.get(one)).json()["result"]["count"] == 1
        assert (await http.patch(f"{url}/nothing", json={})).status_code == 404
