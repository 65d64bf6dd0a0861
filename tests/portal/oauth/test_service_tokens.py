"""Service tokens at the endpoint: made, rotated, expired, revoked; and what of them is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from portal.oauth.service_tokens import SERVICE_TOKEN, NewServiceToken, ServiceTokens, shown_document
from portal.state import KeyRing
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.state.databases import new_state
from tests.portal.state.held import HeldStore

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def knock(portal: Guarded, made: NewServiceToken, secret: str = "") -> int:
    headers = {
        "CF-Access-Client-Id": made.stored.document.client_id,
        "CF-Access-Client-Secret": secret or made.client_secret,
    }
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await Agent(portal, http).use(**headers)).status_code


async def test_a_program_comes_in_with_its_service_token(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        made = await portal.identity.shared.service_tokens.create("ci", by="test")
        assert await knock(portal, made) == 200
        identity = portal.rules.asked[-1]
        assert (identity.id, identity.service_token_id) == ("", made.stored.id)
        assert identity.key == f"service:{made.stored.id}"
        assert await knock(portal, made, "0" * 64) == 401
        portal.rules.allowed = lambda identity: False
        assert await knock(portal, made) == 403


async def test_a_wrong_service_token_is_refused_even_beside_a_good_bearer_token_or_an_open_policy(
    tmp_path: Path,
) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        portal.rules.allowed = lambda identity: True
        agent = Agent(portal, http)
        assert (await agent.use()).status_code == 200
        assert (await agent.use(**{"CF-Access-Client-Id": "x"})).status_code == 401
        assert (await agent.use(**{"CF-Access-Client-Secret": "x"})).status_code == 401


async def test_rotation_lets_the_former_secret_live_as_long_as_it_is_told(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        tokens = portal.identity.shared.service_tokens
        made = await tokens.create("ci", by="test")
        until = portal.clock() + timedelta(hours=1)
        second = await tokens.rotate(made.stored.id, by="test", previous_until=until)
        assert second is not None
        assert [await knock(portal, made), await knock(portal, second)] == [200, 200]
        portal.clock.ahead = timedelta(hours=2)
        assert [await knock(portal, made), await knock(portal, second)] == [401, 200]
        third = await tokens.rotate(made.stored.id, by="test")
        assert third is not None
        assert [await knock(portal, second), await knock(portal, third)] == [401, 200]


async def test_a_service_token_expires_is_refreshed_and_revoked(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        tokens = portal.identity.shared.service_tokens
        made = await tokens.create("ci", by="test", duration="1h")
        portal.clock.ahead = timedelta(minutes=61)
        assert await knock(portal, made) == 401
        await tokens.refresh(made.stored.id, by="test")
        assert await knock(portal, made) == 200
        await portal.store.delete(SERVICE_TOKEN, made.stored.id, by="test")
        assert await knock(portal, made) == 401


async def test_neither_the_store_nor_what_is_shown_holds_the_secret(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        made = await portal.identity.shared.service_tokens.create("ci", by="test")
        assert not any("sha256" in name for name in shown_document(made.stored))
        kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert made.client_secret.encode() not in kept


async def test_a_service_token_deleted_while_it_is_being_read_is_refused_from_then_on(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        tokens = ServiceTokens(store)
        made = await tokens.create("ci", by="test")
        shown = made.stored.document.client_id, made.client_secret
        store.hold.begin()
        request = asyncio.create_task(tokens.verify(*shown))
        await store.hold.answered.wait()
        await store.delete(SERVICE_TOKEN, made.stored.id, by="test")
        store.hold.end()
        assert await request is None
        assert await tokens.verify(*shown) is None
