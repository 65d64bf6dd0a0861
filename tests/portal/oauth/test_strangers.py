"""What strangers may store: the clients that they register, what waits for a person; and what is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from portal.identity import Identity
from portal.oauth import Grants, Uses
from portal.oauth.clients import BY, CLIENT, MAX_KEPT_BYTES, Clients, Metadata, read_registration
from portal.oauth.forgetting import forget_clients
from portal.oauth.grants import CODE, CodeBinding, grant_of
from portal.oauth.messages import OAuthError
from portal.oauth.settings import OAuthSettings
from portal.oauth.strangers import A_MINUTE, CONSENTS_EACH, MOST_CONSENTS, Later, Strangers
from portal.shares import Full, Lent, Shares
from portal.state import Store, plain
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Clock, guarded_portal
from tests.portal.oauth.agent import REDIRECT, Agent
from tests.portal.state.conftest import Opener

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
AGENT = Metadata(name="Agent", redirect_uris=(REDIRECT,))
ADA = Identity(id="local:ada", email="ada@example.com")


async def nothing(url: str) -> bytes:
    raise AssertionError(url)


class Registry:
    """The clients of a store whose time a test moves."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.clients = Clients(store, OAuthSettings(), nothing)
        self.uses = Uses(store, clock)

    async def register(self) -> str:
        return str((await self.clients.register(AGENT, self.clock()))["client_id"])

    async def swept(self, *, after: timedelta = timedelta()) -> set[str]:
        """The clients that are left after this time."""
        self.clock.ahead += after
        # As the portal does.
        await self.store.tokens.purge(self.clock())
        await forget_clients(self.store, self.clock())
        return {stored.id for stored in await self.store.list(CLIENT)}


@asynccontextmanager
async def registry(opened: Opener) -> AsyncIterator[Registry]:
    clock = Clock()
    async with opened(clock) as store:
        yield Registry(store, clock)


async def test_a_client_that_nobody_used_is_forgotten_after_a_day(opened: Opener) -> None:
    async with registry(opened) as at:
        unused, used = await at.register(), await at.register()
        at.uses.note_client(used)
        await at.uses.settled()
        assert await at.swept(after=timedelta(hours=23)) == {unused, used}
        assert await at.swept(after=timedelta(hours=2)) == {used}
        assert await at.clients.get(unused) is None and await at.clients.get(used) is not None
        # Nor does the audit trail grow by strangers.
        assert {entry.id for entry in await at.store.audit()} == {used}


async def test_a_client_is_forgotten_ninety_days_after_its_last_use(opened: Opener) -> None:
    async with registry(opened) as at:
        used = await at.register()
        for _ in range(2):
            at.uses.note_client(used)
            await at.uses.settled()
            assert await at.swept(after=timedelta(days=89)) == {used}
        assert await at.swept(after=timedelta(days=2)) == set()


async def test_a_client_with_a_living_grant_is_kept_however_long_that_is(opened: Opener) -> None:
    async with registry(opened) as at:
        client = await at.register()
        grants, binding = Grants(at.store, at.clock), CodeBinding("x", REDIRECT)
        code = await grants.code(ADA, client, "http://portal/mcp", ("mcp",), binding, lifetime=timedelta(days=400))
        found = await grants.find(CODE, code, client)
        assert found is not None
        assert await grants.exchange(CODE, code, grants.pair(code, grant_of(found), timedelta(hours=1), ("mcp",)))
        assert await at.swept(after=timedelta(days=399)) == {client}
        await grants.end(found.family)
        assert await at.swept() == set()


async def test_clients_and_applications_of_an_administrator_are_never_forgotten(opened: Opener) -> None:
    async with registry(opened) as at:
        document = {"client_id": "own", "redirect_uris": [REDIRECT], "registered": "administrator"}
        await at.store.create(plain("oauth_client"), "own", document, by="ada")
        await at.store.create(plain("app"), "app", {"type": "saas", "name": "Tickets"}, by="ada")
        assert await at.swept(after=timedelta(days=4000)) == {"own"}
        assert await at.store.get(plain("app"), "app") is not None


async def test_a_client_of_before_is_kept_from_now_on_without_what_nobody_uses(opened: Opener) -> None:
    async with registry(opened) as at:
        former = {"client_id": "former", "redirect_uris": [REDIRECT], "client_name": "Former", "registered": "dynamic"}
        former |= {"contacts": ["x" * 50_000], "client_uri": "https://app.example/" + "x" * 50_000}
        await at.store.create(plain("oauth_client"), "former", former, by=BY)
        await at.store.create(plain("oauth_client"), "broken", {"client_id": 7}, by=BY)
        at.clock.ahead = timedelta(days=30)
        assert await at.swept() == {"former"}
        kept = await at.store.get(plain("oauth_client"), "former")
        assert kept is not None and len(str(kept.document)) < 1000
        assert await at.swept(after=timedelta(days=89)) == {"former"}
        assert await at.swept(after=timedelta(days=2)) == set()


