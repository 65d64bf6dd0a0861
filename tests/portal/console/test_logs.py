"""The log in the console: rows with filters, pages in both directions, a row in words, and rows as they come."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.async_api import Page, Route, expect

from portal.logs import LogRow
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import NARROW, PICTURES, administrator
from tests.portal.console.history import HOUR, MINUTE, calls, day, write, write_before
from tests.portal.login.guarded import guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

FINDINGS = '[{"profile": "Payment cards", "entry": "card", "path": "/to/0", "action": "block"}]'


def mixed() -> list[LogRow]:
    """A row of each sort, in the last hours."""
    run = {"run": "exec_0123456789abcdef", "identity": "bob", "email": "bob@example.com", "client": "assistant"}
    found = calls(2, 5 * MINUTE, server="notes", name="search", call=1, line=3, trace="ab" * 16, span="cd" * 8, **run)
    found += calls(1, 4 * MINUTE, kind="run", server="", name="", outcome="tool_error", tokens_saved=900, **run)
    found += calls(1, 3 * MINUTE, server="mail", name="send", outcome="denied", policy="cards",
                   reason="A payment card was found.", findings=FINDINGS, labels="outside,mail")  # fmt: skip
    found += calls(1, 2 * MINUTE, kind="change", method="PUT", server="", name="/access/policies/0f3a", us=900)
    found += calls(1, 2 * MINUTE, kind="sign_in", method="sign_in", server="", name="local", email="ada@example.com")
    found += calls(1, MINUTE, kind="refusal", method="tools/call", server="", name="<b>nothing</b>", outcome="error",
                   reason="unknown tool", identity="")  # fmt: skip
    return sorted(found)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_rows_are_filtered_by_a_click_and_turned_over_and_one_is_read(tmp_path: Path, scripts: bool) -> None:
    await write_before(tmp_path, [*calls(120, 2 * HOUR, server="old", name="ping"), *mixed()])
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await page.get_by_role("link", name="Logs").first.click()
        await page.wait_for_url("**/admin/logs")
        head = await page.get_by_role("columnheader").all_inner_texts()
        assert head == ["Time", "Status", "Server", "Capability", "Duration", "Person", "Reason"]
        await page.get_by_role("link", name="old", exact=True).first.click()
        await page.get_by_role("link", name="Take off: Server old").wait_for()
        await page.wait_for_load_state("load")
        seen: list[str] = []
        while True:
            times = page.locator("tbody tr").filter(has=page.get_by_text("ping"))
            seen += [str(await one.get_attribute("id")) for one in await times.all()]
            older = page.get_by_role("link", name="Older")
            if not await older.count():
                break
            await older.click()
            await page.wait_for_url("**before=*" if len(seen) == 50 else f"**before={seen[-1].removeprefix('row-')}*")
        assert len(seen) == len({*seen}) == 120
        await page.get_by_role("link", name="Newer").click()
        await page.wait_for_url("**after=*")
        assert await page.locator("tbody tr").first.get_attribute("id") == seen[50]
        await page.get_by_role("link", name="Take off: Server old").click()
        await page.wait_for_url(lambda url: "server=" not in url)
        await page.get_by_label("Status").select_option("failed")
        await page.get_by_label("Kind").select_option("tool")
        await page.get_by_role("button", name="Filter").click()
        row = page.locator("tbody tr")
        await page.get_by_role("link", name="Take off: Kind Tool").wait_for()
        await page.wait_for_load_state("load")
        assert await row.count() == 1 and "A payment card was found." in await row.inner_text()
        await row.get_by_role("link").first.click()
        await page.get_by_role("heading", name="What screenings found").wait_for()
        await page.get_by_text("Payment cards").wait_for()
        await page.get_by_role("link", name="cards", exact=True).click()
        await page.get_by_role("link", name="Take off: Policy cards").wait_for()
        await admin.open("/logs?kind=run")
        await page.locator("tbody tr").get_by_role("link").first.click()
        await page.get_by_role("heading", name="Its calls").wait_for()
        await page.wait_for_load_state("load")
        assert await page.locator("tbody tr").count() == 2
        link = page.get_by_role("link", name="Show the run")
        assert str(await link.get_attribute("href")).endswith("/admin/runs/exec_0123456789abcdef")


async def test_new_rows_come_by_themselves_while_the_page_is_live(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/logs?kind=tool&server=notes")
        await page.get_by_role("link", name="Follow live").click()
        await page.get_by_text("No row fits").wait_for()
        await write(portal, [*calls(1, 0, server="notes", name="first"), *calls(1, 0, server="mail", name="hidden")])
        await page.get_by_role("link", name="first", exact=True).wait_for()
        await page.get_by_role("link", name="first", exact=True).focus()
        await write(portal, calls(1, 0, server="notes", name="second"))
        await page.get_by_role("link", name="second").wait_for()
        assert await page.locator("tbody tr").count() == 2
        assert await page.evaluate("document.activeElement.innerText") == "first"
        assert (await page.locator("tbody tr").all_inner_texts())[0].find("second") > 0
        await page.get_by_role("link", name="Stop following").click()
        await page.wait_for_url(lambda url: "live" not in url and "server=notes" in url)
        # Who is signed out meanwhile is led to the login.
        await page.get_by_role("link", name="Follow live").click()
        await page.context.clear_cookies()
        await page.get_by_label("Password").wait_for()


async def look(page: Page, *, at_it: bool) -> None:
    """The tab is seen from now on, or is not."""
    state = "visible" if at_it else "hidden"
    await page.evaluate(
        """state => {
          Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        state,
    )


