"""A login that ends while what it began still runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx2
import orjson
import pytest

from portal.identity import Identity
from portal.oauth.logins import Logins, LoginSignals
from portal.oauth.service_tokens import SERVICE_TOKEN, ServiceTokens
from portal.state import KeyRing, plain
from portal.state.clock import utc_now
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal
from tests.portal.oauth.agent import Agent
from tests.portal.state.databases import new_state
from tests.portal.state.held import HeldStore

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def ended(portal: Guarded, identity: Identity) -> None:
    """Wait until the identity that a request brought holds no more."""
    signals, told = LoginSignals(portal.identity.shared.logins), asyncio.Event()
    portal.identity.shared.logins.on_change(told.set)
    async with asyncio.timeout(PATIENCE):
        while signals.current(identity) is not None:
            told.clear()
            await told.wait()


async def test_signing_out_everywhere_ends_the_logins_that_are_in_use(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.log_in(browser)
            await agent.use()
            identity = portal.rules.asked[-1]
            await agent.refresh()
            await agent.use()
            assert portal.rules.asked[-1] is identity
            assert LoginSignals(portal.identity.shared.logins).current(identity) is identity
            await browser.submit(await browser.open("/logout"), "/logout", "everywhere")
            # When the page says so: what runs in this process has ended then.
            assert LoginSignals(portal.identity.shared.logins).current(identity) is None


async def test_deleting_a_local_account_ends_its_session_and_its_agents(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        account = await portal.account()
        kept = await portal.account("eve@example.com", "another good password")
        await portal.store.tokens.issue(
            plain("session"), "eve", subject=kept.id, document={}, expires_at=portal.clock() + timedelta(hours=1)
        )
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.log_in(browser)
            await agent.use()
            identity = portal.rules.asked[-1]
            await portal.store.delete(plain("admin"), account.id.removeprefix("local:"), by="test")
            await ended(portal, identity)
            assert (await agent.use()).status_code == 401
            assert "You are signed out" in (await browser.open("/logout")).text
            assert await portal.store.tokens.find(plain("session"), "eve") is not None


async def test_revoking_one_agents_grant_leaves_the_others(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        async with httpx2.AsyncClient(trust_env=False) as http:
            identities = []
            agents = [Agent(portal, http), Agent(portal, http)]
            for agent in agents:
                await agent.log_in(browser)
                await agent.use()
                identities.append(portal.rules.asked[-1])
            revoked = {"token": agents[0].tokens["refresh_token"], "client_id": agents[0].client_id}
            await http.post(f"{portal.url}/revoke", data=revoked)
            await ended(portal, identities[0])
            assert portal.identity.shared.logins.holds(identities[1])


async def test_deleting_a_service_token_ends_its_logins(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        made = await portal.identity.shared.service_tokens.create("ci", by="test")
        headers = {
            "CF-Access-Client-Id": made.stored.document.client_id,
            "CF-Access-Client-Secret": made.client_secret,
        }
        await Agent(portal, http).use(**headers)
        identity = portal.rules.asked[-1]
        await portal.store.delete(SERVICE_TOKEN, made.stored.id, by="test")
        await ended(portal, identity)


async def test_deleting_a_service_token_ends_no_login_that_has_none(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        told = asyncio.Event()
        tokens, logins = ServiceTokens(store), Logins(store, told.set)
        made = await tokens.create("ci", by="test")
        robot = Identity(service_token_id=made.stored.id, common_name="ci")
        laptop = Identity(certificate=True, common_name="laptop")
        for identity in (robot, laptop):
            logins.note(identity, "")
        await store.delete(SERVICE_TOKEN, made.stored.id, by="test")
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert (logins.holds(robot), logins.holds(laptop)) == (False, True)
        await logins.aclose()


async def test_a_login_that_comes_in_while_the_revoked_ones_are_looked_up_goes_on(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        told, until = asyncio.Event(), utc_now() + timedelta(hours=1)
        logins = Logins(store, told.set)
        former, new = (Identity(id="local:1", email="ada@example.com", ip=ip) for ip in ("192.0.2.1", "192.0.2.2"))
        await store.tokens.issue(
            plain("access"), "1", subject="local:1", document={}, expires_at=until, family="former"
        )
        logins.note(former, "former")
        store.hold.begin()
        await store.tokens.revoke_family("former")
        await store.hold.answered.wait()
        # What was read of this person's tokens does not have the one that is issued and used now.
        await store.tokens.issue(plain("access"), "2", subject="local:1", document={}, expires_at=until, family="new")
        logins.note(new, "new")
        store.hold.end()
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert (logins.holds(former), logins.holds(new)) == (False, True)
        await logins.aclose()


async def test_whoever_comes_in_from_many_addresses_pushes_out_no_login_that_is_in_use(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        told, until = asyncio.Event(), utc_now() + timedelta(hours=1)
        logins = Logins(store, told.set)
        await store.tokens.issue(plain("access"), "1", subject="local:1", document={}, expires_at=until, family="one")
        streaming = Identity(id="local:1", ip="2001:db8::1")
        logins.note(streaming, "one")
        for number in range(30_000):
            logins.note(Identity(id="local:1", ip=f"2001:db8::{number:x}"), "one")
        assert len(logins._in_use) == 1, "what nobody uses is not kept"
        await store.tokens.revoke_family("one")
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert not logins.holds(streaming)
        await logins.aclose()


async def test_a_login_that_was_written_down_is_known_again_until_it_ends(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        logins = portal.identity.shared.logins
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.log_in(browser)
            await agent.use()
            identity = portal.rules.asked[-1]
            written = orjson.loads(orjson.dumps(logins.document_of(identity)))
            again = await logins.again(written)
            assert again == identity
            assert again is not None and logins.holds(again)
            await agent.refresh()
            assert await logins.again(written) == identity
            await browser.submit(await browser.open("/logout"), "/logout", "everywhere")
            assert not logins.holds(again)
            assert await logins.again(written) is None


async def test_the_written_login_of_a_deleted_service_token_is_nobodys(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        made = await ServiceTokens(store).create("deploy", by="test")
        logins = Logins(store)
        identity = Identity(service_token_id=made.stored.id, common_name="x.access", ip="203.0.113.9")
        logins.note(identity, "")
        written = logins.document_of(identity)
        assert await logins.again(written) == identity
        await store.delete(SERVICE_TOKEN, made.stored.id, by="test")
        assert await logins.again(written) is None
        await logins.aclose()


@pytest.mark.parametrize("document", [{}, {"family": 1, "linked_apps": []}, {"family": "", "linked_apps": [], "ip": 3}])
async def test_a_document_of_no_login_is_refused(tmp_path: Path, document: dict[str, object]) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        logins = Logins(store)
        with pytest.raises(ValueError, match="not the document of a"):
            await logins.again(document)
        await logins.aclose()
