"""People through the admin API, by Cloudflare's own SDK: who has signed in, what they have begun, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudflare
import httpx2
import pytest
from cloudflare import AsyncCloudflare
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from codemode import CodeTool
from portal.admin import Admin, AdminError, ApiCaller, permissions_of_role
from portal.admin.tokens import API_TOKEN, MOST_HOLDERS
from portal.identity import Identity
from portal.login import SESSION, People, person_id
from portal.login.people import KEPT
from portal.state import KeyRing, Store
from tests.patience import PATIENCE
from tests.portal.access.test_enforcement import ran
from tests.portal.app.many_portals import browser_of, http_client, is_signed_in, many_portals, sign_in_at
from tests.portal.app.test_events import rows_of
from tests.portal.app.test_many_portals_identity import code_for, registered
from tests.portal.credentials.authority import login_authority
from tests.portal.home.test_signing_out import log_in_at
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, Clock, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent
from tests.portal.portals import MODERN
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
GRACE = "grace@example.com"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as opened:
        yield opened


class Api:
    """The admin API of a portal, with a token for everything. `sdk` is Cloudflare's, `raw` what it does not have."""

    def __init__(self, url: str, account: str, sdk: AsyncCloudflare) -> None:
        self.url = url
        self.account = account
        self.sdk = sdk
        self.users: Any = sdk.zero_trust.access.users

    async def people(self, **asked: Any) -> list[Any]:
        return [one async for one in self.users.list(account_id=self.account, **asked)]

    async def id_of(self, email: str) -> str:
        (found,) = await self.people(email=email)
        assert isinstance(found.id, str)
        return found.id

    async def sessions(self, id: str) -> list[Any]:
        listed = self.users.active_sessions.list(id, account_id=self.account)
        return [one.to_dict() async for one in listed]

    async def raw(self, method: str, path: str, body: object = None) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.sdk.api_token}"}
        url = f"{self.url}/client/v4/accounts/{self.account}/access{path}"
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            return await http.request(method, url, headers=headers, json=body)

    async def agents(self, id: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await self.raw("GET", f"/users/{id}/agents")).json()["result"]
        return listed


@asynccontextmanager
async def api_of(url: str, admin: Admin | None) -> AsyncIterator[Api]:
    assert admin is not None
    made = await admin.tokens.create_with_all("test", "test")
    async with AsyncCloudflare(api_token=made.value, base_url=f"{url}/client/v4", max_retries=0) as sdk:
        yield Api(url, admin.account_id, sdk)


async def test_who_has_signed_in_or_has_an_account_is_listed_and_found(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as browser,
        api_of(portal.url, portal.admin) as api,
    ):
        ada = await portal.account()
        await portal.account(GRACE)
        assert [one.last_successful_login for one in await api.people()] == [None, None]
        await sign_in(browser, await browser.open("/login"))
        people = await api.people()
        assert [one.email for one in people] == [EMAIL, GRACE]
        first = people[0]
        assert (first.id, first.uid, first.name) == (person_id(ada), person_id(ada), "Ada")
        assert first.last_successful_login == first.created_at and first.access_seat is None
        portal.clock.ahead += timedelta(hours=30)
        await sign_in(browser, await browser.open("/login"))
        (again,) = await api.people(email="ADA@")
        assert again.last_successful_login - again.created_at >= timedelta(hours=30)
        assert [one.email for one in await api.people(search="grace")] == [GRACE]
        assert [one.email for one in await api.people(name="ada", per_page=1)] == [EMAIL, GRACE]
        shown = await api.users.get(first.id, account_id=api.account)
        assert (shown.id, shown.email, shown.to_dict()["identity"]) == (first.id, EMAIL, ada.id)
        with pytest.raises(cloudflare.NotFoundError):
            await api.users.get(person_id(Identity(id="local:nobody")), account_id=api.account)


