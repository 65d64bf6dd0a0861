"""What a first connection takes: a portal with sign-in over a server that wants a login, a person with a real browser,
and clients that sign in. Each client does what a test says, and remembers what the portal gave it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp_types import ElicitRequestFormParams, ElicitResult
from playwright.async_api import Page
from pydantic import AnyUrl

from codemode import CodeTool
from portal.home import CODE_MODE
from tests.clients.test_clients import INSPECTOR, MCP_REMOTE, TYPESCRIPT_V1, TYPESCRIPT_V2
from tests.node_tools import executable, install, needs, node
from tests.patience import PATIENCE
from tests.portal.browser import chromium
from tests.portal.credentials.authority import LoginAuthority, login_authority, protected
from tests.portal.login.guarded import EMAIL, PASSWORD, Guarded, guarded_portal

TYPESCRIPT = {"1": TYPESCRIPT_V1, "2": TYPESCRIPT_V2}
Elicitation = dict[str, dict[str, Any]]
"""What a client says of elicitation in its capabilities; empty for a client that can ask nobody."""


@dataclass
class Team:
    """A portal where people sign in, over the server `fix`, which wants a login of each of them."""

    portal: Guarded
    issuing: LoginAuthority

    @property
    def plain(self) -> str:
        return self.portal.mcp

    @property
    def code(self) -> str:
        return self.portal.mcp + CODE_MODE

    def end_logins(self) -> None:
        """The server's authorization server forgets every login."""
        self.issuing.forget()


@asynccontextmanager
async def team_in(folder: Path, code: CodeTool) -> AsyncIterator[Team]:
    async with login_authority() as issuing, protected(issuing, needed="files:read") as (_, host):
        async with guarded_portal(folder, upstream=host.url, code=code) as portal:
            await portal.account()
            yield Team(portal, issuing)


class Person:
    """A person at a browser. `pages` are the headings of the pages that they saw, `links` what clients showed them."""

    def __init__(self, page: Page) -> None:
        self.pages: list[str] = []
        self.links: list[str] = []
        self._page = page

    async def let_in(self, url: str) -> None:
        """Open the URL of an agent, sign in where the portal asks for it, allow the agent, and go back to it."""
        page = self._page
        await page.goto(url)
        allow = page.get_by_role("button", name="Allow")
        email = page.get_by_label("E-mail")
        await allow.or_(email).first.wait_for()
        await self._look()
        if await email.count():
            await email.fill(EMAIL)
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await allow.wait_for()
            await self._look()
        await allow.click()
        await page.wait_for_url(re.compile(r"/servers\?agent=|/callback|[?&]code="))
        if "/servers?agent=" in page.url:
            await self._connect()
            await page.get_by_role("button", name="Continue to").click()
            await page.wait_for_url(re.compile("[?&]code="))

    async def log_in(self, link: str) -> None:
        """Open a link that a client shows, and log in to the server."""
        self.links.append(link)
        await self._page.goto(link)
        await self._connect()
        assert "You are connected" in await self._page.locator("main").inner_text()

    async def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Do what an elicitation says."""
        (link,) = set(re.findall(r"http://\S+/authorize\?elicitationId=\S+", question["message"]))
        assert question.get("url", link) == link
        await self.log_in(link)
        return {"action": "accept", **({} if "url" in question else {"content": {}})}

    async def _connect(self) -> None:
        page = self._page
        await self._look()
        await page.get_by_role("button", name=re.compile("^(Connect|Log in again): fix")).click()
        await page.get_by_role("link", name="Go to").wait_for()
        await self._look()
        await page.get_by_role("link", name="Go to").click()
        await page.get_by_role("button", name="Log out: fix").wait_for()
        await self._look()

    async def _look(self) -> None:
        self.pages.append(await self._page.locator("h1").inner_text())


@asynccontextmanager
async def person_with_a_browser() -> AsyncIterator[Person]:
    async with chromium() as browser:
        yield Person(await browser.new_page())


class Session(Protocol):
    """A client that is connected. A result is as the protocol has it, in JSON."""

    async def tools(self) -> list[str]: ...

    async def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]: ...


class FirstClient(Protocol):
    """A client, by the name that the portal shows. Connecting signs in when the portal asks for it."""

    @property
    def name(self) -> str: ...

    def connected(self, url: str, person: Person, elicitation: Elicitation) -> AbstractAsyncContextManager[Session]: ...


class PythonSession:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        result = await self._client.call_tool(name, dict(arguments))
        return result.model_dump(mode="json", by_alias=True)


def answering(person: Person, elicitation: Elicitation) -> dict[str, Any]:
    """The options of a client of the Python SDK whose questions this person answers. It shows URLs and forms."""
    if not elicitation:
        return {}

    async def ask(context: Any, params: Any) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams) is ("url" not in elicitation)
        return ElicitResult.model_validate(await person.answer(params.model_dump(mode="json", by_alias=True)))

    return {"elicitation_callback": ask}


class Memory:
    """What a client of the Python SDK remembers."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@asynccontextmanager
