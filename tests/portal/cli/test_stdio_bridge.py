"""`codemode stdio --url`: a client that only starts programs, at a portal elsewhere that wants a sign-in."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from portal.cli.exits import Exit
from tests.patience import PATIENCE
from tests.portal.cli.command import as_quick_process
from tests.portal.cli.test_stdio import called, environment, quick_command
from tests.portal.credentials.authority import login_authority, protected
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal, sign_in
from tests.portal.stdio.piping import INITIALIZE, INITIALIZED
from tests.portal.stdio.test_relay import lose_sessions
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Bridge:
    """A process of the bridge. `said` are the lines that its person reads, `written` those that its client does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self.written: list[str] = []
        self._changed = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen())

    def say(self, *messages: Any) -> None:
        assert self.process.stdin is not None
        for message in messages:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def answer(self, id: object) -> Any:
        assert self.process.stdout is not None
        while True:
            line = (await self.process.stdout.readline()).decode()
            assert line, self.said
            self.written.append(line)
            found = json.loads(line)
            if found.get("id") == id and "method" not in found:
                return found

    async def heard(self, words: str) -> str:
        """The line in which these words are said."""
        async with self._changed:
            await self._changed.wait_for(lambda: any(words in line for line in self.said))
        return next(line for line in self.said if words in line)

    async def echo(self, text: str, name: str = "echo", id: int = 7) -> str:
        self.say(called(id, name, text=text))
        return str((await self.answer(id))["result"]["content"][0]["text"])

    async def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            async with self._changed:
                self.said.append(line.rstrip("\n"))
                self._changed.notify_all()


