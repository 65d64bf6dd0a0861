"""Workers that die, hang or turn hostile: their own runs fail with a reason, others do not notice, each is replaced."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from sandbox import (
    Completed,
    EngineError,
    GuestAbiError,
    IsolateClosed,
    Limits,
    Settlement,
    Suspended,
    WorkerDied,
    WorkerExecutor,
)
from sandbox.workers.process import command
from tests.deep import deep

pytestmark = pytest.mark.anyio

SEED = bytes(32)
NOW = 1_700_000_000_000.0
ENDLESS = "for (;;) {}"
WAITING = "await host.wait() + 1"
ROOT = Path(__file__).resolve().parents[2]
LOOPS = ("asyncio", "uvloop")


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def answer(executor: WorkerExecutor, source: str = "6 * 7") -> object:
    async with executor.execution() as execution:
        outcome = await execution.start(source, NOW, SEED)
        assert isinstance(outcome, Completed)
        return outcome.value


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
async def test_a_worker_killed_mid_run_fails_that_run_and_is_replaced(number: signal.Signals) -> None:
    async with WorkerExecutor(workers=1) as executor:
        (pid,) = executor.pids
        running = asyncio.create_task(executor.execution().start(ENDLESS, NOW, SEED))
        await asyncio.sleep(0)
        os.kill(pid, number)
        with pytest.raises(WorkerDied, match=number.name):
            await running
        assert await answer(executor) == 42
        assert executor.pids != (pid,)


async def test_runs_in_other_workers_do_not_notice() -> None:
    async with WorkerExecutor(workers=2) as executor:
        await until(lambda: len(executor.pids) == 2)
        first, second = executor.execution(), executor.execution()
        assert isinstance(await first.start(WAITING, NOW, SEED), Suspended)
        assert isinstance(await second.start(WAITING, NOW, SEED), Suspended)
        assert first.worker is not None and second.worker is not None
        assert first.worker.pid != second.worker.pid
        os.kill(first.worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerDied):
            await first.resume([Settlement.value(1, 1)], NOW)
        assert await second.resume([Settlement.value(1, 1)], NOW) == Completed(2)


async def test_a_run_waiting_for_its_dead_worker_fails_at_once() -> None:
    """Its worker is busy with another run; it dies while the resumed run stands in the queue."""
    async with WorkerExecutor(workers=1) as executor:
        (pid,) = executor.pids
        suspended = executor.execution()
        assert isinstance(await suspended.start(WAITING, NOW, SEED), Suspended)
        blocking = asyncio.create_task(executor.execution().start(ENDLESS, NOW, SEED))
        await asyncio.sleep(0)
        resuming = asyncio.create_task(suspended.resume([Settlement.value(1, 1)], NOW))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        for task in (blocking, resuming):
            with pytest.raises(WorkerDied):
                await task


async def test_a_run_frozen_before_its_worker_died_goes_on_in_another() -> None:
    async with WorkerExecutor(workers=1) as executor:
        (pid,) = executor.pids
        execution = executor.execution()
        assert isinstance(await execution.start(WAITING, NOW, SEED), Suspended)
        frozen = await execution.freeze()
        os.kill(pid, signal.SIGKILL)
        async with executor.thaw(frozen) as thawed:
            await until(lambda: executor.pids != (pid,))
            assert await thawed.resume([Settlement.value(1, 41)], NOW) == Completed(42)


async def test_a_stopped_worker_is_killed_by_the_watchdog() -> None:
    async with WorkerExecutor(workers=1) as executor:
        (pid,) = executor.pids
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(WorkerDied, match="stopped by a signal"):
            await executor.execution().start(ENDLESS, NOW, SEED)
        assert await answer(executor) == 42


PRELUDE = """
import json, os, socket, struct, sys, time
parent, *descriptors = [int(word) for word in sys.argv[1:]]
control, *lanes = [socket.socket(fileno=descriptor) for descriptor in descriptors]

def pack(kind, run=0, payload=b"", magic=0xC0DE):
    return struct.pack("<IBBHQ", len(payload), kind, 0, magic, run) + payload

def read(end):
    head = end.recv(16, socket.MSG_WAITALL)
    length, kind, _, _, run = struct.unpack("<IBBHQ", head)
    return kind, run, end.recv(length, socket.MSG_WAITALL) if length else b""

read(control)
def ready(threads):
    said = {"build_id": BUILD, "in_force": {}, "missing": {}, "threads": threads}
    return pack(64, 0, json.dumps(said).encode())

READY = ready([os.getpid()] * len(lanes))
SUSPENDED, FINISHED, STORED, FAULT = 65, 66, 68, 70
OK = struct.pack("<d", 0.1) + b'["completed", true, 42, [], []]'
lane = lanes[0]
"""
"""A worker of the tests' own: speaks the protocol by hand, so that it can speak it wrongly."""

