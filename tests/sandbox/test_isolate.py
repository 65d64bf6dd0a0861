"""The life of an isolate: single use, one thread at a time, closed from anywhere, paused and interrupted."""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox import (
    Completed,
    CpuTimeExceeded,
    Engine,
    EngineError,
    Failed,
    IsolateClosed,
    Limits,
    LocalStateError,
    Overloaded,
    Settlement,
    Suspended,
    WallTimeExceeded,
    epoch,
)
from sandbox.epoch import TimeBudget
from tests.patience import PATIENCE
from tests.sandbox.hostile.arena import HOUR, let_time_pass
from tests.sandbox.programs import NOW, SEED, Programs


class GuestThread(threading.Thread):
    """Runs a function on a deep stack and keeps what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        super().__init__()

    @classmethod
    def begin(cls, function: Callable[[], Any]) -> "GuestThread":
        before = threading.stack_size(16 << 20)
        thread = cls(function)
        thread.start()
        threading.stack_size(before)
        return thread

    def run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:
            self.error = error

    def cpu_time(self) -> float:
        """Seconds it has computed, on Linux; 0 where the system does not tell."""
        assert self.ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(self.ident)) if sys.platform == "linux" else 0.0

    def outcome(self) -> Any:
        self.join()
        if self.error is not None:
            raise self.error
        return self.result


def test_an_isolate_runs_one_program(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.start("1", NOW, SEED)
            with pytest.raises(LocalStateError):
                isolate.start("2", NOW, SEED)
            with pytest.raises(LocalStateError):
                isolate.resume((), NOW)
            with pytest.raises(LocalStateError):
                isolate.start_batch(b"")

    programs.on_thread(play)


def test_an_isolate_must_be_started_first(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            with pytest.raises(LocalStateError):
                isolate.resume((), NOW)
            with pytest.raises(LocalStateError):
                isolate.resume_batch(b"")
            assert isolate.start("3", NOW, SEED) == Completed(3)

    programs.on_thread(play)


def test_closing_is_idempotent_and_final(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        isolate = engine.isolate()
        isolate.start("await host.x()", NOW, SEED)
        assert isolate.suspended
        isolate.close()
        isolate.close()
        for step in (
            lambda: isolate.resume([Settlement.value(1, 1)], NOW),
            isolate.freeze,
            lambda: isolate.resume_batch(b""),
        ):
            with pytest.raises(IsolateClosed):
                step()

    programs.on_thread(play)


def test_after_a_trap_the_isolate_is_spent(programs: Programs) -> None:
    with Engine(Limits(cpu_time=0.02), slots=1) as engine:

        def play() -> None:
            with engine.isolate() as isolate:
                assert isinstance(isolate.start("for (;;);", NOW, SEED), Failed)
                with pytest.raises(LocalStateError):
                    isolate.resume((), NOW)
                with pytest.raises(LocalStateError):
                    isolate.resume_batch(b"")
                assert not isolate.suspended

        programs.on_thread(play)


def test_there_are_as_many_isolates_as_slots(programs: Programs) -> None:
    def play() -> None:
        with Engine(slots=2) as engine:
            one, two = engine.isolate(), engine.isolate()
            with pytest.raises(Overloaded, match="no isolate is free"):
                engine.isolate()
            assert engine.live_isolates == 2
            one.close()
            engine.isolate().close()
            two.close()

    programs.on_thread(play)


def test_an_engine_with_open_isolates_is_not_closed(programs: Programs) -> None:
    def play() -> None:
        engine = Engine(slots=2)
        isolate = engine.isolate()
        with pytest.raises(LocalStateError, match="1 isolates are still open"):
            engine.close()
        isolate.close()
        engine.close()
        engine.close()
        with pytest.raises(LocalStateError, match="closed"):
            engine.isolate()

    programs.on_thread(play)


def test_a_running_slice_is_interrupted_from_another_thread() -> None:
    with Engine(Limits(cpu_time=100), slots=2) as engine, engine.isolate() as isolate:
        running = GuestThread.begin(lambda: isolate.start("for (;;);", NOW, SEED))
        isolate.interrupt()
        with pytest.raises(IsolateClosed):
            running.outcome()


def test_closing_from_another_thread_ends_the_slice_and_frees_the_slot() -> None:
    with Engine(Limits(cpu_time=100), slots=1) as engine:
        isolate = engine.isolate()
        entered = threading.Event()

        def play() -> Any:
            entered.set()
            return isolate.start("for (;;);", NOW, SEED)

        running = GuestThread.begin(play)
        entered.wait()
        isolate.close()
        with pytest.raises(IsolateClosed):
            running.outcome()
        assert engine.live_isolates == 0
        engine.isolate().close()


def test_closing_from_two_threads_at_once_frees_it_once() -> None:
    with Engine(slots=50) as engine:
        isolates = [engine.isolate() for _ in range(50)]
        together = threading.Barrier(2)

        def close() -> None:
            for isolate in isolates:
                together.wait(PATIENCE)
                isolate.close()

        closing = [GuestThread.begin(close) for _ in range(2)]
        for thread in closing:
            thread.outcome()
        assert engine.live_isolates == 0
        engine.isolate().close()


def test_a_program_whose_time_is_over_is_frozen_whole(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Freezing asks the guest a question, which a tick of the epoch after the program's limit must not cut short."""
    monkeypatch.setattr(epoch, "TICK", 0.0)
    with Engine(Limits(wall_time=HOUR), slots=2) as engine:

        def play() -> None:
            with engine.isolate() as isolate:
                isolate.start("await host.x()", NOW, SEED)
                let_time_pass(isolate, HOUR)
                for _ in range(100):
                    frozen = isolate.freeze()
            with engine.thaw(frozen) as thawed:
                outcome = thawed.resume([Settlement.value(1, 1)], NOW)
            assert isinstance(outcome, Failed) and isinstance(outcome.error, WallTimeExceeded)

        programs.on_thread(play)