async def signing_in(
    url: str, memory: Memory, let_in: Callable[[str], Awaitable[None]], name: str = "Python"
) -> AsyncIterator[OAuthClientProvider]:
    """How a client of the Python SDK signs in at a portal: a person lets it in in a browser, which comes back to it."""
    arrived: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).decode().split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nDone")
        await writer.drain()
        writer.close()
        if "code=" in path:
            arrived.put_nowait(dict(httpx2.QueryParams(path.partition("?")[2])))

    async def answer() -> AuthorizationCodeResult:
        found = await arrived.get()
        return AuthorizationCodeResult(code=found["code"], state=found["state"], iss=found["iss"])

    async with await asyncio.start_server(callback, "127.0.0.1", 0) as listening:
        back = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/callback"
        metadata = OAuthClientMetadata(client_name=name, redirect_uris=[AnyUrl(back)])
        yield OAuthClientProvider(url, metadata, memory, let_in, answer)


class PythonSdk:
    """The Python SDK, in one generation."""

    name = "Python"

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._memory = Memory()

    @asynccontextmanager
    async def connected(self, url: str, person: Person, elicitation: Elicitation) -> AsyncIterator[Session]:
        async with AsyncExitStack() as stack:
            auth = await stack.enter_async_context(signing_in(url, self._memory, person.let_in, self.name))
            http = await stack.enter_async_context(httpx2.AsyncClient(auth=auth, timeout=PATIENCE, trust_env=False))
            transport = streamable_http_client(url, http_client=http)
            options = answering(person, elicitation)
            yield PythonSession(await stack.enter_async_context(Client(transport, mode=self._mode, **options)))


async def command_of(package: str, name: str) -> tuple[str, str]:
    """Node, and the script of a package's command."""
    folder = await asyncio.to_thread(needs, install, package)
    return str(await asyncio.to_thread(needs, node)), str(executable(folder, name).resolve())


async def url_in(reader: asyncio.StreamReader) -> str:
    """The URL that a program tells its user to open."""
    said: list[str] = []
    while line := (await reader.readline()).decode():
        said.append(line)
        if found := re.search(r"http://[^\s\"']+/authorize\?[^\s\"']+", line):
            return found[0]
    raise AssertionError(f"it ended without a URL: {''.join(said)[-2000:]}")


class McpRemote:
    """mcp-remote, with a client of the Python SDK that starts it."""

    name = "MCP CLI Proxy"

    def __init__(self, mode: str, folder: Path) -> None:
        self._mode = mode
        self._folder = folder

    @asynccontextmanager
    async def connected(self, url: str, person: Person, elicitation: Elicitation) -> AsyncIterator[Session]:
        binary, script = await command_of(MCP_REMOTE, "mcp-remote")
        bridge = StdioServerParameters(
            command=binary,
            args=[script, url, "--allow-http"],
            env={"MCP_REMOTE_CONFIG_DIR": str(self._folder), "BROWSER": "true"},
        )
        read, write = os.pipe()
        reader = asyncio.StreamReader()
        with os.fdopen(write, "w") as errors, os.fdopen(read, "rb") as heard:
            loop = asyncio.get_running_loop()
            pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), heard)

            async def watch() -> None:
                while True:
                    await person.let_in(await url_in(reader))

            watching = asyncio.create_task(watch())
            try:
                client = Client(
                    stdio_client(bridge, errlog=errors),
                    mode=self._mode,
                    read_timeout_seconds=PATIENCE,
                    **answering(person, elicitation),
                )
                async with client as connected:
                    yield PythonSession(connected)
            finally:
                watching.cancel()
                await asyncio.wait([watching])
                pipe.close()


