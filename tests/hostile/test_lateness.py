"""The measure of a loop's lateness: it sees what this process does, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.hostile.lateness import lateness

pytestmark = pytest.mark.anyio
STALL = 0.08


def burn(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


@contextmanager
def switching_seldom() -> Iterator[None]:
    """Threads of pure Python keep the interpreter until they wait for something, as a call of C code would: also where
    the machine gives them a part of a core only."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def test_a_callback_that_runs_for_long_makes_the_loop_late() -> None:
    async with lateness() as late:
        await asyncio.sleep(0.01)
        burn(STALL)
        await asyncio.sleep(0.01)
    assert late.worst > STALL / 2


async def test_the_beat_in_which_the_block_ends_counts() -> None:
    async with lateness() as late:
        burn(STALL)
    assert late.worst > STALL / 2


async def test_a_thread_that_keeps_the_interpreter_makes_the_loop_late() -> None:
    with switching_seldom():
        async with lateness() as late:
            await asyncio.to_thread(burn, 2 * STALL)
    assert late.worst > STALL / 2


async def test_a_thread_that_gives_the_interpreter_back_does_not() -> None:
    data = bytes(16 * 1024 * 1024)
    async with lateness() as late:
        await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
    assert late.worst < STALL / 2


async def test_what_others_on_the_machine_do_is_not_counted() -> None:
    # More than there are cores: this process gets a part of one.
    neighbours = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        async with lateness() as late:
            await asyncio.sleep(0.3)
    finally:
        for neighbour in neighbours:
            neighbour.kill()
        for neighbour in neighbours:
            neighbour.wait()
    assert late.worst < STALL / 2
