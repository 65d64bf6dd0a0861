"""The log: what a row costs on the path of a call, and a plain call through a portal that writes one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.cases import Case, Reading
from benchmarks.portal_client import Loop, latency, start
from portal.calls import Call
from portal.calls.rows import call_row
from portal.identity import Identity
from portal.logs import CallLog, Discard, LogPlace, RecordLog
from portal.upstream import CallContext, CallSource, DownstreamClient

ROWS = 100
ADA = Identity(id="ada", email="ada@example.com", ip="192.0.2.1", country="DE")
CONTEXT = CallContext(
    identity="ada",
    principal=ADA,
    source=CallSource("2026-07-28", DownstreamClient(key="", info={"name": "agent", "version": "1.2"}), "", "0" * 32),
)
CALL = Call.tool("tickets", "create_ticket")


def cases() -> Mapping[str, Case | Reading]:
    return {
        "row": Case(lambda: writing(logged=True), per=ROWS, rounds=200),
        "row_lines": Case(lambda: writing(logged=False), per=ROWS, rounds=200),
        "plain_call": latency(portal, "server0_add", {"a": 1, "b": 2}),
    }


def writing(*, logged: bool) -> Callable[[], object]:
    """An operation that writes so many rows, as calls do. They are stored meanwhile, in the log's own threads."""
    loop = Loop()

    async def opened() -> RecordLog:
        stack = AsyncExitStack()
        log: CallLog | None = None
        if logged:
            folder = Path(mkdtemp(prefix="codemode-bench-"))
            place = LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)
            log = await stack.enter_async_context(CallLog.open(place, room=1 << 20, journal_bytes=1 << 28))
        return await stack.enter_async_context(RecordLog(Discard(), log))

    records = loop.run(opened())

    async def write() -> None:
        for _ in range(ROWS):
            row = call_row(
                CALL,
                CONTEXT,
                portal="",
                at=time.time_ns() // 1000,
                us=1234,
                outcome="ok",
                failure=None,
                server=None,
                protocol="2026-07-28",
                sent=200,
                received=2000,
            )
            records.write(row, "ada")
        # Others have their turn, the log's own tasks too.
        await asyncio.sleep(0)

    return lambda: loop.run(write())


def portal() -> str:
    upstream = start("benchmarks.servers.upstream")
    return start("benchmarks.servers.our_portal", "--logged", upstream, upstream)
