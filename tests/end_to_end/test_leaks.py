"""A portal that has served hundreds of requests of every kind holds no more than one that has served a few."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.deep import times
from tests.end_to_end.holding import MiB, assert_no_more, settled, state
from tests.end_to_end.whole import LEGACY, MODERN, Raw, Whole, whole
from tests.portal.upstreams.hosting import Hosted, real_stdio_entry

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts in /proc"),
]
PROGRAMS = [
    "return 1",
    "return await Promise.all(['a', 'b', 'c'].map(text => codemode.one.echo({text})))",
    "throw new Error('x'.repeat(1000))",
    "await codemode.nobody.echo({})",
    "syntax error here",
    "codemode.one.echo({text: 'not awaited'}); return 'x'.repeat(100000)",
    "await codemode.emit({type: 'image', mimeType: 'image/png', data: 'A'.repeat(40000)})",
    "await new Promise(() => {})",
    "const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1))",
    "const x: number = (await codemode.pipe.echo({text: '1'})).length; return x",
    "await Promise.allSettled([codemode.one.fail({text: ''}), codemode.one.big({text: '70000'})])",
    "return await codemode.search('echo')",
]


async def serve_many(portal: Whole, upstream: Hosted, rounds: int) -> None:
    journal = upstream.upstream.journal
    for number in range(rounds):
        version = (MODERN, LEGACY)[number % 2]
        async with Raw(portal.code, version) as raw:
            asked = [asyncio.create_task(raw.run(program)) for program in PROGRAMS]
            hangs = journal.entries.count("call hang")
            leaving = [asyncio.create_task(raw.run("await codemode.one.hang({text: ''})")) for _ in "ab"]
            await journal.wait("call hang", hangs + 2)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await raw.post("tools/list", {})
            await raw.http.post(portal.code, content=b"{", headers={"content-type": "application/json"})
            if version == LEGACY:
                await raw.http.delete(portal.code, headers=raw.headers(""))
        await journal.wait("cancelled hang", hangs + 2)
        journal.entries[:] = [entry for entry in journal.entries if entry.endswith("hang")]


@pytest.mark.parametrize("rounds", times(20, 60))
async def test_hundreds_of_requests_leave_nothing_behind(upstream: Hosted, rounds: int) -> None:
    servers = {"one": {"url": upstream.url}, "pipe": real_stdio_entry()}
    async with whole(servers, limits={"memory": 8 * MiB, "cpuTime": 5}) as portal:
        await serve_many(portal, upstream, 8)
        before = await state()
        await serve_many(portal, upstream, rounds)
        after = await settled(before)
        assert len(portal.sink.lines) > 5 * rounds
    assert_no_more(before, after)
