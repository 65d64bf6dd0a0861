"""The chapter's examples run, and its table has every selector."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from portal.access import NO_SERVERS, SELECTORS, Access, Standing, ToolPolicy
from portal.app.access import portal_access, read_stored
from portal.app.definitions import definitions
from portal.config import Config, parse_config
from portal.identity import Identity
from portal.state import KeyRing, Store
from tests.portal.state.databases import new_state

CHAPTER = (Path(__file__).resolve().parents[3] / "portal" / "access" / "README.md").read_text(encoding="utf-8")


async def compiled(config: Config, store: Store) -> Access:
    """What decides at the document's own portal."""
    stored = await read_stored(store)
    return portal_access(definitions(config, stored.objects.portals)[""], config, stored)


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", CHAPTER, re.S | re.M)


def test_the_example_runs() -> None:
    [example] = fenced("python")
    exec(compile(example, "README.md", "exec"), {})


def test_the_tool_policies_are_some() -> None:
    example, asking, _ = fenced("json")
    assert ToolPolicy.model_validate(json.loads(example)).tools.names == ("refund*",)
    asks = ToolPolicy.model_validate(json.loads(asking))
    assert asks.approval_required and [group.approvals_needed for group in asks.approval_groups] == [2, 1]


@pytest.mark.anyio
async def test_the_configuration_decides_as_it_says(tmp_path: Path) -> None:
    _, _, example = fenced("json")
    config = parse_config(json.loads(example))
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        access = await compiled(config, store)
    assert access.warnings == ()
    ada, bob = (Identity(id=name, email=f"{name}@example.com") for name in ("ada", "bob"))
    assert access.server(ada, "tickets").policy == "ops" and not access.server(bob, "tickets").allowed
    assert access.tool(ada, "tickets", "drop_all", {}).policy == "calm"


@pytest.mark.anyio
async def test_the_approval_of_the_first_chapter_is_asked_of_the_person_that_it_names(tmp_path: Path) -> None:
    first = (Path(__file__).resolve().parents[3] / "README.md").read_text(encoding="utf-8")
    section = first.partition("### Programs that wait for people")[2].partition("\n#")[0]
    [example] = re.findall(r"^```json\n(.*?)^```$", section, re.S | re.M)
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        access = await compiled(parse_config(json.loads(example)), store)
    assert access.warnings == ()
    ada = Identity(id="ada", email="ada@acme.example")
    standing = Standing(access, ada)
    asks = standing.approval("bank", "pay_bill", {}, {})
    assert asks is not None and standing.approval("bank", "balance", {}, {}) is None
    [asked] = asks.groups
    assert (asked.needed, asked.emails) == (1, frozenset({"grace@acme.example"}))


def test_every_selector_has_a_row() -> None:
    rows = re.findall(r"^\| (`.*?) \|", CHAPTER, re.M)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == set(SELECTORS)
    assert f"`{NO_SERVERS}`" in CHAPTER
