"""The page of the policy tester: its question is in the URL, and its answer says who decided, and what is not known."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from portal.access import Access, Sources, read_document
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, administrator
from tests.portal.login.guarded import EVERYONE, Guarded, guarded_portal
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
STAFF = {
    "id": "staff",
    "name": "Staff <b>only</b>",
    "decision": "allow",
    "include": [{"email_domain": {"domain": "example.com"}}],
    "require": [{"geo": {"country_code": "DE"}}],
}
NO_HANGING = {
    "id": "calm",
    "name": "Nothing hangs",
    "decision": "deny",
    "tools": {"servers": ["docs"], "names": ["hang"]},
    "include": [{"everyone": {}}],
}
HOSTILE = (
    {"email": "a@b.c", "portal_id": "../.." * 40},
    {"email": "a" * 5000},
    {"email": "<script>alert(1)</script>", "ip": "not an ip"},
    {"email": "a@b.c", "country": "DEU"},
    {"email": "a@b.c", "tool": "x"},
    {"email": "a@b.c", "server_id": "none"},
    {"email": "a@b.c", "query": "codemode=what"},
    {"email": "a@b.c", "service_token_id": "x"},
    {"service_token_id": "nothing"},
    {"email": "a@b.c", "groups": "," * 4000 + "g"},
    {"nobody": "yes", "email": "\x00\x01"},
)


def decide_by(portal: Guarded, policies: list[Any], tool_policies: list[Any] | None = None) -> None:
    document = {
        "portal": {"policies": policies, "tool_policies": tool_policies or []},
        "servers": [{"id": "docs", "policies": [EVERYONE]}],
    }
    portal.rules.access.replace(Access(read_document(document), Sources(geo=True)))


@WITH_AND_WITHOUT_SCRIPTS
async def test_who_decided_and_why_is_said_and_what_is_asked_is_in_the_url(tmp_path: Path, scripts: bool) -> None:
    async with (
        hosted(Behaviour(tools=60)) as upstream,
        guarded_portal(tmp_path, servers={"docs": upstream.url}) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        decide_by(portal, [STAFF], [NO_HANGING])
        page = admin.page
        await admin.open("/policy-tester")
        await page.get_by_text("Ask about somebody").wait_for()
        await page.get_by_label("E-mail").fill("grace@example.com")
        await admin.press("Test")
        verdict = page.locator("#portal")
        await verdict.get_by_text("Denied", exact=True).wait_for()
        await verdict.get_by_text("Staff <b>only</b>").first.wait_for()
        assert "Require" in await verdict.inner_text()
        facts = page.locator("#facts")
        await facts.get_by_role("row").filter(has_text="Country").get_by_text("Unknown", exact=True).wait_for()
        await (
            facts.get_by_role("row").filter(has_text="Client certificate").get_by_text("Assumed", exact=True).wait_for()
        )
        assert "email=grace%40example.com" in page.url
        # The same question once more, with what was not known.
        await page.goto(page.url.replace("country=", "country=de"))
        await verdict.get_by_text("Allowed", exact=True).wait_for()
        await page.get_by_role("link", name="Only this server: docs").click()
        hang = page.get_by_role("row").filter(has=page.get_by_text("hang", exact=True))
        await hang.get_by_text("Denied", exact=True).wait_for()
        await hang.get_by_text("Nothing hangs").wait_for()
        echo = page.get_by_role("row").filter(has=page.get_by_text("echo", exact=True))
        await echo.get_by_text("Allowed", exact=True).wait_for()
        await page.get_by_label("IP address").fill("somewhere")
        await admin.press("Test")
        assert await page.locator("#ip-wrong").inner_text() != ""
        assert await page.get_by_label("E-mail").input_value() == "grace@example.com"


async def test_hostile_questions_get_a_page_and_the_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, servers={"docs": upstream.url}) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        decide_by(portal, [STAFF], [NO_HANGING])
        for asked in HOSTILE:
            answer = await admin.page.goto(f"{admin.url}/admin/policy-tester?{urlencode(asked)}")
            assert answer is not None and answer.status < 500, asked
            assert "<script>alert" not in await admin.page.content()
        await admin.open("/policy-tester")
        await admin.check(axe, PICTURES, "policy-tester-empty")
        await admin.open("/policy-tester?email=grace@example.com")
        await admin.check(axe, PICTURES, "policy-tester-denied")
        await admin.open("/policy-tester?email=grace@example.com&country=DE&groups=a,b")
        await admin.check(axe, PICTURES, "policy-tester")
        await admin.open("/policy-tester?email=grace@example.com&ip=x")
        await admin.check(axe, PICTURES, "policy-tester-wrong")
