"""Suspended programs that are large to freeze: while one is frozen to make room, everybody else goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from sandbox import (
    Completed,
    Engine,
    GuestAbiError,
    IsolateClosed,
    Limits,
    Settlement,
    decode_outcome,
    encode_resume,
    encode_start,
)
from sandbox.frozen import Header, pack, unpack
from sandbox.isolate import Isolate
from sandbox.workers.runs import Runs, Slice
from tests.patience import PATIENCE

from .hostile.arena import NOW, SEED, MiB, guest_threads

LIMITS = Limits(cpu_time=5.0)
COUNTER = "const a = [{start}]; a[0] += await host.more(); a[0]"


@dataclass
class Gate:
    """Holds up the freezing of isolates, where it is closed, until it is opened."""

    closed: bool = True
    opened: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    fails: bool = False

    def pass_through(self) -> None:
        if self.closed:
            self.reached.set()
            assert self.opened.wait(PATIENCE)
        if self.fails:
            raise GuestAbiError("it cannot be frozen")


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made, freeze = Gate(), Isolate.freeze

    def held_up(self: Isolate) -> bytes:
        made.pass_through()
        return freeze(self)

    monkeypatch.setattr(Isolate, "freeze", held_up)
    return made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    pool = guest_threads(3)
    yield pool
    pool.shutdown()


@pytest.fixture
def runs() -> Iterator[Runs]:
    with Engine(LIMITS, slots=4) as engine:
        yield Runs(engine, isolates=2, frozen_bytes=64 * MiB, output_bytes=64 * MiB)
        assert engine.live_isolates == 0


def start(value: int) -> bytes:
    return encode_start(COUNTER.format(start=value), NOW, SEED, LIMITS)


def settle(value: int) -> bytes:
    return encode_resume([Settlement.value(1, value)], NOW, LIMITS)


def value(ended: Slice) -> object:
    outcome = decode_outcome(ended.output, LIMITS)
    assert isinstance(outcome, Completed)
    return outcome.value


def test_others_go_on_while_one_is_frozen_to_make_room(runs: Runs, gate: Gate, threads: ThreadPoolExecutor) -> None:
    for run in (1, 2):
        assert threads.submit(runs.start, run, None, start(run)).result(PATIENCE).suspended
    newcomer = threads.submit(runs.start, 3, None, start(3))
    assert gate.reached.wait(PATIENCE)
    assert value(threads.submit(runs.resume, 2, settle(10)).result(PATIENCE)) == 12
    runs.stop(99)
    runs.pause(2)
    gate.closed = False
    waiting = threads.submit(runs.resume, 1, settle(10))
    assert not newcomer.done()
    gate.opened.set()
    assert newcomer.result(PATIENCE).suspended
    assert value(waiting.result(PATIENCE)) == 11
    assert value(threads.submit(runs.resume, 3, settle(10)).result(PATIENCE)) == 13
    runs.sweep()


def test_a_run_that_is_stopped_while_it_is_frozen_ends(runs: Runs, gate: Gate, threads: ThreadPoolExecutor) -> None:
    for run in (1, 2):
        assert threads.submit(runs.start, run, None, start(run)).result(PATIENCE).suspended
    newcomer = threads.submit(runs.start, 3, None, start(3))
    assert gate.reached.wait(PATIENCE)
    runs.stop(1)
    gate.closed = False
    gate.opened.set()
    assert newcomer.result(PATIENCE).suspended
    with pytest.raises(IsolateClosed):
        threads.submit(runs.resume, 1, settle(1)).result(PATIENCE)
    for run in (2, 3):
        runs.stop(run)
    runs.sweep()


def test_a_run_is_frozen_for_its_owner_and_stopped_meanwhile(
    runs: Runs, gate: Gate, threads: ThreadPoolExecutor
) -> None:
    assert threads.submit(runs.start, 1, None, start(1)).result(PATIENCE).suspended
    taken = threads.submit(runs.freeze, 1)
    assert gate.reached.wait(PATIENCE)
    runs.stop(1)
    gate.opened.set()
    assert len(taken.result(PATIENCE)) > 100
    with pytest.raises(IsolateClosed):
        threads.submit(runs.resume, 1, settle(1)).result(PATIENCE)
    runs.sweep()


def test_a_run_that_cannot_be_frozen_is_lost_alone(runs: Runs, gate: Gate, threads: ThreadPoolExecutor) -> None:
    gate.closed, gate.fails = False, True
    for run in (1, 2, 3):
        assert threads.submit(runs.start, run, None, start(run)).result(PATIENCE).suspended
    with pytest.raises(GuestAbiError):
        threads.submit(runs.resume, 1, settle(1)).result(PATIENCE)
    for run in (2, 3):
        assert value(threads.submit(runs.resume, run, settle(1)).result(PATIENCE)) == run + 1
    runs.sweep()


def test_places_are_kept_free_for_newcomers_by_those_who_suspend(threads: ThreadPoolExecutor) -> None:
    with Engine(LIMITS, slots=20) as engine:
        runs = Runs(engine, isolates=16, frozen_bytes=64 * MiB, output_bytes=64 * MiB)
        for run in range(40):
            assert threads.submit(runs.start, run, None, start(run)).result(PATIENCE).suspended
            assert engine.live_isolates <= 14
        for run in range(40):
            assert value(threads.submit(runs.resume, run, settle(1)).result(PATIENCE)) == run + 1
        runs.sweep()
        assert engine.live_isolates == 0


@pytest.mark.parametrize("content", [b"abcdefgh" * 400_000, SEED * 100_000, None, b"", b"x"])
def test_pages_survive_whether_they_can_be_compressed_or_not(content: bytes | None) -> None:
    pages = random.Random(1).randbytes(3 * MiB) if content is None else content
    frozen = pack(Header("b", "program"), pages)
    assert unpack(frozen, build="b", kind="program", largest=4 * MiB) == (Header("b", "program"), pages)
    assert len(frozen) < len(pages) * 1.01 + 1000
