"""What `access/keys` is told holds for the keys a served portal signs with and publishes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx2
import jwt
import pytest

from portal.oauth.signing import SigningKeys
from portal.state import KeyRing, Store, plain
from tests.portal.admin.ruled import ruled_portal
from tests.portal.login.guarded import Clock
from tests.portal.state.databases import new_state

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


async def test_the_published_keys_rotate_as_often_as_the_api_was_told_and_when_it_is_asked_to(tmp_path: Path) -> None:
    clock = Clock()
    async with ruled_portal(tmp_path, now=clock) as portal, httpx2.AsyncClient(trust_env=False) as http:
        keys = portal.identity.shared.keys

        async def published() -> list[str]:
            answer = await http.get(f"{portal.url}/cdn-cgi/access/certs")
            return [key["kid"] for key in answer.json()["keys"]]

        (first,) = await published()
        clock.ahead = timedelta(days=22)
        assert await published() == [first]
        told = await portal.access.keys.update(account_id=portal.account, key_rotation_interval_days=21)
        assert told.key_rotation_interval_days == 21
        # The first is over its time by now; what it signed can be checked for another week.
        signed = await keys.sign({"iss": "here"})
        second = jwt.get_unverified_header(signed)["kid"]
        assert (second != first, await published()) == (True, [second, first])
        rotated = await portal.access.keys.rotate(account_id=portal.account)
        assert 20.9 < rotated.days_until_next_rotation <= 21
        third, *former = await published()
        assert (third not in (first, second), former) == (True, [second, first])
        assert jwt.get_unverified_header(await keys.sign({}))["kid"] == third
        clock.ahead += timedelta(days=8)
        assert await published() == [third]
        clock.ahead += timedelta(days=13)
        fourth, *former = await published()
        assert (fourth != third, former) == (True, [third])
        told = await portal.access.keys.update(account_id=portal.account, key_rotation_interval_days=365)
        clock.ahead += timedelta(days=300)
        assert await published() == [fourth]


async def test_processes_that_find_a_key_due_at_once_make_one_new_key(tmp_path: Path) -> None:
    clock = Clock()
    async with Store.open(new_state(tmp_path), KeyRing.in_memory(), clock=clock) as store:
        signing = [SigningKeys(store, clock) for _ in range(4)]
        assert len({key.kid for key in await asyncio.gather(*[one.current() for one in signing])}) == 1
        clock.ahead = timedelta(days=43)
        assert len({key.kid for key in await asyncio.gather(*[one.current() for one in signing])}) == 1
        assert len(await store.list(plain("signing_key"))) == 2
