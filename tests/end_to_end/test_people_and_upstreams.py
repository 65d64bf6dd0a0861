"""Two people, three servers behind certified authorization servers, two portal processes that are killed in a refresh.

The tokens live seconds, so that a test of less than a minute has the refreshes of an hour with tokens that live five
minutes. One authorization server rotates refresh tokens and takes back the login whose token comes twice (`rotating`),
one issues tokens for two seconds (`brief`), one takes a login back (`revoking`).

The figures of a run are a property of the test (`pytest --junit-xml FILE -o junit_family=legacy`).
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
import pytest

from portal.login import Passwords
from portal.login.administrators import Administrators
from portal.state import KeyRing, Store
from tests.end_to_end.kill_points import KillPoint, LoginServer, Step, rows_of
from tests.end_to_end.processes import HOST, PUBLIC, Processes, Site, WayToOne, processes
from tests.end_to_end.whole import answer_in
from tests.patience import PATIENCE
from tests.portal.elicitation.people import begun, leaves_for, sign_in
from tests.portal.elicitation.test_agents import META
from tests.portal.login.browser import Browser
from tests.portal.login.guarded import EVERYONE, PASSWORD, QUICK, Guarded
from tests.portal.oauth.agent import Agent
from tests.portal.state.conftest import new_postgres_database, postgres

__all__ = ["postgres"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for the process of a connection in /proc"),
]
PEOPLE = ("ada", "grace")
# How long tokens live, and whether refresh tokens rotate.
SERVERS = {"rotating": (2, True), "brief": (2, False), "revoking": (3, False)}
REFRESHES = 15
"""Of each login: those of an hour with tokens that live five minutes, of which four are used."""
LONGEST_CALL = 90
"""Seconds. A process that was killed has a lease of 20, and a request for a token may take 15, twice."""
# What a call may say while another process, or nobody, knows what has become of a refresh.
PASSING = (
    "another process is replacing its token",
    "did not answer",
    "refuses the access token",
    "is starting",
    # A process that has just started waits for the lease of the one that was killed before it knows what is listed.
    "still connecting",
)
ENDED = {
    "a refresh that was cut off": "A refresh was begun, and nobody knows what became of it.",
    "taken back": "invalid_grant",
}


@dataclass
class Login:
    """A person's login at a server, and what happens to it in turn: a step at which a process is killed, or that the
    authorization server takes it back."""

    who: str
    at: LoginServer
    turns: Sequence[Step | str]
    agent: Agent
    browser: Browser
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    count: int = 0

    @property
    def is_strict(self) -> bool:
        return self.at.server == "rotating"

    async def call(self, portal: Processes) -> tuple[str, str]:
        """One call: `ok`, `killed`, `login` (with the reason) or `passing`, and what it said."""
        self.count += 1
        said, kills = f"{self.who} {self.at.server} {self.count}", portal.kills
        try:
            async with asyncio.timeout(LONGEST_CALL):
                found = await called(self.agent, f"{self.at.server}_echo", said)
        except httpx2.TransportError as error:
            assert portal.kills > kills or len(portal.pids) < len(portal.all), f"{said}: {error!r}"
            self.outcomes["killed"] += 1
            return "killed", repr(error)
        answer = " ".join(block["text"] for block in found["content"])
        if not found.get("isError"):
            assert answer == said
            self.answered.append(said)
            outcome = "ok"
        elif f"Log in here: {PUBLIC}/authorize?elicitationId=" in answer:
            outcome = "login"
        else:
            assert any(text in answer for text in PASSING), f"{said}: {answer}"
            self.passed[next(text for text in PASSING if text in answer)] += 1
            outcome = "passing"
        self.outcomes[outcome] += 1
        return outcome, answer

    async def connect(self) -> None:
        """Log in at the server in the browser, by the portal's page."""
        page = await self.browser.open(
            leaves_for(await begun(self.browser, await self.browser.open("/servers"), self.at.server))
        )
        while page.url.startswith(self.at.issuer):
            (form, *_) = page.forms
            typed = {"login": self.who, "password": "any"} if "login" in form.fields else {}
            page = await self.browser.submit(page, urlsplit(form.action).path, **typed)
        assert page.url.startswith(PUBLIC), page.text

    async def again(self, portal: Processes, told: str) -> str:
        """The login has ended: the page gives the reason that the call gave, and a new login is made. The reason."""
        (reason,) = [name for name, text in ENDED.items() if text in told]
        self.ended.append(reason)
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    link = re.search(r"Log in here: (\S+)", told)
                    assert link is not None
                    page = await self.browser.open(link[1])
                    assert "Needs reauth : a new login is needed" in page.text and ENDED[reason] in page.text, page.text
                    await self.connect()
                except httpx2.TransportError:
                    # The process was killed under the browser.
                    await asyncio.sleep(0.1)
                    continue
                return reason

    async def settle(self, portal: Processes) -> str:
        """Call until a call works, with a new login if that is what a call asks for: the reason of that, or ""."""
        reason = ""
        while True:
            outcome, told = await self.call(portal)
            if outcome == "ok":
                return reason
            if outcome == "login":
                reason = await self.again(portal, told)
            else:
                await asyncio.sleep(0.2)

    async def until_ended(self, portal: Processes) -> str:
        """As `settle`, once the login has ended: a token that was shown of late may serve until it is replaced."""
        while not (reason := await self.settle(portal)):
            await asyncio.sleep(0.2)
        return reason

    async def reaching(self, point: KillPoint, portal: Processes) -> int:
        """The process that is at the point. Another login's kill may end this one first: then a new login is made, or
        no refresh would ever get there."""
        while not point.reached.done():
            # Not to the end: a call that waits for this refresh has no answer before the process is killed.
            settling = asyncio.create_task(self.settle(portal))
            ends: tuple[asyncio.Future[Any], ...] = (point.reached, settling)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not settling.done():
                settling.cancel()
                await asyncio.wait({settling})
            elif (failure := settling.exception()) is not None:
                raise failure
            else:
                await asyncio.sleep(0.2)
        return point.reached.result()

    async def go_through(self, portal: Processes) -> None:
        for turn in self.turns:
            if turn == "taken back":
                await self.at.take_back(self.who)
                assert await self.until_ended(portal) == "taken back"
                continue
            point = KillPoint(cast(Step, turn))
            if turn != "lease":
                self.at.points[self.who] = point
            async with asyncio.timeout(PATIENCE):
                locking = [asyncio.create_task(self.at.locked(self.who, point))] if turn == "lease" else []
                pid = await self.reaching(point, portal)
            await portal.kill(pid)
            point.over.set()
            await asyncio.gather(*locking)
            # Not before: what a killed process waited for in the database is free now.
            await portal.start()
            if self.is_strict and turn in ("sent", "used", "stored"):
                assert await self.until_ended(portal) == "a refresh that was cut off"
            else:
                await self.settle(portal)


