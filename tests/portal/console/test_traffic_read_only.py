"""Who may read and not change sees the pages of the traffic without their buttons, and is refused what they send."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.export import EXPORT_JOB, ExportJobDocument
from portal.objects import (
    DLP_PROFILE,
    FLOW_RULE,
    GATEWAY_RULE,
    QUOTA,
    DlpProfileDocument,
    FlowRuleDocument,
    QuotaDocument,
    RuleDocument,
)
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, administrator
from tests.portal.login.guarded import Guarded, guarded_portal

pytestmark = pytest.mark.anyio
PAGES = (
    *("/gateway", "/gateway/g1", "/gateway/g1?as=text", "/dlp", "/dlp/profiles/d1", "/data-flow"),
    *("/data-flow/rules/f1", "/quotas", "/quotas/q1", "/logpush", "/logpush/1"),
)
UNLINKED = (
    *("/gateway/new", "/gateway/g1/remove", "/dlp/profiles/new", "/dlp/profiles/d1/words", "/dlp/datasets/new"),
    *("/dlp/profiles/d1/patterns/new", "/data-flow/rules/new", "/quotas/new", "/quotas/q1/remove", "/logpush/new"),
    *("/logpush/1/edit", "/logpush/1/destination", "/logpush/1/remove"),
)
"""Pages that nothing leads an auditor to."""
FORMS = (
    *("/gateway/new", "/gateway/g1", "/gateway/g1/enabled", "/gateway/g1/remove", "/dlp/profiles/new"),
    *("/dlp/profiles/d1", "/dlp/datasets/new", "/data-flow/rules/new", "/data-flow/rules/f1", "/quotas/new"),
    *("/quotas/q1", "/quotas/q1/remove", "/logpush/new", "/logpush/1/enabled", "/logpush/1/edit"),
)


async def filled(portal: Guarded) -> None:
    store = portal.store
    await store.create(GATEWAY_RULE, "g1", RuleDocument(name="No secrets", action="block"), by="test")
    await store.create(DLP_PROFILE, "d1", DlpProfileDocument(name="Of the house"), by="test")
    await store.create(FLOW_RULE, "f1", FlowRuleDocument(name="Flow", when=("a",), target=("b",)), by="test")
    await store.create(QUOTA, "q1", QuotaDocument(name="Everybody", calls=5, period=60, per=("person",)), by="test")
    job = ExportJobDocument(name="To the SIEM", destination="https://siem.example.com/***")
    await store.create(EXPORT_JOB, "1", job, by="test", secret=b"https://siem.example.com/logs")


async def test_an_auditor_sees_no_buttons_and_is_refused_what_they_send(tmp_path: Path) -> None:
    pytest.importorskip("re2")
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await portal.change_role("auditor")
        await filled(portal)
        for path in PAGES:
            await admin.open(path)
            assert await page.locator("h1").count() == 1, path
            assert await page.locator("main form:not([method=get])").count() == 0, path
            assert await page.locator("main a.action:not([href^='?'])").count() == 0, path
            assert await page.locator("fieldset :enabled").count() == 0
        for path in UNLINKED:
            await admin.open(path)
            assert await page.locator("main button").count() == 0, path
        await admin.open("/gateway/g1")
        await admin.check(axe, PICTURES, "gateway-read-only")
        await page.goto(f"{portal.url}/logout")
        hidden = page.locator("form input[type=hidden]")
        token = {str(await one.get_attribute("name")): await one.input_value() for one in await hidden.all()}
        sent: dict[str, str | float | bool] = {**token, "name": "g1", "action": "allow", "enabled": "no", "calls": "1"}
        sent["url"] = "https://collector.example.com"
        for path in FORMS:
            answer = await page.request.post(f"{portal.url}/admin{path}", form=sent, max_redirects=0)
            assert answer.status in (400, 403), (path, answer.status)
        rule = await portal.store.get(GATEWAY_RULE, "g1")
        assert rule is not None and rule.revision == 1
        assert len(await portal.store.list(QUOTA)) == len(await portal.store.list(EXPORT_JOB)) == 1
