"""Administrators through the admin API, by Cloudflare's own SDK: listed, invited by real mail, and removed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cloudflare
import pytest
from aiosmtpd.smtp import SMTP
from structlog.testing import capture_logs

from portal.login import Administrators, Passwords
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.admin.ruled import Ruled, ruled_portal
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import EMAIL, PASSWORD, QUICK, sign_in
from tests.portal.login.test_pins import Post

pytestmark = [pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
OTHER = "grace@example.com"


@asynccontextmanager
async def post_office() -> AsyncIterator[tuple[Post, dict[str, Any]]]:
    """A mail server, and the section of the configuration that names it."""
    post = Post()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(post), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield post, {"host": "127.0.0.1", "port": port, "sender": "portal@example.com", "security": "none"}


async def invite(portal: Ruled, email: str) -> Any:
    return await portal.sdk.accounts.members.create(account_id=portal.account, email=email, roles=[])


def link_in(member: Any) -> str:
    url = member.to_dict()["invitation"]["url"]
    assert isinstance(url, str)
    return url


@pytest.mark.anyio
async def test_an_invitation_is_mailed_and_given_to_who_invites_once_and_makes_a_member(tmp_path: Path) -> None:
    async with post_office() as (post, smtp), ruled_portal(tmp_path, smtp=smtp) as portal:
        await portal.person()
        members = portal.sdk.accounts.members
        made = await invite(portal, "Grace@Example.com")
        assert (made.email, made.status, made.user.email) == (OTHER, "pending", OTHER)
        assert [role.name for role in made.roles] == ["Administrator"]
        assert made.to_dict()["invitation"]["mailed"] is True
        recipients, letter = await post.letters.get()
        text = letter.get_payload(decode=True).decode()
        assert (recipients, letter["subject"]) == ([OTHER], "You are invited to administer codemode-portal")
        assert link_in(made) in text
        listed = [one async for one in members.list(account_id=portal.account)]
        assert [(one.email, one.status) for one in listed] == [(EMAIL, "accepted"), (OTHER, "pending")]
        token = link_in(made).partition("token=")[2]
        assert not any(token in str(one.to_dict()) for one in listed)
        async with browser_at(portal.url) as browser:
            page = await browser.open(link_in(made))
            await browser.submit(page, "/login/invitation", name="Grace", password=PASSWORD)
            got = await members.get(made.id, account_id=portal.account)
            assert got is not None
            assert (got.id, got.status, got.user and got.user.first_name) == (made.id, "accepted", "Grace")
            gone = await members.delete(made.id, account_id=portal.account)
            assert gone is not None and gone.id == made.id
            assert "You are signed out" in (await browser.open("/logout")).text
        with pytest.raises(cloudflare.NotFoundError):
            await members.get(made.id, account_id=portal.account)
        deeds = [(one.action, one.kind, one.by.partition(":")[0]) for one in await portal.store.audit(limit=4)]
        assert deeds[0] == ("delete", "admin", "api-token")
        assert deeds[3] == ("create", "invitation", "api-token")


@pytest.mark.anyio
async def test_without_a_mail_server_or_with_one_that_does_not_answer_the_link_is_in_the_answer(
    tmp_path: Path,
) -> None:
    dead = {"host": "127.0.0.1", "port": 1, "sender": "portal@example.com", "security": "none"}
    cases: list[tuple[str, dict[str, Any]]] = [("none", {}), ("dead", {"smtp": dead})]
    for name, identity in cases:
        folder = tmp_path / name
        folder.mkdir()
        async with ruled_portal(folder, **identity) as portal, browser_at(portal.url) as browser:
            await portal.person()
            with capture_logs() as logged:
                made = await invite(portal, OTHER)
            assert made.to_dict()["invitation"]["mailed"] is False
            assert [one["event"] for one in logged] == (["an invitation could not be sent"] if identity else [])
            assert link_in(made).partition("token=")[2] not in str(logged)
            assert link_in(made).startswith(f"{portal.url}/login/invitation?token=")
            assert (await browser.open(link_in(made))).status == 200
            assert portal.console == []


@pytest.mark.anyio
async def test_the_link_is_at_the_public_url(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path, publicUrl="https://tools.acme.example/") as portal:
        parts = urlsplit(link_in(await invite(portal, OTHER)))
        assert (parts.scheme, parts.netloc, parts.path) == ("https", "tools.acme.example", "/login/invitation")


@pytest.mark.anyio
async def test_a_link_made_again_ends_the_earlier_one_and_a_revoked_invitation_has_none(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        made = await invite(portal, OTHER)
        again: Any = await portal.sdk.post(
            f"/accounts/{portal.account}/members/{made.id}/invitation", cast_to=object, body={}
        )
        url = again["result"]["invitation"]["url"]
        assert again["result"]["id"] == made.id
        assert [(await browser.open(link)).status for link in (link_in(made), url)] == [400, 200]
        await portal.sdk.accounts.members.delete(made.id, account_id=portal.account)
        assert (await browser.open(url)).status == 400
        with pytest.raises(cloudflare.NotFoundError):
            await portal.sdk.post(f"/accounts/{portal.account}/members/{made.id}/invitation", cast_to=object, body={})


@pytest.mark.anyio
async def test_the_last_administrator_is_not_removed_through_the_api_also_not_at_the_same_time(tmp_path: Path) -> None:
    async with admin_api(tmp_path) as api:
        administrators = Administrators(api.store, Passwords(QUICK))
        for email in (EMAIL, OTHER):
            await administrators.create(email, "", PASSWORD, by="test")
        pair = [one.id for one in await administrators.list()]
        async with api.async_sdk() as sdk:
            results = await asyncio.gather(
                *(sdk.accounts.members.delete(id, account_id=api.account) for id in pair), return_exceptions=True
            )
            assert [isinstance(one, cloudflare.ConflictError) for one in results].count(True) == 1, results
            (left,) = await administrators.list()
            with pytest.raises(cloudflare.ConflictError, match="the last owner who can sign in stays one"):
                await sdk.accounts.members.delete(left.id, account_id=api.account)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"email": EMAIL.upper(), "roles": []}, 409, None),
        ({"email": "not an address"}, 400, "/email"),
        ({"email": "x@example.com\r\nBcc: y@example.com"}, 400, "/email"),
        ({"email": "hush-7f3a" + "x" * 300}, 400, "/email"),
        ({"roles": []}, 400, "/email"),
        ({"email": OTHER, "roles": ["3536bcfad5faccb999b47003c79917fb"]}, 400, "/roles"),
        ({"email": OTHER, "roles": ["owner", "auditor"]}, 400, "/roles"),
        ({"email": OTHER, "policies": [{"access": "allow"}]}, 400, "/policies"),
        ({"email": OTHER, "status": "accepted"}, 400, "/status"),
    ],
)
def test_who_cannot_be_invited_is_refused_with_the_reason_and_the_place(
    api: Api, loop: Any, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    administrators = Administrators(api.store, Passwords(QUICK))
    loop.call(lambda: administrators.create(EMAIL, "", PASSWORD, by="test"))
    answer = api.http.post(api.at("/members"), headers=api.headers(), json=body)
    assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert error.get("source", {}).get("pointer") == pointer
    assert "hush" not in answer.text


def test_members_are_searched_and_no_hash_of_a_password_is_shown(api: Api, loop: Any) -> None:
    administrators = Administrators(api.store, Passwords(QUICK))
    loop.call(lambda: administrators.create(EMAIL, "Ada Lovelace", PASSWORD, by="test"))
    made: Any = api.sdk().accounts.members.create(account_id=api.account, email=OTHER, roles=[], status="pending")
    # Over a database alone nobody knows where the portal is: the link is a path.
    assert re.fullmatch(r"/login/invitation\?token=[\w-]{43}", link_in(made))
    listed = api.http.get(api.at("/members?search=LOVE"), headers=api.headers())
    assert [one["email"] for one in listed.json()["result"]] == [EMAIL]
    assert "argon2" not in listed.text and "password" not in listed.text


@pytest.mark.anyio
async def test_a_portal_whose_first_administrator_was_invited_is_not_claimed_any_more(tmp_path: Path) -> None:
    async with ruled_portal(tmp_path) as portal, browser_at(portal.url) as browser, browser_at(portal.url) as late:
        claim = await portal.identity.claim_path()
        assert claim is not None
        claiming = await late.open(claim)
        page = await browser.open(link_in(await invite(portal, OTHER)))
        await browser.submit(page, "/login/invitation", name="Grace", password=PASSWORD)
        fields = {"name": "Eve", "email": "eve@example.com", "password": PASSWORD}
        assert (await late.submit(claiming, "/login/claim", **fields)).status == 400
        await sign_in(late, await late.open("/login"), OTHER)
        assert f"You are signed in as {OTHER}" in (await late.open("/logout")).text