async def called(agent: Agent, tool: str, text: str) -> Any:
    """The result of a call."""
    params = {"name": tool, "arguments": {"text": text}, "_meta": META}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Authorization": f"Bearer {agent.tokens['access_token']}",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    document = answer_in(await agent.http.post(Site.mcp, json=body, headers=headers))
    if "error" in document:
        return {"content": [{"text": document["error"]["message"]}], "isError": True}
    return document["result"]


@asynccontextmanager
async def accounts(database: str, keys: Path) -> AsyncIterator[dict[str, str]]:
    """The subjects of the two people, who have accounts at the portal."""
    async with Store.open(database, KeyRing.open(keys)) as store:
        administrators = Administrators(store, Passwords(QUICK))
        made = {who: await administrators.create(f"{who}@example.com", who, PASSWORD, by="test") for who in PEOPLE}
    yield {who: identity.key for who, identity in made.items()}


@asynccontextmanager
async def logged_in(
    portal: Processes, at: dict[str, LoginServer], turns: Mapping[str, Sequence[str]], chance: random.Random
) -> AsyncIterator[list[Login]]:
    """The logins of both people at all servers, made in the pages, each in a browser of its own, and their agents."""
    async with AsyncExitStack() as stack:
        found: list[Login] = []
        for who in PEOPLE:
            agent: Agent | None = None
            for name, server in at.items():
                client = httpx2.AsyncClient(
                    follow_redirects=False, timeout=PATIENCE, transport=WayToOne(portal, chance)
                )
                browser = Browser(await stack.enter_async_context(client), [PUBLIC, server.issuer])
                await sign_in(browser, await browser.open("/login"), f"{who}@example.com")
                if agent is None:
                    agent = Agent(cast(Guarded, Site()), client)
                    await agent.log_in(browser)
                found.append(Login(who, server, turns[f"{who} {name}"], agent, browser))
        for login in found:
            await login.connect()
        yield found


