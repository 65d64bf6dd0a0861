"""The log: what a row costs on the path of a call, and a plain call through a portal that writes one."""

from __future__ import annotations

import asyncio
import atexit
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, mkdtemp

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.portal_client import latency, start
from portal.calls import Call
from portal.calls.rows import call_row
from portal.config import TraceSection
from portal.identity import Identity
from portal.logs import CallLog, Discard, LogPlace, LogRow, RecordLog
from portal.observe import Metrics, ObservedRecords, Traces
from portal.upstream import CallContext, CallFacts, CallSource, DownstreamClient

ROWS, ROUNDS = 400, 50
ADA = Identity(id="ada", email="ada@example.com", ip="192.0.2.1", country="DE")
CONTEXT = CallContext(
    identity="ada",
    principal=ADA,
    source=CallSource("2026-07-28", DownstreamClient(key="", info={"name": "agent", "version": "1.2"}), "", None),
)
CALL = Call.tool("tickets", "create_ticket")


def cases() -> Mapping[str, Case | Reading]:
    return {
        "row": Reading(lambda once: measured(once, _writing)),
        "row_observed": Reading(lambda once: measured(once, _observed())),
        "row_stored": Reading(lambda once: measured(once, _storing)),
        "row_line": Reading(lambda once: measured(once, _line)),
        "plain_call": latency(portal, "server0_add", {"a": 1, "b": 2}),
    }


def measured(once: bool, burst: Callable[[RecordLog, CallLog], Awaitable[float]]) -> Measurement:
    """Seconds a row, of bursts with nothing else going on: what a burst leaves behind is stored before the next one."""

    async def bursts() -> list[float]:
        with TemporaryDirectory(prefix="codemode-bench-") as folder:
            place = LogPlace(url=f"sqlite:///{folder}/logs.db", folder=Path(folder))
            async with CallLog.open(place) as log, RecordLog(Discard(), log) as records:
                found: list[float] = []
                for _ in range(1 if once else ROUNDS):
                    found.append(await burst(records, log) / ROWS)
                    await log.stored()
                return found

    found = asyncio.run(bursts())
    return Measurement(min(found), statistics.median(found))


async def _writing(records: RecordLog, log: CallLog) -> float:
    began = time.perf_counter()
    for _ in range(ROWS):
        records.write(_row(), "ada")
    return time.perf_counter() - began


def _observed() -> Callable[[RecordLog, CallLog], Awaitable[float]]:
    """With traces, of which none is kept, and numbers. What is made once is made before."""
    traces, metrics = Traces(), Metrics(lambda server, tool: True)
    traces.apply(TraceSection(endpoint="http://127.0.0.1:4318", sample=0))
    context = replace(CONTEXT, source=replace(CONTEXT.source, trace=traces.begin((), {})), facts=CallFacts())

    async def burst(records: RecordLog, log: CallLog) -> float:
        observed = ObservedRecords(records)
        observed.watchers = (traces.take, metrics.take)
        began = time.perf_counter()
        for _ in range(ROWS):
            place = traces.begin((), {})
            assert place is not None
            context.facts.trace = place.for_server("tickets")
            observed.write(_row(context), "ada")
        return time.perf_counter() - began

    return burst


async def _storing(records: RecordLog, log: CallLog) -> float:
    for _ in range(ROWS):
        records.write(_row(), "ada")
    began = time.perf_counter()
    await log.stored()
    return time.perf_counter() - began


async def _line(records: RecordLog, log: CallLog) -> float:
    async with RecordLog(Discard()) as without:
        began = time.perf_counter()
        for _ in range(ROWS):
            without.write(_row(), "ada")
        return time.perf_counter() - began


def _row(context: CallContext = CONTEXT) -> LogRow:
    """As a call makes it."""
    return call_row(
        CALL,
        context,
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


def portal() -> str:
    folder = mkdtemp(prefix="codemode-bench-")
    # Functions that are registered later run earlier: the portal is gone by then.
    atexit.register(rmtree, folder, ignore_errors=True)
    upstream = start("benchmarks.servers.upstream")
    return start("benchmarks.servers.our_portal", "--log", f"sqlite:///{folder}/logs.db", upstream, upstream)
