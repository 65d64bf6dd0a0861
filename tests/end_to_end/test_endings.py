"""Workers that are killed, and a served portal that is told to end, while programs run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import cast

import httpx2
import pytest

from tests.end_to_end.whole import CODE, LEGACY, MODERN, Raw, Whole
from tests.patience import PATIENCE
from tests.portal.upstreams.hosting import Hosted, hosted, real_stdio_entry

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc"),
]


def descendants(pid: int) -> set[int]:
    """The processes below this one, zombies left out."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def workers(pid: int) -> set[int]:
    return {child for child in descendants(pid) if b"sandbox" in Path(f"/proc/{child}/cmdline").read_bytes()}


async def reaped(killed: set[int]) -> None:
    """Until then a worker that was killed may still be given a run, which dies with it."""
    while any(Path(f"/proc/{pid}").exists() for pid in killed):
        await asyncio.sleep(0)


@pytest.mark.parametrize("version", [MODERN, LEGACY])
async def test_a_killed_worker_is_our_fault_and_the_answer_says_what_had_been_done(
    version: str, portal: Whole, upstream: Hosted
) -> None:
    program = """
        await codemode.one.echo({text: 'a'}); await codemode.one.structured({text: 'b'});
        await codemode.one.hang({text: ''}); return 1
    """
    async with Raw(portal.code, version) as raw:
        asked = asyncio.create_task(raw.ask("tools/call", {"name": "code", "arguments": {"code": program}}))
        await upstream.upstream.journal.wait("call hang")
        killed = workers(os.getpid())
        assert killed
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await reaped(killed)
        upstream.upstream.release.set()
        answer = (await asked)["result"]
        found = answer["structuredContent"]
        assert answer["isError"] is True and found["error"]["kind"] == "engine"
        assert [(call["tool"], call["status"]) for call in found["calls"]] == [
            ("one.echo", "ok"),
            ("one.structured", "ok"),
            ("one.hang", "ok"),
        ]
        assert "Calls made: one.echo ok, one.structured ok, one.hang ok" in answer["content"][0]["text"]
        assert (await raw.run("return await codemode.one.echo({text: 'again'})"))["result"] == "again"


async def test_a_worker_killed_while_a_program_computes_ends_it_at_once(portal: Whole, upstream: Hosted) -> None:
    async with Raw(portal.code) as raw:
        asked = [asyncio.create_task(raw.run("await codemode.one.echo({text: 'x'}); for (;;) {}")) for _ in range(4)]
        await upstream.upstream.journal.wait("call echo", 4)
        killed = workers(os.getpid())
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        await reaped(killed)
        for found in await asyncio.gather(*asked):
            assert found["error"]["kind"] == "engine"
            assert [call["status"] for call in found["calls"]] == ["ok"]
        assert (await raw.run("return 7"))["result"] == 7


def message(text: str) -> dict[str, dict[str, object]]:
    """An answer, or the last event of a stream."""
    return cast(dict[str, dict[str, object]], json.loads(text.rpartition("data: ")[2]))


class Served:
    """`codemode serve` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, object]] = []

    async def event(self, name: str) -> dict[str, object]:
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := await self.process.stderr.readline():
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.events.append({"event": "text", "text": line.decode()})
                if self.events[-1].get("event") == name:
                    return self.events[-1]
        raise AssertionError(f"it ended without {name}: {self.events[-5:]}")


async def serve(folder: Path, servers: dict[str, object]) -> Served:
    file = folder / "codemode.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    command = (sys.executable, "-m", "portal.cli", "serve", "--config", str(file), "--port", "0")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, limit=1 << 24
    )
    return Served(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_portal_told_to_end_stops_what_runs_and_leaves_no_process(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with hosted() as upstream:
        served = await serve(tmp_path, {"one": {"url": upstream.url}, "pipe": real_stdio_entry()})
        url = str((await served.event("listening"))["url"])
        await served.event("servers settled")
        below = descendants(served.process.pid)
        assert len(below) >= 2
        async with Raw(url + CODE, MODERN) as modern, Raw(url + CODE, LEGACY) as legacy:
            hang = "await Promise.all([codemode.one.hang({text: ''}), codemode.pipe.hang({text: ''})])"
            endless = "await codemode.one.echo({text: ''}); for (;;) {}"

            def start(raw: Raw, program: str) -> asyncio.Task[httpx2.Response]:
                return asyncio.create_task(raw.post("tools/call", {"name": "code", "arguments": {"code": program}}))

            asked = [start(raw, hang) for raw in (modern, legacy) for _ in range(4)]
            await upstream.upstream.journal.wait("call hang", 8)
            # One of each generation in the two tests: it computes through all the time that runs are given to end.
            asked.append(start(modern if number == signal.SIGTERM else legacy, endless))
            await upstream.upstream.journal.wait("call echo")
            below |= descendants(served.process.pid)
            served.process.send_signal(number)
            await served.event("stopped")
            async with asyncio.timeout(PATIENCE):
                assert await served.process.wait() == 0
                await upstream.upstream.journal.wait("cancelled hang", 8)
                answers = await asyncio.gather(*asked)
    assert {pid for pid in below if Path(f"/proc/{pid}").exists() and pid in descendants(1)} == set()
    # Cut off by the server, or by the session that ends with it.
    errors = [message(answer.text)["error"] for answer in answers]
    assert {error["code"] for error in errors} <= {-32000, -32800}
    assert any("being stopped" in str(error["message"]) for error in errors)
    said = json.dumps(served.events)
    assert "Traceback" not in said and "never retrieved" not in said, said[-3000:]