async def shown(page: Page) -> list[str]:
    """The ids of the rows on the page, from the top."""
    return [str(await row.get_attribute("id")) for row in await page.locator("tbody tr[id]").all()]


async def test_of_a_burst_a_live_page_misses_no_row_and_in_a_tab_that_nobody_sees_it_rests(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page, asked = admin.page, list[str]()
        await write(portal, calls(1, 0, server="notes", name="first"))
        await admin.open("/logs?live=on&server=notes")
        await page.get_by_role("link", name="first", exact=True).focus()
        page.on("request", lambda request: asked.append(request.url))
        # As it goes on: what came, and nothing else, is read.
        await write(portal, calls(3, 0, server="notes", name="some"))
        await expect(page.locator("tbody tr[id]")).to_have_count(4)
        first = (await shown(page))[-1].removeprefix("row-")
        assert f"after={first}" in asked[0] and all("/logs/rows?" in url for url in asked)
        await look(page, at_it=False)
        await write(portal, [*calls(120, 0, server="notes", name="burst"), *calls(5, 0, server="mail", name="hidden")])
        sent = len(asked)
        # Two rounds at the least in which it would have asked.
        await page.evaluate("new Promise(resolve => setTimeout(resolve, 5000))")
        assert asked[sent:] == [] and await page.locator("tbody tr[id]").count() == 4
        await look(page, at_it=True)
        await expect(page.locator("tbody tr[id]")).to_have_count(54)
        await expect(page.locator(".left-out")).to_contain_text("And 70 more came meanwhile.")
        assert await page.evaluate("document.activeElement.innerText") == "first"
        ids = await shown(page)
        assert ids == sorted(ids, reverse=True)
        await admin.check(axe, PICTURES, "logs-live")
        # And it goes on behind the newest one.
        await write(portal, calls(1, 0, server="notes", name="last"))
        await expect(page.locator("tbody tr").first).to_contain_text("last")
        await expect(page.locator("tbody tr[id]")).to_have_count(55)
        await page.get_by_role("link", name="Show them").click()
        await page.wait_for_url("**after=*")
        found = {*ids, *await shown(page)}
        await page.get_by_role("link", name="Newer").click()
        await page.wait_for_url(lambda url: f"after={ids[-1].removeprefix('row-')}" not in url)
        await page.wait_for_load_state("load")
        assert len(found | {*await shown(page)}) >= 124


async def test_a_live_page_has_each_row_once_also_where_an_answer_takes_longer_than_a_round(tmp_path: Path) -> None:
    taken, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(route: Route) -> None:
        answer = await route.fetch()
        taken.set()
        await goes_on.wait()
        await route.fulfill(response=answer)

    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await write(portal, calls(1, 0, server="notes", name="first"))
        await page.route("**/admin/logs/rows?*", slow)
        await admin.open("/logs?live=on&server=notes")
        await write(portal, calls(1, 0, server="notes", name="second"))
        await taken.wait()
        # A round at the least in which it would have asked again.
        await page.evaluate("new Promise(resolve => setTimeout(resolve, 3000))")
        goes_on.set()
        await expect(page.locator("tbody tr").first).to_contain_text("second")
        await write(portal, calls(1, 0, server="notes", name="third"))
        await expect(page.locator("tbody tr").first).to_contain_text("third")
        ids = await shown(page)
        assert len(ids) == len({*ids}) == 3


async def test_a_live_page_has_no_more_than_its_most_rows_and_the_others_are_a_link_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.console.logs.MOST_LIVE", 60)
    await write_before(tmp_path, calls(55, HOUR, server="notes", name="before"))
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/logs?live=on&server=notes")
        await expect(page.locator("tbody tr[id]")).to_have_count(50)
        oldest = (await shown(page))[-5:]
        await write(portal, calls(15, 0, server="notes", name="after"))
        await expect(page.locator("tbody tr").first).to_contain_text("after")
        await expect(page.locator("tbody tr[id]")).to_have_count(60)
        await page.get_by_role("link", name="Older").click()
        await page.wait_for_load_state("load")
        assert (await shown(page))[:5] == oldest and await page.locator("tbody tr[id]").count() == 10


async def test_without_a_script_newer_rows_are_a_link_away(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        page = admin.page
        await admin.open("/logs?live=on&server=notes")
        await write(portal, calls(1, 0, server="notes", name="first"))
        await page.get_by_role("link", name="Load newer").click()
        await page.get_by_role("link", name="first", exact=True).wait_for()
        await page.get_by_role("link", name="Load newer").click()
        await page.get_by_text("No row came after those that you have seen.").wait_for()
        await write(portal, calls(60, 0, server="notes", name="second"))
        await page.get_by_role("link", name="Load newer").click()
        await page.get_by_text("And 10 more came meanwhile.").wait_for()
        assert await page.locator("tbody tr[id]").count() == 50
        await page.get_by_role("link", name="Show them").click()
        await page.get_by_role("link", name="Newer").wait_for()
        assert await page.locator("tbody tr[id]").count() == 50


async def test_what_a_url_asks_for_wrongly_is_said_on_the_page(tmp_path: Path) -> None:
    refused = ("since=yesterday", "before=x", "before=1&after=2", "after=-1", f"before={2**70}", "tool=%00",
               urlencode({"person": "x" * 600}), "since=9999-99-99T00:00")  # fmt: skip
    taken = (urlencode({"tool": "<script>alert(1)</script>"}), "outcome=strange", "kind=%22%3E", "live=yes&before=x",
             "since=0001-01-01T00:00", "until=9999-12-31T23:59:59", "unknown=1",
             urlencode({"server": "ü" * 300}))  # fmt: skip
    await write_before(tmp_path, mixed())
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=False) as admin,
    ):
        for query in (*refused, *taken):
            answer = await admin.page.goto(f"{portal.url}/admin/logs?{query}")
            assert answer is not None and answer.status == (400 if query in refused else 200), query
            assert await admin.page.locator(".warned").count() == (1 if query in refused else 0), query
            answer = await admin.page.goto(f"{portal.url}/admin/logs/rows?{query}")
            assert answer is not None and answer.status == 200, query
        for id in ("0", "x", "9" * 40, "-1", "%00"):
            answer = await admin.page.goto(f"{portal.url}/admin/logs/{id}")
            assert answer is not None and answer.status == 404, id


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    await write_before(tmp_path, [*day(), *mixed()])
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/logs")
        await admin.check(axe, PICTURES, "logs")
        # A page of rows is read on a telephone without an end of turning.
        await page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        rows = page.locator("tbody tr")
        tall = await rows.evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
        assert len(tall) == 50 and max(tall) < 140 and sum(tall) / len(tall) < 100, tall
        assert await rows.first.get_by_role("link").first.is_visible()
        await admin.open("/logs?live=on&server=nothing")
        await admin.check(axe, PICTURES, "logs-live-empty")
        for name, query in (
            ("log-call", "kind=tool&server=notes&run=exec_0123456789abcdef"),
            ("log-denied", "policy=cards"),
            ("log-change", "kind=change"),
            ("log-sign-in", "kind=sign_in"),
            ("log-refusal", "kind=refusal"),
            ("log-run", "run=exec_0123456789abcdef&kind=run"),
        ):
            await admin.open(f"/logs?{query}")
            await page.locator("tbody tr").first.get_by_role("link").first.click()
            await page.wait_for_url(re.compile(r"/admin/logs/\d+$"))
            assert not await page.locator("b").count()
            await admin.check(axe, PICTURES, name)
