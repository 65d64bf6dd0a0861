"""The pages of runs in the console: watched as they go on, ended, and read after, with their programs and without."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import expect

from codemode import CodeTool
from portal.logs import LogRow
from portal.pages import FORM_FIELD
from tests.portal.app.test_events import rows_of
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.console.running import THREE, agent_of, stored
from tests.portal.login.guarded import PASSWORD, Guarded, guarded_portal
from tests.portal.state.run_parts import parking
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
KEPT = {"contents": {"programs": True}}
BIDI = "\u202e"


async def test_a_run_is_watched_as_it_goes_on_and_its_page_rests_when_it_has_ended(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    axe = axe_source()
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True, logs=KEPT) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/runs")
        await expect(page.get_by_text("No runs yet")).to_be_visible()
        async with agent.running(THREE, upstream) as running:
            await upstream.upstream.journal.wait("call hang", 3)
            await admin.open("/runs")
            row = page.get_by_role("row").filter(has=page.get_by_role("button", name="End"))
            await expect(row).to_contain_text("ada@example.com")
            await expect(row.locator("[data-label='Calls so far']")).to_have_text("4")
            await admin.check(axe, PICTURES, "runs-live")
            await row.get_by_role("link").first.click()
            await page.get_by_role("link", name="Show the program").click()
            await expect(page.locator(".mark.open")).to_have_count(3)
            await expect(page.locator(".tiles")).to_contain_text("Under way")
            await expect(page.locator("#L4 .margin a")).to_have_text("… 3")
            await admin.check(axe, PICTURES, "run-live")
            await page.locator("#call-3 .at-line").focus()
            upstream.upstream.release.set()
            await running
            await expect(page.locator(".mark.open")).to_have_count(0)
            await expect(page.locator(".tiles")).to_contain_text("Ok")
            # The line of the program says so too, what had the focus has it, and nothing asks any more.
            await expect(page.locator("#L4 .margin a")).to_have_text("✓ 3")
            assert await page.evaluate("document.activeElement.matches('#call-3 .at-line')")
            assert await page.locator("#run-poll, [hx-trigger]").count() == 0
        await page.locator("#call-3 .at-line").click()
        await page.wait_for_url("**#L4")
        await page.locator("#L4 .margin a").click()
        await page.wait_for_url("**#call-3")
        await stored(portal)
        await page.reload()
        await expect(page.locator(".tiles")).to_contain_text("What calls received, less what the run answered")
        await admin.check(axe, PICTURES, "run")
        hrefs = await page.locator(".run-calls a[href*='/admin/logs/']").evaluate_all("all => all.length")
        assert hrefs == 4
        await admin.open("/runs")
        await expect(page.get_by_role("cell", name="The portal of the configuration")).to_be_visible()
        await admin.check(axe, PICTURES, "runs")
        opened = [row for row in await _rows(portal) if row.method == "OPEN"]
        # At each time that it was asked for, and never by what the page reads of itself.
        assert len(opened) == 2 and {row.client for row in opened} == {"console"}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_an_administrator_ends_a_run_and_its_agent_reads_who_did(
    tmp_path: Path, code_tool: CodeTool, scripts: bool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        async with agent.running(THREE, upstream) as running:
            await upstream.upstream.journal.wait("call hang", 3)
            await admin.open("/runs")
            await page.locator("main tbody a").first.click()
            await page.get_by_role("link", name="Show the program").click()
            await expect(page.get_by_text("portal.logs.contents.programs")).to_be_visible()
            await expect(page.locator(".listing")).to_have_count(0)
            await page.get_by_role("link", name="Refresh").click()
            await expect(page.locator(".mark.open")).to_have_count(3)
            await page.get_by_role("button", name="End").click()
            await expect(page.get_by_text("The program is being ended.")).to_be_visible()
            result = await running
            error = result.structured_content["error"]
            assert (error["kind"], error["name"]) == ("cancelled", "RunEnded")
            assert "an administrator of the portal ended this program" in error["message"]
            await page.reload()
            await expect(page.locator(".tiles")).to_contain_text("Cancelled")
        await stored(portal)
        (ended,) = [row for row in await _rows(portal) if row.method == "DELETE"]
        assert (ended.identity, ended.client) == ((await portal.account()).key, "console")


async def test_who_only_reads_logs_ends_nothing_and_opens_no_program(tmp_path: Path, code_tool: CodeTool) -> None:
    auditor = "grace@example.com"
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True, logs=KEPT) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
    ):
        await portal.identity.administrators.create(auditor, "Grace", PASSWORD, by="test", role="auditor")
        async with (
            administrator(portal, browser, email=auditor) as admin,
            agent.running(THREE, upstream) as running,
        ):
            page = admin.page
            await upstream.upstream.journal.wait("call hang", 3)
            await admin.open("/runs")
            assert await page.get_by_role("button", name="End").count() == 0
            await page.locator("main tbody a").first.click()
            await expect(page.locator(".mark.open")).to_have_count(3)
            assert await page.get_by_role("button", name="End").count() == 0
            assert await page.get_by_role("link", name="Show the program").count() == 0
            here = page.url
            await page.goto(f"{here}?program=on")
            await expect(page.get_by_text("with the permission `Logs Write`")).to_be_visible()
            assert await page.locator(".listing").count() == 0
            await page.goto(f"{portal.url}/logout")
            token = await page.locator(f"input[name={FORM_FIELD}]").first.input_value()
            refused = await page.request.post(f"{here}/end", form={FORM_FIELD: token}, headers={"Origin": portal.url})
            assert refused.status == 403 and not running.done()
            assert "does not allow this" in await refused.text()
            # Whoever has signed out elsewhere is asked to sign in, by the page itself and not by a part of it.
            await page.goto(here)
            await page.context.clear_cookies()
            await page.wait_for_url("**/login?return=**")


async def test_runs_are_found_by_who_where_how_and_when_and_the_older_ones_by_their_key(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, items = admin.page, admin.page.locator("main tbody tr")
        for number in range(53):
            await agent.code("throw new Error('x')" if number == 1 else f"return {number}")
        await stored(portal)
        await admin.open("/runs")
        await expect(items).to_have_count(50)
        await page.get_by_role("link", name="Older").click()
        await expect(items).to_have_count(3)
        await page.get_by_role("link", name="Newest").click()
        await page.get_by_label("Outcome").select_option("error")
        await admin.press("Filter")
        await expect(items).to_have_count(1)
        await expect(items).to_contain_text("Error")
        await items.get_by_role("link", name="ada@example.com").click()
        await expect(items).to_have_count(50)
        await page.get_by_label("Until (UTC)").fill("2020-01-01T00:00:00")
        await admin.press("Filter")
        await expect(page.get_by_text("No such runs")).to_be_visible()
        for query in ("since=x", "outcome=%3Cscript%3E", "before=-1", "before=" + "9" * 40, "identity=%00", "limit=0"):
            await admin.open(f"/runs?{query}")
            await expect(page.get_by_role("heading", name="Runs")).to_be_visible()
        await admin.open("/runs?until=yesterday")
        await expect(page.get_by_role("alert")).to_contain_text("until")
        for id in ("exec_none", "x" * 500, quote("<script>"), "..%2f..", "%00"):
            answer = await page.goto(f"{portal.url}/admin/runs/{id}?program=on")
            assert answer is not None and answer.status == 404


async def test_runs_and_rows_of_the_log_are_found_by_the_address_of_their_person(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as hers,
        agent_of(portal, "grace@example.com") as other,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page, items = admin.page, admin.page.locator("main tbody tr")
        await hers.code("return 1")
        await other.code("return 2")
        await stored(portal)
        async with other.running(THREE, upstream):
            await upstream.upstream.journal.wait("call hang", 3)
            await admin.open("/runs")
            await expect(items).to_have_count(3)
            await page.get_by_label("Person’s e-mail").fill("ADA@example.com")
            await admin.press("Filter")
            await expect(items).to_have_count(1)
            await expect(items).to_contain_text("ada@example.com")
            await page.get_by_label("Person’s e-mail").fill("Grace@Example.com")
            await admin.press("Filter")
            await expect(items).to_have_count(2)
            await page.get_by_label("Person’s e-mail").fill("grace@example")
            await admin.press("Filter")
            await expect(page.get_by_text("No such runs")).to_be_visible()
        await admin.open("/logs?kind=run")
        await page.get_by_label("Person's e-mail").fill("ADA@example.com")
        await admin.press("Filter")
        await page.get_by_role("link", name="Take off: E-mail ADA@example.com").wait_for()
        await expect(items).to_have_count(1)
        await expect(items).to_contain_text("ada@example.com")


async def test_whatever_a_program_and_its_tools_are_called_it_is_text_and_has_its_place(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    evil = f"<script>document.title='ran'</script>{BIDI}"
    lines = [f"// {evil}", *(f"// {number}" for number in range(4_998))]
    program = "\n".join([*lines, "for (let i = 0; i < 200; i++) await codemode.fix.echo({text: 'x'})"])
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True, logs=KEPT) as portal,
        agent_of(portal, name=evil[:60]) as agent,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        ran = (await agent.code(program)).structured_content
        await stored(portal)
        await admin.open(f"/runs/{ran['executionId']}?program=on")
        await expect(page.locator(".listing li")).to_have_count(5_000)
        assert "\\u{202e}" in await page.locator("#L1").inner_text()
        assert BIDI not in await page.content() and await page.locator("main script").count() == 0
        await expect(page.locator("#L5000 .margin a")).to_have_count(200)
        await expect(page.locator(".run-calls tbody tr")).to_have_count(200)
        assert "ran" not in await page.title()
        await page.set_viewport_size({"width": 375, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        await page.locator("#L5000 .margin a").last.click()
        await expect(page.locator("#call-200")).to_be_in_viewport()


async def test_a_parked_run_stands_with_those_that_have_not_ended_and_says_what_it_waits_for(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page, store = admin.page, portal.instance.shared.store
        assert store is not None
        now = datetime.now(UTC)
        await store.runs.park(parking("exec_call", now, portal="", reason="login", waits=1), b"a checkpoint")
        await store.runs.park(parking("exec_time", now, portal="", reason="sleep", wake_in=3600), b"a checkpoint")
        await admin.open("/runs")
        table = page.locator("section").filter(has=page.get_by_role("heading", name="Not ended"))
        await expect(table.locator("tbody tr")).to_have_count(2)
        row = table.get_by_role("row").filter(has_text="exec_call")
        await expect(row).to_contain_text("shop.buy")
        await expect(row).to_contain_text("somebody who approves a call")
        # Nobody was asked for that one, so that this portal goes on with it; the timer of the other takes an hour.
        row = table.get_by_role("row").filter(has_text="exec_time")
        await expect(row).to_contain_text("Parked")
        await expect(row).to_contain_text("its own timer")
        await expect(page.get_by_role("heading", name="Ended", exact=True)).to_have_count(0)
        await admin.check(axe_source(), PICTURES, "runs-parked")
        await row.get_by_role("link").first.click()
        await expect(page.get_by_text("no process has it until then")).to_be_visible()
        await admin.check(axe_source(), PICTURES, "run-parked")
        await page.get_by_role("button", name="End").click()
        await expect(page.locator(".tiles")).to_contain_text("Cancelled")


async def test_how_a_run_failed_is_shown_with_its_program_where_that_is_kept_and_has_no_secret(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    said = f"no bolts <b>left</b>{BIDI}, password=hunter22 " + "x" * 3_000
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True, logs=KEPT) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page, tile = admin.page, admin.page.locator(".tiles > div").first
        ran = (await agent.code(f"throw new Error({json.dumps(said)})")).structured_content
        assert ran["error"]["kind"] == "exception"
        await stored(portal)
        await admin.open(f"/runs/{ran['executionId']}")
        # What it is in our own words is there for everybody who may see runs.
        await expect(tile).to_contain_text("exception: it threw something")
        assert "bolts" not in await page.content() and "hunter22" not in await page.content()
        await page.get_by_role("link", name="Show the program").click()
        message = tile.locator(".message")
        await expect(message).to_contain_text("Error: no bolts <b>left</b>\\u{202e}, password=[masked]")
        assert len(await message.inner_text()) < 700
        assert await message.locator("b").count() == 0 and BIDI not in await message.inner_text()
        await admin.check(axe_source(), PICTURES, "run-failed")
        assert [row.method for row in await _rows(portal) if row.kind == "change"] == ["OPEN"]
        assert not [row for row in await _rows(portal) if "bolts" in row.reason]


async def _rows(portal: Guarded) -> list[LogRow]:
    return await rows_of(portal.instance.shared.log)
