"""Two people at a portal, one whose calls want an approval and one who approves, for the tests of their pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page

from portal.access import ApprovalGroup, ApprovalRule
from portal.approvals import Approval, ApprovalNeed, Approvals, Decider
from portal.state import APPROVALS
from tests.patience import PATIENCE
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded

BOB, CAROL, EVE = "bob@example.com", "carol@example.com", "eve@elsewhere.example"


def group(needed: int, *emails: str) -> ApprovalGroup:
    return ApprovalGroup(needed, frozenset(emails))


def rule(*groups: ApprovalGroup, **more: Any) -> ApprovalRule:
    """A rule of these groups, or of the person without any."""
    values = {"policy": "payments", "policy_name": "Payments", "revision": "1", "by": "group" if groups else "person"}
    return ApprovalRule(**{**values, "groups": groups, **more})


def approvals_of(portal: Guarded) -> Approvals:
    found = portal.instance.shared.approvals
    assert found is not None
    return found


async def asked(where: Guarded, by: ApprovalRule, arguments: Mapping[str, object], **more: Any) -> Approval:
    """A call of Ada's that wants this approval."""
    values: dict[str, Any] = {
        "portal": "",
        "subject": (await where.account()).key,
        "email": EMAIL,
        "client": "Agent",
        "run": "exec_one",
        "call": 1,
        "server": "bank",
        "tool": "pay",
        "arguments": arguments,
        "rule": by,
    }
    return await approvals_of(where).request(ApprovalNeed(**{**values, **more}))


async def one_waits(portal: Guarded) -> Approval:
    """The approval that waits, once there is one."""
    news = asyncio.Event()
    unsubscribe = portal.store.subscribe(lambda kinds: news.set() if APPROVALS in kinds else None)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                news.clear()
                if found := await approvals_of(portal).listed(states=("pending",)):
                    return found[0]
                await news.wait()
    finally:
        unsubscribe()


async def decider(portal: Guarded, email: str = BOB) -> Decider:
    return Decider.of(await portal.account(email), "browser")


@asynccontextmanager
async def person(
    portal: Guarded, browser: Browser, email: str = EMAIL, *, path: str = "/", scripts: bool = True
) -> AsyncIterator[Page]:
    """A page of somebody who has signed in and was sent on to `path`. At the end the browser complains of nothing."""
    await portal.account(email)
    context = await browser.new_context(java_script_enabled=scripts)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: (
            complaints.append(said.text)
            if said.type in ("error", "warning") and "status of 4" not in said.text and "favicon" not in said.text
            else None
        ),
    )
    await page.goto(f"{portal.url}{path}")
    if "/login" not in page.url:
        await page.goto(f"{portal.url}/login?return={path}")
    await page.get_by_label("E-mail").last.fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{portal.url}{path}")
    try:
        yield page
        assert complaints == []
    finally:
        await context.close()
