"""Real MCP clients sign in end to end, and the official conformance suite finds the authorization server in order.

Each client prints or opens a URL; a test's browser opens it, signs in, allows, and follows the redirect back to it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from pydantic import AnyUrl

from tests.clients.first_connection import INTERACTIVE, Memory
from tests.node_tools import executable, install, needs, node
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, guarded_portal, sign_in
from tests.portal.oauth.agent import Agent, answer_in
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
MCP_REMOTE = "mcp-remote@0.15.1"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
TYPESCRIPT = "@modelcontextprotocol/sdk@1.32.2"
CONFORMANCE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
SECONDS = 120


@asynccontextmanager
async def portal_with_tools(folder: Path) -> AsyncIterator[Guarded]:
    async with hosted() as upstream, guarded_portal(folder, upstream=upstream.url) as portal:
        await portal.account()
        yield portal


async def in_the_browser(portal: Guarded, authorize_url: str) -> str:
    """Sign in and allow; the URL the browser is sent back to."""
    async with browser_at(portal.url) as browser:
        page = await browser.open(authorize_url)
        page = await sign_in(browser, page)
        done = await browser.submit(page, "/authorize/consent", "allow")
        assert done.left_for, done.text
        return done.left_for


async def back_to_the_client(url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        assert (await http.get(url)).status_code == 200


@pytest.mark.parametrize("query", ["", "?codemode=off"])
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_the_python_sdk_signs_in(tmp_path: Path, mode: str, query: str) -> None:
    answers: list[dict[str, str]] = []
    async with portal_with_tools(tmp_path) as portal:

        async def redirect(url: str) -> None:
            answers.append(answer_in(await in_the_browser(portal, url)))

        async def callback() -> AuthorizationCodeResult:
            return AuthorizationCodeResult(**{name: answers[-1][name] for name in ("code", "state", "iss")})

        metadata = OAuthClientMetadata(client_name="Python", redirect_uris=[AnyUrl("http://127.0.0.1:3333/callback")])
        auth = OAuthClientProvider(portal.mcp + query, metadata, Memory(), redirect, callback)
        async with httpx2.AsyncClient(auth=auth, timeout=PATIENCE) as http:
            transport = streamable_http_client(portal.mcp + query, http_client=http)
            async with Client(transport, mode=mode) as client:
                assert "fix_echo" in [tool.name for tool in (await client.list_tools()).tools]
        assert answers[0]["iss"] == portal.url
        assert portal.kept.records == []


async def program(package: str, name: str) -> tuple[str, str]:
    """Node, and the script of a package's command."""
    folder = await asyncio.to_thread(needs, install, package)
    return str(await asyncio.to_thread(needs, node)), str(executable(folder, name).resolve())


@asynccontextmanager
async def started(
    *command: str, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        cwd=folder,
        limit=4 * 1024 * 1024,
    )
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def authorize_url(process: asyncio.subprocess.Process) -> str:
    """The URL that a program tells its user to open."""
    assert process.stdout is not None
    said: list[str] = []
    while line := (await process.stdout.readline()).decode():
        said.append(line)
        if found := re.search(r"http://[^\s\"']+/authorize\?[^\s\"']+", line):
            return found[0]
    raise AssertionError(f"it ended without a URL: {''.join(said)[-2000:]}")


async def rest(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.read()).decode()


@pytest.mark.clients
@pytest.mark.parametrize("query", ["", "?codemode=off"])
async def test_the_typescript_sdk_signs_in(tmp_path: Path, query: str) -> None:
    folder = await asyncio.to_thread(needs, install, TYPESCRIPT)
    binary = str(await asyncio.to_thread(needs, node))
    script = folder / "sign_in.mjs"
    await asyncio.to_thread(script.write_bytes, Path(__file__).with_name("sign_in.mjs").read_bytes())
    async with portal_with_tools(tmp_path) as portal:
        async with started(binary, str(script), portal.mcp + query) as process:
            code = answer_in(await in_the_browser(portal, await authorize_url(process)))["code"]
            assert process.stdin is not None
            process.stdin.write(code.encode() + b"\n")
            await process.stdin.drain()
            assert "fix_echo" in json.loads((await rest(process)).strip().splitlines()[-1])


@pytest.mark.clients
async def test_mcp_remote_signs_in(tmp_path: Path) -> None:
    binary, script = await program(MCP_REMOTE, "mcp-remote")
    heard = tmp_path / "heard"
    async with portal_with_tools(tmp_path) as portal:

        async def person() -> None:
            while not (found := re.search(r"http://\S+/authorize\?\S+", heard.read_text() if heard.exists() else "")):
                await asyncio.sleep(0.05)
            await back_to_the_client(await in_the_browser(portal, found[0]))

        bridge = StdioServerParameters(
            command="sh",
            args=["-c", 'exec "$0" "$@" 2>"$HEARD"', binary, script, portal.mcp, "--allow-http"],
            env={"MCP_REMOTE_CONFIG_DIR": str(tmp_path), "HEARD": str(heard), "BROWSER": "true"},
        )
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
            tasks.create_task(person())
            async with Client(bridge, mode="legacy", read_timeout_seconds=SECONDS) as client:
                assert "fix_echo" in [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.clients
async def test_the_inspector_signs_in(tmp_path: Path) -> None:
    binary, script = await program(INSPECTOR, "mcp-inspector")
    async with portal_with_tools(tmp_path) as portal:
        command = (binary, script, "--cli", portal.mcp, "--transport", "http", "--method", "tools/list")
        environment = {**INTERACTIVE, "HOME": str(tmp_path)}
        async with started(*command, "--format", "json", environment=environment) as process:
            await back_to_the_client(await in_the_browser(portal, await authorize_url(process)))
            assert '"fix_echo"' in await rest(process)


@pytest.mark.conformance
async def test_the_conformance_suite_finds_the_authorization_server_in_order(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(needs, install, CONFORMANCE)
    binary = str(await asyncio.to_thread(needs, node))
    script = folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    async with portal_with_tools(tmp_path) as portal, httpx2.AsyncClient(trust_env=False) as http:
        agent = Agent(portal, http)
        # A public client: where a server lists `none`, the suite uses it, whatever secret it is given.
        await agent.register(redirect_uris=["http://127.0.0.1:3555/callback"])
        options = ("--url", portal.url, "--client-id", agent.client_id, "--resource", portal.mcp, "-p", "3555")
        async with started(binary, str(script), "authorization", *options) as process:
            await back_to_the_client(await in_the_browser(portal, await authorize_url(process)))
            output = await rest(process)
            assert await process.wait() == 0, output
        assert re.search(r"Total: [1-9]\d* passed, 0 failed", output), output
        assert not re.search(r"[1-9]\d* (?:failed|warnings?)", output), output