async def test_of_too_many_unused_clients_the_oldest_make_room_and_young_ones_do_not(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.oauth.clients.MOST_UNUSED", 3)
    monkeypatch.setattr("portal.oauth.clients.MAKING_ROOM", 1)
    async with registry(opened) as at:
        used = await at.register()
        at.uses.note_client(used)
        await at.uses.settled()
        oldest = await at.register()
        at.clock.ahead = timedelta(minutes=30)
        others = {await at.register(), await at.register()}
        with pytest.raises(Full):
            await at.register()
        at.clock.ahead = timedelta(minutes=61)
        newest = await at.register()
        assert await at.swept() == {used, newest, *others}
        assert await at.clients.get(oldest) is None


async def test_a_registration_keeps_what_is_used_of_it_and_no_more(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(portal, http)
        for much in (
            {"contacts": ["x" * 1000] * 50},
            {"client_uri": "https://app.example/" + "<" * 50_000},
            {"software_id": "x" * 60_000},
            {"jwks": {"keys": ["x" * 50_000]}},
            {"grant_types": ["authorization_code", *(["x" * 100] * 500)]},
            {"something": {"else": ["x" * 1000] * 50}},
        ):
            answer = await agent.register(**much)
            assert answer.status_code == 201 and len(answer.content) < 1000
            stored = await portal.store.get(plain("oauth_client"), agent.client_id)
            assert stored is not None and len(str(stored.document)) < 1000


def registration(**metadata: Any) -> Metadata | OAuthError:
    return read_registration(orjson.dumps({"redirect_uris": [REDIRECT], **metadata}), OAuthSettings())


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"redirect_uris": [f"{REDIRECT}?{'x' * 1900}{n}" for n in range(5)]}, f"more than {MAX_KEPT_BYTES} bytes"),
        ({"client_name": "A\0gent"}, "client_name must not have control characters"),
        ({"client_name": "Agent\x1b[31m"}, "client_name must not have control characters"),
    ],
)
def test_what_is_not_kept_is_refused_in_our_words(metadata: dict[str, Any], problem: str) -> None:
    refused = registration(**metadata)
    assert isinstance(refused, OAuthError) and refused.code == "invalid_client_metadata"
    assert problem in refused.description


@pytest.mark.usefixtures("no_time_for_rates")
def test_no_network_takes_the_registrations_of_all_and_all_together_are_bounded() -> None:
    strangers = Strangers()
    for attempt in range(30):
        # Other addresses of one IPv6 network are the same stranger.
        refused = refusal_of(strangers, f"2001:db8:0:1::{attempt:x}")
        assert (refused is None) == (attempt < 20)
        assert refused is None or (refused.own and refused.seconds > 0)
    others = [refusal_of(strangers, f"192.0.2.{n % 250}") for n in range(6 * A_MINUTE)]
    assert others.count(None) == 5 * A_MINUTE - 20
    assert {(one.own, one.seconds > 0) for one in others if one is not None} == {(False, True)}


def refusal_of(strangers: Strangers, ip: str) -> Later | None:
    try:
        strangers.register(ip)
    except Later as later:
        return later
    return None


def test_requests_that_wait_are_bounded_for_a_network_and_in_all_and_end_by_themselves() -> None:
    strangers = Strangers()
    for n in range(CONSENTS_EACH):
        strangers.wait_for_consent(f"2001:db8::{n:x}")
    with pytest.raises(Full) as own:
        strangers.wait_for_consent("2001:db8::ffff")
    for n in range(MOST_CONSENTS - CONSENTS_EACH):
        strangers.wait_for_consent(f"192.0.{n // 250}.{n % 250}")
    with pytest.raises(Full) as everybody:
        strangers.wait_for_consent("198.51.100.1")
    assert own.value.own and not everybody.value.own
    now = [0.0]
    lent = Lent(Shares(2, 1), 60, lambda: now[0])
    lent.take("ada")
    now[0] = 59.0
    with pytest.raises(Full):
        lent.take("ada")
    now[0] = 60.0
    lent.take("ada")
    assert len(lent) == 1


async def test_a_request_for_authorization_that_is_large_is_not_kept(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.register()
            for large in (
                {"state": "s" * 4000, "nonce": "n" * 4000, "resource": f"{portal.mcp}?{'x' * 500}"},
                {"state": "\U0001f600" * 3000},
                {"state": "a\0b"},
                {"nonce": "\x7f"},
            ):
                page = await browser.open(agent.authorize_url(**large))
                assert "error=invalid_request" in page.left_for, large
            assert await portal.store.tokens.list(plain("consent")) == []


async def test_a_request_for_which_there_is_no_room_gets_a_page_that_says_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        consents = Lent(Shares(10, 2), 900)
        monkeypatch.setattr(portal.identity.shared.strangers, "consents", consents)
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent = Agent(portal, http)
            await agent.register()
            statuses = [(await browser.open(agent.authorize_url())).status for _ in range(3)]
            assert statuses == [200, 200, 429]
            page = await browser.open(agent.authorize_url())
            assert page.headers["retry-after"] == "900" and "wait for an answer" in page.text


async def test_a_portal_that_runs_forgets_what_nobody_used_and_keeps_who_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.app.instance.PURGE_SECONDS", 0.05)
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        async with httpx2.AsyncClient(trust_env=False) as http:
            agent, other = Agent(portal, http), Agent(portal, http)
            await agent.log_in(browser)
            await other.register()
            await portal.identity.uses.settled()
            forgotten = asyncio.Event()
            portal.store.subscribe(lambda kinds: forgotten.set() if "oauth_client" in kinds else None)
            portal.clock.ahead = timedelta(days=2)
            async with asyncio.timeout(PATIENCE):
                await forgotten.wait()
            assert {stored.id for stored in await portal.store.list(CLIENT)} == {agent.client_id}
            page = await browser.open(other.authorize_url())
            assert page.status == 400 and "client_id is unknown" in page.text
            assert (await agent.ask(browser)).status == 200
