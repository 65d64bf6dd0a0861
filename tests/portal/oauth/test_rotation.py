"""One refresh token in several windows: for a moment all get the same successors, and a later use is a theft."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from portal.identity import Identity
from portal.oauth.grants import (
    ACCESS,
    CODE,
    MAX_SUCCESSORS,
    REFRESH,
    REUSE_SECONDS,
    ROTATION,
    CodeBinding,
    Grants,
    TokenPair,
    grant_of,
)
from portal.state import Store
from tests.portal.login.guarded import Clock
from tests.portal.oauth.exchanges import SERVERS
from tests.portal.oauth.test_grants import exchanging
from tests.portal.state.conftest import Opener

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ADA = Identity(id="local:1", email="ada@example.com")
A_MOMENT = timedelta(seconds=REUSE_SECONDS - 1)
LATER = timedelta(seconds=REUSE_SECONDS + 1)
WINDOWS = 3


class Windows:
    """Windows of the client `client`, each at a process of the portal. All share the stored tokens."""

    def __init__(self, stores: list[Store], clock: Clock) -> None:
        self.stores = stores
        self.clock = clock
        self.grants = [Grants(store, clock) for store in stores]

    async def signed_in(self) -> TokenPair:
        """The first tokens of a new grant."""
        grants, resource = self.grants[0], "https://portal.example/mcp"
        binding = CodeBinding("challenge", "http://127.0.0.1/")
        code = await grants.code(ADA, "client", resource, ["mcp"], binding, lifetime=timedelta(hours=8))
        found = await grants.find(CODE, code, "client")
        assert found is not None
        pair = grants.pair(code, grant_of(found), timedelta(minutes=15), ["mcp"])
        assert await grants.exchange(CODE, code, pair) is pair
        return pair

    async def refresh(self, token: str, window: int = 0) -> TokenPair | None:
        grants = self.grants[window]
        found = await grants.find(REFRESH, token, "client")
        if found is None:
            return None
        pair = grants.pair(token, grant_of(found), timedelta(minutes=15), ["mcp"])
        return await grants.exchange(REFRESH, token, pair)

    async def good(self, pair: TokenPair) -> bool:
        """Whether both tokens are good: unused, not expired, and not revoked."""
        access = await self.stores[0].tokens.find(ACCESS, pair.access)
        refresh = await self.stores[0].tokens.find(REFRESH, pair.refresh)
        return access is not None and refresh is not None and refresh.used_at is None


def stopped() -> Clock:
    clock = Clock()
    clock.stop()
    return clock


def texts(pair: TokenPair | None) -> tuple[str, str]:
    assert pair is not None
    return pair.access, pair.refresh


async def test_windows_that_refresh_at_once_all_get_the_same_tokens_which_are_good(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as one, opened(clock) as other:
        windows = Windows([one, other], clock)
        first = await windows.signed_in()
        refreshed = await asyncio.gather(*(windows.refresh(first.refresh, window % 2) for window in range(8)))
        assert len({texts(pair) for pair in refreshed}) == 1
        assert refreshed[0] is not None and await windows.good(refreshed[0])


async def test_a_refresh_token_used_again_later_ends_what_every_window_holds(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as store:
        windows = Windows([store], clock)
        first = await windows.signed_in()
        second = await windows.refresh(first.refresh)
        clock.ahead += A_MOMENT
        assert texts(await windows.refresh(first.refresh)) == texts(second)
        # The moment counts from the first use, however often it is used in between.
        clock.ahead += LATER - A_MOMENT
        assert second is not None and await windows.good(second)
        assert await windows.refresh(first.refresh) is None
        assert not await windows.good(second)
        assert await windows.refresh(second.refresh) is None


async def test_a_window_that_comes_last_gets_the_tokens_that_are_good_now(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as store:
        windows = Windows([store], clock)
        first = await windows.signed_in()
        second = await windows.refresh(first.refresh)
        third = await windows.refresh(texts(second)[1])
        assert texts(await windows.refresh(first.refresh)) == texts(third)
        assert third is not None and await windows.good(third)


async def test_of_endless_refreshes_in_a_moment_only_so_many_are_followed(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as store:
        windows = Windows([store], clock)
        first = last = await windows.signed_in()
        for _ in range(MAX_SUCCESSORS + 1):
            refreshed = await windows.refresh(last.refresh)
            assert refreshed is not None
            last = refreshed
        assert await windows.refresh(first.refresh) is None
        assert not await windows.good(last)


async def test_a_code_has_no_such_moment(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as store:
        grants = Windows([store], clock).grants[0]
        binding = CodeBinding("challenge", "http://127.0.0.1/")
        code = await grants.code(ADA, "client", "r", ["mcp"], binding, lifetime=timedelta(hours=8))
        found = await grants.find(CODE, code, "client")
        assert found is not None
        first, second = (grants.pair(code, grant_of(found), timedelta(minutes=15), ["mcp"]) for _ in range(2))
        assert await grants.exchange(CODE, code, first) is first
        assert await grants.exchange(CODE, code, second) is None
        assert await store.tokens.find(ACCESS, first.access) is None


async def test_what_has_ended_is_not_given_again(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as store:
        windows = Windows([store], clock)
        first = await windows.signed_in()
        second = await windows.refresh(first.refresh)
        assert second is not None
        await windows.grants[0].revoke(second.access, "client")
        assert await windows.refresh(first.refresh) is None
        assert await store.tokens.find(ROTATION, first.refresh) is None


async def test_the_successors_cannot_be_computed_from_the_used_token_or_the_database_alone(opened: Opener) -> None:
    clock = stopped()
    async with opened(clock) as store:
        windows = Windows([store], clock)
        first = await windows.signed_in()
        found = await windows.grants[0].find(REFRESH, first.refresh, "client")
        assert found is not None
        pairs = [windows.grants[0].pair(first.refresh, grant_of(found), timedelta(minutes=15), []) for _ in range(2)]
        assert len({text for pair in pairs for text in texts(pair)}) == 4
        second = await windows.refresh(first.refresh)
        rotation = await store.tokens.find(ROTATION, first.refresh)
        assert second is not None and rotation is not None
        assert rotation.document.salt == second.salt
        assert rotation.expires_at <= clock() + timedelta(seconds=REUSE_SECONDS)
        for secret in (*texts(second), second.salt):
            assert secret not in repr(second) + repr(rotation)


@pytest.mark.parametrize("server", SERVERS)
async def test_windows_that_share_a_stored_login_can_all_go_on(tmp_path: Path, server: str) -> None:
    async with exchanging(tmp_path, server) as (portal, client):
        portal.clock.stop()
        token = await client.refresh_token()
        answers = await asyncio.gather(*(client.exchange("refresh", token) for _ in range(WINDOWS)))
        assert [answer.status_code for answer in answers] == [200] * WINDOWS
        assert len({(one.json()["access_token"], one.json()["refresh_token"]) for one in answers}) == 1
        refreshed = answers[0].json()
        assert await client.opens(refreshed["access_token"])
        again = await client.exchange("refresh", token)
        assert (again.json()["access_token"], again.json()["scope"]) == (refreshed["access_token"], refreshed["scope"])
        assert 0 < again.json()["expires_in"] <= refreshed["expires_in"]
        portal.clock.ahead += LATER
        assert (await client.exchange("refresh", token)).json()["error"] == "invalid_grant"
        assert not await client.opens(refreshed["access_token"])
        assert (await client.exchange("refresh", refreshed["refresh_token"])).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("server", SERVERS)
async def test_within_that_moment_the_policies_are_asked_all_the_same(tmp_path: Path, server: str) -> None:
    async with exchanging(tmp_path, server) as (portal, client):
        portal.clock.stop()
        token = await client.refresh_token()
        refreshed = (await client.exchange("refresh", token)).json()
        portal.rules.allowed = lambda identity: False
        assert (await client.exchange("refresh", token)).json()["error"] == "invalid_grant"
        portal.rules.allowed = lambda identity: True
        assert not await client.opens(refreshed["access_token"])
