"""A person's approvals: calls that wait for them or for others, decided on pages that show the whole call."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import expect

from codemode import CodeTool
from portal.access import Access, read_document
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, Administered
from tests.portal.console.running import agent_of
from tests.portal.home.approving import BOB, CAROL, approvals_of, asked, group, one_waits, person, rule
from tests.portal.login.guarded import EVERYONE, guarded_portal
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ASKING = {
    "portal": {
        "policies": [EVERYONE],
        "tool_policies": [
            {
                "id": "echo",
                "name": "Echoes",
                "decision": "allow",
                "include": [{"everyone": {}}],
                "tools": {"names": ["echo"]},
                "approval_required": True,
            }
        ],
    },
    "servers": [{"id": "fix", "policies": [EVERYONE]}],
}
HOSTILE = {
    "amount": 500,
    "to": "DE02 1203 \u202e0000 0000\u202c 2020 51",
    "note": "<b>approved already</b> <a href='https://evil.example'>click</a>\nPlease approve this at once.",
    "lines": [{"account": f"row {number}", "cents": number} for number in range(200)],
}


@pytest.fixture
def anyio_backend() -> str:
    expect.set_options(timeout=20_000)
    return "asyncio"


async def test_somebody_of_the_group_reads_the_whole_call_and_approves_it_and_its_person_sees_so_at_once(
    tmp_path: Path,
) -> None:
    axe = axe_source()
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        approval = await asked(portal, rule(group(1, BOB, CAROL)), HOSTILE)
        here = f"/approve/{approval.id}"
        async with (
            person(portal, browser, path=here) as own,
            person(portal, browser, BOB) as page,
        ):
            await expect(page.get_by_text("1 call waits for you")).to_be_visible()
            await Administered(page, portal.url).check(axe, PICTURES, "own-home-approvals")
            await page.get_by_role("link", name="Decide").click()
            await expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
            await page.get_by_role("link", name="Call 1").click()
            await expect(page.get_by_role("heading", name="May bank.pay be called?")).to_be_visible()
            await expect(page.locator(".arguments")).to_contain_text("\\u202e0000 0000\\u202c")
            await expect(page.locator(".arguments mark")).to_have_count(2)
            assert await page.locator(".arguments a, .arguments b").count() == 0
            await page.locator(".arguments summary").click()
            await expect(page.get_by_text('{"account": "row 199", "cents": 199}')).to_be_visible()
            await Administered(page, portal.url).check(axe, PICTURES, "own-approval")
            await expect(own.get_by_text("1 still to approve")).to_be_visible()
            await page.get_by_label("Comment").fill("As agreed on <Monday>.")
            await page.get_by_role("button", name="Approve").click()
            await expect(page.get_by_role("status")).to_contain_text("Approved")
            # It was decided in another browser: the page says so by itself, and its form is gone.
            await expect(own.get_by_role("status")).to_contain_text("Approved")
            await expect(own.get_by_text("As agreed on <Monday>.")).to_be_visible()
            await expect(own.locator("#approval-form button")).to_have_count(0)
            await expect(own.locator("[hx-trigger]")).to_have_count(0)
        decided = await approvals_of(portal).get(approval.id)
        assert decided.state == "approved" and [vote.email for vote in decided.votes] == [BOB]


async def test_a_card_has_all_that_waits_of_a_run_and_decides_about_what_was_shown_alone(tmp_path: Path) -> None:
    axe = axe_source()
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        by = rule(group(1, BOB))
        first = [await asked(portal, by, {"amount": number}, call=number) for number in range(1, 4)]
        other = await asked(portal, by, {"id": 7}, call=4, tool="remove", destructive=True)
        huge = await asked(portal, by, {"body": "x" * 20_000}, call=5, tool="send", destructive=False)
        async with person(portal, browser, BOB, path="/approvals") as page:
            await expect(page.locator(".run-card")).to_have_count(1)
            await expect(page.locator(".run-card h3")).to_have_count(3)
            await expect(page.get_by_text("Its arguments are long.")).to_be_visible()
            await Administered(page, portal.url).check(axe, PICTURES, "own-approvals-card")
            late = await asked(portal, by, {"amount": 1_000_000}, call=6)
            await expect(page.get_by_text("Something has changed here.")).to_be_visible()
            await page.get_by_role("button", name="Deny: bank.remove, call 4").click()
            await expect(page.locator(".run-card")).to_contain_text("5 calls wait")
            later = await asked(portal, by, {"amount": 2_000_000}, call=7)
            await page.get_by_role("button", name="Approve these 4").click()
            await expect(page.locator(".run-card")).to_contain_text("2 calls wait")
        states = [(await approvals_of(portal).get(one.id)).state for one in (*first, late, other, huge, later)]
        assert states == ["approved"] * 4 + ["denied", "pending", "pending"]


async def test_the_person_says_what_it_is_for_before_others_can_approve(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        by = rule(group(1, BOB), justified=True, prompt="Which ticket is it for?")
        approval = await asked(portal, by, {"amount": 5})
        here = f"/approve/{approval.id}"
        async with person(portal, browser, path=here) as own, person(portal, browser, BOB, path=here) as page:
            await expect(page.get_by_text("has not said yet what it is for")).to_be_visible()
            assert await page.get_by_role("button", name="Approve").count() == 0
            await Administered(own, portal.url).check(axe_source(), PICTURES, "own-approval-purpose")
            await own.get_by_label("What is it for?").fill("Ticket 12\u202e34")
            await own.get_by_role("button", name="Send it to those who approve").click()
            await expect(own.get_by_text("Ticket 12\\u{202e}34")).to_be_visible()
            await page.reload()
            await expect(page.get_by_text("Ticket 12\\u{202e}34")).to_be_visible()
            await page.get_by_role("button", name="Approve").click()
            await expect(page.get_by_role("status")).to_contain_text("Approved")


async def test_a_remembered_approval_is_listed_and_revoked(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        approval = await asked(portal, rule(), {"amount": 5})
        async with person(portal, browser, path=f"/approve/{approval.id}") as own:
            await own.get_by_label("15 minutes").check()
            await own.get_by_label("At most so many further calls").fill("3")
            await own.get_by_role("button", name="Approve").click()
            await expect(own.get_by_role("status")).to_contain_text("Approved")
            (grant,) = await approvals_of(portal).grants()
            assert grant.uses_left == 3 and grant.until - grant.created_at == timedelta(minutes=15)
            await own.goto(f"{portal.url}/approvals")
            await expect(own.get_by_text("3 more calls")).to_be_visible()
            await Administered(own, portal.url).check(axe_source(), PICTURES, "own-approvals-remembered")
            await own.get_by_role("button", name="Revoke: bank.pay").click()
            await expect(own.get_by_text("Nothing waits for you")).to_be_visible()
        assert await approvals_of(portal).grants() == []


async def test_a_program_that_waits_goes_on_when_its_call_is_approved_from_its_persons_page(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    program = "await codemode.fix.structured({text: 'x'})\nreturn await codemode.fix.echo({text: 'a\u202eb'})"
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        person(portal, browser) as own,
    ):
        portal.rules.access.replace(Access(read_document(ASKING)))
        async with agent.running(program, upstream) as running:
            await one_waits(portal)
            await own.reload()
            await expect(own.get_by_text("1 call waits for you")).to_be_visible()
            await own.get_by_role("link", name="Go on").click()
            await expect(own.get_by_role("heading", name="May fix.echo be called?")).to_be_visible()
            await expect(own.locator(".arguments")).to_contain_text('"text": "a\\u202eb"')
            await expect(own.get_by_text("1 · fix.structured")).to_be_visible()
            await expect(own.get_by_text("Agent", exact=True)).to_be_visible()
            await own.get_by_role("button", name="Approve").click()
            assert (await running).structured_content["result"] == "a\u202eb"
            # The one call that it was good for has been made.
            await own.reload()
            await expect(own.get_by_role("status")).to_contain_text("the call was made")
