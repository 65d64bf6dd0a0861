"""Many who decide or use one approval at once, each over a connection of their own, on both databases."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from portal.approvals import ApprovalError, Approvals, Decider, Remember
from portal.state import KeyRing, Store
from tests.portal.approvals.people import group, need, rule
from tests.portal.state.conftest import new_postgres_database, postgres  # noqa: F401 - the fixture `url` asks for it
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio
PROCESSES = 5
"""Stores with connections of their own, as other processes have."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return new_state(tmp_path)
    folder: Path = request.getfixturevalue("postgres")
    return new_postgres_database(folder)


async def opened(stack: AsyncExitStack, url: str, folder: Path) -> list[Approvals]:
    keys = [KeyRing.open(folder / "state.key") for _ in range(PROCESSES)]
    stores = [await stack.enter_async_context(Store.open(url, key)) for key in keys]
    return [await stack.enter_async_context(Approvals(store)) for store in stores]


async def decide(approvals: Approvals, id: str, decider: Decider, approves: bool) -> str:
    try:
        return (await approvals.decide(id, decider, approves)).state
    except ApprovalError as error:
        return type(error).__name__


@pytest.mark.parametrize("denies", [0, 25])
async def test_of_fifty_who_decide_at_once_so_many_votes_count_as_are_needed(
    url: str, tmp_path: Path, denies: int
) -> None:
    names = [f"member{number}" for number in range(50)]
    needed = 7
    async with AsyncExitStack() as stack:
        all_of_them = await opened(stack, url, tmp_path)
        asked = await all_of_them[0].request(need(rule(group(needed, *names))))
        people = [Decider(subject=name, email=f"{name}@example.com", via="browser") for name in names]
        decisions = [
            decide(all_of_them[number % PROCESSES], asked.id, person, number % 2 == 0 or number >= 2 * denies)
            for number, person in enumerate(people)
        ]
        outcomes = await asyncio.gather(*decisions)
        after = await all_of_them[0].get(asked.id)
        yes = [vote for vote in after.votes if vote.approves]
        no = [vote for vote in after.votes if not vote.approves]
        assert len({vote.subject for vote in after.votes}) == len(after.votes) == after.revision - 1
        if after.state == "approved":
            assert len(yes) == needed and no == []
            assert outcomes.count("approved") == 50 - denies - (needed - 1)
        else:
            assert denies and after.state == "denied" and len(no) == 1 and len(yes) < needed
        assert {"approved", "denied"} & set(outcomes) == {after.state}
        used = await asyncio.gather(
            *(one.use(asked.id, asked.digest, asked.rule.revision) for one in all_of_them for _ in range(10))
        )
        assert used.count(True) == (after.state == "approved")


async def test_the_same_call_made_by_many_at_once_is_asked_for_once(url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        all_of_them = await opened(stack, url, tmp_path)
        asked = await asyncio.gather(*(one.request(need(rule())) for one in all_of_them for _ in range(4)))
        assert len({one.id for one in asked}) == 1
        assert len(await all_of_them[-1].listed()) == 1


async def test_a_remembered_approval_is_used_as_often_as_it_says(url: str, tmp_path: Path) -> None:
    ada = Decider(subject="ada", email="ada@example.com", via="browser")
    async with AsyncExitStack() as stack:
        all_of_them = await opened(stack, url, tmp_path)
        asked = await all_of_them[0].request(need(rule()))
        await all_of_them[0].decide(asked.id, ada, True, remember=Remember(seconds=600, uses=8))
        used = await asyncio.gather(*(one.use_grant(need(rule())) for one in all_of_them for _ in range(5)))
        assert used.count(True) == 8
