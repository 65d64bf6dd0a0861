"""A portal is killed again and again under load: every call that was answered is in its log and its export, once."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.processes import PortalProcess
from tests.end_to_end.whole import ACCEPT, MODERN
from tests.forked import finished
from tests.patience import PATIENCE
from tests.portal.export.exporting import make_job, store_at
from tests.portal.export.receivers import receiver
from tests.portal.upstreams.raw import Exchange, raw_upstream

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks for the port of a process in /proc"),
]
CALLS = 50
"""Of a program."""
PROGRAM = f"""
const all = [];
for (let i = 0; i < {CALLS}; i++) all.push(codemode.up.echo({{n: i}}));
await Promise.all(all);
"""
FIELDS = ["RowID", "TraceID", "CallNumber", "Kind"]

Key = tuple[str, int]
"""The trace of a request, which is its own here, and the number of a call in its program, 0 outside."""


@dataclass
class Load:
    """Agents that call as fast as they are answered. `answered` are the calls whose answers have come."""

    portal: PortalProcess
    answered: set[Key] = field(default_factory=set)
    lost: int = 0
    over: bool = False
    up: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, programs: bool) -> None:
        async with aiohttp.ClientSession() as http:
            while not self.over:
                await self.up.wait()
                trace = f"{random.getrandbits(128) | 1:032x}"
                try:
                    if programs:
                        await self._program(http, trace)
                    else:
                        await self._plain(http, trace)
                except (aiohttp.ClientError, OSError):
                    self.lost += 1
                    # It was killed, or is about to be found so.
                    await asyncio.sleep(0)

    async def _plain(self, http: aiohttp.ClientSession, trace: str) -> None:
        found = await self._ask(http, "", trace, "up_echo", {"n": 1})
        if "result" in found:
            self.answered.add((trace, 0))

    async def _program(self, http: aiohttp.ClientSession, trace: str) -> None:
        found = await self._ask(http, "?codemode=search_and_execute", trace, "code", {"code": PROGRAM})
        if "result" in found:
            calls = found["result"]["structuredContent"]["calls"]
            self.answered |= {(trace, call["seq"]) for call in calls if call["status"] == "ok"}

    async def _ask(
        self, http: aiohttp.ClientSession, query: str, trace: str, tool: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
        }
        message = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": meta},
        }
        headers = {**ACCEPT, "mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
        url = f"http://127.0.0.1:{self.portal.port}/mcp{query}"
        async with http.post(url, json=message, headers=headers) as answer:
            text = await answer.text()
        if answer.content_type == "text/event-stream":
            (text,) = [line[5:] for line in text.splitlines() if line.startswith("data:") and '"id"' in line]
        found: dict[str, Any] = json.loads(text)
        return found


async def settled(portal: PortalProcess, lives: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while sum('"servers settled"' in line for line in portal.said) < lives:
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.01)


def rows_in(folder: Path) -> list[tuple[int, str, int, str]]:
    with closing(sqlite3.connect(folder / "state-logs.db")) as connection:
        return connection.execute("SELECT id, trace, call, kind FROM calls").fetchall()


@pytest.mark.parametrize(("kills", "seconds"), [(3, 1.0), pytest.param(10, 6.0, marks=pytest.mark.deep)])
async def test_every_answered_call_outlives_kills_in_log_and_export(
    tmp_path: Path, kills: int, seconds: float, record_property: Callable[[str, object], None]
) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.text("x")

    chance = random.Random(5)
    state = f"sqlite:///{tmp_path}/state.db"
    config = tmp_path / "codemode.json"
    async with raw_upstream(echo) as upstream, receiver() as sink:
        sections = {"state": state, "exports": {"allowPrivate": True}}
        config.write_text(json.dumps({"mcpServers": {"up": {"url": upstream.url}}, "portal": sections}))
        async with store_at(state) as store:
            await make_job(store, "1", sink.url, output_options={"field_names": FIELDS})
        portal = PortalProcess(tmp_path, config)
        load = Load(portal)
        working = [asyncio.create_task(load.work(programs)) for programs in (True, True, True, True, False, False)]
        worked = 0.0
        try:
            for life in range(kills + 1):
                await portal.start()
                await settled(portal, life + 1)
                before, began = len(load.answered), time.monotonic()
                load.up.set()
                await until(lambda: len(load.answered) > before)  # noqa: B023 (it is awaited here)
                if life == kills:
                    break
                if life % 4 == 0:
                    # Who is killed has the job for 15 s more: not each life comes to export.
                    sent = len(sink.requests)
                    await sink.until(lambda: len(sink.requests) > sent)  # noqa: B023
                # Any moment, also one in which a batch is being stored: that is the point.
                await asyncio.sleep(seconds * chance.uniform(0.7, 1.3))
                load.up.clear()
                await portal.kill()
                worked += time.monotonic() - began
            load.over = True
            await asyncio.gather(*working)
            async with asyncio.timeout(PATIENCE):
                while True:
                    rows = await asyncio.to_thread(rows_in, tmp_path)
                    if load.answered <= {(trace, call) for _, trace, call, _ in rows}:
                        break
                    await asyncio.sleep(0.1)
            newest = max(row[0] for row in rows)
            await sink.until(lambda: bool(sink.stored) and sink.ids()[-1] >= newest)
        finally:
            load.over = True
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await portal.close()
    # Whatever came after that.
    rows = await asyncio.to_thread(rows_in, tmp_path)
    times = Counter((trace, call, kind) for _, trace, call, kind in rows)
    assert set(times.values()) == {1}
    calls = {(trace, call) for trace, call, kind in times if kind == "tool"}
    assert load.answered <= calls
    exported = [
        (record["TraceID"], record["CallNumber"])
        for batch in {one.key: one for one in sink.stored}.values()
        for record in batch.records
        if record["Kind"] == "tool"
    ]
    assert len(exported) == len(set(exported)) and load.answered <= set(exported)
    checked = await asyncio.to_thread(finished, "logs", "verify", "--config", str(config))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    dropped = [line for line in portal.said if "dropped" in line]
    assert dropped == []
    for name, value in {
        "kills": portal.kills,
        "seconds": round(worked, 1),
        "answered": len(load.answered),
        "answered a second": round(len(load.answered) / worked),
        "rows": len(rows),
        "requests lost": load.lost,
        "batches sent": len(sink.requests),
        "batches sent again": len(sink.stored) - len({one.key for one in sink.stored}),
    }.items():
        record_property(name, value)
