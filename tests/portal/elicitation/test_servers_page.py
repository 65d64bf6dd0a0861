"""The page of a person's servers: what it shows, logging in and out, and what nobody else can do with it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.portal.credentials.authority import login_authority, protected
from tests.portal.elicitation.people import GRACE, begun, connected, form_of, leaves_for, people, sign_in, signed_in
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, EVERYONE
from tests.portal.upstreams.hosting import hosted

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_person_follows_the_link_signs_in_connects_and_may_go_back_to_the_agent(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal:
            link = await portal.link(files="It has the report.")
            async with browser_at(portal.url, issuing.url) as browser:
                page = await sign_in(browser, await browser.open(link))
                assert page.url.startswith(f"{portal.url}/servers?elicitationId=")
                assert "Your agent asks for it. It has the report." in page.text
                assert "Absent : no login yet" in page.text
                before = await begun(browser, page)
                assert f"Go to {issuing.url}" in before.text and "files:read" in before.text
                page = await browser.open(leaves_for(before))
                assert page.url.startswith(f"{portal.url}/servers?elicitationId=")
                assert "You are connected You can close this window" in page.text
                assert "Ready : logged in" in page.text and "Permissions: files:read" in page.text
            (stored,) = await portal.logins()
            assert (stored.key.server, stored.key.issuer) == ("files", issuing.issuer)
            assert stored.document.granted_by == EMAIL
            (client,) = issuing.registrations
            assert client["application_type"] == "web"
            assert client["redirect_uris"] == [f"{portal.url}/servers-callback"]


async def test_servers_that_need_no_login_say_so_and_those_that_are_wanted_come_first(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host), hosted() as plain:
        servers = {
            "plain": {"url": plain.url},
            "fixed": {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer x"}},
            "shared": {"url": host.url, "onBehalf": False},
            "files": {"url": host.url},
        }
        async with people(tmp_path, servers) as portal, signed_in(portal) as browser:
            page = await browser.open("/servers")
            assert page.text.count("Needs no login.") == 2
            assert "The portal has one login for everybody, which an administrator makes." in page.text
            connecting = [
                form for form in page.forms if form.action.endswith("/connect") and "scope" not in form.fields
            ]
            assert [form.fields["server"] for form in connecting] == ["files"]
            page = await browser.open(await portal.link())
            order = [page.text.index(f" {name} ") for name in ("files", "plain", "fixed", "shared")]
            assert order == sorted(order)


async def test_a_person_turns_a_server_off_and_on_for_their_agents(tmp_path: Path) -> None:
    async with hosted() as plain:
        docs = {"docs": {"servers": ["plain"], "policies": [EVERYONE]}}
        async with people(tmp_path, {"plain": {"url": plain.url}}, docs) as portal, signed_in(portal) as browser:
            choices, ada = portal.instance.shared.choices, await portal.account()
            assert choices is not None
            page = await browser.open(await portal.link(plain=""))
            page = await browser.send(page, form_of(page, "plain", "choose"), "off")
            assert "Turned off : your agents do not see it here." in page.text and "elicitationId" in page.url
            assert choices.off("", ada.key) == {"plain"} and choices.off("docs", ada.key) == set()
            await sign_in(browser, await browser.open("/docs/login"))
            assert "Turned off" not in (await browser.open("/docs/servers")).text
            page = await browser.send(page, form_of(page, "plain", "choose"), "on")
            assert "Turned off" not in page.text and choices.off("", ada.key) == set()
            for values in ({"choice": "maybe"}, {"choice": "off", "server": "other"}):
                assert (await browser.send(page, form_of(page, "plain", "choose"), **values)).status == 404
            assert choices.off("", ada.key) == set()


async def test_logging_out_says_what_was_taken_back(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal, signed_in(portal, issuing.url) as browser:
            page = await connected(browser, await browser.open("/servers"))
            done = await browser.send(page, form_of(page, "files", "log-out"))
            assert "Logged out of files" in done.text
            assert f"your login (files:read), and {issuing.url} has taken its tokens back" in done.text
            assert len(issuing.revoked) == 2 and await portal.logins() == []
            again = await browser.send(page, form_of(page, "files", "log-out"))
            assert again.status == 404 and "You were not logged in there." in again.text


async def test_a_login_again_asks_for_all_that_there_was_and_for_what_the_server_wanted(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal, signed_in(portal, issuing.url) as browser:
            page = await connected(browser, await browser.open("/servers"), scope="write")
            (stored,) = await portal.logins()
            assert stored.document.scope == "read write"
            wanting = stored.document.model_copy(update={"wanted_scope": "admin"})
            from portal.credentials.grants import CREDENTIAL  # noqa: PLC0415

            await portal.store.credentials.settle(CREDENTIAL, stored.key, stored.version, wanting)
            page = await browser.open(await portal.link())
            assert "The server wants more permissions: admin." in page.text and "You are connected" not in page.text
            page = await connected(browser, page)
            assert issuing.authorizations[-1]["scope"] == "read write admin"
            assert "You are connected" in page.text
            assert len(await portal.logins()) == 1


async def test_a_login_asks_for_no_permission_that_another_server_has(tmp_path: Path) -> None:
    async with (
        login_authority() as issuing,
        protected(issuing, needed="files:read") as (_, files),
        protected(issuing, needed="wiki:read") as (_, wiki),
        people(tmp_path, {"files": {"url": files.url}, "wiki": {"url": wiki.url}}) as portal,
        signed_in(portal, issuing.url) as browser,
    ):
        await connected(browser, await browser.open("/servers"), "files")
        await connected(browser, await browser.open("/servers"), "wiki")
        assert [asked["scope"] for asked in issuing.authorizations] == ["files:read", "wiki:read"]


async def test_servers_that_came_since_a_person_looked_are_named_together_once(tmp_path: Path) -> None:
    async with hosted() as host:
        for servers, named in (
            (["one"], ""),
            (["one", "two", "three"], "New here since you last looked: two , three"),
            (["one", "two"], ""),
            (["one", "two", "three"], ""),
        ):
            documents = {name: {"url": host.url} for name in servers}
            async with people(tmp_path, documents) as portal, signed_in(portal) as browser:
                page = await browser.open("/servers")
                assert named in page.text and ("New here" in page.text) is bool(named)
                assert "New here" not in (await browser.open("/servers")).text


async def test_nobody_asks_for_more_than_an_administrator_configured(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (_, host):
        entry = {"url": host.url, "oauth": {"scope": "read"}}
        async with people(tmp_path, {"files": entry}) as portal, signed_in(portal, issuing.url) as browser:
            page = await browser.open("/servers")
            assert not any("scope" in form.fields for form in page.forms)
            await browser.open(leaves_for(await browser.send(page, form_of(page, "files"), scope="admin")))
            assert issuing.authorizations[-1]["scope"] == "read"


@pytest.mark.parametrize("scope", ['a"b', "a\\b", "a" * 1001, "ä"])
async def test_what_is_no_scope_is_refused(tmp_path: Path, scope: str) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal, signed_in(portal) as browser:
            page = await browser.open("/servers")
            refused = await browser.send(page, form_of(page, "files", with_scope=True), scope=scope)
            assert refused.status == 400 and "Permissions are words" in refused.text


async def test_the_link_of_another_person_says_so_and_not_whose_it_is(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal:
            link = await portal.link(files="A secret reason.")
            async with signed_in(portal, email=GRACE) as browser:
                page = await browser.open(link)
                assert page.status == 403 and "This link is not for you" in page.text
                assert EMAIL not in page.html and "reason" not in page.html and "files" not in page.html


async def test_a_link_ends_after_a_quarter_of_an_hour_and_then_shows_the_plain_page(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal, signed_in(portal) as browser:
            link = await portal.link()
            portal.clock.ahead = timedelta(minutes=16)
            for opened in (link, f"{portal.url}/authorize?elicitationId=never"):
                page = await browser.open(opened)
                assert page.status == 200 and "This link has ended, or never was one" in page.text


async def test_a_server_that_the_policies_close_is_not_shown_and_cannot_be_connected(tmp_path: Path) -> None:
    nobody = {"id": "nobody", "name": "Nobody", "decision": "deny", "include": [{"everyone": {}}]}
    async with login_authority() as issuing, protected(issuing) as (_, host):
        servers = {"files": {"url": host.url}, "secret": {"url": host.url}}
        async with people(tmp_path, servers, serverPolicies={"secret": [nobody]}) as portal:
            async with signed_in(portal) as browser:
                page = await browser.open("/servers")
                assert "secret" not in page.text
                refused = await browser.send(page, form_of(page, "files"), server="secret")
                assert refused.status == 404 and "There is no such server for you" in refused.text
                assert "not among your servers" in (await browser.open(await portal.link(secret="now"))).text


async def test_whoever_may_not_use_the_portal_sees_no_servers(tmp_path: Path) -> None:
    grace = {"id": "g", "name": "G", "decision": "allow", "include": [{"email": {"email": GRACE}}]}
    async with people(tmp_path, {}, policies=[grace]) as portal, signed_in(portal) as browser:
        assert (await browser.open("/servers")).status == 403


async def test_names_and_descriptions_are_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e\n" + "x" * 1000
    async with login_authority() as issuing, protected(issuing) as (_, host):
        entry = {"url": host.url, "name": evil, "description": evil}
        async with people(tmp_path, {"files": entry}) as portal, signed_in(portal) as browser:
            for page in (await browser.open("/servers"), await browser.open(await portal.link(files=evil))):
                assert "<script>" not in page.html and "\u202e" not in page.html and "x" * 500 not in page.html
                assert "&lt;script&gt;alert(1)" in page.html


async def test_a_login_that_is_under_way_says_so(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal, signed_in(portal) as browser:
            await begun(browser, await browser.open("/servers"))
            assert "Connecting : a login is under way" in (await browser.open("/servers")).text
            portal.clock.ahead = timedelta(minutes=11)
            assert "Absent : no login yet" in (await browser.open("/servers")).text


async def test_a_person_begins_a_few_logins_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.elicitation.people.MOST_BEGUN", 2)
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with people(tmp_path, {"files": {"url": host.url}}) as portal:
            async with signed_in(portal, issuing.url) as browser:
                page = await browser.open("/servers")
                first = await begun(browser, page)
                await begun(browser, page)
                refused = await begun(browser, page)
                assert refused.status == 502 and "You have begun too many logins." in refused.text
                await browser.open(leaves_for(first))
                assert leaves_for(await begun(browser, page))
            async with signed_in(portal, email=GRACE) as browser:
                assert leaves_for(await begun(browser, await browser.open("/servers")))


@pytest.mark.usefixtures("no_time_for_rates")
async def test_logins_are_begun_a_few_times_a_minute_by_each_person(tmp_path: Path) -> None:
    async with people(tmp_path, {"files": {"url": "http://127.0.0.1:9/mcp"}}) as portal:
        async with signed_in(portal) as browser:
            page = await browser.open("/servers")
            answers = [await begun(browser, page) for _ in range(21)]
            assert [answer.status for answer in answers] == [502] * 20 + [429]
        async with signed_in(portal, email=GRACE) as browser:
            assert (await begun(browser, await browser.open("/servers"))).status == 502


async def test_a_server_that_does_not_answer_or_wants_no_login_says_so(tmp_path: Path) -> None:
    async with hosted() as plain:
        servers = {"files": {"url": "http://127.0.0.1:9/mcp"}, "plain": {"url": plain.url}}
        async with people(tmp_path, servers) as portal, signed_in(portal) as browser:
            page = await browser.open("/servers")
            failed = await begun(browser, page)
            assert failed.status == 502 and "files: " in failed.text
            lets_in = await browser.send(page, form_of(page, "plain", with_scope=True))
            assert "It lets everybody in; there is nothing to log in to." in lets_in.text