async def test_a_removed_account_is_nobody_any_more(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as browser,
        api_of(portal.url, portal.admin) as api,
    ):
        await portal.account()
        grace = await portal.account(GRACE)
        await sign_in(browser, await browser.open("/login"), GRACE)
        await portal.identity.administrators.remove(grace.id.partition(":")[2], by="test")
        assert [one.email for one in await api.people()] == [EMAIL]


async def test_a_person_s_browsers_are_shown_at_every_portal_and_one_is_signed_out_alone(tmp_path: Path) -> None:
    async with (
        many_portals(tmp_path) as many,
        browser_of(many) as here,
        browser_of(many) as there,
        api_of(many.url, many.instance.admin) as api,
    ):
        await many.account()
        here.client.headers["User-Agent"] = "Browser of Ada" + "." * 500
        await sign_in_at(here, many.own)
        await sign_in_at(there, many.docs)
        id = await api.id_of(EMAIL)
        docs, own = await api.sessions(id)
        assert [(one["portal"], one["ip"]) for one in (docs, own)] == [("docs", "127.0.0.1"), ("_", "127.0.0.1")]
        assert own["user_agent"] == "Browser of Ada".ljust(300, ".")
        assert own["metadata"]["ttl"] == 24 * 3600 and own["expiration"] - own["metadata"]["iat"] == 24 * 3600
        shown = await api.users.active_sessions.get(docs["id"], account_id=api.account, user_id=id)
        assert (shown.email, shown.ip, shown.is_active, shown.idp.id) == (EMAIL, "127.0.0.1", True, "local")
        ended = await api.raw("DELETE", f"/users/{id}/active_sessions/{docs['id']}")
        assert ended.status_code == 200 and ended.json()["result"]["id"] == docs["id"]
        assert [await is_signed_in(here, many.own), await is_signed_in(there, many.docs)] == [True, False]
        assert (await api.raw("DELETE", f"/users/{id}/active_sessions/{docs['id']}")).status_code == 404
        assert [one["id"] for one in await api.sessions(id)] == [own["id"]]


async def test_an_agent_that_is_ended_is_refused_at_its_next_request_and_others_go_on(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
        api_of(portal.url, portal.admin) as api,
    ):
        ada = await portal.account()
        cursor, claude = Agent(portal, http), Agent(portal, http)
        await cursor.log_in(browser, client_name="Cursor")
        await claude.log_in(browser, client_name="Claude Code")
        id = await api.id_of(EMAIL)
        held = {one["name"]: one for one in await api.agents(id)}
        assert set(held) == {"Cursor", "Claude Code"}
        assert (held["Cursor"]["vouched"], held["Cursor"]["portal"]) == ("nobody", "_")
        assert (await cursor.use()).status_code == 200
        path = f"/users/{id}/agents/{held['Cursor']['id']}"
        ended = await api.raw("DELETE", path)
        assert ended.status_code == 200 and ended.json()["result"]["name"] == "Cursor"
        assert (await cursor.use()).status_code == 401
        assert (await cursor.refresh()).json()["error"] == "invalid_grant"
        assert (await claude.use()).status_code == 200
        assert (await api.raw("DELETE", path)).status_code == 404
        log = portal.instance.shared.log
        (change, refused) = await rows_of(log, kind="change")
        assert (change.method, change.name, change.outcome) == ("DELETE", f"/access{path}", "ok")
        assert refused.outcome == "error" and change.identity.startswith("api-token:")
        (row,) = [row for row in await rows_of(log, kind="consent") if row.method == "revoke"]
        assert (row.identity, row.reason) == (ada.key, "an administrator has ended it")


