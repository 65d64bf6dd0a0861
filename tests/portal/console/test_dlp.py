"""The pages of DLP profiles: patterns tried and added, datasets uploaded and shared, entries switched, all removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.objects import DATASET, DLP_PROFILE, GATEWAY_RULE, PREDEFINED_DLP, RuleDocument
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, Administered, administrator
from tests.portal.login.guarded import Guarded, guarded_portal

pytest.importorskip("re2")
pytestmark = pytest.mark.anyio


async def a_pattern_is_tried_and_added(admin: Administered, axe: str) -> None:
    page = admin.page
    await page.get_by_role("link", name="Add a pattern").first.click()
    await page.get_by_label("Name").fill("Staff")
    await page.get_by_label("Pattern").fill("EMP-[0-9")
    await page.get_by_label("Try it in a text").fill("EMP-123456 and EMP-12")
    await admin.press("Try the pattern")
    await page.locator(".problem").get_by_text("cannot be used").wait_for()
    assert await page.get_by_label("Name").input_value() == "Staff"
    await admin.press("Add the pattern")
    await page.locator("#regex-wrong").wait_for()
    await page.get_by_label("Pattern").fill("EMP-[0-9]{6}")
    await admin.press("Try the pattern")
    assert await page.locator(".said li").all_inner_texts() == ["EMP-123456"]
    if axe:
        await admin.check(axe, PICTURES, "dlp-pattern")
    await admin.press("Add the pattern")
    await page.get_by_text("EMP-[0-9]{6}").wait_for()


async def a_predefined_entry_is_switched_off_and_on_again(admin: Administered, portal: Guarded, axe: str) -> None:
    page = admin.page
    await page.get_by_role("link", name="Credentials and Secrets").click()
    await page.get_by_label("Search entries").fill("github")
    await admin.press("Search")
    await page.get_by_role("button", name="Switch off").first.click()
    await page.get_by_text("It is not looked for any more.").wait_for()
    assert await page.get_by_label("Search entries").input_value() == "github"
    (changed,) = await portal.store.list(PREDEFINED_DLP)
    assert len(changed.document.off) == 1
    if axe:
        await admin.check(axe, PICTURES, "dlp-predefined")
    await admin.press("Restore the defaults")
    await page.get_by_text("everything is on").wait_for()
    assert await portal.store.list(PREDEFINED_DLP) == []


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_profile_gets_a_pattern_words_and_a_dataset_and_an_entry_is_switched(
    tmp_path: Path, scripts: bool
) -> None:
    axe = axe_source() if scripts else ""
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        asked = RuleDocument(name="No secrets", action="block", traffic='any(dlp.profiles[*] == "credentials")')
        await portal.store.create(GATEWAY_RULE, "r1", asked, by="test")
        await admin.open("/dlp")
        row = page.get_by_role("row").filter(has=page.get_by_text("Credentials and Secrets"))
        await row.get_by_role("link", name="No secrets").wait_for()
        await page.get_by_role("link", name="Add a dataset").click()
        await page.get_by_label("Name").fill("Customers")
        await admin.press("Add the dataset")
        await page.get_by_label("Values").fill("K-1234567\nK-7654321\n")
        if axe:
            await admin.check(axe, PICTURES, "dlp-dataset")
        await admin.press("Upload")
        await page.get_by_text("These values are found from now on.").wait_for()
        (dataset,) = await portal.store.list(DATASET)
        assert dataset.document.cells == 2

        await admin.open("/dlp/profiles/new")
        await page.get_by_label("Name").fill("Of the house")
        await page.get_by_label("Confidence threshold").select_option("high")
        await admin.press("Add the profile")
        await a_pattern_is_tried_and_added(admin, axe)
        await admin.press("Add the dataset")
        await page.get_by_text("values of a dataset").wait_for()
        await page.get_by_role("link", name="Add a list of words").click()
        await page.get_by_label("Name").fill("Projects")
        await page.get_by_label("Words").fill("Bluebird\nNightingale")
        await admin.press("Add the list")
        await page.get_by_text("2 words").wait_for()
        await page.get_by_role("button", name="Switch off: Staff").click()
        await page.get_by_role("button", name="Switch off: Customers").click()
        await page.get_by_role("button", name="Switch on: Customers").wait_for()
        if axe:
            await admin.check(axe, PICTURES, "dlp-profile")
        (profile,) = await portal.store.list(DLP_PROFILE)
        kept = profile.document
        assert [(one.name, one.enabled, one.cells) for one in kept.entries] == [
            ("Staff", False, 0),
            ("Projects", True, 2),
        ]
        assert [one.enabled for one in kept.shared_entries] == [False]
        assert kept.confidence_threshold == "high"

        await page.get_by_role("link", name="Staff", exact=True).click()
        await page.get_by_label("It is looked for").check()
        await admin.press("Save")
        await page.get_by_role("link", name="Remove: Projects").click()
        await admin.confirm("Projects")
        await page.get_by_role("button", name="Take out: Customers").click()
        await page.get_by_role("button", name="Add the dataset").wait_for()
        (profile,) = await portal.store.list(DLP_PROFILE)
        assert [(one.name, one.enabled) for one in profile.document.entries] == [("Staff", True)]
        if axe:
            await admin.open("/dlp")
            await admin.check(axe, PICTURES, "dlp")
        await admin.open(f"/dlp/profiles/{profile.id}/remove")
        await admin.confirm("Of the house")
        await page.get_by_role("link", name="Customers").click()
        await page.get_by_role("link", name="Remove").click()
        await admin.confirm("Customers")
        await page.get_by_text("No datasets yet").wait_for()

        await a_predefined_entry_is_switched_off_and_on_again(admin, portal, axe)
        for path in ("?page=x", "/profiles/x", "/profiles/credentials?page=²", "/entries/%00", "/datasets/x/remove"):
            answer = await page.request.get(f"{portal.url}/admin/dlp{path}")
            assert answer.status in (200, 400, 404), path
