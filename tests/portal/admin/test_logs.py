"""The log over the admin API: pages of rows with the original's five fields, a row with its run, refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cloudflare
import pytest

from portal.admin.log_reading import LoggedRow
from portal.logs import CallLog, LogPlace, LogRow, LogSettings
from portal.logs.row import COLUMNS
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.logs.rows import row
from tests.portal.logs.stopped import stopped

pytestmark = pytest.mark.anyio

MCP = "/access/ai-controls/mcp"


def place_in(folder: Path) -> LogPlace:
    return LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)


@asynccontextmanager
async def logged(folder: Path, rows: list[LogRow], **more: Any) -> AsyncIterator[tuple[Api, CallLog]]:
    """The API over a log with these rows."""
    async with CallLog.open(place_in(folder), lambda: LogSettings(keep_days=3650)) as log:
        for one in rows:
            log.write(one)
        await log.stored()
        async with admin_api(folder, log=log, **more) as api:
            yield api, log


async def get(api: Api, path: str, token: str = "", **query: Any) -> Any:
    """The answer to the SDK's own request for what it has no resource for."""
    async with api.async_sdk() as sdk:
        asked = sdk.with_options(api_token=token) if token else sdk
        path = f"/accounts/{api.account}{MCP}{path}"
        return await asked.get(path, cast_to=object, options={"params": query})


async def refused(api: Api, path: str, token: str = "", **query: Any) -> cloudflare.APIStatusError:
    with pytest.raises(cloudflare.APIStatusError) as caught:
        await get(api, path, token, **query)
    return caught.value


def words(error: cloudflare.APIStatusError) -> str:
    return str(error.response.json()["errors"][0]["message"])


def calls(number: int) -> list[LogRow]:
    now = time.time_ns() // 1000 - 10_000_000
    return [
        row(
            at=now + n * 1000,
            server=f"s{n % 2}",
            name=f"tool_{n}",
            portal="team" if n % 3 == 0 else "",
            outcome="timeout" if n % 5 == 0 else "ok",
            email="ada@example.com",
        )
        for n in range(number)
    ]


async def test_pages_go_on_behind_an_id_in_both_directions(tmp_path: Path) -> None:
    made = calls(120)
    async with logged(tmp_path, made) as (api, _):
        names: list[str] = []
        query: dict[str, Any] = {"limit": 50}
        while True:
            page = await get(api, "/logs", **query)
            names += [one["capability"] for one in page["result"]]
            assert page["result_info"]["count"] == len(page["result"])
            if not page["result_info"]["more"]:
                assert page["result_info"]["before"] is None
                break
            query["before"] = page["result_info"]["before"]
        assert names == [f"tool_{n}" for n in reversed(range(120))]
        first = (await get(api, "/logs", after=0, limit=100))["result"]
        assert [one["capability"] for one in first] == [f"tool_{n}" for n in range(100)]
        rest = await get(api, "/logs", after=first[-1]["id"])
        assert [one["capability"] for one in rest["result"]] == [f"tool_{n}" for n in range(100, 120)]
        assert (await get(api, "/logs", after=rest["result_info"]["after"]))["result"] == []


async def test_a_row_says_time_status_server_capability_and_duration_and_all_its_columns(tmp_path: Path) -> None:
    async with logged(tmp_path, calls(1)) as (api, _):
        (found,) = (await get(api, "/logs"))["result"]
    assert set(COLUMNS) <= set(LoggedRow.model_fields) and set(found) == set(LoggedRow.model_fields)
    shown = {name: found[name] for name in ("status", "server", "capability", "duration_ms", "outcome", "email")}
    assert shown == {
        "status": "error",
        "server": "s0",
        "capability": "tool_0",
        "duration_ms": 1.5,
        "outcome": "timeout",
        "email": "ada@example.com",
    }
    assert found["time"].endswith("Z")


async def test_filters_hold_and_rows_are_counted_if_asked(tmp_path: Path) -> None:
    made = calls(60)
    async with logged(tmp_path, made) as (api, _):

        async def names(path: str = "/logs", **query: Any) -> list[str]:
            page = await get(api, path, count=True, limit=100, **query)
            assert page["result_info"]["total"] == str(len(page["result"]))
            return [one["name"] for one in page["result"][::-1]]

        def of(wanted: Any) -> list[str]:
            return [one.name for one in made if wanted(one)]

        assert await names(server_id="s1") == of(lambda one: one.server == "s1")
        assert await names("/servers/s1/logs") == of(lambda one: one.server == "s1")
        assert await names("/portals/team/logs") == of(lambda one: one.portal == "team")
        assert await names("/portals/_/logs") == of(lambda one: one.portal == "")
        assert await names(portal_id="_") == of(lambda one: one.portal == "")
        assert await names("/portals/team/logs", failed=True, server_id="s0") == of(
            lambda one: one.portal == "team" and one.outcome != "ok" and one.server == "s0"
        )
        assert await names(outcome="timeout") == of(lambda one: one.outcome == "timeout")
        assert await names(name="tool_3", identity="ada", kind="tool") == ["tool_3"]
        page = (await get(api, "/logs", limit=1))["result"]
        assert await names(until="2020-01-01T00:00:00Z") == []
        assert len(await names(since="2020-01-01T01:00:00+01:00")) == 60
        assert page[0]["name"] == "tool_59"
        assert await names("/servers/nobody/logs") == []