class NodeSession:
    """A client in a process of node's, which does what it is asked in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process, person: Person) -> None:
        self._process = process
        self._person = person

    async def tools(self) -> list[str]:
        tools: list[str] = await self.do("tools", None)
        return tools

    async def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = await self.do("call", {"name": name, "arguments": dict(arguments)})
        return result

    async def do(self, what: str, params: Any) -> Any:
        assert self._process.stdout is not None
        self._send({what: params})
        while line := await self._process.stdout.readline():
            heard = json.loads(line)
            if "done" in heard:
                return heard["done"]
            if "open" in heard:
                await self._person.let_in(heard["open"])
            else:
                self._send(await self._person.answer(heard["asked"]))
        raise AssertionError(f"the client ended at {what!r}: {await self._errors()}")

    async def _errors(self) -> str:
        assert self._process.stderr is not None
        return (await self._process.stderr.read()).decode()[-2000:]

    def _send(self, what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")


class TypeScriptSdk:
    """The TypeScript SDK, of version 1 or 2; the second speaks the generations of its `era`."""

    def __init__(self, version: str, era: str) -> None:
        self.name = f"TypeScript {version}"
        self._version = version
        self._era = era
        self._process: asyncio.subprocess.Process | None = None

    @asynccontextmanager
    async def connected(self, url: str, person: Person, elicitation: Elicitation) -> AsyncIterator[Session]:
        assert self._process is not None
        session = NodeSession(self._process, person)
        await session.do("connect", {"url": url, "elicitation": elicitation or None})
        yield session
        await session.do("close", None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        folder = await asyncio.to_thread(needs, install, TYPESCRIPT[self._version])
        script = folder / "first_connection.mjs"
        source = Path(__file__).with_name("first_connection.mjs")
        await asyncio.to_thread(script.write_bytes, source.read_bytes())
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            str(await asyncio.to_thread(needs, node)),
            *(str(script), self._version, self._era, "0"),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=4 * 1024 * 1024,
        )
        try:
            yield
        finally:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()


# The Inspector's command line signs in only where it may open a browser. Its answer comes to any free port.
INTERACTIVE = {
    "MCP_AUTO_OPEN_ENABLED": "true",
    "BROWSER": "true",
    "MCP_OAUTH_CALLBACK_URL": "http://127.0.0.1:0/oauth/callback",
}


class Inspector:
    """The Inspector's command line: each call is a process of its own, and what it remembers is in its home."""

    name = "MCP Inspector"

    def __init__(self, era: str, home: Path) -> None:
        self._era = era
        self._home = home

    @asynccontextmanager
    async def connected(self, url: str, person: Person, elicitation: Elicitation) -> AsyncIterator[Session]:
        yield InspectorSession(self, url, person)

    async def run(self, url: str, person: Person, *arguments: str) -> tuple[int, str, str]:
        """Its exit code, what it printed for programs, and what it printed for people."""
        binary, script = await command_of(INSPECTOR, "mcp-inspector")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(binary, script, "--cli", url, "--transport", "http", "--protocol-era", self._era, "--format", "json"),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env={**os.environ, **INTERACTIVE, "HOME": str(self._home)},
            limit=4 * 1024 * 1024,
        )
        assert process.stdout is not None and process.stderr is not None
        said: list[str] = []

        async def watch(reader: asyncio.StreamReader) -> None:
            while line := (await reader.readline()).decode():
                said.append(line)
                if found := re.search(r"http://[^\s\"']+/authorize\?(?!elicitationId)[^\s\"']+", line):
                    await person.let_in(found[0])

        try:
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
                tasks.create_task(watch(process.stderr))
                output = (await process.stdout.read()).decode()
                code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
        return code, output, "".join(said)


class InspectorSession:
    def __init__(self, inspector: Inspector, url: str, person: Person) -> None:
        self._inspector = inspector
        self._url = url
        self._person = person

    async def tools(self) -> list[str]:
        return [tool["name"] for tool in (await self._json("--method", "tools/list"))["tools"]]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        sent = ("--tool-name", name, "--tool-args-json", json.dumps(arguments))
        return await self._json("--method", "tools/call", *sent)

    async def _json(self, *arguments: str) -> dict[str, Any]:
        code, output, said = await self._inspector.run(self._url, self._person, *arguments)
        assert output, (code, said[-2000:])
        found: dict[str, Any] = json.loads(output)
        result: dict[str, Any] = found.get("result", found)
        return result
