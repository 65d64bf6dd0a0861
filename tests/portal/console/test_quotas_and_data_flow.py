"""The pages of quotas and of data flow: rules made, changed, removed; who is how far; what was read forgotten."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from portal.console.quotas import read_period, written_period
from portal.objects import FLOW_RULE, QUOTA
from portal.quotas import CountedCall
from portal.state import LabelRead
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, administrator
from tests.portal.login.guarded import Guarded, guarded_portal

pytestmark = pytest.mark.anyio
NETWORK = "address:2001:db8::/64"


async def read_something(portal: Guarded) -> None:
    now = portal.clock()
    at, until = now - timedelta(minutes=5), now + timedelta(hours=7)
    people = (("idp:okta:ada", "confidential"), (NETWORK, "confidential"), (NETWORK, "personal"))
    reads = [
        LabelRead(person=who, client="", label=label, portal="", server="crm", tool="search", at=at, until=until)
        for who, label in people
    ]
    await portal.store.labels.put(reads)


@WITH_AND_WITHOUT_SCRIPTS
async def test_quotas_and_data_flow_rules_are_made_changed_and_removed_and_reads_forgotten(
    tmp_path: Path, scripts: bool
) -> None:
    axe = axe_source() if scripts else ""
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/quotas/new")
        await page.get_by_label("Name").fill("Everybody")
        await page.get_by_label("Calls", exact=True).fill("0")
        await page.get_by_label("In any").fill("2")
        await page.get_by_label("Unit of time").select_option("hours")
        await page.get_by_label("Each server").check()
        await admin.press("Add the quota")
        await page.locator("#calls-wrong").wait_for()
        assert await page.get_by_label("Each server").is_checked()
        await page.get_by_label("Calls", exact=True).fill("3")
        await page.get_by_label("Server IDs").fill("crm\nmail")
        await page.get_by_label("The portal of the configuration").check()
        await admin.press("Add the quota")
        await page.get_by_text("3 calls in 2 hours, for each person and server").wait_for()
        (quota,) = await portal.store.list(QUOTA)
        made = quota.document
        assert (made.calls, made.period, made.per) == (3, 7200, ("person", "server"))
        assert (made.portals, made.servers, made.tools) == (("",), ("crm", "mail"), ())
        for _ in range(3):
            portal.instance.shared.quotas.take(CountedCall("idp:okta:ada", False, "", "crm", "search"))
        await admin.open("/quotas?search=okta")
        await page.get_by_text("3 of 3").wait_for()
        if axe:
            await admin.check(axe, PICTURES, "quotas")
        await page.get_by_role("link", name="Everybody", exact=True).click()
        assert await page.get_by_label("In any").input_value() == "2"
        if axe:
            await admin.check(axe, PICTURES, "quota")
        await page.get_by_label("Calls", exact=True).fill("5")
        await admin.press("Save")
        await page.get_by_text("5 calls in 2 hours").wait_for()
        await page.get_by_role("link", name="Remove: Everybody").click()
        await admin.confirm("Everybody")
        await page.get_by_text("No quotas yet").wait_for()

        await read_something(portal)
        await admin.open("/data-flow/rules/new")
        await page.get_by_label("Name").fill("Nothing out")
        await page.get_by_label("After reading something").fill("confidential, personal")
        await page.get_by_label("It is about calls of").fill("Not A Label")
        await admin.press("Add the rule")
        await page.locator("#target-wrong").wait_for()
        await page.get_by_label("It is about calls of").fill("external")
        await page.get_by_label("It applies after").select_option("all")
        await page.get_by_label("Except").fill("mail.draft")
        if axe:
            await admin.check(axe, PICTURES, "data-flow-rule")
        await admin.press("Add the rule")
        (rule,) = await portal.store.list(FLOW_RULE)
        assert rule.document.when == ("confidential", "personal") and rule.document.all
        assert rule.document.target == ("external",) and rule.document.exempt == ("mail.draft",)
        if axe:
            await admin.check(axe, PICTURES, "data-flow")
        await page.get_by_role("link", name=f"Forget: {NETWORK}").click()
        await admin.confirm(NETWORK, "Forget")
        await page.get_by_text("What they have read does not count any more.").wait_for()
        assert await page.get_by_text(NETWORK).count() == 0
        assert await page.get_by_text("idp:okta:ada").count() == 1
        await page.get_by_role("link", name="Nothing out", exact=True).click()
        await page.get_by_label("It applies after").select_option("any")
        await admin.press("Save")
        await page.get_by_role("link", name="Remove: Nothing out").click()
        await admin.confirm("Nothing out")
        await page.get_by_text("No data-flow rules yet").wait_for()
        for path in ("/quotas?page=x", "/data-flow?page=0", "/data-flow/reads/forget?person=%00", "/quotas/%F0"):
            answer = await page.request.get(f"{portal.url}/admin{path}")
            assert answer.status in (200, 400, 404), path


@pytest.mark.parametrize(("seconds", "written"), [(30, ("30", "1")), (5400, ("90", "60")), (172_800, ("2", "86400"))])
def test_a_period_is_written_in_the_largest_whole_unit(seconds: int, written: tuple[str, str]) -> None:
    assert written_period(seconds) == written
    assert read_period(*written) == seconds


@pytest.mark.parametrize("typed", ["", "x", "-1", "1.5", "9" * 40, "²"])
def test_what_is_no_period_is_refused_by_the_api_and_not_by_a_fault(typed: str) -> None:
    assert read_period(typed, "60") == typed
