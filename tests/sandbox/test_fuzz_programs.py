"""Random programs, preloads and settlements through the real guest: an outcome each time, and a host as before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sandbox import (
    EngineError,
    HostCall,
    Isolate,
    Limits,
    LocalStateError,
    Outcome,
    Settlement,
    Suspended,
    decode_outcome,
    encode_resume,
    encode_start,
)
from tests.deep import examples

from .hostile.arena import NOW, QUICK, SEED, Arena, MiB, arena, drive
from .hostile.grammar import expressions, programs, soup, statements
from .hostile.strategies import JSON_VALUES, mutated

LIMITS = replace(QUICK, cpu_time=0.05, memory=8 * MiB, calls=20, timers=20)
WIDE = Limits(result=1024 * MiB, depth=400)
KINDS = {
    "completed",
    "suspended",
    "syntax",
    "exception",
    "deadlock",
    "cpu_time",
    "wall_time",
    "memory",
    "stack",
    "calls",
    "size",
}
FEW = examples(250, settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]))


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(LIMITS) as made:
        yield made
        made.check()


@given(st.text(max_size=100))
@FEW
@example("\0")
@example("\ufeff")
@example("#!\n1")
@example("\u2028\u2029")
@example("\ud800")
@example("/*")
@example("//")
@example("`")
def test_any_text_as_a_program(ground: Arena, source: str) -> None:
    assert ground.run(source).kind in KINDS


@given(soup)
@FEW
def test_a_soup_of_tokens_as_a_program(ground: Arena, source: str) -> None:
    assert ground.run(source).kind in KINDS


@given(programs)
@FEW
def test_a_random_program(ground: Arena, source: str) -> None:
    assert ground.run(source).kind in KINDS


@given(programs, st.lists(JSON_VALUES, min_size=1, max_size=4), st.randoms(use_true_random=False))
@FEW
def test_a_random_program_with_random_answers(
    ground: Arena, source: str, values: list[Any], chance: random.Random
) -> None:
    def answer(call: HostCall) -> Settlement:
        value = values[call.id % len(values)]
        if chance.random() < 0.3:
            properties = value if isinstance(value, dict) else {"data": value}
            return Settlement.error(call.id, name=str(value)[:9], message=str(value), properties=properties)
        return Settlement.value(call.id, value)

    assert ground.run(source, answer=answer).kind in KINDS


@given(programs)
@examples(100, FEW)
def test_a_program_has_the_same_outcome_every_time(ground: Arena, source: str) -> None:
    first, second = ground.run(source), ground.run(source)
    if "cpu_time" not in (first.kind, second.kind):
        assert first == second


@given(programs)
@examples(100, FEW)
def test_a_program_frozen_and_thawed_at_every_wait_ends_as_if_it_were_not(ground: Arena, source: str) -> None:
    def frozen_run() -> tuple[Outcome, list[str]]:
        isolate = ground.engine.isolate()
        names: list[str] = []
        now = NOW
        outcome = isolate.start(source, now, SEED)
        for _ in range(60):
            names += [call.name for call in outcome.calls]
            if not isinstance(outcome, Suspended):
                break
            data = isolate.freeze()
            isolate.close()
            isolate = ground.engine.thaw(data)
            settlements = [Settlement.value(call.id, call.arguments) for call in outcome.calls]
            if not settlements and outcome.wake_at is not None:
                now = max(now, outcome.wake_at)
            outcome = isolate.resume(settlements, now)
        isolate.close()
        return outcome, names

    plain = ground.run(source)
    if plain.slices < 60:
        outcome, names = ground.on_thread(frozen_run)
        kinds = {plain.kind, getattr(getattr(outcome, "error", None), "kind", "")}
        if "cpu_time" not in kinds:
            assert outcome == plain.outcome
            assert names == [call.name for call in plain.calls]


STARTS = st.sampled_from(
    [
        "1 + 1",
        "await host.x({ a: 1 })",
        "function never() {}",
        "export default [1]",
        "return [1, 2, 3].map(String)",
        "console.log('x'); setTimeout(() => {}, 1); await host.x()",
        "x" * 20000,
    ]
)
SETTLED = [Settlement.value(1, {"a": [1, "two"]}), Settlement.error(2, name="E", message="m", properties={"a": 1})]


@given(
    st.binary(max_size=300) | mutated(STARTS.map(lambda source: encode_start(source, NOW, SEED, LIMITS))),
    st.binary(max_size=100) | mutated(st.just(encode_resume(SETTLED, NOW, LIMITS))),
)
@FEW
@example(b"", b"")
@example(encode_start("1", NOW, SEED, LIMITS)[:-1], b"")
@example(encode_start("await host.x()", NOW, SEED, LIMITS), encode_resume(SETTLED, NOW, LIMITS)[:-1])
@example(encode_start("await host.x()", NOW, SEED, LIMITS), b"\0" * 8 + b"\xff" * 4)
@example(encode_start("await host.x()", NOW, SEED, LIMITS), b"\xff" * 100)
def test_any_batch_gives_an_outcome_or_an_engine_error(ground: Arena, first: bytes, second: bytes) -> None:
    """Batches come from the host, but the guest trusts no length in them: it traps, and the isolate is gone."""

    def work() -> None:
        with ground.engine.isolate() as isolate:
            try:
                for output in (isolate.start_batch(first), isolate.resume_batch(second)):
                    decode_outcome(output, WIDE)
            except EngineError:
                pass

    ground.on_thread(work)
    ground.check()


WAITING = """
const log = [], say = (...words) => log.push(words);
const on = (name) => host[name](name).then((v) => say(name, v), (e) => say(name, e.name, e.data));
for (const name of ['a', 'b', 'c']) on(name);
setTimeout(() => { log.push('timer'); on('d') }, 10);
await Promise.all([host.e(1).catch((e) => e.message), new Promise((done) => setTimeout(done, 20))]);
log.length < 50 ? log : 'long'"""
STEP = st.tuples(
    st.lists(st.tuples(st.integers(-1, 8), st.booleans(), JSON_VALUES), max_size=4),
    st.sampled_from([0.0, 1.0, 10.0, 25.0, -5.0, 1e6, 1e15, -1e15]),
)


@given(st.lists(STEP, max_size=8))
@FEW
def test_random_settlements_in_random_order(
    ground: Arena, steps: list[tuple[list[tuple[int, bool, Any]], float]]
) -> None:
    def work() -> None:
        with ground.engine.isolate() as isolate:
            waiting: set[int] = set()
            outcome = isolate.start(WAITING, NOW, SEED)
            for answers, later in steps:
                if not isinstance(outcome, Suspended):
                    break
                waiting |= {call.id for call in outcome.calls}
                ids = [id for id, _, _ in answers]
                allowed = set(ids) <= waiting and len(set(ids)) == len(ids)
                try:
                    outcome = isolate.resume([_settlement(*answer) for answer in answers], NOW + later)
                except LocalStateError:
                    assert not allowed
                else:
                    assert allowed
                    waiting -= set(ids)

    ground.on_thread(work)
    ground.check()


def _settlement(id: int, ok: bool, value: Any) -> Settlement:
    if ok:
        return Settlement.value(id, value)
    return Settlement.error(
        id, name="ToolError", message=str(value), properties={"data": value, "name": value, "stack": 1}
    )


@pytest.mark.parametrize(
    "now", [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 1e308, 8.64e15, 8.64e15 + 1, 5e-324]
)
def test_any_time_is_a_time(ground: Arena, now: float) -> None:
    """The host's clock is the host's affair; the guest holds whatever it is told."""

    def work() -> list[Outcome]:
        with ground.engine.isolate() as isolate:
            found = [
                isolate.start(
                    "setTimeout(() => {}, 5); await host.x(); [Date.now(), performance.now(), new Date()]", now, SEED
                )
            ]
            found.append(isolate.resume([Settlement.value(1, 1)], now))
            return found

    assert len(ground.on_thread(work)) == 2
    ground.check()


@given(statements(expressions) | soup)
@examples(100, FEW)
@example("throw 1")
@example("host.call('x')")
@example("host.call.call.call(host.call, 1, 2)")
@example("globalThis.host = host; host.call = 1")
@example("Object.freeze(globalThis)")
@example("delete globalThis.host")
@example("Object.defineProperty(globalThis, 'host', { configurable: false, value: host })")
@example("setTimeout(() => {}, 0)")
@example("Promise.reject(1)")
@example("host.call('x', 1).then(() => {})")
@example("await 1")
@example("})(); (function () {")
def test_a_random_preload_gives_an_image_or_an_engine_error(ground: Arena, preload: str) -> None:
    """Preloads are trusted, but a mistake in one must not harm the host or the next."""

    def work() -> str:
        try:
            image = ground.engine.image(preload)
        except EngineError as error:
            return str(error)
        with ground.engine.isolate(image) as isolate:
            return drive(isolate, "1 + 1").kind

    assert ground.on_thread(work)
    ground.check()


def test_isolates_in_many_threads_do_not_get_in_each_others_way() -> None:
    """Random interleavings of start, resume, freeze, interrupt and close from several threads on the same isolates."""
    with arena(LIMITS, threads=4, slots=40) as ground:
        isolates = [ground.engine.isolate() for _ in range(30)]

        def meddle(seed: int) -> list[str]:
            chance = random.Random(seed)
            return [_meddle(chance, chance.choice(isolates)) for _ in range(150)]

        found = [name for names in ground.threads.map(meddle, range(4)) for name in names]
        for isolate in isolates:
            isolate.close()
        assert set(found) <= {"", "LocalStateError", "IsolateClosed"}
        ground.check()


def _meddle(chance: random.Random, isolate: Isolate) -> str:
    try:
        match chance.randrange(12):
            case 0 | 1 | 2 | 3:
                isolate.start(
                    "for (let i = 0; i < 1e4; i++); await host.x(); for (let i = 0; i < 1e5; i++);", NOW, SEED
                )
            case 4 | 5 | 6:
                isolate.resume([Settlement.value(1, 1)], NOW)
            case 7 | 8:
                isolate.freeze()
            case 9:
                isolate.interrupt()
            case 10:
                isolate.pause()
                isolate.proceed()
            case _ if chance.random() < 0.3:
                isolate.close()
            case _:
                assert isolate.cpu_time >= 0
    except EngineError as error:
        return type(error).__name__
    return ""
