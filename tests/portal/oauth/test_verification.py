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
from portal.oauth.verification import KEPT_SECONDS, Verifier
from portal.state import KeyRing, utc_now
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
