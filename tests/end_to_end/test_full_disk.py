"""A disk that is really full under a portal that really runs: it says so, goes on with what it can, loses nothing."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import httpx2
import pytest

from portal.admin import PREFIX
from portal.logs import Filters, LogDatabase, LogKey, verify
from portal.logs import before as newest
from portal.state import KeyRing, Store
from tests.clients.serving import Served
from tests.end_to_end.disks import Disk, on_small_disk, with_short_files
from tests.portal.admin.test_served import codemode, eventually
from tests.portal.app.test_store_trouble import SOON, assert_says_when, call_of
from tests.portal.login.browser import browser_at
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import Address, claim
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio

TROUBLE = "the database is in trouble: nothing can be stored, reading goes on"
WELL = "the database is well again"
MOST_WRITES = 2000
SHOP = {"command": sys.executable, "args": ["-m", "portal.demo.shop"]}
EVERYONE = {"id": "everyone", "decision": "bypass", "include": [{"everyone": {}}]}

Serve = Callable[[dict[str, Any], Path, Path], AbstractContextManager[tuple[Served, Disk]]]


@dataclass
class Administrator:
    """A program that uses the admin API, and the names of the service tokens that it was told of."""

    http: httpx2.AsyncClient
    service_tokens: str
    headers: dict[str, str]
    made: list[str]
    refused: list[str]

    async def make(self, name: str) -> httpx2.Response:
        """Make one; the answer comes soon, whatever it is."""
        began = monotonic()
        answer = await self.http.post(self.service_tokens, headers=self.headers, json={"name": name, "duration": "24h"})
        assert monotonic() - began < SOON
        if answer.status_code == 503:
            assert_says_when(answer)
            assert answer.json()["success"] is False
            self.refused.append(name)
        else:
            assert answer.status_code == 201, answer.text
            self.made.append(name)
        return answer

    async def names(self) -> list[str]:
        answer = await self.http.get(f"{self.service_tokens}?per_page=1000", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return sorted(one["name"] for one in answer.json()["result"])


@pytest.mark.parametrize(
    ("serve", "reason", "undone"),
    [
        pytest.param(on_small_disk, "the disk is full", True, id="small disk"),
        pytest.param(with_short_files, "the disk gives an error", False, id="short files"),
    ],
)
async def test_on_a_full_disk_a_portal_refuses_what_it_cannot_store_and_loses_nothing(
    tmp_path: Path, serve: Serve, reason: str, undone: bool
) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    api_token = await asyncio.to_thread(codemode, "api-token", "ci", "--state", new_state(prepared))
    account = api_token.stderr.split("account ")[1].split(";")[0].strip()
    document = {"mcpServers": {"shop": SHOP}, "portal": {"identity": {"policies": [EVERYONE]}}}
    with serve(document, tmp_path, prepared) as (served, disk):
        address = Address(served.url)
        async with browser_at(address.url) as browser, httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(address, http)  # type: ignore[arg-type]
            await claim(served, browser)
            await agent.log_in(browser)
            headers = {"Authorization": f"Bearer {api_token.stdout.strip()}"}
            url = f"{address.url}{PREFIX}/accounts/{account}/access/service_tokens"
            admin = Administrator(http, url, headers, [], [])
            await admin.make("before")

            disk.fill()
            # What is there of the log is written again first.
            while not admin.refused and len(admin.made) < MOST_WRITES:
                await admin.make(f"during {len(admin.made)}")
            assert admin.refused, "all of it found room"
            await during(address, agent, http, admin)
            assert served.event(TROUBLE)["reason"] == reason

            disk.free()
            await eventually(lambda: is_well(address, http))
            assert (await agent.refresh()).status_code == 200
            await admin.make("after")
            names = await admin.names()
            assert set(admin.made) <= set(names)
            assert not undone or sorted(admin.made) == names
        assert served.stop() == 0
        assert events_of_trouble(served) == [TROUBLE, WELL]
        after = tmp_path / "after"
        shutil.copytree(disk.folder, after)
    # What was on the disk is opened and looked through as another portal would.
    async with Store.open(f"sqlite:///{after}/state.db", KeyRing.open(after / "state.key")) as store:
        assert store.health == "ok"
    log = LogDatabase(f"sqlite:///{after}/state-logs.db")
    await log.open(make=False)
    try:
        assert (await log.read(partial(verify, trusted=[LogKey.open(after / "state-logs.key").public]))).is_whole
        # The call was made while nothing could be stored.
        called = await log.read(partial(newest, filters=Filters(server="shop")))
        assert [one.row.name for one in called] == ["get_customer"] and called[0].row.outcome == "ok"
    finally:
        await log.close()


async def during(address: Address, agent: Agent, http: httpx2.AsyncClient, admin: Administrator) -> None:
    """Nothing can be stored: who wants that is told so, and everybody else served."""
    call = call_of("shop_get_customer", {"customer_id": "C001"}, agent.tokens["access_token"])
    began = monotonic()
    answers = await asyncio.gather(
        http.post(address.mcp, **call), agent.refresh(), agent.register(), *(admin.make(f"many {n}") for n in range(8))
    )
    assert monotonic() - began < SOON
    assert answers[0].status_code == 200 and "C001" in answers[0].text
    for refused in answers[1:3]:
        assert_says_when(refused)
        assert refused.json()["error"] == "temporarily_unavailable"
    assert {answer.status_code for answer in answers[3:]} == {503}
    assert set(admin.made) <= set(await admin.names())
    assert (await http.get(f"{address.url}/healthz")).json() == {"status": "degraded"}


async def is_well(address: Address, http: httpx2.AsyncClient) -> bool:
    return bool((await http.get(f"{address.url}/healthz")).json() == {"status": "ok"})


def events_of_trouble(served: Served) -> list[str]:
    """What the log says of the database, and that no line is a traceback."""
    with pytest.raises(AssertionError, match="the portal ended"):
        while True:
            served.next_event()
    told = [event for event in served.events if event.get("level") in ("warning", "error", "critical")]
    assert "Traceback" not in str(served.events) and "exception" not in str(told)
    return [event["event"] for event in told if "database" in event["event"]]
