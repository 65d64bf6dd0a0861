"""Clients that cancel, hang up or are told how far a program is, in both generations over every kind of upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.end_to_end.whole import LEGACY, MODERN, Raw, Whole, run, sdk_client, whole
from tests.portal.portals import Heard
from tests.portal.upstreams.hosting import Hosted, hosted, stdio_entry
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HANG = "await codemode.one.hang({text: ''}); return 'never'"
both = pytest.mark.parametrize("version", [MODERN, LEGACY])


@asynccontextmanager
async def portal_over(kind: str) -> AsyncIterator[Whole]:
    legacy = kind.endswith("legacy")
    if kind.startswith("stdio"):
        async with whole({"one": stdio_entry(*(["--legacy"] if legacy else []))}) as portal:
            yield portal
        return
    async with hosted(Behaviour(legacy=legacy)) as upstream, whole({"one": {"url": upstream.url}}) as portal:
        yield portal


async def seen(raw: Raw, entry: str) -> None:
    """Wait until the upstream has this in its journal."""
    found = await raw.run(f"return (await codemode.one.journal({{text: '{entry}'}})).includes('{entry}')")
    assert found["result"] is True


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        (MODERN, "http"),
        pytest.param(LEGACY, "http", marks=pytest.mark.deep),
        pytest.param(MODERN, "http legacy", marks=pytest.mark.deep),
        (LEGACY, "http legacy"),
        (MODERN, "stdio legacy"),
        (LEGACY, "stdio"),
    ],
)
async def test_a_client_that_leaves_stops_its_program_and_the_upstream_learns_of_it(version: str, kind: str) -> None:
    async with portal_over(kind) as portal, Raw(portal.code, version) as watcher:
        async with Raw(portal.code, version) as leaver:
            asked = asyncio.create_task(leaver.run(HANG))
            await seen(watcher, "call hang")
            asked.cancel()
            await seen(watcher, "cancelled hang")
        assert (await watcher.run("return 1"))["status"] == "completed"
    assert [line["outcome"] for line in portal.sink.records if line["name"] == "hang"] == ["cancelled"]


@both
async def test_a_cancelled_request_of_an_sdk_client_stops_its_program(version: str) -> None:
    async with portal_over("http") as portal, Raw(portal.code, version) as watcher:
        async with sdk_client(portal.code, version) as client:
            asked = asyncio.create_task(run(client, HANG))
            await seen(watcher, "call hang")
            asked.cancel()
            await seen(watcher, "cancelled hang")
            assert (await run(client, "return 2"))["result"] == 2


async def test_a_cancelling_notification_ends_a_run_of_a_session_and_only_that_one(
    portal: Whole, upstream: Hosted
) -> None:
    async with Raw(portal.code, LEGACY) as raw, Raw(portal.code, LEGACY) as other:
        arguments = {"name": "code", "arguments": {"code": HANG}}
        asked = [asyncio.create_task(one.ask("tools/call", arguments, 77)) for one in (raw, other)]
        await upstream.upstream.journal.wait("call hang", 2)
        await raw.notify("notifications/cancelled", {"requestId": 77})
        answer = await asked[0]
        assert answer["id"] == 77 and answer["error"]["code"] == -32800
        await upstream.upstream.journal.wait("cancelled hang")
        assert not asked[1].done()
        upstream.upstream.release.set()
        assert (await asked[1])["result"]["structuredContent"]["result"] == "never"
    assert upstream.upstream.journal.entries.count("cancelled hang") == 1


async def test_a_client_that_ends_its_session_stops_what_it_had_running(portal: Whole, upstream: Hosted) -> None:
    async with Raw(portal.code, LEGACY) as raw:
        asked = asyncio.create_task(raw.ask("tools/call", {"name": "code", "arguments": {"code": HANG}}))
        await upstream.upstream.journal.wait("call hang")
        assert (await raw.http.delete(portal.code, headers=raw.headers(""))).status_code in (200, 202, 204)
        await upstream.upstream.journal.wait("cancelled hang")
        asked.cancel()


@both
async def test_progress_tells_a_waiting_client_which_calls_are_done(version: str, portal: Whole) -> None:
    heard = Heard()
    program = "for (const text of 'abc') await codemode.one.echo({text}); return 1"
    async with sdk_client(portal.code, version) as client:
        assert (await run(client, program, progress_callback=heard.progress))["result"] == 1
        told = await heard.until("progress", 3)
    assert told == [(step, None, "one.echo") for step in (1, 2, 3)]


@both
async def test_many_that_leave_at_once_leave_nothing_running(version: str, portal: Whole, upstream: Hosted) -> None:
    async with Raw(portal.code, version) as raw:
        asked = [asyncio.create_task(raw.run(HANG)) for _ in range(40)]
        await upstream.upstream.journal.wait("call hang", 40)
        for task in asked:
            task.cancel()
        await upstream.upstream.journal.wait("cancelled hang", 40)
        assert (await raw.run("return 1"))["result"] == 1


@both
async def test_a_program_that_computes_for_nobody_is_stopped(version: str, portal: Whole, upstream: Hosted) -> None:
    """With every worker computing for clients that have left, the next one does not wait for their CPU time."""
    endless = "await codemode.one.echo({text: 'begun'}); for (;;) {}"
    async with Raw(portal.code, version) as raw:
        asked = [asyncio.create_task(raw.run(endless)) for _ in range(8)]
        await upstream.upstream.journal.wait("call echo", 8)
        for task in asked:
            task.cancel()
        async with asyncio.timeout(9):  # the CPU time of one of them is 10 s
            assert (await raw.run("return 1"))["result"] == 1
