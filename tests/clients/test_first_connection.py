"""The whole first connection of real clients at a portal with sign-in, over a server that wants a login of each person.

The client finds the authorization server and registers. Its person, in a real browser, signs in, allows it, and logs in
to the server before it gets its token. It lists the tools and calls one, plainly and from a program. Then the server's
authorization server forgets the login, and the client shows its person the way to a new one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from codemode import CodeTool
from tests.clients.first_connection import (
    Elicitation,
    FirstClient,
    Inspector,
    McpRemote,
    Person,
    PythonSdk,
    Team,
    TypeScriptSdk,
    person_with_a_browser,
    team_in,
)
from tests.clients.test_clients import MODERN

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.clients,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
ECHO = {"text": "hello"}
PROGRAM = {"code": "return codemode.fix.echo({text: 'hello'})"}
# Of a client that speaks both generations the older one is tried with `make test-deep` only: TypeScript 1, which has no
# other, is tried every time.
LEGACY = pytest.param("legacy", marks=pytest.mark.deep)
TYPESCRIPT = [("1", "legacy"), pytest.param("2", "legacy", marks=pytest.mark.deep), ("2", "auto")]
NOBODY: Elicitation = {}
FORMS: Elicitation = {"form": {}}
URLS: Elicitation = {"url": {}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def text_of(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])


async def connects(team: Team, client: FirstClient, person: Person) -> None:
    async with client.connected(team.plain, person, NOBODY) as session:
        assert "fix_echo" in await session.tools()
        asked = f"Allow {client.name} to use codemode-portal?"
        assert person.pages == [
            *("Sign in to codemode-portal", asked, "Your servers", "Log in to fix", "Your servers"),
        ]
        assert text_of(await session.call("fix_echo", ECHO)) == "hello"
    async with client.connected(team.code, person, NOBODY) as session:
        assert await session.tools() == ["code"]
        assert (await session.call("code", PROGRAM))["structuredContent"]["result"] == "hello"


async def shows_the_link(team: Team, client: FirstClient, person: Person) -> None:
    """A client that can ask nobody: the result has the link, and after the login the call works."""
    team.end_logins()
    async with client.connected(team.plain, person, NOBODY) as session:
        told = await session.call("fix_echo", ECHO)
        assert told["isError"] and "The server 'fix' needs a new login of yours" in text_of(told)
        await person.log_in(link_in(text_of(told)))
        assert text_of(await session.call("fix_echo", ECHO)) == "hello"


async def asks(team: Team, client: FirstClient, person: Person, elicitation: Elicitation) -> None:
    """A client that can ask: the person is sent to the page, and the call and the program go on after the login."""
    for url, name, arguments in ((team.plain, "fix_echo", ECHO), (team.code, "code", PROGRAM)):
        team.end_logins()
        links = len(person.links)
        async with client.connected(url, person, elicitation) as session:
            result = await session.call(name, arguments)
            assert not result.get("isError") and text_of(result) == "hello"
        assert len(person.links) == links + 1


def link_in(text: str) -> str:
    (link,) = re.findall(r"http://\S+/authorize\?elicitationId=\S+", text)
    return str(link)


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_the_python_sdk(tmp_path: Path, code_tool: CodeTool, mode: str) -> None:
    async with team_in(tmp_path, code_tool) as team, person_with_a_browser() as person:
        client = PythonSdk(mode)
        await connects(team, client, person)
        await shows_the_link(team, client, person)
        await asks(team, client, person, URLS)


@pytest.mark.parametrize(("version", "era"), TYPESCRIPT)
async def test_the_typescript_sdk(tmp_path: Path, code_tool: CodeTool, version: str, era: str) -> None:
    client = TypeScriptSdk(version, era)
    async with team_in(tmp_path, code_tool) as team, person_with_a_browser() as person, client.running():
        await connects(team, client, person)
        await shows_the_link(team, client, person)
        await asks(team, client, person, FORMS)
        await asks(team, client, person, URLS)


@pytest.mark.parametrize("mode", [LEGACY, "auto"])
async def test_mcp_remote(tmp_path: Path, code_tool: CodeTool, mode: str) -> None:
    async with team_in(tmp_path, code_tool) as team, person_with_a_browser() as person:
        client = McpRemote(mode, tmp_path)
        await connects(team, client, person)
        await shows_the_link(team, client, person)
        await asks(team, client, person, URLS)


@pytest.mark.parametrize("era", [LEGACY, "auto"])
async def test_the_inspector(tmp_path: Path, code_tool: CodeTool, era: str) -> None:
    async with team_in(tmp_path, code_tool) as team, person_with_a_browser() as person:
        client = Inspector(era, tmp_path)
        await connects(team, client, person)
        await shows_the_link(team, client, person)
