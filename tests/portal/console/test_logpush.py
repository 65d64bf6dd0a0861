"""The pages of Logpush jobs: added with the fields of a destination, tried, edited without their secrets, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.export import EXPORT_JOB
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, administrator
from tests.portal.login.guarded import guarded_portal

pytestmark = pytest.mark.anyio
SECRET = "Bearer of-the-collector"


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_job_is_tried_added_edited_without_its_secret_and_removed(tmp_path: Path, scripts: bool) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    async with (
        guarded_portal(tmp_path, has_log=True, sections={"exports": {"folders": [str(folder)]}}) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/logpush")
        await page.get_by_role("link", name="Add a job").first.click()
        # What cannot be sent to is said on a page of its own; the form keeps what was typed.
        await page.get_by_label("URL").fill("http://127.0.0.1:1/logs")
        await page.get_by_label("Value of the header").fill(SECRET)
        async with page.context.expect_page() as opened:
            await page.get_by_role("button", name="Try the destination").click()
        tried = await opened.value
        await tried.get_by_text("It did not work").wait_for()
        assert SECRET not in await tried.content()
        await tried.close()
        assert await page.get_by_label("Value of the header").input_value() == SECRET
        await page.get_by_label("URL").fill("https://collector.example.com/logs")
        await page.get_by_label("Name (optional)").fill("To the SIEM")
        await page.get_by_label("Filter").fill("no filter")
        await admin.press("Add the job")
        await page.locator("#filter-wrong").get_by_text("This does not count").wait_for()
        await page.get_by_label("Value of the header").fill(SECRET)
        await page.get_by_label("Rows").first.select_option("filter")
        await page.get_by_label("Enabled").uncheck()
        await admin.press("Add the job")
        await page.locator("#filter-wrong").get_by_text("Is not JSON").wait_for()
        assert SECRET not in await page.content()
        await page.get_by_label("Rows").first.select_option("failed")
        await page.get_by_label("Filter").fill("")
        await page.get_by_label("Value of the header").fill(SECRET)
        await admin.press("Add the job")
        await page.get_by_text("header_Authorization=***").wait_for()
        (made,) = await portal.store.list(EXPORT_JOB)
        assert await portal.store.secret(EXPORT_JOB, made.id) == (
            b"https://collector.example.com/logs?header_Authorization=Bearer%20of-the-collector"
        )
        assert not made.document.enabled and '"Success"' in made.document.filter

        await page.get_by_role("link", name="Edit", exact=True).click()
        await page.get_by_label("Fields").first.fill("Datetime\nError")
        await page.get_by_label("Format").select_option("csv")
        await admin.press("Save")
        await page.get_by_text("Datetime, Error").wait_for()
        kept = await portal.store.secret(EXPORT_JOB, made.id)
        assert kept is not None and b"of-the-collector" in kept

        await page.get_by_role("link", name="Change the destination").click()
        await page.get_by_role("link", name="Files", exact=True).click()
        await page.get_by_label("Folder").fill(str(tmp_path / "elsewhere"))
        await admin.press("Save")
        await page.locator("#destination-wrong").wait_for()
        await page.get_by_label("Folder").fill(str(folder))
        await admin.press("Save")
        await admin.press("Enable")
        await page.get_by_text("Enabled. It goes on").wait_for()

        await page.get_by_role("link", name="Remove").click()
        await admin.confirm("To the SIEM")
        await page.get_by_text("No Logpush jobs yet").wait_for()
        for path in ("/logpush?page=x", "/logpush/new?kind=%00", "/logpush/x", "/logpush/999999999999999/edit"):
            answer = await page.request.get(f"{portal.url}/admin{path}")
            assert answer.status in (200, 400, 404), path


async def test_their_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/logpush/new?kind=s3")
        await admin.check(axe, PICTURES, "logpush-new")
        await page.get_by_label("Bucket").fill("logs")
        await page.get_by_label("Path").fill("portal/{DATE}")
        await page.get_by_label("Region").fill("eu-central-1")
        await page.get_by_label("Access key ID").fill("AKIA0")
        await page.get_by_label("Secret access key").fill("very secret")
        await page.get_by_label("Name (optional)").fill("Archive")
        await admin.press("Add the job")
        await admin.check(axe, PICTURES, "logpush-job")
        await page.get_by_role("link", name="Change the destination").click()
        await admin.check(axe, PICTURES, "logpush-destination")
        await admin.open("/logpush")
        await admin.check(axe, PICTURES, "logpush")
