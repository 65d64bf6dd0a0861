"""Two administrators at the same object in two browsers: who is second is told, loses nothing, and decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.objects import (
    GATEWAY_RULE,
    POLICY,
    PORTAL,
    SERVER,
    PolicyDocument,
    PortalDocument,
    PortalServer,
    RuleDocument,
    ServerDocument,
)
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, Administered, administrator
from tests.portal.login.guarded import Guarded, guarded_portal

pytestmark = pytest.mark.anyio
OTHER = "grace@example.com"


async def stored_objects(portal: Guarded) -> None:
    store = portal.store
    rule = RuleDocument(name="No deletes", action="block", traffic='mcp.tool.name == "rm"', precedence=1000)
    await store.create(GATEWAY_RULE, "r1", rule, by="test")
    everyone: list[dict[str, object]] = [{"everyone": {}}]
    policy = PolicyDocument.model_validate({"name": "Staff", "decision": "allow", "include": everyone})
    await store.create(POLICY, "p1", policy, by="test")
    server = ServerDocument(name="Docs", hostname="http://127.0.0.1:9/mcp", auth_type="unauthenticated")
    await store.create(SERVER, "docs", server, by="test")
    team = PortalDocument(name="Team", hostname="team.example.com", servers=(PortalServer(server_id="docs"),))
    await store.create(PORTAL, "team", team, by="test")


async def one_after_the_other(
    ada: Administered, grace: Administered, path: str, label: str, axe: str, name: str
) -> None:
    """Both open a form, Grace saves hers, and Ada hers after that."""
    for one in (ada, grace):
        await one.open(path)
    await grace.page.get_by_label(label, exact=True).fill("as Grace wants it")
    await grace.press("Save")
    await ada.page.get_by_label(label, exact=True).fill("as Ada wants it")
    await ada.press("Save")
    told = ada.page.get_by_role("alert")
    await told.get_by_text("was changed meanwhile by").wait_for()
    # Who it was is named, what was typed is still there, and so is what stands there now.
    await told.get_by_text(OTHER).wait_for()
    assert await ada.page.get_by_label(label, exact=True).input_value() == "as Ada wants it"
    await ada.page.get_by_text("Now: as Grace wants it").wait_for()
    if axe:
        await ada.check(axe, PICTURES, f"overtaken-{name}")


@WITH_AND_WITHOUT_SCRIPTS
async def test_who_saves_second_is_told_and_saves_anyway_or_loads_what_stands_there(
    tmp_path: Path, scripts: bool
) -> None:
    axe = axe_source() if scripts else ""
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as ada,
        administrator(portal, browser, scripts=scripts, email=OTHER) as grace,
    ):
        await stored_objects(portal)
        # A rule: saved anyway.
        await one_after_the_other(ada, grace, "/gateway/r1", "Name", axe, "rule")
        await ada.press("Save anyway")
        rule = await portal.store.get(GATEWAY_RULE, "r1")
        assert rule is not None and rule.document.name == "as Ada wants it"
        # A policy: what stands there is loaded, and stays.
        await one_after_the_other(ada, grace, "/policies/reusable/p1", "Policy name", axe, "policy")
        await ada.page.get_by_role("link", name="load what stands there now").click()
        await ada.page.wait_for_load_state("load")
        assert await ada.page.get_by_label("Policy name", exact=True).input_value() == "as Grace wants it"
        assert await ada.page.get_by_role("alert").count() == 0
        policy = await portal.store.get(POLICY, "p1")
        assert policy is not None and policy.document.name == "as Grace wants it"
        # A portal: between the telling and the saving there is a third change, and Ada is told again.
        await one_after_the_other(ada, grace, "/portals/team/edit", "Name", axe, "portal")
        await grace.open("/portals/team/edit")
        await grace.page.get_by_label("Description").fill("Grace again")
        await grace.press("Save")
        await ada.press("Save anyway")
        await ada.page.get_by_text("Now: Grace again").wait_for()
        await ada.press("Save anyway")
        team = await portal.store.get(PORTAL, "team")
        assert team is not None and team.document.name == "as Ada wants it"
        assert [one.server_id for one in team.document.servers] == ["docs"]
        # What Grace has changed is not removed until Ada says so once more.
        await ada.open("/policies/reusable/p1/remove")
        await grace.open("/policies/reusable/p1")
        await grace.page.get_by_label("Session duration").fill("1h")
        await grace.press("Save")
        await ada.page.get_by_label("To go on").fill("as Grace wants it")
        await ada.press("Remove")
        await ada.page.get_by_role("alert").get_by_text("was changed meanwhile").wait_for()
        assert await portal.store.get(POLICY, "p1") is not None
        await ada.page.get_by_label("To go on").fill("as Grace wants it")
        await ada.press("Remove")
        assert await portal.store.get(POLICY, "p1") is None
