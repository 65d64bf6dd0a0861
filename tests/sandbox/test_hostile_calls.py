"""Floods of host calls and timers, and programs that try to reach past the calls they may make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from sandbox import Completed, HostCall, IsolateClosed, LocalStateError, Settlement, Suspended
from tests.deep import deep

from .hostile.arena import NOW, QUICK, SEED, Arena, arena, drive, echo

LIMITS = replace(QUICK, calls=200, timers=100)


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(LIMITS) as made:
        yield made


def test_a_flood_of_calls_in_sequence_ends_at_the_limit(ground: Arena) -> None:
    ended = ground.run("for (let i = 0; i < 1e5; i++) await host.echo({ i })")
    assert ended.kind == "calls"
    assert [call.arguments["i"] for call in ended.calls] == list(range(200))


def test_a_flood_of_calls_at_once_ends_at_the_limit(ground: Arena) -> None:
    ended = ground.run("await Promise.all(Array.from({ length: 2e4 }, (_, i) => host.echo({ i })))")
    assert ended.kind == "calls"
    assert [call.id for call in ended.calls] == list(range(1, 201))


def test_the_end_of_a_flood_cannot_be_caught(ground: Arena) -> None:
    source = """
    let after = 0;
    try { for (;;) try { host.echo(1) } catch { after++ } finally { after++; continue } } finally { host.late(after) }
    'survived'"""
    ended = ground.run(source)
    assert ended.kind == "calls"
    assert {call.name for call in ended.calls} == {"echo"}


NESTED = {
    "toJSON": "{ toJSON() { for (let i = 0; i < N; i++) host.inner(i); return 1 } }",
    "a getter": "{ get a() { for (let i = 0; i < N; i++) host.inner(i); return 1 } }",
    "a proxy": "new Proxy({}, { ownKeys() { for (let i = 0; i < N; i++) host.inner(i); return [] } })",
    "prepareStackTrace": "(Error.prepareStackTrace = () => { Error.prepareStackTrace = undefined;"
    " for (let i = 0; i < N; i++) host.inner(i) }, 1)",
}


@pytest.mark.parametrize(
    ("how", "before", "inner"), deep(product(NESTED, [0, 14, 15, 16, 31, 63, 127, 197, 198, 199, 200], [1, 2, 17]))
)
def test_calls_made_while_a_call_is_made_are_calls_like_any_other(
    ground: Arena, how: str, before: int, inner: int
) -> None:
    """The table of calls grows by doubling: the program's own code runs between the check and the entry."""
    source = f"""
    const N = {inner}, many = Array.from({{ length: {before} }}, (_, i) => host.before(i)), litter = [];
    const outer = host.outer({NESTED[how]});
    for (let i = 0; i < 300; i++) litter.push('y'.repeat(i) + i, new Uint8Array(i));
    const found = [await outer, await Promise.all(many)];
    for (let i = 0; i < 300; i++) if (litter[2 * i] !== 'y'.repeat(i) + i) throw new Error('memory is not what it was');
    found"""
    ended = ground.run(source, answer=lambda call: Settlement.value(call.id, call.name))
    assert [call.id for call in ended.calls] == list(range(1, len(ended.calls) + 1))
    if before + inner + 1 > 200:
        assert ended.kind == "calls"
        assert len(ended.calls) == 200
    else:
        assert ended.value == ["outer", ["before"] * before]
        assert sorted(call.name for call in ended.calls) == sorted([*["before"] * before, *["inner"] * inner, "outer"])


def test_a_run_that_promises_a_call_that_failed_has_made_none(ground: Arena) -> None:
    source = """
    const failed = [];
    for (const bad of [() => 1, Symbol('s'), { get a() { throw 1 } }, { toJSON() { throw 2 } }]) {
      await host.never(bad).catch(() => failed.push(1));
    }
    await host['x'.repeat(1025)](1).catch((e) => failed.push(e.name));
    failed"""
    ended = ground.run(source)
    assert ended.value == [1, 1, 1, 1, "RangeError"]
    assert ended.calls == ()


@pytest.mark.parametrize(
    "source",
    [
        "await new Promise(() => {})",
        "await (async () => { await new Promise(() => {}) })()",
        "let q; const p = (async () => { await 0; await q })(); q = (async () => { await p })(); await p",
        "await { then() {} }",
        "await Promise.race([])",
        "await Promise.any([new Promise(() => {}), Promise.reject(1)])",
        "for await (const x of { [Symbol.asyncIterator]() { return { next: () => new Promise(() => {}) } } });",
        "new Promise(() => {})",
        "await host.x(); await new Promise(() => {})",
        "const t = setTimeout(() => {}, 5); clearTimeout(t); await new Promise(() => {})",
        "setTimeout(() => {}, 5); await new Promise(() => {})",
        "globalThis.keep = new WeakRef({}); await new Promise(() => {})",
    ],
)
def test_waiting_for_what_nothing_can_settle_is_a_deadlock(ground: Arena, source: str) -> None:
    assert ground.run(source).kind == "deadlock"


def test_more_timers_than_allowed_are_an_error_the_program_can_catch(ground: Arena) -> None:
    source = """
    let made = 0, error;
    try { for (;;) { setTimeout(() => {}, 1e6); made++ } } catch (e) { error = e.name }
    [made, error]"""
    assert ground.run(source).value == [100, "RangeError"]
    ended = ground.run("for (;;) setTimeout(() => {}, 1)")
    assert ended.exception.name == "RangeError"


