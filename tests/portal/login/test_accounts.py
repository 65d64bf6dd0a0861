"""The pages of local accounts: accepting an invitation, a new password, and what removing one ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from portal.access import Decision
from portal.identity import Identity
from portal.login import Invitations, Passwords
from portal.state import plain
from tests.portal.login.browser import Browser, browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
OTHER = "grace@example.com"


async def invited(portal: Guarded, email: str = OTHER) -> str:
    """The path of a new invitation."""
    invitations = Invitations(portal.store, Passwords(QUICK), portal.clock)
    return (await invitations.invite(email, by="test")).path


async def is_signed_in(browser: Browser) -> bool:
    return "You are signed in as" in (await browser.open("/logout")).text


async def remove(portal: Guarded, email: str) -> None:
    found = await portal.identity.administrators.find(email)
    assert found is not None
    await portal.identity.administrators.remove(found.id, by="test")


async def test_who_is_invited_chooses_a_password_and_is_signed_in_and_the_link_is_dead(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        path = await invited(portal)
        # Programs that look at mail open links as well, with GET and HEAD.
        for _ in range(3):
            assert (await browser.client.head(f"{portal.url}{path}")).status_code == 200
            page = await browser.open(path)
        assert OTHER in page.text and "email" not in page.form("/login/invitation").fields
        short = await browser.submit(page, "/login/invitation", name="Grace", password="short")
        assert (short.status, "at least 12" in short.text) == (400, True)
        done = await browser.submit(short, "/login/invitation", name="Grace", password=PASSWORD)
        assert (done.status, f"{OTHER} · " in done.text) == (200, True)
        async with browser_at(portal.url) as other:
            dead = await other.open(path)
            assert (dead.status, dead.forms) == (400, [])
            again = await browser.submit(page, "/login/invitation", name="Eve", password="a password of Eve's")
            assert again.status == 400
            await sign_in(other, await other.open("/login"), OTHER)
            assert await is_signed_in(other)


async def test_an_invitation_makes_whom_it_names_whatever_the_form_says(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        page = await browser.open(await invited(portal))
        more = {"email": "eve@example.com", "username": "eve@example.com", "role": "owner", "id": "chosen"}
        await browser.submit(page, "/login/invitation", name="Eve", password=PASSWORD, **more)
        assert [one.email for one in await portal.identity.administrators.list()] == [EMAIL, OTHER]
        (stored,) = [one for one in await portal.store.list(plain("admin")) if one.document["email"] == OTHER]
        assert stored.id != "chosen" and stored.document["role"] == "admin"


@pytest.mark.parametrize("path", ["/login/claim", "/login/invitation", "/login/reset"])
async def test_no_other_site_and_no_other_browser_sends_the_form_of_an_account(tmp_path: Path, path: str) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as one, browser_at(portal.url) as other:
        link = await portal.identity.claim_path() if path == "/login/claim" else None
        if link is None:
            await portal.account()
            link = await invited(portal)
        if path == "/login/reset":
            (ada,) = await portal.identity.administrators.list()
            link = f"{path}?token={(await portal.identity.administrators.offer_reset(ada.id, by='test')).token}"
        page = await one.open(link)
        fields = page.form(path).fields | {"name": "Eve", "email": "eve@example.com", "password": PASSWORD}
        for token in ("", "0" * 64, (await other.open(link)).form(path).fields["form_token"]):
            sent = await one.client.post(f"{portal.url}{path}", data=fields | {"form_token": token})
            assert sent.status_code == 403
        foreign = await one.client.post(f"{portal.url}{path}", data=fields, headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        # Nothing was used up, and nobody is in.
        assert (await one.open(link)).forms != []
        assert not await is_signed_in(one)


@pytest.mark.usefixtures("no_time_for_rates")
async def test_links_of_accounts_are_tried_a_few_times_only_and_guesses_read_the_same(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        page = await browser.open(await invited(portal))
        assert [(await browser.open(f"/login/{one}?token=guess")).status for one in ("invitation", "reset")] == [
            400
        ] * 2
        statuses = [
            (await browser.submit(page, "/login/invitation", token=f"guess {n}", password=PASSWORD)).status
            for n in range(22)
        ]
        assert statuses == [400] * 20 + [429] * 2


async def test_who_is_removed_is_signed_out_everywhere_at_once_with_the_agents_that_act_for_him(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        await portal.account()
        await portal.account(OTHER)
        async with browser_at(portal.url) as ada, browser_at(portal.url) as grace:
            await sign_in(grace, await grace.open("/login"), OTHER)
            agent = Agent(portal, http)
            await agent.register()
            await agent.log_in(ada)
            assert (await agent.use()).status_code == 200
            await remove(portal, EMAIL)
            assert (await agent.use()).status_code == 401
            assert (await agent.refresh()).status_code == 400
            assert (await is_signed_in(ada), await is_signed_in(grace)) == (False, True)
            refused = await sign_in(ada, await ada.open("/login"))
            assert (refused.status, "E-mail or password is wrong" in refused.text) == (403, True)


async def test_who_removes_himself_is_signed_out(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await portal.account(OTHER)
        await sign_in(browser, await browser.open("/login"))
        (ada, _) = await portal.identity.administrators.list()
        await portal.identity.administrators.remove(ada.id, by=ada.identity.id)
        assert not await is_signed_in(browser)


class Slow(Passwords):
    """Verifies a password, and then waits before it says so."""

    def __init__(self) -> None:
        super().__init__(QUICK)
        self.verified, self.go_on = asyncio.Event(), asyncio.Event()

    async def match(self, stored: str | None, password: str) -> bool:
        matches = await super().match(stored, password)
        self.verified.set()
        await self.go_on.wait()
        return matches


@pytest.mark.parametrize("change", ["removed", "reset", "set"])
async def test_who_is_removed_or_reset_while_his_password_is_checked_does_not_come_in(
    tmp_path: Path, change: str
) -> None:
    passwords = Slow()
    async with guarded_portal(tmp_path, passwords=passwords) as portal, browser_at(portal.url) as browser:
        await portal.account()
        await portal.account(OTHER)
        administrators = portal.identity.administrators
        (ada, _) = await administrators.list()
        signing_in = asyncio.create_task(sign_in(browser, await browser.open("/login")))
        await passwords.verified.wait()
        match change:
            case "removed":
                await administrators.remove(ada.id, by="test")
            case "reset":
                await administrators.offer_reset(ada.id, by="test")
            case _:
                await administrators.set_password(ada.id, "another password", by="test")
        passwords.go_on.set()
        refused = await signing_in
        assert (refused.status, "E-mail or password is wrong" in refused.text) == (403, True)
        assert "portal_session" not in browser.client.cookies


@dataclass
class Removing:
    """The policies let everybody in, and somebody is removed while they are asked, once `who` is set."""

    portal: list[Guarded] = field(default_factory=list)
    who: str = ""

    async def admit(self, identity: Identity, place: str) -> Decision:
        if self.who:
            await remove(self.portal[0], self.who)
            self.who = ""
        return Decision("allow", "let in", "p1", "Staff")


async def test_a_grant_that_is_given_while_its_person_is_removed_is_given_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing = Removing()
    monkeypatch.setattr("tests.portal.login.guarded.Rules.admit", lambda rules, *asked: removing.admit(*asked))
    async with guarded_portal(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        removing.portal.append(portal)
        await portal.account()
        await portal.account(OTHER)
        async with browser_at(portal.url) as browser:
            agent = Agent(portal, http)
            await agent.register()
            page = await agent.ask(browser)
            removing.who = EMAIL
            done = await browser.submit(page, "/authorize/consent", "allow")
            assert removing.who == ""
            assert (done.left_for, [form.action for form in done.forms]) == ("", ["/login/password"])


async def test_a_reset_link_gives_another_password_and_signs_nobody_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser, browser_at(portal.url) as old:
        await portal.account()
        await sign_in(old, await old.open("/login"))
        (ada,) = await portal.identity.administrators.list()
        link = await portal.identity.administrators.offer_reset(ada.id, by="test")
        assert not await is_signed_in(old)
        page = await browser.open(f"/login/reset?token={link.token}")
        assert EMAIL in page.text
        short = await browser.submit(page, "/login/reset", password="short")
        assert (short.status, "at least 12" in short.text) == (400, True)
        done = await browser.submit(short, "/login/reset", password="another password")
        assert (done.status, done.link("Sign in")) == (200, "/login")
        assert not await is_signed_in(browser)
        assert (await browser.submit(page, "/login/reset", password="stolen password")).status == 400
        assert (await sign_in(browser, await browser.open("/login"))).status == 403
        await sign_in(browser, await browser.open("/login"), password="another password")
        assert await is_signed_in(browser)


async def test_links_end_by_time_and_no_secret_of_them_reaches_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await portal.account()
        link = await invited(portal)
        page = await browser.open(link)
        portal.clock.ahead = timedelta(days=3, minutes=1)
        assert (await browser.open(link)).status == 400
        assert (await browser.submit(page, "/login/invitation", name="Grace", password=PASSWORD)).status == 400
        # What has ended may have been deleted meanwhile. So it is another one that is accepted.
        link = await invited(portal, "lin@example.com")
        await browser.submit(await browser.open(link), "/login/invitation", name="Grace", password=PASSWORD)
        logged = "".join(capsys.readouterr())
        assert "an invited administrator has accepted" in logged
        assert [secret for secret in (link.partition("=")[2], PASSWORD) if secret in logged] == []