async def calling(login: Login, portal: Processes, enough: asyncio.Event, chance: random.Random) -> None:
    while not enough.is_set():
        await login.call(portal)
        await asyncio.sleep(chance.uniform(0, 0.2))


async def refreshed_enough(logins: list[Login], portal: Processes) -> None:
    async with asyncio.timeout(PATIENCE):
        for login in logins:
            while (await login.at.records())["refreshed"].get(login.who, 0) < REFRESHES:
                await login.settle(portal)
                await asyncio.sleep(0.2)


# One at a time for each login; a process that is killed leaves leases of 20 seconds.
ORDINARY = {
    "ada rotating": ("used",),
    "grace rotating": ("sent",),
    "ada brief": ("stored",),
    "grace brief": ("shown",),
    "ada revoking": ("taken back",),
    "grace revoking": ("lease",),
}
DEEP = {
    "ada rotating": ("stored", "lease", "shown"),
    "grace rotating": ("used", "shown", "sent"),
    "ada brief": ("sent", "used", "lease"),
    "grace brief": ("used", "stored", "sent"),
    "ada revoking": ("shown", "taken back", "sent"),
    "grace revoking": ("stored", "taken back", "used"),
}


@pytest.fixture
def database(postgres: Path) -> str:
    return new_postgres_database(postgres)


@pytest.mark.deep
@pytest.mark.parametrize("turns", [ORDINARY, DEEP], ids=["hour", "longer"])
async def test_calls_of_people_go_on_or_say_why_not_wherever_in_a_refresh_processes_are_killed(
    turns: Mapping[str, Sequence[str]],
    database: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    figures = await an_hour(database, tmp_path, turns)
    record_property("figures", figures)


async def an_hour(database: str, folder: Path, turns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    chance = random.Random(1)
    keys = folder / "codemode-portal" / "state.key"
    keys.parent.mkdir(mode=0o700)
    async with AsyncExitStack() as stack:
        subjects = await stack.enter_async_context(accounts(database, keys))
        rows = await stack.enter_async_context(rows_of(database))
        at = {name: LoginServer(name, rows, subjects) for name in SERVERS}
        for name, (seconds, rotates) in SERVERS.items():
            await stack.enter_async_context(at[name].running(seconds, rotates=rotates))
        entries: dict[str, Any] = {name: {"url": server.url} for name, server in at.items()}
        entries["rotating"]["oauth"] = {"rotating": "strict"}
        identity = {"policies": [EVERYONE], "publicUrl": PUBLIC}
        config = folder / "codemode.json"
        config.write_text(json.dumps({"mcpServers": entries, "portal": {"state": database, "identity": identity}}))
        portal = await stack.enter_async_context(processes(HOST, folder, config, 2))
        for server in at.values():
            server.processes = portal
        logins = await stack.enter_async_context(logged_in(portal, at, turns, chance))
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for login in logins:
                group.create_task(calling(login, portal, enough, chance))
            async with asyncio.TaskGroup() as turning:
                for login in logins:
                    turning.create_task(login.go_through(portal))
            await refreshed_enough(logins, portal)
            enough.set()
        for login in logins:
            await login.settle(portal)
        records = {name: await server.records() for name, server in at.items()}
    assert all(record["usedTwice"] == [] for record in records.values())
    for name, server in at.items():
        assert all(text.startswith(f"{who} {name} ") for text, who in server.calls)
        ran = Counter(text for text, _ in server.calls)
        assert max(ran.values()) == 1
        assert {text for login in logins if login.at is server for text in login.answered} <= set(ran)
    outcomes = sum((login.outcomes for login in logins), Counter[str]())
    return {
        "refreshed": {name: record["refreshed"] for name, record in records.items()},
        "kills": portal.kills,
        "outcomes": dict(outcomes),
        "passing": dict(sum((login.passed for login in logins), Counter[str]())),
        "ended": dict(Counter(reason for login in logins for reason in login.ended)),
    }
