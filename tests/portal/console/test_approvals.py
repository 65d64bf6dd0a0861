"""Approvals in the console: found, read, decided where the rules let an administrator, stopped, and revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from portal.approvals import Remember
from portal.objects import POLICY
from tests.portal.app.test_events import rows_of
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.home.approving import BOB, CAROL, approvals_of, asked, decider, group, rule
from tests.portal.login.guarded import EMAIL, PASSWORD, guarded_portal

pytestmark = pytest.mark.anyio


async def test_an_administrator_sees_what_waits_stops_a_call_and_approves_what_they_are_asked_to(
    tmp_path: Path,
) -> None:
    axe = axe_source()
    async with guarded_portal(tmp_path, has_log=True) as portal, chromium() as browser:
        others = await asked(portal, rule(group(1, CAROL)), {"amount": 1, "to": "<b>x</b>\u202e"}, call=1)
        theirs = await asked(portal, rule(group(1, BOB)), {"amount": 2}, call=2)
        async with administrator(portal, browser, email=BOB) as admin:
            page = admin.page
            await admin.open("/approvals")
            await expect(page.locator("nav .count").first).to_have_text("2 waiting")
            await expect(page.locator("main tbody tr")).to_have_count(2)
            await admin.check(axe, PICTURES, "approvals")
            await page.locator("main tbody tr").last.get_by_role("link", name="bank.pay").click()
            await expect(page.get_by_text("Only members of the groups")).to_be_visible()
            assert await page.locator(".arguments").count() == 0
            assert await page.get_by_role("button", name="Approve").count() == 0
            await page.get_by_role("link", name="Show the arguments").click()
            await expect(page.locator(".arguments")).to_contain_text('"<b>x</b>\\u202e"')
            await admin.check(axe, PICTURES, "approval")
            # Somebody else's decision is seen without loading the page again.
            await approvals_of(portal).decide(others.id, await decider(portal, CAROL), True, comment="fine")
            await expect(page.get_by_role("status")).to_contain_text("Approved")
            await expect(page.locator("#approval-form button")).to_have_count(0)
            await admin.open(f"/approvals/{theirs.id}")
            await expect(page.locator(".arguments")).to_contain_text('"amount": 2')
            await page.get_by_label("24 hours").check()
            await page.get_by_role("button", name="Approve").click()
            await expect(page.get_by_text("Your decision is kept.")).to_be_visible()
            third = await asked(portal, rule(group(1, CAROL)), {"amount": 3}, call=3)
            await admin.open("/approvals?tool=pay&state=pending")
            await page.get_by_role("button", name="Deny: bank.pay, call 3").click()
            await expect(page.get_by_text("Your decision is kept.")).to_be_visible()
            await admin.open("/approvals/remembered")
            await admin.check(axe, PICTURES, "approvals-remembered")
            await page.get_by_role("button", name="Revoke: bank.pay").click()
            await expect(page.get_by_text("Nothing is remembered")).to_be_visible()
            for query in ("state=nonsense", "before=x", "email=%00", "run=%3Cscript%3E", "portal_id=none"):
                await admin.open(f"/approvals?{query}")
                await expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
            for id in ("apr_none", "x" * 300, "%00", "%3Cscript%3E"):
                answer = await page.goto(f"{portal.url}/admin/approvals/{id}?arguments=on")
                assert answer is not None and answer.status in (400, 404), id
        states = [(await approvals_of(portal).get(one.id)).state for one in (others, theirs, third)]
        assert states == ["approved", "approved", "denied"] and await approvals_of(portal).grants() == []
        log = portal.instance.shared.log
        assert log is not None
        await log.stored()
        opened = [row for row in await rows_of(log) if row.method == "OPEN"]
        assert len(opened) == 2 and {row.client for row in opened} == {"console"}


async def test_a_decision_that_comes_too_late_says_so_and_what_was_typed_stays(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        approval = await asked(portal, rule(group(1, BOB, CAROL)), {"amount": 1})
        async with administrator(portal, browser, email=BOB, scripts=False) as admin:
            page = admin.page
            await admin.open(f"/approvals/{approval.id}")
            await approvals_of(portal).decide(approval.id, await decider(portal, CAROL), False)
            await page.get_by_role("button", name="Approve").click()
            await expect(page.get_by_role("alert")).to_contain_text("denied already")
            await expect(page.get_by_role("status")).to_contain_text("Denied")


async def test_an_approval_of_a_prompt_is_not_offered_to_be_remembered(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        prompt = {"method": "prompts/get", "tool": "prompts/get"}
        approval = await asked(portal, rule(group(1, BOB)), {"name": "brief"}, **prompt)
        async with administrator(portal, browser, email=BOB) as admin:
            await admin.open(f"/approvals/{approval.id}")
            await expect(admin.page.get_by_role("button", name="Approve")).to_have_count(1)
            assert await admin.page.get_by_label("24 hours").count() == 0


async def test_who_only_reads_sees_neither_arguments_nor_buttons(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, chromium() as browser:
        approval = await asked(portal, rule(group(1, BOB)), {"amount": "planted"})
        await portal.account()
        await portal.identity.administrators.create(BOB, "Bob", PASSWORD, by="test", role="auditor")
        own = await asked(portal, rule(), {}, call=9)
        ada, remember = await decider(portal, EMAIL), Remember(seconds=900)
        await approvals_of(portal).decide(own.id, ada, True, remember=remember)
        async with administrator(portal, browser, email=BOB) as admin:
            page = admin.page
            for path in ("/approvals", f"/approvals/{approval.id}?arguments=on", "/approvals/remembered"):
                await admin.open(path)
                assert await page.locator("main form[method=post] button").count() == 0, path
                assert "planted" not in await page.content()


async def test_the_form_of_a_policy_has_what_it_wants_approved_and_keeps_it(tmp_path: Path) -> None:
    axe = axe_source()
    async with guarded_portal(tmp_path) as portal, chromium() as browser, administrator(portal, browser) as admin:
        page = admin.page
        await admin.open("/policies/reusable/new")
        await page.get_by_label("Policy name").fill("Payments")
        await page.get_by_label("Everyone").first.check()
        await page.get_by_text("what has to happen before a call").click()
        await page.get_by_label("Each call needs an approval").check()
        await page.get_by_label("Addresses of those who approve").fill("bob@example.com\ncarol@example.com")
        await page.get_by_label("How many of them have to approve").fill("99999")
        await page.get_by_label("The person says what each call is for").check()
        await page.get_by_label("What they are asked").fill("Which ticket?")
        await admin.press("Add the policy")
        # One cannot be as many: the form comes back, with the reason beside its field.
        await expect(page.locator("#approval_groups-wrong")).to_be_visible()
        await expect(page.get_by_label("What they are asked")).to_have_value("Which ticket?")
        await page.get_by_label("How many of them have to approve").fill("2")
        await admin.press("Add the policy")
        await expect(page.get_by_text("2 of bob@example.com, carol@example.com approve it")).to_be_visible()
        await expect(page.get_by_text("Group 1", exact=True)).to_be_visible()
        await admin.check(axe, PICTURES, "policy-approvals")
        await admin.press("Save")
        await expect(page.get_by_text("Saved. It is in force.")).to_be_visible()
        (stored,) = await portal.store.list(POLICY)
        document = stored.document
        assert document.approval_required and document.purpose_justification_required
        assert document.purpose_justification_prompt == "Which ticket?"
        assert document.approval_groups == ({"approvals_needed": 2, "email_addresses": [BOB, CAROL]},)
        await page.get_by_label("Each call needs an approval").uncheck()
        await page.get_by_label("Addresses of those who approve").first.fill("")
        await page.get_by_label("How many of them have to approve").first.fill("")
        await page.get_by_label("The person says what each call is for").uncheck()
        await admin.press("Save")
        await expect(page.get_by_text("Saved. It is in force.")).to_be_visible()
        (stored,) = await portal.store.list(POLICY)
        assert not stored.document.approval_required and stored.document.approval_groups == ()
