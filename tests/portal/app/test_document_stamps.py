"""What asks for approvals in the configuration document: whatever was given under an entry of it is void once the entry
was changed or left out, also where it comes back as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portal.access import ApprovalRule
from portal.app import Instance, Parts
from portal.config import Config, parse_config
from portal.errors import ConfigError
from portal.identity import Identity
from portal.logs import Discard
from portal.state import StateUnavailable
from tests.patience import PATIENCE
from tests.portal.state import troubles
from tests.portal.state.conftest import new_postgres_database, postgres
from tests.portal.state.databases import new_state

__all__ = ["postgres"]
pytestmark = pytest.mark.anyio

ADA = Identity(id="okta:1", email="ada@example.com", idp_id="okta", login_method="okta")
EVERYONE: dict[str, Any] = {"everyone": {}}
LIST = {"id": "approvers", "type": "EMAIL", "items": [{"value": "bob@example.com"}]}
OTHER_LIST = {**LIST, "items": [{"value": "carol@example.com"}]}
GROUPS = [{"approvals_needed": 1, "email_list_uuid": "approvers"}]


def policy(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "decision": "allow", "include": [EVERYONE], **more}


def asks(id: str, **more: Any) -> dict[str, Any]:
    return policy(id, approval_required=True, approval_groups=GROUPS, **more)


def identity(policies: Any = (), tools: Any = (), servers: Any = (), lists: Any = (LIST,)) -> dict[str, Any]:
    section: dict[str, Any] = {"policies": [policy("in"), *policies], "toolPolicies": list(tools), "lists": list(lists)}
    return section | {"serverPolicies": {"up": [policy("in"), *servers]}}


def document(state: str, section: Mapping[str, Any]) -> Config:
    # The server is never there: only what is decided about it counts.
    servers = {"up": {"url": "http://127.0.0.1:1/mcp"}}
    return parse_config({"mcpServers": servers, "portal": {"state": state, "identity": section}}, env={})


@asynccontextmanager
async def process(state: str, section: Mapping[str, Any]) -> AsyncIterator[Instance]:
    async with Instance.open(document(state, section), Discard(), lambda text: None, Parts(code=None)) as instance:
        yield instance


def asked(instance: Instance) -> ApprovalRule:
    access = instance.own.access
    assert access is not None
    rule = access.current.standing(ADA).approval("up", "pay", {}, {})
    assert rule is not None
    return rule


async def until_alike(*instances: Instance) -> str:
    """The one revision that these processes come to have."""
    async with asyncio.timeout(PATIENCE):
        while len(found := {asked(instance).revision for instance in instances}) > 1:
            await asyncio.sleep(0.01)
    return found.pop()


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return new_state(tmp_path)
    folder: Path = request.getfixturevalue("postgres")
    return new_postgres_database(folder)


@pytest.mark.parametrize(
    ("before", "other"),
    [
        (identity([asks("pay", precedence=1)]), identity([asks("pay", precedence=1, name="Payments")])),
        (identity(servers=[asks("pay", precedence=1)]), identity(servers=[asks("pay", precedence=1, name="Payments")])),
        (identity(tools=[asks("pay")]), identity(tools=[asks("pay", approval_seconds=600)])),
        (identity(tools=[asks("pay")]), identity(tools=[])),
        (identity(tools=[asks("pay")]), identity(tools=[asks("pay")], lists=[OTHER_LIST])),
    ],
    ids=["of the portal", "of a server", "of tools", "left out", "its list"],
)
async def test_a_policy_of_the_document_that_comes_back_as_it_was_has_another_revision(
    tmp_path: Path, before: dict[str, Any], other: dict[str, Any]
) -> None:
    # The policies of one place are asked in their order: the first is the one that asks.
    for section in (before, other):
        section["policies"].sort(key=lambda one: one.get("precedence", 9))
        section["serverPolicies"]["up"].sort(key=lambda one: one.get("precedence", 9))
    state = new_state(tmp_path)
    async with process(state, before) as instance:
        first = asked(instance).revision
        await instance.apply(document(state, {**before, "contact": "the help desk"}))
        assert asked(instance).revision == first
        await instance.apply(document(state, other))
        await instance.apply(document(state, before))
        second = asked(instance).revision
        assert second != first
    async with process(state, before) as instance:
        assert asked(instance).revision == second
    async with process(state, other):
        pass
    async with process(state, before) as instance:
        assert asked(instance).revision not in (first, second)


async def test_processes_that_load_the_same_document_have_the_same_revision(state: str) -> None:
    old, new = identity(tools=[asks("pay")]), identity(tools=[asks("pay", name="Payments")])
    async with process(state, old) as one, process(state, old) as two:
        assert asked(one).revision == asked(two).revision
        for instance in (one, two):
            await instance.apply(document(state, new))
        assert asked(one).revision == asked(two).revision
        async with process(state, new) as three:
            assert asked(three).revision == asked(one).revision


async def test_processes_of_a_rolling_restart_agree_with_those_of_the_same_document(state: str) -> None:
    old, new = identity(tools=[asks("pay")]), identity(tools=[asks("pay", name="Payments")])
    async with process(state, old) as first, process(state, new) as second:
        before, after = asked(first).revision, asked(second).revision
        # One of the old ones is restarted once more: the former document is loaded after the new one.
        async with process(state, old) as again:
            assert await until_alike(first, again) not in (before, after)
            # The new ones go on with what they had.
            assert asked(second).revision == after
        async with process(state, new) as third:
            assert await until_alike(second, third) not in (before, after)


async def test_a_document_that_cannot_be_used_voids_nothing(tmp_path: Path) -> None:
    state, section = new_state(tmp_path), identity(tools=[asks("pay")])
    async with process(state, section) as instance:
        first = asked(instance).revision
        with pytest.raises(ConfigError):
            await instance.apply(document(state, {**section, "groups": [{"id": "g"}]}))
        await instance.apply(document(state, section))
        assert asked(instance).revision == first


async def test_what_changed_and_changed_back_while_the_database_was_away_has_another_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("portal.state.database.CARE_SECONDS", 0.1)
    monkeypatch.setattr("portal.state.database.MOST_CARE_SECONDS", 0.2)
    state, section = new_state(tmp_path), identity(tools=[asks("pay")])
    async with process(state, section) as instance, process(state, section) as other:
        first = asked(instance).revision
        with troubles.moved_away(state):
            for tools in ([], [asks("pay")]):
                # What the database is needed for is taken up when it is back.
                with pytest.raises(StateUnavailable):
                    await instance.apply(document(state, identity(tools=tools)))
        async with asyncio.timeout(PATIENCE):
            while asked(instance).revision == first:
                await asyncio.sleep(0.01)
        assert await until_alike(instance, other) != first


async def test_a_database_that_takes_no_writes_keeps_no_document_from_holding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.state.database.PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("portal.state.database.CARE_SECONDS", 0.1)
    monkeypatch.setattr("portal.state.database.MOST_CARE_SECONDS", 0.2)
    state, section = new_state(tmp_path), identity(tools=[asks("pay")])
    async with process(state, section) as instance:
        first = asked(instance).revision
    changed = identity(tools=[asks("pay", name="Payments")])
    with troubles.locked(state):
        async with process(state, changed) as instance:
            assert asked(instance).policy_name == "Payments" and asked(instance).revision != first
            await instance.apply(document(state, section))
            # Nobody could say that this is the revision of before.
            assert asked(instance).policy_name == "" and asked(instance).revision != first
