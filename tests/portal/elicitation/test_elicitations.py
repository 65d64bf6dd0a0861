"""Links that ask a person to log in: one for the same wish, few for a person, only their hashes kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from portal.elicitation import Elicitations, elicitation_url
from portal.elicitation.elicitations import ELICITATION, MAX_REASON, MOST_OPEN, MOST_SERVERS
from portal.http import PortalAddress
from portal.identity import ANONYMOUS, Identity
from portal.state import KeyRing, Store
from tests.portal.login.guarded import Clock
from tests.portal.state.databases import new_state

pytestmark = pytest.mark.anyio
ADA, GRACE = Identity(id="local:ada"), Identity(id="local:grace")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(new_state(tmp_path), KeyRing.open(tmp_path / "state.key"), clock=clock) as opened:
        yield opened


@pytest.fixture
def elicitations(store: Store, clock: Clock) -> Elicitations:
    return Elicitations(store.tokens, clock)


async def test_many_calls_for_the_same_are_given_one_link(store: Store, elicitations: Elicitations) -> None:
    first, second = {"files": "", "crm": "why"}, {"crm": "why", "files": ""}
    ids = await asyncio.gather(*(elicitations.open(ADA, wanted) for wanted in [first, second] * 20))
    assert len(set(ids)) == 1 and len(await store.tokens.list(ELICITATION)) == 1
    found = await elicitations.find(ids[0])
    assert found is not None and found.wanted == first
    assert found.is_for(ADA) and not found.is_for(GRACE) and not found.is_for(ANONYMOUS)


async def test_another_person_wish_or_reason_has_another_link(elicitations: Elicitations) -> None:
    asked = [(ADA, {"files": ""}), (GRACE, {"files": ""}), (ADA, {"crm": ""}), (ADA, {"files": "why"})]
    assert len({await elicitations.open(person, wanted) for person, wanted in asked}) == 4


async def test_a_link_is_given_again_while_ten_minutes_are_left(elicitations: Elicitations, clock: Clock) -> None:
    clock.stop()
    id = await elicitations.open(ADA, {"files": ""})
    clock.ahead = timedelta(minutes=4, seconds=59)
    assert await elicitations.open(ADA, {"files": ""}) == id
    clock.ahead = timedelta(minutes=5)
    assert await elicitations.open(ADA, {"files": ""}) != id
    assert await elicitations.find(id) is not None
    clock.ahead = timedelta(minutes=15)
    assert await elicitations.find(id) is None


async def test_of_too_many_links_of_a_person_the_oldest_ends(store: Store, elicitations: Elicitations) -> None:
    others = await elicitations.open(GRACE, {"files": ""})
    ids = [await elicitations.open(ADA, {f"server-{number}": ""}) for number in range(MOST_OPEN + 3)]
    alive = [id for id in ids if await elicitations.find(id) is not None]
    assert alive == ids[3:] and await elicitations.find(others) is not None
    assert len(await store.tokens.list(ELICITATION, ADA.key)) == MOST_OPEN


async def test_what_is_wanted_is_bounded(elicitations: Elicitations) -> None:
    wanted = {f"server-{number:03}": "x" * 1000 for number in range(200)}
    found = await elicitations.find(await elicitations.open(ADA, wanted))
    assert found is not None and len(found.wanted) == MOST_SERVERS
    assert {len(reason) for reason in found.wanted.values()} == {MAX_REASON}


async def test_who_did_not_log_in_gets_no_link_and_a_link_wants_something(elicitations: Elicitations) -> None:
    for caller in (ANONYMOUS, Identity(service_token_id="robot")):
        with pytest.raises(ValueError, match="a person who signs in"):
            await elicitations.open(caller, {"files": ""})
    with pytest.raises(ValueError, match="wants a server"):
        await elicitations.open(ADA, {})


async def test_a_link_of_one_portal_is_unknown_at_another(store: Store, clock: Clock) -> None:
    docs, ops = (Elicitations(store.scoped(portal).tokens, clock) for portal in ("docs", "ops"))
    id = await docs.open(ADA, {"files": ""})
    assert await docs.find(id) is not None and await ops.find(id) is None


@pytest.mark.parametrize("id", ["", "x", "x" * 10_000, "\ud800"])
async def test_what_is_no_id_finds_nothing(elicitations: Elicitations, id: str) -> None:
    assert await elicitations.find(id) is None


def test_the_link_is_below_the_portals_address() -> None:
    address = PortalAddress("https://portal.example.com", "/docs")
    assert elicitation_url(address, "the-id") == "https://portal.example.com/docs/authorize?elicitationId=the-id"