@pytest.mark.parametrize(
    "source",
    [
        "setInterval(() => {}, 0); await new Promise(() => {})",
        "for (let i = 0; i < 100; i++) setInterval(() => {}, 0); await new Promise(() => {})",
        "(function f() { setTimeout(f, 0) })(); await new Promise(() => {})",
        "const f = () => { setTimeout(f, -1); setTimeout(f, NaN) }; try { f() } catch {} await new Promise(() => {})",
        "setInterval(() => { throw new Error('again') }, 1); await new Promise(() => {})",
        "setInterval(() => { for (let i = 0; i < 1e4; i++); }, 0); await new Promise(() => {})",
        "for (;;) await new Promise((done) => setTimeout(done, 0))",
    ],
)
def test_a_flood_of_timers_gives_the_host_a_turn_each_time_and_ends_at_a_limit(ground: Arena, source: str) -> None:
    ended = ground.run(source)
    assert ended.kind in ("cpu_time", "wall_time", "suspended")
    assert ended.slices > 1


def test_no_timer_moves_time_back_or_to_never(ground: Arena) -> None:
    source = """
    for (const delay of [-1, -Infinity, NaN, Infinity, 2 ** 31, 1e300, '7', {}, [], null, undefined, -0, 0.5])
      setTimeout(() => {}, delay);
    await new Promise((done) => setTimeout(done, 10));
    for (const delay of [1n, Symbol('s'), { valueOf() { throw 1 } }])
      try { setTimeout(() => {}, delay); throw 'not reached' } catch (e) { if (e === 'not reached') throw e }
    'fine'"""
    assert ground.run(source).value == "fine"


def test_a_timer_whose_jobs_never_end_is_stopped(ground: Arena) -> None:
    assert (
        ground.run("setInterval(async () => { for (;;) await 0 }, 0); await new Promise(() => {})").kind == "cpu_time"
    )


def test_a_timer_callback_cannot_outlive_its_program(ground: Arena) -> None:
    ended = ground.run("setTimeout(() => host.late(1), 0); setInterval(() => host.late(2), 0); 'ended'")
    assert (ended.value, ended.calls) == ("ended", ())


def test_a_program_settles_only_what_the_host_settles(ground: Arena) -> None:
    """What it can lay hands on of its own promise changes its own view; the host's count of what waits stays right."""

    def work() -> None:
        with ground.engine.isolate() as isolate:
            source = """
            const p = host.first(1);
            p.resolve = p.settle = 7; Object.setPrototypeOf(p, null);
            for (const key of Reflect.ownKeys(p)) try { p[key](7) } catch {}
            await Promise.prototype.then.call(p, (v) => v)"""
            outcome = isolate.start(source, NOW, SEED)
            assert isinstance(outcome, Suspended)
            assert outcome.calls == (HostCall(1, "first", 1),)
            for wrong in ([Settlement.value(2, 0)], [Settlement.value(0, 0)], [Settlement.value(1, 0)] * 2):
                with pytest.raises(LocalStateError):
                    isolate.resume(wrong, NOW)
            assert isolate.resume([Settlement.value(1, "from the host")], NOW) == Completed("from the host")
            with pytest.raises(LocalStateError):
                isolate.resume([Settlement.value(1, "again")], NOW)

    ground.on_thread(work)


def test_ids_are_those_of_one_run(ground: Arena) -> None:
    """J28: what settles a call of one run does nothing to another that waits for a call of the same id."""

    def work() -> None:
        isolates = [ground.engine.isolate() for _ in range(8)]
        for number, isolate in enumerate(isolates):
            assert isinstance(isolate.start(f"[{number}, await host.mine({number})]", NOW, SEED), Suspended)
        for number, isolate in reversed(list(enumerate(isolates))):
            assert isolate.resume([Settlement.value(1, f"for {number}")], NOW) == Completed([number, f"for {number}"])
            isolate.close()
            with pytest.raises(IsolateClosed):
                isolate.resume([Settlement.value(1, 0)], NOW)

    ground.on_thread(work)


def test_a_run_that_goes_on_after_a_refused_settlement_is_unharmed(ground: Arena) -> None:
    def work() -> None:
        with ground.engine.isolate() as isolate:
            outcome = isolate.start("[await host.a(), await host.b()]", NOW, SEED)
            assert isinstance(outcome, Suspended)
            with pytest.raises(LocalStateError):
                isolate.resume([Settlement.value(1, object())], NOW)
            outcome = isolate.resume([Settlement.value(1, [float("nan")])], NOW)
            assert isinstance(outcome, Suspended)
            assert isolate.resume([Settlement.value(2, "b")], NOW) == Completed([[None], "b"])

    ground.on_thread(work)


def test_a_program_cannot_make_its_calls_look_like_anothers(ground: Arena) -> None:
    """Names and arguments travel as data: nothing in them is read as the frame round them."""
    name = '\\"],[9,\\"other\\",null'
    ended = ground.run(f'await host["{name}"]({{ "\\"]": "]],[" }}); await host["\\u0000"](1); 1')
    assert [(call.id, call.name, call.arguments) for call in ended.calls] == [
        (1, '"],[9,"other",null', {'"]': "]],["}),
        (2, "\0", 1),
    ]


def test_the_run_that_floods_leaves_others_of_its_engine_alone(ground: Arena) -> None:
    def work() -> None:
        with ground.engine.isolate() as patient:
            assert isinstance(patient.start("let n = 1; n += await host.more(); n", NOW, SEED), Suspended)
            for source in ("for (;;) host.x()", "for (;;) setTimeout(() => {}, 0)", "for (;;) console.log('x')"):
                with ground.engine.isolate() as flooding:
                    drive(flooding, source, echo)
            assert patient.resume([Settlement.value(1, 41)], NOW) == Completed(42)

    ground.on_thread(work)