AFTER_READY = {
    "noise": 'read(lane); lane.sendall(b"\\xff" * 4000)',
    "another magic": "_, run, _ = read(lane); lane.sendall(pack(FINISHED, run, OK, magic=1))",
    "an unknown kind": "_, run, _ = read(lane); lane.sendall(pack(99, run, OK))",
    "a payload of 4 GiB": '_, run, _ = read(lane); lane.sendall(struct.pack("<IBBHQ", 2**32 - 1, 66, 0, 0xC0DE, run))',
    "a reply of 20 MiB": "_, run, _ = read(lane); lane.sendall(pack(FINISHED, run, bytes(20 << 20)))",
    "a reply for another run": "_, run, _ = read(lane); lane.sendall(pack(FINISHED, run + 1, OK))",
    "two replies": "_, run, _ = read(lane); lane.sendall(pack(SUSPENDED, run + 1, OK) * 2)",
    "a reply of another kind": "_, run, _ = read(lane); lane.sendall(pack(STORED, run, b''))",
    "a reply cut short": "_, run, _ = read(lane); lane.sendall(pack(FINISHED, run, b'abc'))",
    "a time that is none": '_, run, _ = read(lane); lane.sendall(pack(FINISHED, run, struct.pack("<d", float("nan"))))',
    "an end that is none": "_, run, _ = read(lane); lane.sendall(pack(SUSPENDED, run, OK))",
    "an unknown fault": "_, run, _ = read(lane); lane.sendall(pack(FAULT, run, b'\\xc8?'))",
    "ready a second time": "read(lane); control.sendall(READY)",
    "a frame on the control channel": "read(lane); control.sendall(pack(FINISHED, 1, OK))",
    "a closed lane": "read(lane); lane.shutdown(socket.SHUT_RDWR)",
    "a closed control channel": "read(lane); control.shutdown(socket.SHUT_RDWR)",
    "an end without a word": "read(lane); os._exit(3)",
    "a crash": "read(lane); import ctypes; ctypes.string_at(0)",
}


def turncoat(tmp_path: Path, deeds: str, build: str = "another") -> list[str]:
    """A command that does `deeds` the first time it is run, and starts a true worker from then on."""
    script = tmp_path / "worker.py"
    marker = tmp_path / "been here"
    honest = f"os.execv({sys.executable!r}, {command()!r} + sys.argv[1:])"
    script.write_text(
        f"import os, sys\nif os.path.exists({str(marker)!r}):\n    {honest}\n"
        f"with open({str(marker)!r}, 'w') as marker:\n    marker.write(str(os.getpid()))\n"
        f"BUILD = {build!r}\n{PRELUDE}\n{deeds}\ntime.sleep(600)\n",
        encoding="utf-8",
    )
    return [sys.executable, "-I", str(script)]


@pytest.fixture(scope="module")
def build() -> str:
    async def of_a_worker() -> str:
        async with WorkerExecutor(workers=1) as executor:
            return executor.build_id

    return asyncio.run(of_a_worker())


@pytest.mark.parametrize(("anyio_backend", "deed"), deep(product(LOOPS, AFTER_READY)), indirect=["anyio_backend"])
async def test_a_worker_that_breaks_the_protocol_is_killed_and_replaced(deed: str, tmp_path: Path, build: str) -> None:
    words = turncoat(tmp_path, f"control.sendall(READY)\n{AFTER_READY[deed]}", build)
    async with WorkerExecutor(workers=1, command=words) as executor:
        (pid,) = executor.pids
        with pytest.raises(WorkerDied):
            await executor.execution().start("1", NOW, SEED)
        assert not Path(f"/proc/{pid}").exists()
        assert await answer(executor) == 42


async def test_a_frame_nobody_asked_for_costs_an_idle_worker_its_life(tmp_path: Path, build: str) -> None:
    words = turncoat(tmp_path, "control.sendall(READY); lane.sendall(pack(FINISHED, 1, OK))", build)
    async with WorkerExecutor(workers=1, command=words) as executor:
        liar = (tmp_path / "been here").read_text(encoding="utf-8")
        await until(lambda: not Path(f"/proc/{liar}").exists())
        assert await answer(executor) == 42


async def test_what_the_guest_says_wrongly_costs_the_run_and_not_the_worker(tmp_path: Path, build: str) -> None:
    deeds = """
control.sendall(READY)
_, run, _ = read(lane)
lane.sendall(pack(SUSPENDED, run, struct.pack("<d", 0.1) + b'["suspended", [[7, "x", null, 1]], null, []]'))
assert read(control)[:2] == (2, run)
_, run, _ = read(lane)
lane.sendall(pack(FINISHED, run, OK))
"""
    async with WorkerExecutor(workers=1, command=turncoat(tmp_path, deeds, build)) as executor:
        (pid,) = executor.pids
        with pytest.raises(GuestAbiError):
            await executor.execution().start("1", NOW, SEED)
        assert await answer(executor) == 42
        assert executor.pids == (pid,)


async def test_a_worker_that_cannot_be_ready_is_an_error_that_says_why() -> None:
    with pytest.raises(WorkerDied, match="status 7"):
        async with WorkerExecutor(workers=1, command=[sys.executable, "-c", "raise SystemExit(7)"]):
            pass
    with pytest.raises(EngineError, match="could not be started"):
        async with WorkerExecutor(workers=1, command=["/nonexistent/python"]):
            pass


