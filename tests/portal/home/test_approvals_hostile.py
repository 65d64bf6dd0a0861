"""What breaks pages of approvals: texts that deceive, sizes, links of others, clicks that come twice or too late."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import expect

from codemode import PlannedCall, ProgramPlan
from portal.approvals import PLAN_METHOD
from tests.portal.browser import chromium
from tests.portal.home.approving import BOB, CAROL, EVE, approvals_of, asked, decider, group, person, rule
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal, sign_in

pytestmark = pytest.mark.anyio
EVIL = "<script>alert(1)</script>\u202e<a href='https://evil.example'>x</a>\x1b[31m"


@pytest.fixture
def anyio_backend() -> str:
    expect.set_options(timeout=20_000)
    return "asyncio"


async def test_nobody_else_learns_anything_from_the_link_and_an_unknown_one_is_the_same(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as eve, browser_at(portal.url) as stranger:
        approval = await asked(portal, rule(group(1, BOB)), {"secret": "planted"}, tool="planted_tool")
        paths = (f"/approve/{approval.id}", f"/approve/{approval.id}/live", f"/approve/{approval.id}/arguments")
        for path in (*paths, "/approvals"):
            page = await stranger.open(path)
            assert "/login" in page.url and "planted" not in page.html, path
        await portal.account(EVE)
        await sign_in(eve, await eve.open("/login"), EVE)
        unknown = await eve.open("/approve/apr_00000000000000000000000000000000")
        for path in (*paths, f"/approve/{quote('<script>')}", "/approve/%00", f"/approve/{'x' * 500}"):
            page = await eve.open(path)
            assert (page.status, page.text) == (404, unknown.text), path
            assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert "planted" not in (await eve.open("/approvals")).html and "wait" not in (await eve.open("/")).text[:300]
        # With a form of her own page, for a call of others, in every spelling.
        token = (await eve.open("/logout")).forms[0].fields
        fields = {**token, "decision": "approve", "approve": "all", "shown": approval.id}
        headers = {"Origin": portal.url}
        for path in (f"/approve/{approval.id}", "/approvals/decide", "/approvals/grants/none/revoke"):
            refused = await eve.client.post(f"{portal.url}{path}", data=fields, headers=headers)
            assert refused.status_code in (404, 409) and "planted" not in refused.text, path
        assert (await approvals_of(portal).get(approval.id)).state == "pending"


async def test_a_decision_needs_a_form_of_this_browser_from_this_site_and_get_decides_nothing(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        approval = await asked(portal, rule(group(1, BOB)), {"amount": 1})
        page = await opened(portal, bob, f"/approve/{approval.id}")
        url, fields = f"{portal.url}/approve/{approval.id}", page.form(f"/approve/{approval.id}").fields
        decided = {**fields, "decision": "approve"}
        forged = [
            bob.client.get(url, params=decided),
            bob.client.post(url, data={"decision": "approve"}, headers={"Origin": portal.url}),
            bob.client.post(url, data=decided, headers={"Origin": "https://evil.example"}),
            bob.client.post(url, data={**decided, "form_token": "x"}, headers={"Origin": portal.url}),
        ]
        for one in forged:
            await one
        assert (await approvals_of(portal).get(approval.id)).state == "pending"
        done = await bob.client.post(url, data=decided, headers={"Origin": portal.url})
        assert done.status_code == 303
        assert (await approvals_of(portal).get(approval.id)).state == "approved"


async def test_a_click_that_comes_twice_decides_once_and_another_one_is_a_conflict(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        approval = await asked(portal, rule(group(2, BOB, CAROL)), {"amount": 1})
        page = await opened(portal, bob, f"/approve/{approval.id}")
        for _ in range(2):
            assert (await bob.submit(page, f"/approve/{approval.id}", "approve")).status == 200
        found = await approvals_of(portal).get(approval.id)
        assert len(found.votes) == 1 and found.state == "pending"
        # By the back button: the page of before, with its form.
        other = await bob.submit(page, f"/approve/{approval.id}", "deny")
        assert (other.status, "decided otherwise before" in other.text) == (409, True)
        await approvals_of(portal).decide(approval.id, await decider(portal, CAROL), True)
        late = await bob.submit(page, f"/approve/{approval.id}", "deny")
        assert late.status == 409 and (await approvals_of(portal).get(approval.id)).state == "approved"


async def test_what_has_expired_or_whose_person_has_signed_out_meanwhile_is_not_decided(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        approval = await asked(portal, rule(group(1, BOB), seconds=600.0), {"amount": 1})
        page = await opened(portal, bob, f"/approve/{approval.id}")
        out = await bob.open("/logout")
        await bob.submit(out, "/logout", "here")
        gone = await bob.submit(page, f"/approve/{approval.id}", "approve")
        assert "/login" in gone.url and f"return={quote(f'/approve/{approval.id}', safe='')}" in gone.url
        again = await sign_in(bob, gone, BOB)
        assert again.url.endswith(f"/approve/{approval.id}")
        portal.clock.ahead += timedelta(hours=1)
        over = await bob.submit(again, f"/approve/{approval.id}", "approve")
        assert (over.status, "not decided in time" in over.text) == (409, True)
        assert (await approvals_of(portal).get(approval.id)).votes == ()


@pytest.mark.parametrize(
    "fields", [{}, {"decision": "maybe"}, {"remember": "for-ever"}, {"remember": "run", "uses": "0"}, {"uses": "²"}]
)
async def test_a_form_that_was_changed_says_what_is_wrong_and_decides_nothing(
    tmp_path: Path, fields: dict[str, str]
) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        approval = await asked(portal, rule(group(1, BOB)), {"amount": 1})
        page = await opened(portal, bob, f"/approve/{approval.id}")
        sent = {"decision": "approve", "remember": "24-hours", "comment": "kept <b>", **fields}
        answer = await bob.submit(page, f"/approve/{approval.id}", **(sent if fields else {"decision": ""}))
        assert answer.status == 400 and (not fields or "kept &lt;b&gt;" in answer.html)
        assert (await approvals_of(portal).get(approval.id)).state == "pending"


async def test_texts_of_agents_and_people_are_no_markup_on_any_page(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        by = rule(group(1, BOB, CAROL), policy_name=EVIL, prompt=EVIL, justified=True)
        approval = await asked(
            portal, by, {EVIL: EVIL}, client="<b>x</b>", tool="evil<b>", run="exec_<i>", justification=EVIL
        )
        await approvals_of(portal).decide(
            (await asked(portal, by, {"a": 1}, call=2, justification=EVIL)).id,
            await decider(portal, CAROL),
            False,
            comment=EVIL,
        )
        async with person(portal, browser, BOB, path="/approvals") as page:
            for path in (
                "/approvals",
                f"/approve/{approval.id}",
                "/admin/approvals",
                f"/admin/approvals/{approval.id}",
            ):
                await page.goto(f"{portal.url}{path}")
                await expect(page.get_by_role("heading").first).to_be_visible()
                text = await page.content()
                assert "<script>alert" not in text and "\u202e" not in text and "\x1b" not in text, path
                assert await page.locator("main a[href*='evil.example'], main i, main script").count() == 0, path


async def test_a_plan_is_shown_whole_and_nothing_in_it_hides(tmp_path: Path) -> None:
    entries = tuple(
        PlannedCall(
            position=at, server="bank", tool="pay", arguments={"to": f"account {at}", "why": EVIL}, effect="effect"
        )
        for at in range(1, 151)
    )
    plan = ProgramPlan(program="0" * 64, entries=entries, exact_up_to=150, ends_because="it \u2066decides")
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as ada:
        shown = {"call": 0, "server": "code", "tool": "plan", "method": PLAN_METHOD}
        approval = await asked(portal, rule(policy="plans"), plan.to_approve(), **shown)
        page = await opened(portal, ada, f"/approve/{approval.id}", EMAIL)
        assert all(f"account {at}" in page.text for at in range(1, 151)) and approval.digest.hex() in page.text
        assert "May this program do all of this?" in page.text and "call 0" not in page.text
        assert '1. bank.pay {"to": "account 1", "why": "' in page.text
        assert "<script>alert" not in page.html and not {"\u202e", "\x1b", "\u2066"} & set(page.html)


async def test_a_megabyte_of_arguments_is_there_as_a_whole_and_the_page_works(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        body = "word \u200b" * 100_000 + "the end"
        approval = await asked(portal, rule(), {"body": body, "n": list(range(5000))})
        async with person(portal, browser, path=f"/approve/{approval.id}") as page:
            await expect(page.get_by_text("100,000 characters in the arguments are not seen")).to_be_visible()
            await page.locator(".arguments summary").first.click()
            shown = await page.locator(".arguments").inner_text()
            assert "the end" in shown and shown.count("\\u200b") == 100_000
            await page.set_viewport_size({"width": 375, "height": 740})
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            answer = await page.request.get(f"{portal.url}/approve/{approval.id}/arguments")
            assert answer.headers["content-type"].startswith("text/plain")
            assert json.loads(await answer.text()) == {"body": body, "n": list(range(5000))}
            await page.get_by_role("button", name="Approve").click()
            await expect(page.get_by_role("status")).to_contain_text("Approved")


async def test_a_hundred_calls_of_a_run_are_one_card_and_one_click(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        by = rule(group(1, BOB))
        for number in range(1, 101):
            await asked(portal, by, {"amount": number, "note": "x" * 100}, call=number, tool=f"pay_{number % 3}")
        page = await opened(portal, bob, "/approvals")
        assert page.html.count('class="run-card"') == 1 and "100 calls wait" in page.text
        done = await bob.submit(page, "/approvals/decide", **{"approve": "all"})
        assert done.status == 200 and "Nothing waits for you" in done.text
        states = [one.state for one in await approvals_of(portal).of_run("exec_one")]
        assert states == ["approved"] * 100


async def test_one_click_that_denies_several_calls_is_one_denial(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        by = rule(group(1, BOB))
        for number in range(3):
            await asked(portal, by, {"amount": number}, call=number)
        page = await opened(portal, bob, "/approvals")
        assert "Nothing waits for you" in (await bob.submit(page, "/approvals/decide", deny="all")).text
        assert {one.state for one in await approvals_of(portal).of_run("exec_one")} == {"denied"}
        assert (await asked(portal, by, {"amount": 9}, call=9)).state == "pending"


async def test_a_call_of_another_portal_is_none_of_this_one(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as bob:
        there = await asked(portal, rule(group(1, BOB)), {"amount": 1}, portal="docs")
        await opened(portal, bob, "/approvals")
        assert (await bob.open(f"/approve/{there.id}")).status == 404
        assert there.id not in (await bob.open("/approvals")).html


async def opened(portal: Guarded, browser: Browser, path: str, email: str = BOB) -> Page:
    """The page at this path, for somebody who signs in on the way."""
    await portal.account(email)
    return await sign_in(browser, await browser.open(path), email)