async def test_nobody_s_agent_or_browser_ends_by_the_path_of_another_person(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
        api_of(portal.url, portal.admin) as api,
    ):
        await portal.account()
        await portal.account(GRACE)
        agent = Agent(portal, http)
        await agent.log_in(browser)
        ada, grace = await api.id_of(EMAIL), await api.id_of(GRACE)
        (held,), (session,) = await api.agents(ada), await api.sessions(ada)
        assert (await api.raw("DELETE", f"/users/{grace}/agents/{held['id']}")).status_code == 404
        assert (await api.raw("DELETE", f"/users/{grace}/active_sessions/{session['id']}")).status_code == 404
        # The family of a grant is no session of theirs, nor the other way round.
        assert (await api.raw("DELETE", f"/users/{ada}/active_sessions/{held['id']}")).status_code == 404
        assert (await api.raw("DELETE", f"/users/{ada}/agents/{session['id']}")).status_code == 404
        assert (await agent.use()).status_code == 200 and len(await api.sessions(ada)) == 1


async def test_offboarding_ends_what_a_person_has_begun_and_says_how_much(tmp_path: Path) -> None:
    async with (
        guarded_portal(tmp_path, has_log=True) as portal,
        browser_at(portal.url) as browser,
        browser_at(portal.url) as other,
        login_authority() as issuing,
        httpx2.AsyncClient(trust_env=False) as http,
        api_of(portal.url, portal.admin) as api,
    ):
        ada, grace = await portal.account(), await portal.account(GRACE)
        agent = Agent(portal, http)
        await agent.log_in(browser, client_name="Cursor")
        await sign_in(other, await other.open("/login"), GRACE)
        for server in ("tickets", "wiki"):
            await log_in_at(portal.store, ada.key, server, issuing.issuer, f"{issuing.url}/revoke")
        await log_in_at(portal.store, grace.key, "wiki", issuing.issuer, f"{issuing.url}/revoke")
        organizations: Any = api.sdk.zero_trust.organizations
        answer = await organizations.with_raw_response.revoke_users(account_id=api.account, email=EMAIL.upper())
        assert await answer.parse() is True
        assert (await answer.json())["result_info"] == {
            "users": 1,
            "sessions": 1,
            "agents": 1,
            "logins": 2,
            "logins_kept": 0,
            "programs": 0,
            "api_tokens": 0,
            "api_tokens_kept": 0,
        }
        assert (await agent.use()).status_code == 401
        assert (await agent.refresh()).status_code == 400
        assert "You are signed out" in (await browser.open("/logout")).text
        assert len(issuing.revoked) == 4
        assert "You are signed in as" in (await other.open("/logout")).text
        assert {one.email for one in await api.people()} == {GRACE, EMAIL}
        (row,) = await rows_of(portal.instance.shared.log, kind="change")
        assert row.name == f"/access/organizations/revoke_user/{person_id(ada)}"
        by_id = await api.raw("POST", "/organizations/revoke_user", {"user_uid": await api.id_of(GRACE)})
        assert by_id.json()["result"] is True and by_id.json()["result_info"]["sessions"] == 1
        assert "You are signed out" in (await other.open("/logout")).text


@asynccontextmanager
async def with_token(api: Api, value: str) -> AsyncIterator[Api]:
    """The same API with another token."""
    async with AsyncCloudflare(api_token=value, base_url=str(api.sdk.base_url), max_retries=0) as sdk:
        yield Api(api.url, api.account, sdk)


async def token_of(api: Api, name: str) -> Any:
    """A token that a program makes with its own."""
    permissions = [one async for one in api.sdk.accounts.tokens.permission_groups.list(account_id=api.account)]
    groups = [{"id": one.id} for one in permissions if (one.name or "").endswith("Write")]
    policy = {"effect": "allow", "permission_groups": groups, "resources": {"com.cloudflare.api.account.*": "*"}}
    tokens: Any = api.sdk.accounts.tokens
    return await tokens.create(account_id=api.account, name=name, policies=[policy])


async def is_good(api: Api, value: str) -> bool:
    async with with_token(api, value) as tried:
        return (await tried.raw("GET", "/users")).status_code == 200


