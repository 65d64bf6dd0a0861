"""What the operator's document says is on pages: marked, in its order, with the key of each, and without buttons."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

import pytest
from playwright.async_api import Page
from pydantic import BaseModel

import portal.console
from portal.access import Access, LiveAccess, read_document
from portal.admin import Configured, ConfiguredPolicy, ConfiguredSetting
from portal.admin.configured import SECTIONS
from portal.admin.configured_settings import LISTED_ELSEWHERE, settings_of_document
from portal.app import Parts, serving
from portal.config import PortalEntry, PortalSettings
from portal.console.configured import ConfiguredRow, documented_users, settings_below
from portal.console.rule_words import Known, rule_words
from portal.login.passwords import Passwords
from portal.objects import GATEWAY_RULE, POLICY, RuleDocument
from tests.portal.admin.documents import SECRET, full_document
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, administrator
from tests.portal.login.guarded import QUICK, Clock, Guarded, Letters, Rules
from tests.portal.portals import Kept, KeptEvents, opened
from tests.portal.upstreams.hosting import Hosted, hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
CHAPTER = (Path(portal.console.__file__).parent / "README.md").read_text(encoding="utf-8")
HEADING = "What the document says"
LISTS = (
    *("/gateway", "/quotas", "/data-flow", "/dlp", "/policies", "/policies/groups", "/policies/lists"),
    *("/login-methods", "/logpush", "/settings/configuration"),
)


def table() -> list[list[str]]:
    """The cells of each row of the table of the document."""
    text = CHAPTER.partition(f"## {HEADING}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return cells[2:]


def ticked(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def keys_of(section: type[BaseModel], key: str, schema: str) -> Iterator[str]:
    """The keys of a section, those of a section inside it where only some of them are settings."""
    for name, field in section.model_fields.items():
        if (place := f"{schema}.{name}") == "portals.id":
            continue
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if _is_section(kind)]
        if inner and any(one.startswith(f"{place}.") for one in LISTED_ELSEWHERE):
            yield from keys_of(inner[0], f"{key}.{field.alias}", place)
        else:
            yield f"{key}.{field.alias}"


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


@asynccontextmanager
async def documented(
    folder: Path, *, pin: bool = False, events: KeptEvents | None = None
) -> AsyncIterator[tuple[Guarded, Hosted]]:
    """A portal whose document has something of everything."""
    access = LiveAccess(Access(read_document({})))
    letters, clock, kept = Letters(), Clock(), Kept()
    parts = Parts(code=None, records=kept, passwords=Passwords(QUICK), now=clock, events=events)
    async with (
        hosted() as upstream,
        opened(full_document(folder, upstream.url, pin=pin), lambda line: None, parts=parts) as instance,
    ):
        await instance.servers.settled()
        identity, store, admin = instance.own.identity, instance.shared.store, instance.admin
        assert identity is not None and store is not None and admin is not None
        async with serving(instance) as url:
            yield (
                Guarded(url, instance, store, identity, Rules(access), letters, clock, [], kept, admin),
                upstream,
            )


def test_every_section_of_the_document_is_in_the_table() -> None:
    known = ["mcpServers", *keys_of(PortalSettings, "portal", "portal"), *keys_of(PortalEntry, "portals", "portals")]
    said = [key for row in table() for key in ticked(row[0])]
    assert sorted(said) == sorted(known)
    paths = {section.path for section in SECTIONS}
    for row in table():
        lists = [one.removeprefix("configured/") for one in ticked(row[1]) if one.startswith("configured/")]
        assert set(lists) <= {*paths, "settings"}, row
        assert lists or ticked(row[0]) == ["portal.identity.organization"], row


async def test_what_the_table_names_is_on_its_page_with_its_key_and_no_secret(tmp_path: Path) -> None:
    pytest.importorskip("re2")
    async with (
        documented(tmp_path) as (guarded, _),
        chromium() as browser,
        administrator(guarded, browser, scripts=False) as admin,
    ):
        config = guarded.instance.config
        entries: dict[str, list[Configured]] = {one.path: list(one.read(config)) for one in SECTIONS}
        settings = [one.key for one in settings_of_document(config)]
        for row in table():
            keys, lists, (page,) = ticked(row[0]), ticked(row[1]), ticked(row[2])
            await admin.open(page.removeprefix("/admin"))
            text = await admin.page.locator("main").inner_text()
            assert SECRET not in await admin.page.content(), page
            for key in keys:
                found = [one for path in lists for one in entries.get(path.removeprefix("configured/"), ())]
                matching = [one for one in found if in_document(key, one.key)]
                if "configured/settings" in lists:
                    assert any(in_document(key, one) for one in settings), key
                elif key != "portal.identity.organization":
                    assert matching, key
                for one in matching:
                    assert one.name in text, (page, one.key)
        for path, found in entries.items():
            for one in found:
                await admin.open(f"/configured/{path}/{one.id}")
                assert await admin.page.locator("main code", has_text=one.key).count(), one.key
                assert await admin.page.locator("main form:not([method=get])").count() == 0
                assert SECRET not in await admin.page.content()
        await admin.open("/configured/quotas/none")
        await admin.page.get_by_text("Quota not found").first.wait_for()


def in_document(schema: str, key: str) -> bool:
    """Whether a key of the document is one of this section."""
    begins = re.escape(schema).replace("portals", r"portals\.[^.]+", 1) if schema.startswith("portals") else schema
    return re.match(rf"{begins}(?![A-Za-z])", key) is not None


def test_settings_of_a_server_whose_name_begins_another_name_are_its_own_alone() -> None:
    keys = ("mcpServers.a", "mcpServers.a.b", "mcpServers.ab")
    found = [ConfiguredSetting(key=key, value="x", written=True) for key in (f"{one}.url" for one in keys)]
    for key in keys:
        assert [one.key for one in settings_below(key, found, keys)] == [f"{key}.url"]


async def test_rules_of_the_document_come_before_those_that_were_added(tmp_path: Path) -> None:
    pytest.importorskip("re2")
    async with (
        documented(tmp_path) as (guarded, _),
        chromium() as browser,
        administrator(guarded, browser) as admin,
    ):
        rule = RuleDocument(name="Added here", action="block", precedence=1)
        await guarded.store.create(GATEWAY_RULE, "g1", rule, by="test")
        page = admin.page
        await admin.open("/gateway")
        assert await numbered(page) == [("1", "No secrets"), ("2", "No deletes"), ("3", "Added here")]
        await page.get_by_label("Search rules").fill("deletes")
        await admin.press("Search")
        assert await numbered(page) == [("2", "No deletes")]
        await page.get_by_role("link", name="No deletes").click()
        await page.get_by_text('mcp.tool.name == "delete"').wait_for()
        await page.get_by_role("link", name="What it decided, in the log").wait_for()


async def numbered(page: Page) -> list[tuple[str, str]]:
    rows = page.locator("main tbody tr")
    return [
        (await row.locator("td").nth(0).inner_text(), await row.locator("a").first.inner_text())
        for row in await rows.all()
    ]


async def test_policies_of_the_document_and_of_applications_are_in_one_order(tmp_path: Path) -> None:
    async with (
        documented(tmp_path) as (guarded, _),
        chromium() as browser,
        administrator(guarded, browser) as admin,
    ):
        page = admin.page
        await admin.open("/policies/reusable/new")
        await page.get_by_label("Name", exact=False).first.fill("Robots")
        await page.get_by_label("Action").select_option("non_identity")
        await page.get_by_label("Everyone").first.check()
        await admin.press("Add the policy")
        assert len(await guarded.store.list(POLICY)) == 1
        await admin.open("/policies")
        await page.get_by_role("link", name="Attach policies: docs").click()
        await page.get_by_label("Name", exact=False).first.fill("Docs")
        await page.get_by_label("Robots").check()
        await page.locator("main form button.first").click()
        await page.wait_for_load_state("load")
        await admin.open("/policies")
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="Docs"))
        said = await row.locator("td").nth(2).inner_text()
        # The one that needs no sign-in is asked first, whichever of the two has it.
        assert said.index("Robots") < said.index("Readers") and "configuration" in said
        await admin.open("/configured/portals/team")
        await page.get_by_role("link", name="Of the team").wait_for()
        await admin.open("/policies")
        team = page.get_by_role("row").filter(has_text="team.example.com").first
        assert "Of the team" in await team.inner_text()
        await page.get_by_role("link", name="No deletes").click()
        await page.get_by_text("names: delete*").wait_for()
        await page.get_by_text("portal.identity.toolPolicies[0]").wait_for()
        await admin.open("/policies")
        await page.get_by_role("link", name="Ten each").click()
        await page.get_by_text("2 of ada@acme.example, the list Guests approve it").wait_for()
        await page.get_by_text("it is waited for 900 seconds").wait_for()
        await page.get_by_text("its own person says what it is for: Which ticket?").wait_for()


@WITH_AND_WITHOUT_SCRIPTS
async def test_a_server_of_the_document_is_read_again_and_its_changes_are_approved(
    tmp_path: Path, scripts: bool
) -> None:
    events = KeptEvents()
    async with (
        documented(tmp_path, pin=True, events=events) as (guarded, upstream),
        chromium() as browser,
        administrator(guarded, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/configured/servers/docs")
        await page.get_by_text("mcpServers.docs", exact=True).wait_for()
        upstream.behaviour.said["echo"] = {"description": "Says something else now"}
        await admin.press("Sync capabilities")
        await page.get_by_text("were read again").wait_for()
        await admin.open("")
        await page.locator("a[href$='/admin/configured/servers/docs']").click()
        await page.get_by_role("link", name="Look at what waits").click()
        await page.get_by_text('became "Says something else now"').wait_for()
        await admin.press("Approve: echo")
        await page.get_by_text("Agents see it from their next request on").wait_for()
        await page.get_by_text("Nothing waits").wait_for()
        server = "/access/ai-controls/mcp/served/servers/docs"
        assert [one for one in events.said if one[2].startswith(server)] == [
            ("change", "POST", f"{server}/sync", "ok"),
            ("change", "POST", f"{server}/pins/approve", "ok"),
        ]
        await guarded.change_role("auditor")
        await admin.open("/configured/servers/docs")
        assert await page.locator("main form:not([method=get])").count() == 0
        await page.goto(f"{guarded.url}/logout")


@pytest.mark.parametrize("which", ["lists", "pages"])
async def test_the_pages_of_the_document_are_as_axe_wants_them(tmp_path: Path, which: str) -> None:
    pytest.importorskip("re2")
    axe = axe_source()
    async with (
        documented(tmp_path, pin=True) as (guarded, upstream),
        chromium() as browser,
        administrator(guarded, browser) as admin,
    ):
        if which == "lists":
            for part in LISTS:
                await admin.open(part)
                await admin.check(axe, PICTURES, f"configured-list{part.replace('/', '-')}")
            return
        upstream.behaviour.said["echo"] = {"description": "Says something else now"}
        await admin.open("/configured/servers/docs")
        await admin.press("Sync capabilities")
        await admin.check(axe, PICTURES, "configured-server")
        await admin.open("/configured/servers/docs/approvals")
        await admin.check(axe, PICTURES, "configured-approvals")
        await admin.open("/configured/portals/team")
        await admin.check(axe, PICTURES, "configured-portal")
        for section in SECTIONS:
            first = next(iter(section.read(guarded.instance.config)))
            await admin.open(f"/configured/{section.path}/{first.id}")
            await admin.check(axe, PICTURES, f"configured-{section.path}")


def test_a_policy_of_the_document_is_among_the_users_of_what_its_rules_name() -> None:
    policy = ConfiguredPolicy(
        id="1",
        name="Staff",
        key="portal.identity.policies[0]",
        place=1,
        about="portal",
        policy="staff",
        decision="allow",
        exclude=({"group": {"id": "guests"}},),
    )
    rows = [ConfiguredRow(policy, "/admin/configured/policies/1", ("Allow", "good"), ())]
    assert documented_users(rows, ("email_list", "group"), "guests") == [("Staff", "/admin/configured/policies/1")]
    assert documented_users(rows, ("group",), "others") == []


def test_a_group_and_a_list_of_the_document_with_one_id_keep_their_own_names() -> None:
    known = Known(documented_groups={"guests": "Guests"}, documented_lists={"guests": "Addresses of guests"})
    said = [rule_words({selector: {"id": "guests"}}, known) for selector in ("group", "email_list")]
    assert ["Addresses" in one for one in said] == [False, True]
    assert all("not known" not in one for one in said)
