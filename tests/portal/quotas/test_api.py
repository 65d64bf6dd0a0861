"""Quotas by the admin API, driven by Cloudflare's SDK, and by a declarative file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cloudflare
import pytest

from portal.admin import apply_changes, export_objects, plan, read_existing
from portal.calls import Call
from portal.errors import OverQuota
from portal.identity import Identity
from portal.objects import QUOTA
from portal.state import plain
from portal.upstream import CallContext
from tests.patience import PATIENCE
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.quotas.limited import PASS
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HOURLY = {"name": "Hourly", "calls": 2, "period": 3600, "per": ["person", "server"], "servers": ["fix"]}
STRANGER = CallContext(principal=Identity(ip="2001:db8:1:2:3::4"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def ruled(tmp_path: Path) -> AsyncIterator[Ruled]:
    async with hosted() as upstream, ruled_portal(tmp_path, upstream=upstream.url, policies=[PASS]) as ruled:
        await ruled.store.create(
            plain("app"),
            "fix",
            {
                "type": "mcp",
                "name": "Fix",
                "destinations": [{"type": "via_mcp_server_portal", "mcp_server_id": "fix"}],
                "policies": [PASS],
            },
            by="test",
        )
        assert ruled.instance.admin is not None
        await ruled.instance.admin.settings.in_force(PATIENCE)
        yield ruled


async def said(ruled: Ruled, method: str, path: str = "", body: object = None) -> Any:
    """The result of a request of the SDK below the path of quotas."""
    whole = f"/accounts/{ruled.account}/access/ai-controls/mcp/quotas{path}"
    send = getattr(ruled.sdk, method)
    options: dict[str, Any] = {} if body is None else {"body": body}
    answer: Any = await send(whole, cast_to=object, **options)
    assert answer["success"] is True
    return answer["result"]


async def call(ruled: Ruled, context: CallContext = STRANGER) -> str:
    try:
        await ruled.instance.own.caller.call(Call.tool("fix", "echo", {"text": "x"}), context)
    except OverQuota as error:
        return str(error.policy)
    return "ok"


async def test_a_quota_is_made_holds_at_once_is_changed_and_removed(ruled: Ruled) -> None:
    made = await said(ruled, "post", body=HOURLY)
    assert {**HOURLY, "portals": [], "tools": []}.items() <= made.items() and made["created_at"]
    assert [await call(ruled) for _ in range(3)] == ["ok", "ok", "quota:Hourly"]
    assert await said(ruled, "get", f"/{made['id']}") == made and await said(ruled, "get") == [made]
    # The counts go on with another number, and end with another period.
    await said(ruled, "put", f"/{made['id']}", {**HOURLY, "calls": 3})
    assert [await call(ruled) for _ in range(2)] == ["ok", "quota:Hourly"]
    await said(ruled, "put", f"/{made['id']}", {**HOURLY, "period": 7200})
    assert await call(ruled) == "ok"
    assert await said(ruled, "delete", f"/{made['id']}") == {"id": made["id"]}
    assert [await call(ruled) for _ in range(3)] == ["ok"] * 3 and await said(ruled, "get", "/usage") == []


async def test_the_usage_says_who_is_how_far_the_farthest_first(ruled: Ruled) -> None:
    made = await said(ruled, "post", body=HOURLY)
    await said(ruled, "post", body={"name": "All", "calls": 100, "period": 60, "per": []})
    for _ in range(3):
        await call(ruled)
    await call(ruled, CallContext(principal=Identity(ip="192.0.2.1")))
    first, second, third = await said(ruled, "get", "/usage")
    assert 3600 <= first.pop("reset") <= 3900
    assert first == {
        "quota_id": made["id"],
        "quota_name": "Hourly",
        "source": "store",
        "person": "address:2001:db8:1:2::/64",
        "portal": None,
        "server": "fix",
        "tool": None,
        "calls": 2,
        "limit": 2,
        "period": 3600,
    }
    assert (second["person"], second["calls"]) == ("address:192.0.2.1", 1)
    assert (third["quota_name"], third["person"], third["calls"]) == ("All", None, 3)
    assert [one["person"] for one in await said(ruled, "get", "/usage?search=192.0")] == ["address:192.0.2.1"]
    assert len(await said(ruled, "get", "/usage?per_page=2&page=2")) == 1


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"calls": 0}, 400),
        ({"period": 0}, 400),
        ({"period": 86_400 * 32}, 400),
        ({"per": ["people"]}, 400),
        ({"name": ""}, 400),
        ({"name": "a\nb"}, 400),
        ({"servers": ["s"] * 1001}, 400),
        ({"name": "Taken"}, 409),
    ],
)
async def test_a_quota_that_makes_no_sense_is_refused(ruled: Ruled, change: dict[str, Any], status: int) -> None:
    await said(ruled, "post", body={**HOURLY, "name": "Taken"})
    with pytest.raises(cloudflare.APIStatusError) as refused:
        await said(ruled, "post", body={**HOURLY, **change})
    assert refused.value.status_code == status
    assert len(await said(ruled, "get")) == 1


async def test_a_stored_quota_that_cannot_be_read_goes_on_as_it_was(ruled: Ruled) -> None:
    made = await said(ruled, "post", body=HOURLY)
    assert [await call(ruled) for _ in range(2)] == ["ok", "ok"]
    await ruled.store.replace(plain("quota"), made["id"], {"name": "Hourly", "calls": 0}, by="test")
    await ruled.admin.settings.in_force(PATIENCE)
    assert await call(ruled) == "quota:Hourly"


async def test_a_file_declares_quotas_and_an_export_says_the_same(ruled: Ruled) -> None:
    declared = {"quotas": {"Hourly": {name: value for name, value in HOURLY.items() if name != "name"}}}
    changes = plan(declared, await read_existing(ruled.store)).changes
    async for _ in apply_changes(ruled.admin, changes, await read_existing(ruled.store)):
        pass
    (stored,) = await ruled.store.list(QUOTA)
    assert (stored.document.name, stored.document.per) == ("Hourly", ("person", "server"))
    exported = export_objects(await read_existing(ruled.store))
    assert exported["quotas"] == declared["quotas"]
    assert plan({"quotas": exported["quotas"]}, await read_existing(ruled.store)).changes == []
    (changed,) = plan({"quotas": {"Hourly": {**HOURLY, "calls": 5}}}, await read_existing(ruled.store)).changes
    assert (changed.action, changed.fields) == ("change", ("calls",))