async def test_offboarding_counts_the_api_tokens_whose_value_somebody_knows_and_ends_them_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    async with guarded_portal(tmp_path, has_log=True) as portal, api_of(portal.url, portal.admin) as api:
        ada = await portal.account()
        await portal.account(GRACE)
        person = await api.id_of(EMAIL)
        hers = await portal.admin.tokens.create_with_all("hers", ada.key)
        async with with_token(api, hers.value) as with_hers:
            below = await token_of(with_hers, "made by the program of hers")
            rolled = await token_of(with_hers, "made by hers and given a new value since")
            between = await token_of(with_hers, "made by hers and deleted since")
        async with with_token(api, below.value) as with_below:
            deeper = await token_of(with_below, "made by that one")
        async with with_token(api, between.value) as with_between:
            orphan = await token_of(with_between, "made by one that is gone")
        await api.sdk.accounts.tokens.delete(between.id, account_id=api.account)
        value: Any = await api.sdk.accounts.tokens.value.update(rolled.id, account_id=api.account)
        # Who changes what a token may do is not told its value.
        changed = await portal.store.get(API_TOKEN, below.id)
        assert changed is not None
        await portal.store.replace(API_TOKEN, below.id, changed.document, by="another")
        listed = (await api.raw("GET", f"/users/{person}/api_tokens")).json()["result"]
        names = {"hers", "made by the program of hers", "made by that one", "made by one that is gone"}
        assert {one["name"] for one in listed} == names
        assert all("value" not in one and "hash" not in one for one in listed)
        kept = await api.raw("POST", "/organizations/revoke_user", {"user_uid": person})
        assert (kept.json()["result_info"]["api_tokens"], kept.json()["result_info"]["api_tokens_kept"]) == (0, 4)
        assert await is_good(api, hers.value) and await is_good(api, deeper.value)
        ended = await api.raw("POST", "/organizations/revoke_user", {"user_uid": person, "api_tokens": True})
        assert (ended.json()["result_info"]["api_tokens"], ended.json()["result_info"]["api_tokens_kept"]) == (4, 0)
        assert not any([await is_good(api, one.value) for one in (hers, below, deeper, orphan, rolled)])
        assert await is_good(api, value) and await is_good(api, str(api.sdk.api_token))
        rows = [row for row in await rows_of(portal.instance.shared.log, kind="change") if row.method == "DELETE"][1:]
        assert {row.name for row in rows} == {f"/tokens/{one['id']}" for one in listed}
        assert {row.reason for row in rows} == {"who knows its value was offboarded"}
        assert all(row.identity.startswith("api-token:") for row in rows)
        audited = [one for one in await portal.store.audit() if one.kind == "api_token" and one.action == "delete"]
        assert len(audited) == 1 + 4