def test_an_isolate_is_used_by_one_thread_at_a_time() -> None:
    with Engine(Limits(cpu_time=100), slots=1) as engine, engine.isolate() as isolate:
        running = GuestThread.begin(lambda: isolate.start("for (;;);", NOW, SEED))
        while True:
            try:
                isolate.start_batch(b"")
            except LocalStateError as error:
                if "another thread" in str(error):
                    break
        isolate.interrupt()
        with pytest.raises(IsolateClosed):
            running.outcome()


@dataclass
class Gates:
    """Sees every slice that stops at its pause; `before` is called in its thread, just before it stops there."""

    before: Callable[[TimeBudget], None] = lambda budget: None
    reached: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> Gates:
    gates, wait = Gates(), TimeBudget.wait_while_paused

    def seen(budget: TimeBudget) -> None:
        gates.before(budget)
        gates.reached.set()
        wait(budget)

    monkeypatch.setattr(TimeBudget, "wait_while_paused", seen)
    return gates


def test_a_paused_slice_computes_nothing_until_it_may_proceed(gates: Gates) -> None:
    with Engine(Limits(cpu_time=100, wall_time=HOUR), slots=2) as engine, engine.isolate() as isolate:
        running = GuestThread.begin(lambda: isolate.start("for (;;);", NOW, SEED))
        while not isolate._running:
            pass
        isolate.pause()
        assert gates.reached.wait(PATIENCE)
        before = running.cpu_time()
        with engine.isolate() as other:  # runs for tens of ticks
            computing = GuestThread.begin(lambda: other.start("for (let i = 0; i < 1e7; i++);", NOW, SEED))
            assert isinstance(computing.outcome(), Completed)
        assert running.is_alive()
        assert running.cpu_time() - before < 0.01
        isolate._budget.cpu_limit = 0.0
        isolate.proceed()
        outcome = running.outcome()
        assert isinstance(outcome.error, CpuTimeExceeded)


def test_a_paused_slice_can_be_interrupted() -> None:
    with Engine(Limits(cpu_time=100), slots=1) as engine, engine.isolate() as isolate:
        running = GuestThread.begin(lambda: isolate.start("for (;;);", NOW, SEED))
        while not isolate._running:
            pass
        isolate.pause()
        isolate.interrupt()
        with pytest.raises(IsolateClosed):
            running.outcome()


def test_a_pause_does_not_outlast_the_wall_time(gates: Gates) -> None:
    with Engine(Limits(cpu_time=100, wall_time=HOUR), slots=1) as engine, engine.isolate() as isolate:
        gates.before = lambda _: let_time_pass(isolate, HOUR - 0.1)
        running = GuestThread.begin(lambda: isolate.start("for (;;);", NOW, SEED))
        while not isolate._running:
            pass
        isolate.pause()
        assert isinstance(running.outcome().error, WallTimeExceeded)
        assert gates.reached.is_set()


def test_pausing_an_isolate_that_does_not_run_means_nothing(programs: Programs, engine: Engine) -> None:
    def play() -> None:
        with engine.isolate() as isolate:
            isolate.pause()
            assert isolate.start("1", NOW, SEED) == Completed(1)
            isolate.proceed()

    programs.on_thread(play)


def test_many_isolates_on_many_threads_do_not_mix(engine: Engine) -> None:
    def play(n: int) -> list[Any]:
        found = []
        for _ in range(40):
            with engine.isolate() as isolate:
                outcome = isolate.start(f"const a = await host.get({n}); [{n}, a, globalThis.seen ?? null]", NOW, SEED)
                assert isinstance(outcome, Suspended)
                assert outcome.calls[0].arguments == n
                found.append(isolate.resume([Settlement.value(1, n * 1000)], NOW))
        return found

    threads = [GuestThread.begin(lambda n=n: play(n)) for n in range(6)]  # type: ignore[misc]
    for n, thread in enumerate(threads):
        assert thread.outcome() == [Completed([n, n * 1000, None])] * 40


def test_a_forked_child_refuses_to_run_guests(programs: Programs) -> None:
    """Its epoch thread did not come along, so nothing would stop an endless program there."""
    with Engine(slots=1) as engine:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                engine.isolate().start("1", NOW, SEED)
                message = "it ran"
            except EngineError as error:
                message = str(error)
            finally:
                os.write(writer, message.encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            assert "fork" in pipe.read()
        os.waitpid(child, 0)


def test_eight_mebibytes_of_thread_stack_are_enough() -> None:
    before = threading.stack_size(8 << 20)
    with Engine(slots=1) as engine, engine.isolate() as isolate:
        thread = GuestThread(lambda: isolate.start("const f = () => [1].map(f); f()", NOW, SEED))
        thread.start()
        outcome = thread.outcome()
    threading.stack_size(before)
    assert outcome.error.kind == "stack"