@asynccontextmanager
async def bridge(folder: Path, url: str, *options: str, **more: str) -> AsyncIterator[Bridge]:
    process = await asyncio.create_subprocess_exec(
        *quick_command(),
        *("--url", url, "--mode", "tools", "--no-browser", *options),
        cwd=folder,
        env={**environment(folder), **more},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    found = Bridge(process)
    try:
        async with asyncio.timeout(2 * PATIENCE):
            yield found
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await found._listening


async def follow(found: Bridge) -> None:
    """Open the page that the bridge shows, in a browser that is let in at once."""
    async with aiohttp.ClientSession() as browser, browser.get(await found.heard("http")) as page:
        assert "Back to the terminal" in await page.text()


async def begin(found: Bridge) -> None:
    """Begin a session, as clients do that write ahead."""
    found.say(INITIALIZE, INITIALIZED)


async def test_a_person_signs_in_once_and_every_later_bridge_uses_it(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing, needed="read") as (guard, host):
        async with bridge(tmp_path, host.url) as first:
            await begin(first)
            await follow(first)
            assert "result" in await first.answer(0)
            assert await first.echo("hello") == "hello"
            netloc = host.url.split("/")[2]
            assert f"codemode: waiting for you to sign in at {netloc}" in first.said
            assert f"codemode: signed in at {netloc}" in first.said
            assert await first.end() == Exit.OK
        async with bridge(tmp_path, host.url) as second:
            await begin(second)
            assert "result" in await second.answer(0)
            assert await second.end() == Exit.OK
            assert second.said == []
        assert len(issuing.authorizations) == 1
        assert issuing.registrations[0]["client_name"] == "Codemode bridge"
        kept = tmp_path / ".local" / "state" / "codemode-portal"
        token = guard.shown[-1]
        assert token and {path.name for path in kept.iterdir()} >= {"bridge.db", "bridge.key"}
        for path in kept.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert token.encode() not in path.read_bytes()
        assert not any(token in line for found in (first, second) for line in (*found.said, *found.written))


async def test_two_bridges_that_begin_at_once_ask_the_person_once(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with bridge(tmp_path, host.url) as one, bridge(tmp_path, host.url) as two:
            for found in (one, two):
                await begin(found)
            asking = asyncio.create_task(one.heard("http")), asyncio.create_task(two.heard("http"))
            done, others = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            first, second = (one, two) if asking[0] in done else (two, one)
            await second.heard("waiting for the sign-in")
            await follow(first)
            for found in (one, two):
                assert "result" in await found.answer(0)
            assert await first.end() == await second.end() == Exit.OK
            for task in others:
                task.cancel()
        assert len(issuing.authorizations) == 1


async def test_two_bridges_renew_one_token_without_losing_it(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host), AsyncExitStack() as stack:
        bridges = []
        for number in range(2):
            found = await stack.enter_async_context(bridge(tmp_path, host.url))
            await begin(found)
            if not number:
                await follow(found)
            await found.answer(0)
            bridges.append(found)
        # The server takes the access token no more; the refresh token can be used once.
        issuing.tokens.clear()
        assert await asyncio.gather(*(found.echo("still", id=10) for found in bridges)) == ["still"] * 2
        assert len(issuing.authorizations) == 1


async def test_where_the_sign_in_has_ended_the_person_is_asked_again(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        async with bridge(tmp_path, host.url) as found:
            await begin(found)
            await follow(found)
            await found.answer(0)
            issuing.forget()
            found.said.clear()
            found.say(called(7, "echo", text="again"))
            await follow(found)
            assert (await found.answer(7))["result"]["content"][0]["text"] == "again"


async def test_a_sign_in_that_fails_is_an_error_of_the_request_and_may_be_tried_again(tmp_path: Path) -> None:
    refusing = {"code": None, "error": "access_denied"}
    async with login_authority(answer_with=dict(refusing)) as issuing, protected(issuing) as (_, host):
        async with bridge(tmp_path, host.url) as found:
            await begin(found)
            await follow(found)
            error = (await found.answer(0))["error"]
            assert error["code"] == -32015 and "The login was refused" in error["message"]
            issuing.answer_with.clear()
            found.said.clear()
            found.say({**INITIALIZE, "id": 1})
            await follow(found)
            assert "result" in await found.answer(1)


async def test_a_header_is_shown_in_the_place_of_a_sign_in(tmp_path: Path) -> None:
    async with login_authority() as issuing, protected(issuing) as (_, host):
        issuing.tokens["service-token"] = ""
        header = ("--header", "Authorization: Bearer ${SERVICE_TOKEN}")
        async with bridge(tmp_path, host.url, *header, SERVICE_TOKEN="service-token") as found:
            await begin(found)
            assert "result" in await found.answer(0)
            issuing.tokens.clear()
            found.say(called(1, "echo", text="x"))
            message = (await found.answer(1))["error"]["message"]
            assert "wants another credential than it is shown (HTTP 401); see --header" in message
            assert "service-token" not in message
        assert issuing.authorizations == []


async def test_a_portal_where_people_sign_in_serves_a_bridge(tmp_path: Path) -> None:
    """The whole way: the bridge registers, a person signs in and allows it, and the portal knows who calls."""
    (tmp_path / "portal").mkdir()
    async with hosted(Behaviour()) as upstream, AsyncExitStack() as stack:
        portal = await stack.enter_async_context(guarded_portal(tmp_path / "portal", upstream=upstream.url))
        ada = await portal.account()
        browser = await stack.enter_async_context(browser_at(portal.url))
        found = await stack.enter_async_context(bridge(tmp_path, portal.mcp))
        await begin(found)
        page = await browser.open(await found.heard("/authorize"))
        page = await sign_in(browser, page)
        assert "Codemode bridge" in page.text
        done = await browser.submit(page, "/authorize/consent", "allow")
        async with aiohttp.ClientSession() as redirected, redirected.get(done.left_for) as back:
            assert "Back to the terminal" in await back.text()
        assert "result" in await found.answer(0)
        assert await found.echo("hello", "fix_echo") == "hello"
        assert portal.kept.last.identity == ada.key
        document = {"portal": {"state": "sqlite:///state.db", "identity": {"publicUrl": portal.url}}}
        (tmp_path / "codemode.json").write_text(json.dumps(document))
        for mode in ("tools", "code"):
            # What `codemode connect` writes for this portal leads to it, with the same sign-in.
            words = ("connect", "claude-desktop", "--mode", mode, "--yes", "--json")
            connected = await asyncio.to_thread(as_quick_process, tmp_path, *words)
            assert connected.returncode == Exit.OK, connected.stderr
            entry = json.loads(connected.stdout)["entry"]
            started = StdioServerParameters(**entry, env=dict(environment(tmp_path)))
            async with stdio_client(started) as streams, ClientSession(*streams) as session:
                await session.initialize()
                assert "fix_echo" in {tool.name for tool in (await session.list_tools()).tools}
        # A portal that was started again knows no session, and the token still.
        await lose_sessions(portal.instance)
        assert await found.echo("again", "fix_echo", 8) == "again"
        assert "codemode: the portal had ended the session; a new one was begun" in found.said
        # What a policy denies is the portal's own answer.
        portal.rules.allowed = lambda identity: False
        found.say(called(9, "fix_echo", text="x"))
        assert "Denied by the policy" in (await found.answer(9))["error"]["message"]
        assert await found.end() == Exit.OK


async def test_a_portal_that_is_not_there_is_said_to_the_client(tmp_path: Path, free_tcp_port: int) -> None:
    async with bridge(tmp_path, f"http://127.0.0.1:{free_tcp_port}/mcp") as found:
        await begin(found)
        assert "cannot be reached" in (await found.answer(0))["error"]["message"]
        assert await found.end() == Exit.OK