async def test_who_began_a_chain_of_api_tokens_is_known_however_often_values_were_renewed(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, api_of(portal.url, portal.admin) as api:
        ada = await portal.account()
        tokens = portal.admin.tokens
        renewed = await tokens.create_with_all("renews itself", ada.key)
        value = renewed.value
        for _ in range(MOST_HOLDERS + 1):
            async with with_token(api, value) as by_itself:
                value = await by_itself.sdk.accounts.tokens.value.update(renewed.id, account_id=api.account)
        last = renewed
        for number in range(MOST_HOLDERS + 2):
            made = await tokens.create_with_all(f"the {number}th", f"api-token:{last.id}")
            assert last is renewed or await tokens.end(last.id, "test")
            last = made
        assert {one.id for one in await tokens.known_to(ada.key)} == {renewed.id, last.id}


async def test_no_program_makes_an_api_token_past_the_end_of_its_own(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, api_of(portal.url, portal.admin) as api:
        ada = await portal.account()
        tokens = portal.admin.tokens
        hers = await tokens.create_with_all("hers", ada.key)
        makes = [tokens.create_with_all(str(number), f"api-token:{hers.id}") for number in range(24)]
        body = {"email": EMAIL, "api_tokens": True}
        answer, made = await asyncio.gather(
            api.raw("POST", "/organizations/revoke_user", body), asyncio.gather(*makes, return_exceptions=True)
        )
        assert answer.status_code == 200 and answer.json()["result_info"]["api_tokens_kept"] == 0
        assert await tokens.known_to(ada.key) == []
        refused = [one for one in made if isinstance(one, BaseException)]
        assert all(isinstance(one, AdminError) and one.status == 401 for one in refused)
        assert answer.json()["result_info"]["api_tokens"] == 1 + len(made) - len(refused)
        with pytest.raises(AdminError):
            await tokens.create_with_all("too late", f"api-token:{hers.id}")


async def test_who_may_not_change_api_tokens_ends_none_by_offboarding(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal:
        ada = await portal.account()
        await portal.account(GRACE)
        hers = await portal.admin.tokens.create_with_all("hers", ada.key)

        async def admin_of_servers() -> ApiCaller:
            return ApiCaller("local:grace", permissions_of_role("admin"))

        admin = portal.admin.actions().of(admin_of_servers, "")
        with pytest.raises(AdminError) as refused:
            body = {"email": EMAIL, "api_tokens": True}
            await admin.change("POST", "/access/organizations/revoke_user", body)
        assert refused.value.status == 403
        assert [one.id for one in await portal.admin.tokens.known_to(ada.key)] == [hers.id]


async def test_offboarding_ends_the_agents_of_every_portal(tmp_path: Path) -> None:
    async with (
        many_portals(tmp_path) as many,
        http_client() as http,
        browser_of(many) as browser,
        api_of(many.url, many.instance.admin) as api,
    ):
        await many.account()
        held = []
        for place in (many.own, many.docs, many.hosted):
            agent = await registered(http, place)
            assert (await agent.exchange(await code_for(agent, browser, place))).status_code == 200
            held.append(agent)
        portals = {one["portal"] for one in await api.agents(await api.id_of(EMAIL))}
        assert portals == {"_", "docs", "hosted"}
        answer = await api.raw("POST", "/organizations/revoke_user", {"email": EMAIL})
        assert (answer.json()["result_info"]["agents"], answer.json()["result_info"]["sessions"]) == (3, 3)
        assert [(await agent.use()).status_code for agent in held] == [401, 401, 401]


@pytest.mark.parametrize("what", ["offboarding", "an agent"])
@pytest.mark.parametrize(
    ("program", "begins"),
    [
        ('await codemode.fix.hang({text: ""}); return "after"', "call hang"),
        ('await codemode.fix.echo({text: ""}); while (true) {}', "call echo"),
    ],
    ids=["a program that waits", "a program that only computes"],
)
async def test_what_a_person_has_running_ends_with_their_login(
    tmp_path: Path, code_tool: CodeTool, what: str, program: str, begins: str
) -> None:
    async with (
        hosted() as upstream,
        guarded_portal(tmp_path, upstream=upstream.url, code=code_tool) as portal,
        browser_at(portal.url) as browser,
        httpx2.AsyncClient(trust_env=False) as http,
        api_of(portal.url, portal.admin) as api,
    ):
        await portal.account()
        agent = Agent(portal, http)
        await agent.log_in(browser)
        headers = {"Authorization": f"Bearer {agent.tokens['access_token']}"}
        url = f"{portal.mcp}?codemode=search_and_execute"
        async with (
            httpx2.AsyncClient(headers=headers, timeout=PATIENCE, trust_env=False) as bearer,
            Client(streamable_http_client(url, http_client=bearer), mode=MODERN, cache=None) as client,
        ):
            await client.list_tools()
            running = asyncio.create_task(ran(client, program))
            await upstream.upstream.journal.wait(begins)
            if what == "offboarding":
                answer = await api.raw("POST", "/organizations/revoke_user", {"email": EMAIL})
                assert answer.json()["result_info"]["programs"] == 1
            else:
                id = await api.id_of(EMAIL)
                (held,) = await api.agents(id)
                await api.raw("DELETE", f"/users/{id}/agents/{held['id']}")
            error = (await running)["error"]
            assert (error["kind"], error["name"]) == ("denied", "LoginEnded")
            assert "Log in to go on" in error["message"]
            upstream.upstream.release.set()
        assert (await agent.use()).status_code == 401


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", {}, 400),
        ("", {"email": " "}, 400),
        ("", {"email": EMAIL, "devices": True}, 400),
        ("", {"email": EMAIL, "warp_session_reauth": True}, 400),
        ("?devices=true", {"email": EMAIL}, 400),
        ("?everyone=true", {"email": EMAIL}, 400),
        ("", {"email": "example.com"}, 404),
        ("", {"user_uid": "nobody"}, 404),
        ("", {"email": GRACE, "user_uid": "of ada"}, 404),
    ],
)
async def test_who_cannot_be_meant_and_what_is_not_done_here_is_refused_and_ends_nothing(
    tmp_path: Path, query: str, body: dict[str, Any], status: int
) -> None:
    async with (
        guarded_portal(tmp_path) as portal,
        browser_at(portal.url) as browser,
        api_of(portal.url, portal.admin) as api,
    ):
        ada = await portal.account()
        await portal.account(GRACE)
        await sign_in(browser, await browser.open("/login"))
        body = {name: person_id(ada) if value == "of ada" else value for name, value in body.items()}
        answer = await api.raw("POST", f"/organizations/revoke_user{query}", body)
        assert answer.status_code == status, answer.text
        assert "You are signed in as" in (await browser.open("/logout")).text


async def test_who_signed_in_before_sign_ins_were_noted_is_listed_and_offboarded(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await sign_in(browser, await browser.open("/login"))
        eve = Identity(id="okta:eve", email="eve@example.com", idp_id="okta")
        tomorrow = portal.clock() + timedelta(days=1)
        # As an earlier version has written it: without a portal, an address and a name of its own.
        document = SESSION.read('{"identity": {"id": "okta:eve", "email": "eve@example.com", "idp_id": "okta"}}')
        await portal.store.tokens.issue(SESSION, "hers", subject=eve.id, document=document, expires_at=tomorrow)
        people = People(portal.store, portal.clock)
        async with api_of(portal.url, portal.admin) as api:
            answer = await api.raw("POST", "/organizations/revoke_user", {"email": eve.email})
            assert answer.json()["result_info"]["sessions"] == 1
            await people.adopt([(eve, portal.clock())])
            (shown,) = await api.people(email=eve.email)
            assert shown.id == person_id(eve)
            await people.adopt([(eve, portal.clock())])
            assert len(await api.people()) == 2


async def test_people_are_forgotten_who_have_not_signed_in_for_long_or_after_the_most_there_may_be(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    people = People(store, clock)
    for name in ("ada", "bea", "cleo"):
        await people.note(Identity(id=f"okta:{name}", name=name))
    await people.note(Identity(id="okta:ada", name="Ada"))
    monkeypatch.setattr("portal.login.people.MOST", 2)
    assert await people.trim() == 1
    assert [one.identity.name for one in await people.list()] == ["Ada", "cleo"]
    await store.tokens.purge(clock() + KEPT)
    assert await people.list() == []


async def test_of_a_person_nothing_is_noted_but_who_they_are(store: Store) -> None:
    people = People(store)
    told = Identity(id="okta:ada", email=EMAIL, claims={"salary": 1}, ip="192.0.2.1")
    await asyncio.gather(*(people.note(told) for _ in range(5)))
    (kept,) = await people.list()
    assert kept.identity == Identity(id="okta:ada", email=EMAIL)
