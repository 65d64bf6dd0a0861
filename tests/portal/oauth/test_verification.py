"""Access tokens of requests: kept for seconds, and refused from the moment they are revoked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from portal.identity import Identity
from portal.oauth.grants import ACCESS, Grant
from portal.oauth.verification import GRACE_SECONDS, KEPT_SECONDS, Verifier
from portal.state import KeyRing, StateUnavailable, utc_now
from tests.patience import PATIENCE
from tests.portal.state import troubles
from tests.portal.state.databases import new_state
from tests.portal.state.held import HeldStore

pytestmark = pytest.mark.anyio
ADA = Identity(id="local:1", email="ada@example.com")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[HeldStore]:
    async with HeldStore.open(new_state(folder), KeyRing.in_memory()) as store:
        yield store


async def issue(store: HeldStore, token: str, family: str = "family") -> None:
    until = utc_now() + timedelta(hours=1)
    grant = Grant(ADA, "client", "https://portal.example/mcp", ("mcp",), until, family)
    document = grant.document()
    await store.tokens.issue(ACCESS, token, subject=ADA.id, document=document, expires_at=until, family=family)


async def test_a_token_revoked_while_it_is_being_read_is_refused_in_that_request_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        verifier = Verifier(store)
        await issue(store, "token")
        store.hold.begin()
        request = asyncio.create_task(verifier.verify("token"))
        await store.hold.answered.wait()
        await store.tokens.revoke_family("family")
        store.hold.end()
        assert await request is None
        assert await verifier.verify("token") is None


async def test_while_it_is_kept_a_token_gives_the_same_object_without_being_read(tmp_path: Path) -> None:
    seconds = [0.0]
    async with opened(tmp_path) as store:
        verifier = Verifier(store, clock=lambda: seconds[0])
        await issue(store, "token")
        found = await verifier.verify("token")
        store.hold.begin()
        assert found is not None and await verifier.verify("token") is found
        seconds[0] = KEPT_SECONDS
        request = asyncio.create_task(verifier.verify("token"))
        await store.hold.answered.wait()
        store.hold.end()
        assert await request == found


async def test_a_token_that_was_unknown_is_known_as_soon_as_it_is_issued(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        verifier = Verifier(store)
        assert await verifier.verify("token") is None
        await issue(store, "token")
        assert await verifier.verify("token") is not None


async def test_a_token_that_expires_while_it_is_kept_is_refused(tmp_path: Path) -> None:
    ahead = [timedelta()]
    url = new_state(tmp_path)
    async with HeldStore.open(url, KeyRing.in_memory(), clock=lambda: utc_now() + ahead[0]) as store:
        verifier = Verifier(store, now=lambda: utc_now() + ahead[0], clock=lambda: 0.0)
        await issue(store, "token")
        assert await verifier.verify("token") is not None
        ahead[0] = timedelta(hours=2)
        assert await verifier.verify("token") is None


async def test_a_token_that_was_good_is_taken_for_a_minute_longer_while_the_store_cannot_be_read(
    tmp_path: Path,
) -> None:
    seconds = [0.0]
    url = new_state(tmp_path)
    async with HeldStore.open(url, KeyRing.in_memory()) as store:
        verifier = Verifier(store, clock=lambda: seconds[0])
        await issue(store, "token")
        await issue(store, "never used")
        found = await verifier.verify("token")
        with troubles.moved_away(url):
            # Each use fails to read it again, and none makes the minute longer.
            for seconds[0] in (KEPT_SECONDS, 30.0, KEPT_SECONDS + GRACE_SECONDS - 0.001):
                assert found is not None and await verifier.verify("token") is found
            with pytest.raises(StateUnavailable):
                await verifier.verify("never used")
            seconds[0] = KEPT_SECONDS + GRACE_SECONDS
            with pytest.raises(StateUnavailable):
                await verifier.verify("token")
        assert await verifier.verify("token") == found
    assert KEPT_SECONDS + GRACE_SECONDS == 65


async def test_a_token_that_expires_while_the_store_cannot_be_read_is_not_taken(tmp_path: Path) -> None:
    ahead, seconds = [timedelta()], [0.0]
    url = new_state(tmp_path)
    async with HeldStore.open(url, KeyRing.in_memory()) as store:
        verifier = Verifier(store, now=lambda: utc_now() + ahead[0], clock=lambda: seconds[0])
        await issue(store, "token")
        assert await verifier.verify("token") is not None
        with troubles.moved_away(url):
            ahead[0], seconds[0] = timedelta(hours=2), KEPT_SECONDS
            with pytest.raises(StateUnavailable):
                await verifier.verify("token")


@pytest.mark.parametrize("by", ["this process", "another process"])
async def test_a_token_that_was_revoked_before_the_store_could_not_be_read_is_not_taken(
    tmp_path: Path, by: str
) -> None:
    seconds = [0.0]
    url, keys = new_state(tmp_path), KeyRing.in_memory()
    async with HeldStore.open(url, keys) as store, HeldStore.open(url, keys) as other:
        verifier = Verifier(store, clock=lambda: seconds[0])
        await issue(store, "token")
        assert await verifier.verify("token") is not None
        told = asyncio.Event()
        store.subscribe(lambda kinds: told.set() if ACCESS.name in kinds else None)
        await (store if by == "this process" else other).tokens.revoke_family("family")
        await asyncio.wait_for(told.wait(), PATIENCE)
        with troubles.moved_away(url):
            for seconds[0] in (0.0, KEPT_SECONDS, 30.0):
                with pytest.raises(StateUnavailable):
                    await verifier.verify("token")
        assert await verifier.verify("token") is None


async def test_a_token_that_is_revoked_while_it_is_read_again_is_not_taken_if_that_fails(tmp_path: Path) -> None:
    seconds = [0.0]
    url = new_state(tmp_path)
    async with HeldStore.open(url, KeyRing.in_memory()) as store:
        verifier = Verifier(store, clock=lambda: seconds[0])
        await issue(store, "token")
        assert await verifier.verify("token") is not None
        seconds[0] = KEPT_SECONDS
        store.before.begin()
        request = asyncio.create_task(verifier.verify("token"))
        await store.before.answered.wait()
        await store.tokens.revoke_family("family")
        with troubles.moved_away(url):
            store.before.end()
            with pytest.raises(StateUnavailable):
                await request
        assert await verifier.verify("token") is None
