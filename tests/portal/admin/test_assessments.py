"""Posture and risk pushed through the admin API decide at the running portal, for as long as they are fresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.identity import Identity
from portal.signals import Assessments
from portal.signals.assessments import Assessment
from portal.signals.pushed import ASSESSMENT, AssessmentDocument, PushedAssessments, assessments_in, merged
from portal.state import KeyRing, plain
from portal.state.clock import utc_now
from tests.patience import PATIENCE
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.admin.test_served import eventually
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, Clock
from tests.portal.oauth.agent import Agent
from tests.portal.oauth.test_served import tools
from tests.portal.state.databases import new_state
from tests.portal.state.held import HeldStore
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
POSTURE = {"integrations": ["disk"], "freshFor": 600}
HEALTHY = {
    "name": "Healthy devices",
    "decision": "allow",
    "include": [{"everyone": {}}],
    "require": [{"device_posture": {"integration_uid": "disk"}}],
    "exclude": [{"user_risk_score": {"user_risk_score": ["high"]}}],
}
PATH = "/access/assessments"


@asynccontextmanager
async def client(portal: Ruled) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(headers=portal.headers(), trust_env=False) as http:
        yield http


async def push(portal: Ruled, http: httpx2.AsyncClient, **told: Any) -> httpx2.Response:
    return await http.post(portal.at(PATH), json={"assessments": [{"subject": EMAIL, **told}]})


async def test_a_server_is_there_while_what_was_pushed_of_the_device_is_fresh(tmp_path: Path) -> None:
    clock = Clock()
    async with (
        hosted() as upstream,
        ruled_portal(tmp_path, upstream=upstream.url, now=clock, posture=POSTURE) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as outside,
        client(portal) as http,
    ):
        await portal.person()
        agent = Agent(portal, outside)  # type: ignore[arg-type]
        await agent.log_in(browser)
        assert "fix_echo" in (await tools(agent))[1]
        policy = await portal.access.policies.create(account_id=portal.account, **HEALTHY)
        via = [{"type": "via_mcp_server_portal", "mcp_server_id": "fix"}]
        await portal.access.applications.create(
            account_id=portal.account, type="mcp", name="Fix", destinations=via, policies=[{"id": policy.id}]
        )

        async def shown() -> bool:
            return "fix_echo" in (await tools(agent))[1]

        async def hidden() -> bool:
            return not await shown()

        # The selectors are configured, and of nobody anything is known yet.
        await eventually(hidden)
        assert portal.access_now.warnings == ()
        told = await push(portal, http, device_posture={"disk": True}, user_risk="low")
        assert (told.status_code, told.json()["result"]) == (200, {"recorded": 1})
        await eventually(shown)
        clock.ahead = timedelta(seconds=590)
        assert await shown()
        clock.ahead = timedelta(seconds=610)
        assert await hidden()
        await push(portal, http, device_posture={"disk": True}, user_risk="low")
        await eventually(shown)
        await push(portal, http, user_risk="high")
        await eventually(hidden)
        await push(portal, http, user_risk="low")
        await eventually(shown)
        assert (await http.delete(portal.at(f"{PATH}/{EMAIL}"))).status_code == 202
        await eventually(hidden)
        made_by = {entry.by for entry in await portal.store.audit() if entry.kind == "assessment"}
        assert len(made_by) == 1 and made_by.pop().startswith("api-token:")


async def test_what_was_pushed_is_shown_with_the_time_it_was_found_out_and_outlives_the_portal(tmp_path: Path) -> None:
    clock = Clock()
    async with ruled_portal(tmp_path, now=clock, posture=POSTURE) as portal, client(portal) as http:
        await push(portal, http, device_posture={"disk": False}, age=60)
        # Something found out earlier changes nothing.
        await push(portal, http, device_posture={"disk": True}, age=120)
        shown = (await http.get(portal.at(f"{PATH}/{EMAIL.upper()}"))).json()["result"]
        assert (shown["subject"], shown["device_posture"]["disk"]["passed"], shown["user_risk"]) == (EMAIL, False, None)
        age = clock() - datetime.fromisoformat(shown["device_posture"]["disk"]["at"])
        assert timedelta(seconds=60) <= age < timedelta(seconds=90)
    async with ruled_portal(tmp_path, now=clock, posture=POSTURE) as portal, client(portal) as http:
        listed = (await http.get(portal.at(f"{PATH}?search=ada"))).json()
        assert (listed["result"], listed["result_info"]["total_count"]) == ([shown], 1)


async def test_only_what_is_configured_can_be_pushed_and_so_much_at_once(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path, posture=POSTURE) as portal, client(portal) as http:
        unknown = await push(portal, http, device_posture={"firewall": True})
        assert (unknown.status_code, unknown.json()["errors"][0]["source"]["pointer"]) == (
            400,
            "/assessments/0/device_posture",
        )
        many = [{"subject": f"p{number}", "user_risk": "low"} for number in range(101)]
        assert (await http.post(portal.at(PATH), json={"assessments": many})).status_code == 400
        assert (await push(portal, http, user_risk="low", age=-1)).status_code == 400
        assert await portal.store.list(plain("assessment")) == []
    async with ruled_portal(tmp_path) as portal, client(portal) as http:
        refused = await push(portal, http, user_risk="low")
        assert (refused.status_code, "portal.identity.posture" in refused.text) == (409, True)


NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = st.builds(
    Assessment,
    subject=st.just("ada"),
    device_posture=st.none() | st.dictionaries(st.sampled_from(["disk", "firewall"]), st.booleans()),
    user_risk=st.none() | st.sampled_from(["low", "high"]),
    age=st.integers(0, 1000).map(float),
)


@given(st.lists(FACTS, max_size=6))
def test_what_is_stored_says_the_same_as_what_was_said(said: list[Assessment]) -> None:
    ada = Identity(id="ada")
    heard, read = (Assessments(600, NOW.timestamp) for _ in range(2))
    document = AssessmentDocument()
    for one in said:
        heard.record(one)
        document = merged(document, one, NOW)
    for one in assessments_in("ada", document, NOW, timedelta(seconds=600)):
        read.record(one)
    assert read.of(ada) == heard.of(ada)
    assert read.until_stale() == heard.until_stale()


def document(passed: bool, age: timedelta = timedelta()) -> AssessmentDocument:
    at = (utc_now() - age).isoformat()
    return AssessmentDocument.model_validate({"device_posture": {"disk": {"passed": passed, "at": at}}})


async def test_what_is_pushed_while_the_stored_assessments_are_being_read_is_known_too(tmp_path: Path) -> None:
    told, ada, known = asyncio.Event(), Identity(id="ada"), Assessments(600, lambda: utc_now().timestamp())
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        await store.create(ASSESSMENT, "ada", document(True, timedelta(seconds=60)), by="test")
        pushed = PushedAssessments(store, known, told.set, utc_now)
        store.hold.begin()
        entering = asyncio.create_task(pushed.__aenter__())
        await store.hold.answered.wait()
        await store.replace(ASSESSMENT, "ada", document(False), by="test")
        store.hold.end()
        await entering
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert known.of(ada) == ({"disk": False}, "")
        await pushed.__aexit__(None, None, None)


async def test_a_portal_hears_when_an_assessment_becomes_stale(tmp_path: Path) -> None:
    told, ada, known = asyncio.Event(), Identity(id="ada"), Assessments(600, lambda: utc_now().timestamp())
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        await store.create(ASSESSMENT, "ada", document(True, timedelta(seconds=599.9)), by="test")
        async with PushedAssessments(store, known, told.set, utc_now), asyncio.timeout(PATIENCE):
            # The first word may come a moment before, and then another one follows.
            while known.of(ada)[0]:
                await told.wait()
                told.clear()
