"""One-time PINs: over a real mail server, and what guessing, replaying and stealing one comes to."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from email import message_from_bytes
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from structlog.testing import capture_logs

from portal.login.providers import OneTimePin
from portal.notices import Message, Smtp
from portal.shares import Lent, Shares
from portal.state import plain
from tests.portal.login.browser import Browser, Page, browser_at
from tests.portal.login.guarded import Guarded, guarded_portal

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
WHO = "grace@example.com"


class Post:
    """Keeps what a mail server is handed."""

    def __init__(self) -> None:
        self.letters: asyncio.Queue[Any] = asyncio.Queue()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.letters.put_nowait((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 OK"


async def offer_pins(portal: Guarded) -> None:
    await portal.store.create(plain("identity_provider"), "pin", {"name": "PIN", "type": "onetimepin"}, by="test")


async def ask(browser: Browser, email: str = WHO) -> Page:
    return await browser.submit(await browser.open("/login?return=/logout"), "/login/pin", email=email)


def pin_in(text: str) -> str:
    found = re.search(r"is (\d{6})\.", text)
    assert found is not None
    return found[1]


async def test_a_pin_comes_by_mail_and_signs_in(tmp_path: Path) -> None:
    post = Post()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(post), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        smtp = Smtp(host="127.0.0.1", port=port, sender="portal@example.com", security="none")
        async with guarded_portal(tmp_path, mail=smtp) as portal, browser_at(portal.url) as browser:
            await offer_pins(portal)
            page = await ask(browser, " Grace@Example.com ")
            recipients, letter = await post.letters.get()
            assert recipients == [WHO]
            pin = pin_in(letter.get_payload())
            assert pin in letter["subject"]
            done = await browser.submit(page, "/login/pin/check", pin=f" {pin[:3]} {pin[3:]}")
            assert f"signed in as {WHO}" in done.text


async def test_without_a_mail_server_the_pin_is_on_the_console(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path, mail=None) as portal, browser_at(portal.url) as browser:
        await offer_pins(portal)
        page = await ask(browser)
        done = await browser.submit(page, "/login/pin/check", pin=pin_in(portal.console[0]))
        assert f"signed in as {WHO}" in done.text


async def test_a_mail_server_that_is_not_there_is_said_to_the_operator_alone(
    tmp_path: Path,
) -> None:
    smtp = Smtp(host="127.0.0.1", port=1, sender="portal@example.com", security="none", password="s3cret")
    async with guarded_portal(tmp_path, mail=smtp) as portal, browser_at(portal.url) as browser:
        await offer_pins(portal)
        with capture_logs() as logged:
            page = await ask(browser)
            # To whoever asked it looks as if there was a letter, or as if there was nobody to write to.
            assert (page.status, "PIN" in page.text) == (200, True)
            await portal.identity.login_routes.aclose()
        said = [one for one in logged if one["event"] == "a PIN could not be sent"]
        assert len(said) == 1 and "did not take the message" not in page.text
        assert "s3cret" not in repr(smtp) + str(logged)


async def test_five_wrong_pins_end_the_sign_in(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await offer_pins(portal)
        page = await ask(browser)
        pin = pin_in(portal.letters.sent[0].text)
        wrong = f"{(int(pin) + 1) % 1_000_000:06d}"
        statuses = []
        for _ in range(5):
            tried = await browser.submit(page, "/login/pin/check", pin=wrong)
            statuses.append(tried.status)
            page = tried if tried.forms else page
        assert statuses == [403, 403, 403, 403, 400]
        assert (await browser.submit(page, "/login/pin/check", pin=pin)).status == 400
        assert "portal_session" not in browser.client.cookies


async def test_a_pin_is_good_once_for_ten_minutes_and_in_one_browser(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as one, browser_at(portal.url) as other:
        await offer_pins(portal)
        page = await ask(one)
        pin = pin_in(portal.letters.sent[-1].text)
        theirs = await ask(other, "eve@example.com")
        flow = page.form("/login/pin/check").fields["flow"]
        assert (await other.submit(theirs, "/login/pin/check", pin=pin, flow=flow)).status == 400
        page = await ask(one)
        pin = pin_in(portal.letters.sent[-1].text)
        assert (await one.submit(page, "/login/pin/check", pin=pin)).status == 200
        assert (await one.submit(page, "/login/pin/check", pin=pin)).status == 400
        late = await ask(other)
        portal.clock.ahead = timedelta(minutes=11)
        pin = pin_in(portal.letters.sent[-1].text)
        assert (await other.submit(late, "/login/pin/check", pin=pin)).status == 400


@pytest.mark.parametrize(
    "email", ["not an address", "a@b", "x@example.com\r\nBcc: y@example.com", "a@example.com,b@example.com"]
)
async def test_what_is_no_address_gets_no_mail(tmp_path: Path, email: str) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await offer_pins(portal)
        assert (await ask(browser, email)).status == 400
        assert portal.letters.sent == []


@pytest.mark.usefixtures("no_time_for_rates")
async def test_an_address_gets_a_few_pins_only(tmp_path: Path) -> None:
    async with guarded_portal(tmp_path) as portal, browser_at(portal.url) as browser:
        await offer_pins(portal)
        statuses = [(await ask(browser)).status for _ in range(8)]
        assert statuses == [200] * 6 + [429] * 2
        assert len(portal.letters.sent) == 6


async def test_whoever_asks_for_many_pins_leaves_room_for_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.login.pin.MAX_SENDING_FOR_EACH", 2)
    asked, answers = list[str](), asyncio.Event()

    class Slow:
        async def send(self, message: Message) -> None:
            asked.append(message.to)
            await answers.wait()

    async with guarded_portal(tmp_path, mail=Slow(), proxies=(ip_network("127.0.0.1"),)) as portal:
        await offer_pins(portal)
        for number, address in enumerate(["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.7"]):
            async with browser_at(portal.url) as browser:
                browser.client.headers["X-Forwarded-For"] = address
                await ask(browser, f"a{number}@example.com")
        answers.set()
    assert asked == [f"a{number}@example.com" for number in (0, 1, 3)]


async def test_sign_ins_that_nobody_ends_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        guarded_portal(tmp_path, providers=[OneTimePin(id="onetimepin", name="PIN")]) as portal,
        browser_at(portal.url) as browser,
    ):
        monkeypatch.setattr(portal.identity.shared.attempts, "_under_way", Lent(Shares(10, 2), 600))
        page = await browser.open("/login")
        answers = [await browser.submit(page, "/login/pin", email=f"{name}@example.com") for name in ("a", "b", "c")]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert "Too many sign-ins have begun" in answers[-1].text and len(portal.letters.sent) == 2


async def test_a_mail_server_that_does_not_answer_holds_up_nothing_else_that_is_done_in_threads() -> None:
    silent: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda reader, writer: silent.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        smtp = Smtp(host="127.0.0.1", port=port, sender="portal@example.com", security="none")
        sending = [asyncio.create_task(smtp.send(Message(WHO, "a", "b"))) for _ in range(40)]
        while not silent:
            await asyncio.sleep(0)
        assert await asyncio.to_thread(int) == 0
        assert not any(task.done() for task in sending)
        for task in sending:
            task.cancel()
        while len(silent) < 4:
            await asyncio.sleep(0)
        for writer in silent:
            writer.close()
        await asyncio.gather(*sending, return_exceptions=True)
