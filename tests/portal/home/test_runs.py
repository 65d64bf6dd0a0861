"""A person's programs on their pages: theirs alone, at the portal where they ran, watched, let go on and ended."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from codemode import CodeTool
from portal.logs import LogRow
from tests.portal.app.many_portals import browser_of, many_portals, sign_in_at
from tests.portal.app.test_events import rows_of
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, Administered
from tests.portal.console.running import THREE, agent_of, stored
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal, sign_in
from tests.portal.runs.login import LINK, Login
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE = "grace@example.com"


@pytest.fixture
def anyio_backend() -> str:
    expect.set_options(timeout=20_000)
    return "asyncio"


@asynccontextmanager
async def person(portal: Guarded, browser: Browser, email: str = EMAIL, scripts: bool = True) -> AsyncIterator[Page]:
    """A page of somebody who has signed in and is at their home page."""
    await portal.account(email)
    context = await browser.new_context(java_script_enabled=scripts)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{portal.url}/login?return=/")
    await page.get_by_label("E-mail").last.fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Your runs").wait_for()
    try:
        yield page
        assert complaints == []
    finally:
        await context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_a_person_watches_their_run_beside_its_program_and_ends_it(
    tmp_path: Path, code_tool: CodeTool, scripts: bool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        person(portal, browser, scripts=scripts) as page,
    ):
        await expect(page.get_by_text("None yet. A program that an agent of yours runs")).to_be_visible()
        checked = Administered(page, portal.url)
        async with agent.running(THREE, upstream) as running:
            await upstream.upstream.journal.wait("call hang", 3)
            await page.reload()
            if scripts:
                await checked.check(axe_source(), PICTURES, "own-home")
            await page.locator("#runs li a").first.click()
            # Its own person reads what their agent has written, also where no program is kept.
            await expect(page.locator("#L4")).to_contain_text("codemode.fix.hang")
            await expect(page.locator(".mark.open")).to_have_count(3)
            if scripts:
                await checked.check(axe_source(), PICTURES, "own-run")
            # The page that follows has the same address.
            async with page.expect_navigation():
                await page.get_by_role("button", name="End").click()
            error = (await running).structured_content["error"]
            assert "the person whose it is ended this program; 1 of its calls had completed" in error["message"]
            if not scripts:
                await page.reload()
            await expect(page.locator(".tiles")).to_contain_text("Cancelled")
        await stored(portal)
        await page.goto(f"{portal.url}/runs")
        await expect(page.locator("main li")).to_have_count(1)
        await expect(page.locator("main li")).to_contain_text("Cancelled")
        if scripts:
            await checked.check(axe_source(), PICTURES, "own-runs")
        (ended,) = [row for row in await rows_of(portal.instance.shared.log) if row.method == "DELETE"]
        assert (ended.identity, ended.kind) == ((await portal.account()).key, "change")


async def test_a_person_reads_how_their_run_failed_as_their_agent_did_and_nobody_else_does(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        person(portal, browser) as page,
        person(portal, browser, GRACE) as other,
    ):
        ran = (await agent.code("throw new Error('no bolts <b>left</b>')")).structured_content
        await stored(portal)
        await page.goto(f"{portal.url}/runs/{ran['executionId']}")
        tile = page.locator(".tiles > div").first
        await expect(tile.locator(".message")).to_have_text("Error: no bolts <b>left</b>")
        await expect(tile).to_contain_text("exception: it threw something")
        await Administered(page, portal.url).check(axe_source(), PICTURES, "own-run-failed")
        for path in (f"/runs/{ran['executionId']}", f"/admin/runs/{ran['executionId']}"):
            await other.goto(f"{portal.url}{path}")
            assert "bolts" not in await other.content()


async def test_what_waits_for_a_person_is_on_their_page_with_the_way_on(tmp_path: Path, code_tool: CodeTool) -> None:
    login = Login("echo")
    at_once = {"patience": 0.001, "patienceWithProgress": 0.001}
    async with (
        hosted() as upstream,
        guarded_portal(
            tmp_path, upstream=upstream.url, code=code_tool, has_log=True, gate=login.gate, runs=at_once
        ) as portal,
        agent_of(portal) as agent,
        chromium() as browser,
        person(portal, browser) as page,
        person(portal, browser, GRACE, scripts=False) as other,
    ):
        checked = Administered(page, portal.url)
        paused = (await agent.code("return await codemode.fix.echo({text: 'a'})")).structured_content
        assert paused["status"] == "paused"
        for path in ("/", "/runs", f"/runs/{paused['executionId']}"):
            await page.goto(portal.url + path)
            await expect(page.get_by_text("its server needs a login").first).to_be_visible()
            assert await page.locator(f"a[href='{LINK}']").count() == 1
            if path == "/runs":
                await checked.check(axe_source(), PICTURES, "own-runs-parked")
            await other.goto(portal.url + path)
            assert LINK not in await other.content() and "needs a login" not in await other.content()
        # It is parked, and is ended all the same.
        await page.goto(f"{portal.url}/runs/{paused['executionId']}")
        await expect(page.get_by_text("no process has it until then")).to_be_visible()
        await checked.check(axe_source(), PICTURES, "own-run-parked")
        await page.get_by_role("button", name="End").click()
        await expect(page.locator(".tiles")).to_contain_text("Cancelled")
        await stored(portal)
        rows = [row for row in await rows_of(portal.instance.shared.log) if row.kind == "run"]
        assert [(row.run, row.outcome) for row in rows] == [(paused["executionId"], "cancelled")]


async def test_nobody_sees_or_ends_the_run_of_somebody_else(tmp_path: Path, code_tool: CodeTool) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool, has_log=True) as portal,
        agent_of(portal) as agent,
        browser_at(portal.url) as ada,
        browser_at(portal.url) as grace,
    ):
        await portal.account(GRACE)
        await sign_in(ada, await ada.open(f"{portal.url}/login"))
        await sign_in(grace, await grace.open(f"{portal.url}/login"), GRACE)
        async with agent.running(THREE, upstream) as running:
            await upstream.upstream.journal.wait("call hang", 3)
            (live,) = portal.instance.shared.runs.all()
            id = live.row.run
            mine = await ada.open(f"{portal.url}/runs/{id}")
            assert mine.status == 200 and "codemode.fix.hang" in mine.html
            end = next(form for form in mine.forms if form.action.endswith("/end"))
            for path in (f"/runs/{id}", f"/runs/{id}/live", "/runs/exec_guessed", f"/runs/{'x' * 300}", "/runs/%00"):
                page = await grace.open(portal.url + path)
                assert (page.status, "codemode.fix" in page.html) == (404, False), path
            # By a form of her own page, and by one that was made for somebody else.
            own = await grace.open(f"{portal.url}/logout")
            token = next(form for form in own.forms if form.action == "/logout").fields
            for fields in (token, end.fields):
                refused = await grace.client.post(f"{portal.url}{end.action}", data=dict(fields))
                assert refused.status_code in (403, 404)
            assert portal.instance.shared.runs.find(id) is not None
            upstream.upstream.release.set()
            assert (await running).structured_content["result"] == ["a", 3]
        await stored(portal)
        for path in ("/", "/runs", f"/runs/{id}", f"/runs/{id}?program=on"):
            assert id not in (await grace.open(portal.url + path)).html.replace(f"/runs/{id}", "")
        assert (await ada.open(f"{portal.url}/runs/{id}")).status == 200
        assert id in (await ada.open(f"{portal.url}/runs")).html
        assert (await grace.open(f"{portal.url}/runs?before=99999999999999999999999")).status == 200


async def test_a_run_is_shown_at_the_portal_where_it_ran_alone(tmp_path: Path, code_tool: CodeTool) -> None:
    async with guarded_portal(tmp_path, code=code_tool, has_log=True) as portal, browser_at(portal.url) as ada:
        who = (await portal.account()).key
        log = portal.instance.shared.log
        assert log is not None
        for id, place in (("exec_here", ""), ("exec_there", "docs")):
            log.write(LogRow(time.time_ns() // 1000, 5, "run", "tools/call", "ok", run=id, portal=place, identity=who))
        await log.stored()
        await sign_in(ada, await ada.open(f"{portal.url}/login"))
        for path in ("/", "/runs"):
            page = await ada.open(portal.url + path)
            assert ("exec_here" in page.html, "exec_there" in page.html) == (True, False)
        assert (await ada.open(f"{portal.url}/runs/exec_here")).status == 200
        assert (await ada.open(f"{portal.url}/runs/exec_there")).status == 404


async def test_every_portal_of_an_instance_has_the_pages_with_their_scripts(tmp_path: Path) -> None:
    async with many_portals(tmp_path) as many, browser_of(many) as browser:
        await many.account()
        for place in many.places:
            await sign_in_at(browser, place)
            page = await browser.open(f"{place.url}/runs")
            assert page.status == 200 and "No runs yet" in page.html, place
            (script, *_) = [one.split('"')[0] for one in page.html.split('<script src="')[1:]]
            assert script.startswith(f"{place.prefix}/admin/assets/")
            assert (await browser.open(f"{place.url}{script.removeprefix(place.prefix)}")).status == 200