async def test_a_worker_that_dies_at_its_start_is_tried_again(tmp_path: Path) -> None:
    words = turncoat(tmp_path, "os._exit(1)")
    executor = WorkerExecutor(workers=1, command=words)
    with pytest.raises(WorkerDied):
        await executor.open()
    assert await answer(executor) == 42
    await executor.aclose()


async def test_a_worker_of_another_build_is_refused(tmp_path: Path) -> None:
    words = turncoat(tmp_path, "control.sendall(READY); read(lane); os._exit(1)", "another build")
    async with WorkerExecutor(workers=1, command=words) as executor:
        with pytest.raises(WorkerDied):
            await executor.execution().start("1", NOW, SEED)
        with pytest.raises(EngineError, match="replaced while this process runs"):
            await answer(executor)


async def test_a_worker_that_never_answers_is_killed_after_the_wall_time(tmp_path: Path, build: str) -> None:
    words = turncoat(tmp_path, "control.sendall(READY)", build)
    async with WorkerExecutor(Limits(wall_time=0.1), workers=1, command=words, grace=0.1) as executor:
        with pytest.raises(WorkerDied, match="did not answer in time"):
            await executor.execution().start("1", NOW, SEED)


async def test_a_worker_that_burns_more_cpu_than_its_limit_is_killed(tmp_path: Path, build: str) -> None:
    words = turncoat(tmp_path, "control.sendall(READY)\nwhile True: pass", build)
    async with WorkerExecutor(Limits(cpu_time=0.1), workers=1, command=words, grace=0.1) as executor:
        with pytest.raises(WorkerDied, match="did not answer in time"):
            await executor.execution().start("1", NOW, SEED)


async def test_what_others_compute_in_a_worker_does_not_count_as_the_time_of_one_that_waits(
    tmp_path: Path, build: str
) -> None:
    deeds = """
import threading
asked, computed = threading.Event(), threading.Event()

def serve():
    _, run, _ = read(lane)
    asked.set()
    computed.wait()
    lane.sendall(pack(FINISHED, run, OK))

thread = threading.Thread(target=serve)
thread.start()
control.sendall(ready([thread.native_id] * len(lanes)))
asked.wait()
while time.process_time() < 0.6: pass
computed.set()
"""
    words = turncoat(tmp_path, deeds, build)
    async with WorkerExecutor(Limits(cpu_time=0.1), workers=1, command=words, grace=0.1) as executor:
        assert await answer(executor) == 42
        assert (tmp_path / "been here").read_text(encoding="utf-8") == str(executor.pids[0])


async def test_a_worker_that_reports_other_lanes_than_it_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied, match="other lanes"):
        async with WorkerExecutor(workers=1, command=turncoat(tmp_path, "control.sendall(ready([1]))")):
            pass


async def test_a_worker_that_does_not_stop_a_run_when_told_is_killed(tmp_path: Path, build: str) -> None:
    words = turncoat(tmp_path, "control.sendall(READY)", build)
    async with WorkerExecutor(workers=1, command=words, grace=0.1) as executor:
        execution = executor.execution()
        running = asyncio.create_task(execution.start("1", NOW, SEED))
        await asyncio.sleep(0)
        await execution.aclose()
        with pytest.raises(WorkerDied):
            await running
        assert await answer(executor) == 42


async def test_a_stop_that_overtakes_its_start_still_counts() -> None:
    """The two travel on different sockets: many runs are closed right after they were sent."""
    async with WorkerExecutor(workers=2, parallel=2) as executor:
        (first, *_) = executor.pids
        for _ in range(10):
            execution = executor.execution()
            running = asyncio.create_task(execution.start(ENDLESS, NOW, SEED))
            await asyncio.sleep(0)
            await execution.aclose()
            with pytest.raises(IsolateClosed):
                await running
        assert executor.pids[0] == first


PORTAL = """
import asyncio, os, sys
from sandbox import WorkerExecutor

async def main():
    async with WorkerExecutor(workers=2) as executor:
        while len(executor.pids) < 2:
            await asyncio.sleep(0.01)
        running = asyncio.create_task(executor.execution().start("for (;;) {}", 0.0, bytes(32)))
        await asyncio.sleep(0)
        print(*executor.pids, flush=True)
        await running

asyncio.run(main())
"""


def test_no_worker_outlives_a_portal_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PORTAL], stdout=subprocess.PIPE, cwd=ROOT, text=True) as portal:
        assert portal.stdout is not None
        pids = [int(word) for word in portal.stdout.readline().split()]
        assert len(pids) == 2
        handles = [os.pidfd_open(pid) for pid in pids]
        portal.kill()
    for handle in handles:
        select.select([handle], [], [])  # until it has ended
        os.close(handle)


async def test_closing_the_executor_leaves_no_process_and_no_descriptor() -> None:
    async def use() -> tuple[int, ...]:
        async with WorkerExecutor(workers=2) as executor:
            await until(lambda: len(executor.pids) == 2)
            assert await answer(executor) == 42
            return executor.pids

    await use()  # what the loop itself opens once
    before = len(os.listdir("/proc/self/fd"))
    pids = await use()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