async def test_a_stored_portal_with_the_host_name_of_the_document_s_own_has_its_rows(tmp_path: Path) -> None:
    async with logged(tmp_path, calls(6), hostname="mcp.example.com") as (api, _):
        async with api.async_sdk() as sdk:
            portals: Any = sdk.zero_trust.access.ai_controls.mcp.portals
            for id, host in (("here", "mcp.example.com"), ("team", "team.example.com")):
                await portals.create(account_id=api.account, id=id, name=id, hostname=host)
        assert {one["portal"] for one in (await get(api, "/portals/here/logs"))["result"]} == {""}
        assert {one["portal"] for one in (await get(api, "/portals/team/logs"))["result"]} == {"team"}
        counted = await get(api, "/analytics/portals/here/tool-calls/timeseries")
        assert counted["result"]["total"] == 4


async def test_a_row_is_shown_with_its_run_and_its_calls_in_order(tmp_path: Path) -> None:
    made = [
        row(at=row().at + 5, name="second", run="exec_1", call=2, parent="exec_1"),
        row(at=row().at + 9, name="first", run="exec_1", call=1, parent="exec_1"),
        row(name="code", kind="run", run="exec_1", server=""),
        row(name="alone"),
    ]
    async with logged(tmp_path, made) as (api, _):
        rows = {one["name"]: one for one in (await get(api, "/logs"))["result"]}
        for name in ("code", "first"):
            found = (await get(api, f"/logs/{rows[name]['id']}"))["result"]
            assert found["row"]["name"] == name and found["run"]["name"] == "code" and not found["more"]
            assert [one["name"] for one in found["calls"]] == ["first", "second"]
        alone = (await get(api, f"/logs/{rows['alone']['id']}"))["result"]
        assert alone["row"] == rows["alone"] and alone["run"] is None and alone["calls"] == []
        for id in ("1", "0", "-1", "x", "9" * 40, "٣", "1.5"):
            assert (await refused(api, f"/logs/{id}")).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {"nothing": "1"},
        {"server": "s1"},
        {"limit": 0},
        {"limit": 501},
        {"before": -1},
        {"before": 2**63},
        {"before": 1, "after": 1},
        {"since": "yesterday"},
        {"since": "2026-11-30T00:00:00"},
        {"name": "a\0b"},
        {"name": "x" * 513},
        {"failed": "perhaps"},
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_is_shown(tmp_path: Path, query: dict[str, Any]) -> None:
    async with logged(tmp_path, []) as (api, _):
        error = await refused(api, "/logs", **query)
        assert error.status_code == 400 and words(error)
        assert (await refused(api, "/portals/team/logs", portal_id="other")).status_code == 400


@pytest.mark.parametrize(
    "path", ["/logs", "/logs/1", "/logs/tail", "/portals/team/logs", "/analytics/sums", "/analytics/hours"]
)
async def test_without_a_log_each_answer_says_so_and_what_to_do(tmp_path: Path, path: str) -> None:
    async with admin_api(tmp_path) as api:
        error = await refused(api, path)
    assert error.status_code == 404 and "portal.logs.enabled" in words(error)


async def test_the_log_needs_a_permission_of_its_own_and_counts_that_of_portals(tmp_path: Path) -> None:
    async with logged(tmp_path, calls(3)) as (api, _):
        tokens = {name: await token_with(api, name) for name in ("Logs Read", "MCP Portals Read")}
        logs, portals = tokens["Logs Read"], tokens["MCP Portals Read"]
        assert len((await get(api, "/logs", logs))["result"]) == 3
        assert (await refused(api, "/logs", portals)).status_code == 403
        assert (await refused(api, "/logs/tail", portals)).status_code == 403
        assert (await get(api, "/analytics/tool-calls/timeseries", portals))["result"]["total"] == 3
        assert (await refused(api, "/analytics/sums", logs)).status_code == 403
        assert (await refused(api, "/logs", "cmp_nobody")).status_code == 401


async def token_with(api: Api, permission: str) -> str:
    async with api.async_sdk() as sdk:
        groups: Any = sdk.accounts.tokens.permission_groups
        ids = [one.id async for one in groups.list(account_id=api.account) if one.name == permission]
        policy: Any = {
            "effect": "allow",
            "permission_groups": [{"id": ids[0]}],
            "resources": {f"com.cloudflare.api.account.{api.account}": "*"},
        }
        made = await sdk.accounts.tokens.create(account_id=api.account, name=permission, policies=[policy])
        assert made is not None
        return str(made.value)


async def test_a_log_that_does_not_answer_is_a_503_and_one_token_cannot_take_all_its_readers(tmp_path: Path) -> None:
    async with logged(tmp_path, calls(3)) as (api, log):
        async with stopped(log.database) as gone:
            asked = [asyncio.create_task(refused(api, "/logs")) for _ in range(6)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            others = await token_with(api, "Logs Read")
            gone.set()
            assert {(await one).status_code for one in asked} <= {429, 503}
            assert 429 in {one.result().status_code for one in asked}
        assert len((await get(api, "/logs", others))["result"]) == 3
