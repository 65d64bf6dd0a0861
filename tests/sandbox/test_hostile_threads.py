"""Guests on threads that are not made for them: an error that says so, never the end of the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import pytest

from sandbox import Engine, Isolate, LocalStateError
from tests.patience import PATIENCE

from .hostile.arena import NOW, SEED, KiB, MiB, arena
from .hostile.programs import DEEP

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def on_a_thread_with(stack: int, work: Callable[[], T]) -> T:
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # carried to the test
            found.set_exception(error)

    before = threading.stack_size(stack)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    return found.result(PATIENCE)


def test_a_thread_with_too_little_stack_is_told_so() -> None:
    with arena() as ground, ground.engine.isolate() as isolate:
        with pytest.raises(LocalStateError, match=r"stack has \d+ bytes"):
            on_a_thread_with(1 * MiB, lambda: isolate.start_batch(b""))
        assert ground.run("1 + 1", check=False).value == 2


def test_threads_with_stack_enough_run_what_nests_deepest() -> None:
    with arena() as ground:
        for stack in (8 * MiB, 16 * MiB):
            for how in (
                "a function",
                "an arrow through map",
                "parentheses",
                "JSON.parse of depth",
                "groups of a pattern",
            ):
                ended = on_a_thread_with(stack, lambda how=how: ground.drive(DEEP[how]))  # type: ignore[misc]
                assert ended.kind in ("stack", "exception")


CRASH = """
import sys, threading
sys.path.insert(0, {root!r})
from sandbox import Engine, Limits, LocalStateError
from tests.sandbox.hostile.programs import DEEP
threading.stack_size({stack})
refused = []
def run():
    for source in list(DEEP.values())[:12]:
        try:
            with engine.isolate() as isolate:
                isolate.start(source, 0.0, bytes(32))
        except LocalStateError as error:
            refused.append(error)
with Engine(Limits(cpu_time=1.0)) as engine:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
print(len(refused), end="")
"""


@pytest.mark.parametrize("stack", [64 * KiB, 256 * KiB, 1 * MiB, 4 * MiB])
def test_no_stack_is_so_small_that_a_program_ends_the_process(stack: int) -> None:
    script = CRASH.format(root=str(ROOT), stack=stack)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=250, check=False)
    assert (done.returncode, done.stdout) == (0, "12"), done.stderr[-2000:]


def test_an_isolate_that_runs_in_another_thread_is_not_touched() -> None:
    """Two threads in one store would be undefined behaviour; closing it under a running guest was a crash elsewhere."""
    with arena(threads=2) as ground:
        isolate = ground.engine.isolate()
        running = ground.threads.submit(isolate.start, "for (;;) {}", NOW, SEED)
        while not _is_running(isolate) and not running.done():
            pass
        refused = 0
        for work in (isolate.freeze, lambda: isolate.start_batch(b""), lambda: isolate.resume_batch(b"")):
            try:
                work()
            except LocalStateError:
                refused += 1
        assert refused == 3
        isolate.close()
        assert ground.engine.live_isolates in (0, 1)
        running.exception(PATIENCE)
        ground.check()


def _is_running(isolate: Isolate) -> bool:
    return isolate._running


def test_an_engine_is_not_closed_under_its_isolates() -> None:
    with Engine() as engine:
        isolate = engine.isolate()
        with pytest.raises(LocalStateError, match="still open"):
            engine.close()
        isolate.close()
        isolate.close()
