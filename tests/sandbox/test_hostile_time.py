"""Programs that never end, in JavaScript and inside one builtin: the CPU limit ends each, nothing catches it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandbox import CpuTimeExceeded, Failed, Suspended, WallTimeExceeded
from tests.deep import deep

from .hostile.arena import HOUR, NOW, QUICK, SEED, Arena, MiB, arena, let_time_pass
from .hostile.programs import ARRAY_METHODS, ENDLESS, SLOW_NATIVE

LIKE = "{ length: 2 ** 53 - 1 }"
SETTLED = ("cpu_time", "memory", "exception")
"""How native work on too much may end: stopped, out of memory, or refused by the builtin."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(replace(QUICK, memory=64 * MiB)) as made:
        yield made


@pytest.mark.parametrize("how", deep(ENDLESS))
def test_a_program_that_never_ends_is_stopped(ground: Arena, how: str) -> None:
    ended = ground.run(ENDLESS[how])
    assert isinstance(ended.outcome, Failed)
    assert isinstance(ended.outcome.error, CpuTimeExceeded)
    assert "0.15 s" in ended.message


@pytest.mark.parametrize("how", deep(SLOW_NATIVE))
def test_long_work_inside_a_builtin_is_stopped(ground: Arena, how: str) -> None:
    assert ground.run(SLOW_NATIVE[how]).kind == "cpu_time"


@pytest.mark.parametrize("method", deep(ARRAY_METHODS))
def test_an_array_like_of_the_greatest_length_is_stopped_or_refused(ground: Arena, method: str) -> None:
    source = f"for (;;) Array.prototype.{method}.call({LIKE}, (x) => x)"
    assert ground.run(source).kind in SETTLED


@pytest.mark.parametrize(
    "source",
    [
        "const a = []; a.length = 4294967295; a.join('')",
        "JSON.parse('[' + '1,'.repeat(3e6) + '1]')",
        "Array.from({ length: 1e6 }, Math.random).sort()",
        "Array.from({ length: 2e5 }, (_, i) => '' + i).sort((a, b) => a.localeCompare(b))",
        "'x'.repeat(1e7).split('')",
        "Object.keys('x'.repeat(1e7))",
        "new Set('x'.repeat(1e7))",
        "'ab'.repeat(5e6).replace(/a/g, (x) => x + x)",
        "[...Array(1e7).keys()].length",
    ],
)
def test_much_work_ends_by_itself_or_by_a_limit(ground: Arena, source: str) -> None:
    assert ground.run(f"{source}; 1").kind in ("completed", "cpu_time", "memory")


AFTER = {
    "a getter of the result": "({ get a() { for (;;) {} } })",
    "a proxy as the result": "new Proxy({}, { ownKeys() { for (;;) {} } })",
    "a getter of a proxy as the result": "new Proxy({ a: 1 }, { get() { for (;;) {} } })",
    "toJSON of the result": "({ toJSON() { for (;;) {} } })",
    "then of the result": "({ get then() { for (;;) {} } })",
    "the name of what is thrown": "throw Object.defineProperty(new Error(), 'name', { get() { for (;;) {} } })",
    "the message of what is thrown": "throw Object.defineProperty(new Error(), 'message', { get() { for (;;) {} } })",
    "what is thrown": "throw { get a() { for (;;) {} } }",
    "a thrown proxy": "throw new Proxy({}, { get() { for (;;) {} }, ownKeys() { for (;;) {} } })",
    "prepareStackTrace": "Error.prepareStackTrace = () => { for (;;) {} }; throw new Error()",
    "an unhandled rejection": "Promise.reject({ get a() { for (;;) {} } }); 1",
    "an argument": "host.x({ get a() { for (;;) {} } })",
    "a name": "host[{ toString() { for (;;) {} } }](1)",
    "what a timer throws": "setTimeout(() => { throw { get a() { for (;;) {} } } }, 0); await host.x()",
    "then of a settlement": "Object.defineProperty(Object.prototype, 'then', { get() { for (;;) {} } });"
    " await host.x({ a: 1 })",
}


@pytest.mark.parametrize("where", AFTER)
def test_code_that_runs_while_a_value_leaves_is_stopped_too(ground: Arena, where: str) -> None:
    assert ground.run(AFTER[where]).kind == "cpu_time"


def test_what_was_logged_before_the_stop_is_kept(ground: Arena) -> None:
    ended = ground.run("for (let i = 0; i < 20; i++) console.log(i); for (;;) {}")
    assert ended.kind == "cpu_time"
    assert [line.text for line in ended.logs] == [str(i) for i in range(20)]


def test_cpu_time_adds_up_over_slices(ground: Arena) -> None:
    source = "for (;;) { for (let i = 0; i < 2e5; i++); await host.x() }"
    ended = ground.run(source)
    assert ended.kind in ("cpu_time", "calls")
    assert ended.slices > 2


def test_waiting_costs_no_cpu_time_but_ends_at_the_wall_time(ground: Arena) -> None:
    def work() -> None:
        with ground.engine.isolate() as isolate:
            outcome = isolate.start("for (;;) await new Promise((done) => setTimeout(done, 1))", NOW, SEED)
            for step in range(1, 100):
                assert isinstance(outcome, Suspended)
                let_time_pass(isolate, HOUR / 100)
                outcome = isolate.resume([], NOW + step)
            let_time_pass(isolate, HOUR / 100)
            outcome = isolate.resume([], NOW + 100)
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, WallTimeExceeded)

    ground.on_thread(work)
    ground.check()
