"""One person who attacks a portal from within, and another who uses it: what the first does costs the second nothing.

Every attack is one that was tried. Each is a block: it has begun when the block is entered, and lasts as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.end_to_end.whole import ACCEPT, CODE, LEGACY, MODERN, Raw
from tests.patience import PATIENCE
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import Guarded, sign_in
from tests.portal.oauth.agent import Agent
from tests.portal.upstreams.hosting import Hosted

MiB = 1024 * 1024


@dataclass(frozen=True)
class Person:
    """Somebody with a token for the portal, over a connection pool of their own."""

    url: str
    token: str
    http: httpx2.AsyncClient

    @property
    def shown(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    @asynccontextmanager
    async def client(self, url: str, version: str = MODERN) -> AsyncIterator[Raw]:
        raw = Raw(url, version)
        raw.http.headers.update(self.shown)
        async with raw:
            yield raw


@asynccontextmanager
async def person(portal: Guarded, email: str) -> AsyncIterator[Person]:
    """A person with a local account who has signed in, and whose agent has a token."""
    password = f"the good password of {email}"
    await portal.account(email, password)
    limits = httpx2.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(browser_at(portal.url))
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, limits=limits))
        agent = Agent(portal, http)
        await agent.register()
        await sign_in(browser, await browser.open(agent.authorize_url()), email, password)
        tokens = await agent.log_in(browser)
        yield Person(portal.mcp, tokens["access_token"], http)


async def uses(person: Person) -> list[str]:
    """What goes wrong for a person who uses the portal in every way, [] for nothing."""
    wrong: list[str] = []

    def check(what: str, holds: bool, seen: object) -> None:
        if not holds:
            wrong.append(f"{what}: {str(seen)[:300]}")

    for version in (MODERN, LEGACY):
        async with person.client(person.url, version) as raw, person.client(person.url + CODE, version) as code:
            listed = await raw.ask("tools/list", {})
            check(f"{version} list", "fix_echo" in str(listed), listed)
            called = await raw.ask("tools/call", {"name": "fix_echo", "arguments": {"text": "fine"}})
            check(f"{version} call", "fine" in str(called), called)
            ran = await code.run("return (await codemode.fix.echo({text: 'fine'})).length")
            check(f"{version} program", ran.get("result") == 4, ran)
    return wrong


Attack = Callable[[Person, Hosted], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def sessions(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Opens sessions and ends none."""
    hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opening = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    for _ in range(5):
        await asyncio.gather(
            *(attacker.http.post(attacker.url, json=opening, headers=ACCEPT | attacker.shown) for _ in range(30))
        )
    yield


@asynccontextmanager
async def streams(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Opens streams for changes."""
    listen = {"notifications": {"toolsListChanged": True}}
    async with attacker.client(attacker.url) as raw:
        body = raw.message("subscriptions/listen", listen)
        head = await request(attacker, raw.headers("subscriptions/listen"), body)
        async with held(attacker, [head] * 300):
            yield


@asynccontextmanager
async def slow_calls(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Calls a tool that does not answer."""
    calling = {"name": "fix_hang", "arguments": {"text": ""}}
    async with attacker.client(attacker.url) as raw:
        requests = [asyncio.create_task(raw.post("tools/call", calling)) for _ in range(180)]
        async with ending(requests):
            await upstream.upstream.journal.wait("call hang")
            yield


@asynccontextmanager
async def programs(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Runs programs that do not end, and programs that wait for what does not answer."""
    endless = ["for (;;) {}", "const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))"] * 16
    waiting = ["await Promise.all(Array.from({length: 16}, () => codemode.fix.hang({text: ''})))"] * 32
    async with attacker.client(attacker.url + CODE) as raw:
        running = [asyncio.create_task(raw.run(program)) for program in (*endless, *waiting)]
        async with ending(running):
            await upstream.upstream.journal.wait("call hang")
            yield


@asynccontextmanager
async def unread_answers(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Asks for large answers and reads none."""
    async with attacker.client(attacker.url) as raw:
        calling = {"name": "fix_big", "arguments": {"text": str(4 * MiB)}}
        sent = await request(attacker, raw.headers("tools/call", "fix_big"), raw.message("tools/call", calling))
        async with held(attacker, [sent] * 40):
            yield


@asynccontextmanager
async def unfinished_bodies(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Sends large bodies up to their last byte, with a token and without."""
    head = (
        b"POST /mcp HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b"Accept: application/json, text/event-stream\r\n%bContent-Length: %d\r\n\r\n"
    )
    host, shown = urlsplit(attacker.url).netloc.encode(), f"Authorization: Bearer {attacker.token}\r\n".encode()
    size = 4 * MiB
    one = [head % (host, credential, size) + b"[" + b"[]," * (size // 3 - 9) for credential in (b"", shown)]
    async with held(attacker, one * 30):
        yield


@asynccontextmanager
async def silent_connections(attacker: Person, upstream: Hosted) -> AsyncIterator[None]:
    """Opens connections, more than a network may have, and asks nothing or only begins to."""
    asked = b"GET /healthz HTTP/1.1\r\nHost: " + urlsplit(attacker.url).netloc.encode() + b"\r\n"
    async with held(attacker, [b"", b"\r\n", asked, asked + b"\r\n", asked + b"\r\n\r\n"] * 60):
        yield


async def request(attacker: Person, headers: dict[str, str], body: object) -> bytes:
    """The bytes of a request of this person."""
    sent = attacker.http.build_request("POST", attacker.url, json=body, headers={**headers, **attacker.shown})
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
    return f"POST {sent.url.path} HTTP/1.1\r\n{lines}\r\n".encode() + await sent.aread()


@asynccontextmanager
async def held(attacker: Person, requests: list[bytes]) -> AsyncIterator[None]:
    """Connections over which these requests are sent and nothing is read."""
    parts = urlsplit(attacker.url)
    writers: list[asyncio.StreamWriter] = []

    async def send(data: bytes) -> None:
        # A limit, so that nothing is read ahead on our side.
        _, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1)
        writers.append(writer)
        writer.write(data)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.drain()

    try:
        await asyncio.gather(*(send(data) for data in requests))
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


@asynccontextmanager
async def ending(tasks: list[asyncio.Task[Any]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        sessions,
        streams,
        slow_calls,
        programs,
        unread_answers,
        unfinished_bodies,
        silent_connections,
    )
}
