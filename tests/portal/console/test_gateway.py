"""The pages of gateway rules: made of fields and of expressions, moved, switched, removed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.console.precedence import PlacedRule, moves
from portal.gateway import in_order, plain_conditions, written_conditions
from portal.gateway.rules import HttpRule
from portal.objects import GATEWAY_RULE
from portal.state import plain
from tests.portal.axe import axe_source
from tests.portal.browser import chromium
from tests.portal.console.browsing import PICTURES, WITH_AND_WITHOUT_SCRIPTS, administrator
from tests.portal.login.guarded import guarded_portal

pytestmark = pytest.mark.anyio
PRECISE = 'http.request.host == "crm.example.com" or mcp.tool.name matches "^delete"'


@WITH_AND_WITHOUT_SCRIPTS
async def test_rules_are_made_of_fields_and_of_expressions_moved_switched_and_removed(
    tmp_path: Path, scripts: bool
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser, scripts=scripts) as admin,
    ):
        page = admin.page
        await admin.open("/gateway")
        await page.get_by_role("link", name="Add a rule").first.click()
        await page.get_by_label("Name", exact=False).first.fill("No secrets out")
        await page.get_by_label("Action").select_option("redact")
        await page.get_by_label("Host of the server").fill("crm.example.com, mail.example.com")
        await page.get_by_label("Direction").select_option("outgoing")
        await admin.press("Add the rule")
        await page.locator("#traffic-wrong").get_by_text("Must ask for what to redact").wait_for()
        await page.get_by_label("Credentials and Secrets").check()
        await page.get_by_label("User e-mail").fill("ada@example.com")
        await admin.press("Add the rule")
        await page.get_by_text("Saved. It is in force.").wait_for()
        (first,) = await portal.store.list(GATEWAY_RULE)
        hosts = 'http.request.host in {"crm.example.com" "mail.example.com"}'
        found = 'any(dlp.profiles[*] in {"credentials"})'
        assert first.document.traffic == f'{hosts} and mcp.direction == "outgoing" and {found}'
        assert first.document.identity == 'identity.email == "ada@example.com"'

        await page.get_by_role("link", name="Add a rule").click()
        await page.get_by_role("link", name="Conditions as expressions").click()
        await page.get_by_label("Name", exact=False).first.fill("Only finance deletes")
        await page.get_by_label("Traffic").fill('mcp.tool.name == "a" && mcp.wrong == "b"')
        await admin.press("Add the rule")
        await page.locator("#traffic-wrong").get_by_text("Column 25").wait_for()
        assert await page.get_by_label("Traffic").input_value() == 'mcp.tool.name == "a" && mcp.wrong == "b"'
        await page.get_by_label("Traffic").fill(PRECISE)
        await admin.press("Add the rule")

        # The second comes first. What is edited keeps what its form does not show.
        await page.get_by_role("button", name="Move up: Only finance deletes").click()
        await page.get_by_text("Moved.").wait_for()
        names = await page.locator("tbody tr td a bdi").all_inner_texts()
        assert names == ["Only finance deletes", "No secrets out"]
        await page.get_by_role("link", name="Only finance deletes", exact=True).click()
        await page.get_by_text("The conditions say more than fields can.").wait_for()
        assert await page.get_by_label("Traffic").input_value() == PRECISE
        await page.goto(f"{portal.url}/admin/gateway/{first.id}")
        assert await page.get_by_label("Host of the server").input_value() == "crm.example.com, mail.example.com"
        assert await page.get_by_label("Credentials and Secrets").is_checked()
        await page.get_by_label("Description").fill("Of the house")
        await admin.press("Save")
        await page.get_by_text("Of the house").wait_for()
        edited = await portal.store.get(GATEWAY_RULE, first.id)
        assert edited is not None and edited.document.traffic == first.document.traffic

        await page.get_by_role("button", name="Disable: No secrets out").click()
        await page.get_by_text("It is not asked any more.").wait_for()
        await page.get_by_role("link", name="Remove: No secrets out").click()
        await admin.confirm("No secrets out")
        await page.get_by_text("Removed.").wait_for()
        assert len(await portal.store.list(GATEWAY_RULE)) == 1
        for query in ("?page=0", "?page=x", "?page=9999999999", "?search=" + "a" * 300, "?as=text&said=<b>"):
            answer = await page.request.get(f"{portal.url}/admin/gateway{query}")
            assert answer.status in (200, 400), query


async def test_a_rule_that_cannot_be_read_is_named_and_removed(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        await portal.store.create(plain("gateway_rule"), "odd", {"name": "Odd", "action": "hush-7f3a"}, by="test")
        await admin.open("/gateway")
        await admin.page.get_by_text("The stored gateway rule 'odd' cannot be read").wait_for()
        assert "hush-7f3a" not in await admin.page.content()
        await admin.page.get_by_role("link", name="Remove the rule odd").click()
        await admin.confirm("odd")
        await admin.page.get_by_text("Removed.").wait_for()
        assert not (await portal.store.scan(GATEWAY_RULE)).broken


async def test_its_pages_are_as_axe_wants_them(tmp_path: Path) -> None:
    axe = axe_source()
    async with (
        guarded_portal(tmp_path) as portal,
        chromium() as browser,
        administrator(portal, browser) as admin,
    ):
        page = admin.page
        await admin.open("/gateway")
        await admin.check(axe, PICTURES, "gateway-empty")
        for number, (name, action) in enumerate((("No secrets out", "block"), ("Note what finance does", "log"))):
            await admin.open("/gateway/new?as=text")
            await page.get_by_label("Name", exact=False).first.fill(name)
            await page.get_by_label("Action").select_option(action)
            secret = 'any(dlp.profiles[*] in {"credentials" "personal"}) and mcp.direction == "outgoing"'
            await page.get_by_label("Traffic").fill(secret if number == 0 else PRECISE)
            await page.get_by_label("Identity").fill('any(identity.groups.name[*] in {"finance"})')
            await admin.press("Add the rule")
        await admin.check(axe, PICTURES, "gateway")
        await page.get_by_role("link", name="No secrets out", exact=True).click()
        await admin.check(axe, PICTURES, "gateway-rule")
        await admin.open("/gateway/new?as=text")
        await page.get_by_label("Name", exact=False).first.fill("A rule")
        await page.get_by_label("Traffic").fill("any(")
        await admin.press("Add the rule")
        await admin.check(axe, PICTURES, "gateway-rule-wrong")


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20)


@given(st.dictionaries(st.sampled_from(["mcp.tool.name", "mcp.server.id"]), st.lists(TEXTS, min_size=1, unique=True)))
def test_what_fields_say_is_read_again_from_the_expression(said: dict[str, list[str]]) -> None:
    conditions = {name: tuple(texts) for name, texts in said.items()}
    assert plain_conditions(written_conditions(conditions), "traffic") == conditions


@pytest.mark.parametrize("source", ['mcp.tool.name != "a"', 'not mcp.tool.name == "a"', "any(", PRECISE])
def test_an_expression_that_says_more_than_fields_is_none_of_fields(source: str) -> None:
    assert plain_conditions(source, "traffic") is None


@given(st.lists(st.integers(0, 3) | st.integers(0, 2**31), min_size=2, max_size=8), st.integers(0, 7), st.booleans())
def test_a_rule_that_moves_changes_places_with_its_neighbour_and_no_other_order_is_seen(
    numbers: list[int], at: int, up: bool
) -> None:
    # Of the same action, so that the id decides between those of one number.
    known = {f"r{place}": number for place, number in enumerate(numbers)}
    before = order_of(known)
    at %= len(before)
    id = before[at]
    wanted = list(before)
    other = at - 1 if up else at + 1
    if 0 <= other < len(before):
        wanted[at], wanted[other] = wanted[other], wanted[at]
    for one, number in moves([PlacedRule(one, known[one]) for one in before], id, up=up):
        known[one] = number
        assert 0 <= number <= 2**31
        assert order_of(known) in (before, wanted)
    assert order_of(known) == wanted


def order_of(known: dict[str, int]) -> list[str]:
    rules = [HttpRule(id, id, "block", lambda facts, searched: True, precedence=number) for id, number in known.items()]
    return [rule.id for rule in in_order(rules)]
