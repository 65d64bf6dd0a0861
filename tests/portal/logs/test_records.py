"""Call records: one JSON line each, in batches, bounded, with a count of the lost ones."""

from __future__ import annotations

import asyncio
import threading

import orjson
import pytest

from portal.logs import LogRow, RecordLog
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def record(name: str) -> LogRow:
    # 2026-01-01.
    return LogRow(1_767_225_600_000_000, 1500, "tool", "tools/call", "ok", server="s", name=name, run="r")


class Lines:
    """A sink that blocks while `held`."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.threads: set[int] = set()
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Event()

    def write(self, line: bytes) -> None:
        self.entered.set()
        assert self.free.wait(PATIENCE)
        self.threads.add(threading.get_ident())
        self.lines.append(line)


async def test_each_record_is_one_json_line_off_the_event_loop() -> None:
    sink = Lines()
    async with RecordLog(sink) as log:
        for number in range(3):
            log.write(record(f"tool\n{number}"))
        assert [one.name for one in log.recent] == ["tool\n0", "tool\n1", "tool\n2"]
    assert [orjson.loads(line)["name"] for line in sink.lines] == ["tool\n0", "tool\n1", "tool\n2"]
    assert orjson.loads(sink.lines[0]) == {
        "event": "call",
        "time": "2026-01-01T00:00:00.000Z",
        "server": "s",
        "kind": "tool",
        "name": "tool\n0",
        "duration_ms": 1.5,
        "outcome": "ok",
        "portal": "",
        "run_id": "r",
        "identity": "",
    }
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in sink.lines)
    assert threading.get_ident() not in sink.threads


async def test_what_the_sink_is_too_slow_for_is_counted_and_told() -> None:
    sink = Lines()
    sink.free.clear()
    async with RecordLog(sink, capacity=5) as log:
        log.write(record("first"))
        await asyncio.to_thread(sink.entered.wait, 20)
        for number in range(8):
            log.write(record(str(number)))
        assert log.dropped == 3
        sink.free.set()
    events = [orjson.loads(line) for line in sink.lines]
    assert [event["event"] for event in events] == ["call"] * 6 + ["calls_dropped"]
    assert events[-1]["count"] == 3


async def test_the_flood_of_one_caller_drops_no_record_of_another() -> None:
    sink = Lines()
    sink.free.clear()
    async with RecordLog(sink, capacity=8) as log:
        log.write(record("first"))
        await asyncio.to_thread(sink.entered.wait, 20)
        for number in range(20):
            log.write(record(str(number))._replace(identity="ada"))
        log.write(record("his")._replace(identity="bob"))
        sink.free.set()
    events = [orjson.loads(line) for line in sink.lines]
    assert [event["name"] for event in events if event.get("identity") == "bob"] == ["his"]
    assert events[-1] == {"event": "calls_dropped", "count": 16, "identity": "ada"}


async def test_the_flood_of_one_network_of_strangers_drops_no_record_of_another_or_of_a_person() -> None:
    sink = Lines()
    sink.free.clear()
    async with RecordLog(sink, capacity=8) as log:
        log.write(record("first"))
        await asyncio.to_thread(sink.entered.wait, 20)
        for number in range(20):
            log.write(record(str(number)), "address:192.0.2.1")
        log.write(record("stranger"), "address:192.0.2.2")
        log.write(record("person")._replace(identity="bob"), "bob")
        sink.free.set()
    events = [orjson.loads(line) for line in sink.lines]
    assert [event["name"] for event in events if event["event"] == "call"][-2:] == ["stranger", "person"]
    assert events[-1] == {"event": "calls_dropped", "count": 16}
    # A record says nothing of where its caller is.
    assert b"192.0.2" not in b"".join(sink.lines)


async def test_a_broken_sink_ends_neither_the_log_nor_the_caller() -> None:
    class Broken:
        def __init__(self) -> None:
            self.failures = 0
            self.lines: list[bytes] = []

        def write(self, line: bytes) -> None:
            if self.failures < 1:
                self.failures += 1
                raise OSError("disk full")
            self.lines.append(line)

    sink = Broken()
    log = RecordLog(sink)
    log.write(record("lost"))
    async with log:
        pass
    assert log.dropped == 1
    async with log:
        log.write(record("written"))
    assert orjson.loads(sink.lines[-1])["name"] == "written"


async def test_only_so_many_recent_records_are_kept() -> None:
    log = RecordLog(Lines(), capacity=10)
    for number in range(5000):
        log.write(record(str(number)))
    assert len(log.recent) == 1000
    assert log.recent[-1].name == "4999"
