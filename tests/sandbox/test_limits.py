"""Every limit holds against a program that tries to pass it, and says which it was."""

from collections.abc import Callable
from typing import Any

import pytest

from sandbox import (
    Completed,
    CpuTimeExceeded,
    Engine,
    Failed,
    Limits,
    MemoryExceeded,
    SizeExceeded,
    StackExceeded,
    WallTimeExceeded,
)
from tests.sandbox.programs import NOW, SEED, Programs

WithLimits = Callable[..., Programs]

ENDLESS = [
    "for (;;) {}",
    "for (;;) { try { for (;;) {} } catch {} finally { for (;;) {} } }",
    "for (;;) await 0",
    "(function f() { Promise.resolve().then(f) })(); await new Promise(() => {})",
    "const f = () => queueMicrotask(f); f(); await host.x()",
    "/^(a+)+$/.test('a'.repeat(40) + '!')",
    "('a'.repeat(5e6) + 'b').indexOf('a'.repeat(2500000) + 'c')",
    "Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1)",
    "const a = []; a.length = 4294967295; return a.join('')",
    "return { get a() { for (;;) {} } }",
    "throw { get message() { for (;;) {} } }",
    "throw Object.defineProperty(new Error(), 'name', { get() { for (;;) {} } })",
    "return { toJSON() { for (;;) {} } }",
    "return new Proxy({}, { ownKeys() { for (;;) {} } })",
    "await host.x({ get a() { for (;;) {} } })",
    "console.log({ get a() { for (;;) {} } })",
    "setTimeout(() => { for (;;) {} }, 0); await host.x()",
    "({ then() { for (;;) {} } })",
]


@pytest.fixture(scope="module")
def hurried(on_guest_thread: Callable[..., Any]) -> Any:
    with Engine(Limits(cpu_time=0.05), slots=2) as engine:
        yield Programs(engine, on_guest_thread)


@pytest.mark.parametrize("source", ENDLESS)
def test_a_program_that_computes_for_ever_is_stopped(hurried: Programs, source: str) -> None:
    error = hurried.failure(source)
    assert isinstance(error, CpuTimeExceeded)
    assert (error.kind, "0.05 s" in error.message) == ("cpu_time", True)


def test_what_was_logged_before_a_program_was_stopped_is_kept(hurried: Programs) -> None:
    assert hurried.logs("console.log('first'); console.warn('second'); for (;;) {}") == [
        ("log", "first"),
        ("warn", "second"),
    ]


def test_cpu_time_adds_up_over_the_slices(with_limits: WithLimits) -> None:
    programs = with_limits(cpu_time=0.2, calls=1_000_000)
    source = "for (;;) { for (let i = 0; i < 2e5; i++); await host.x() }"
    assert isinstance(programs.failure(source), CpuTimeExceeded)


def test_cpu_time_is_told(engine: Engine, programs: Programs) -> None:
    def play() -> tuple[float, float]:
        with engine.isolate() as isolate:
            before = isolate.cpu_time
            isolate.start("for (let i = 0; i < 1e5; i++);", NOW, SEED)
            return before, isolate.cpu_time

    before, after = programs.on_thread(play)
    assert before == 0 < after < 10


def test_wall_time_ends_a_run_that_computes(with_limits: WithLimits) -> None:
    error = with_limits(wall_time=0.05).failure("for (;;) {}")
    assert isinstance(error, WallTimeExceeded)


def test_wall_time_ends_a_run_that_waits(with_limits: WithLimits) -> None:
    programs = with_limits(wall_time=0.05)

    def play() -> Any:
        with programs.engine.isolate() as isolate:
            outcome = isolate.start("for (;;) await new Promise((done) => setTimeout(done, 0))", NOW, SEED)
            while not isinstance(outcome, Failed | Completed):
                outcome = isolate.resume((), NOW + 1)
            return outcome

    outcome = programs.on_thread(play)
    assert isinstance(outcome.error, WallTimeExceeded)


GREEDY = [
    "const a = []; for (;;) a.push(new ArrayBuffer(1e6))",
    "const a = []; for (;;) a.push('x'.repeat(1e6) + a.length)",
    "let a = [1]; for (;;) a = a.concat(a)",
    "const m = new Map(); for (let i = 0; ; i++) m.set(i, { i })",
    "let f = () => f; for (;;) f = f.bind(null, f)",
    "const p = []; for (;;) p.push(new Promise(() => {}))",
    "'x'.repeat(5e8)",
    "new Uint8Array(6e7).fill(1).toString()",
    "JSON.parse('[' + '1,'.repeat(6e6) + '1]')",
    "new Array(1e9).fill(1)",
    "const o = {}; for (let i = 0; ; i++) o['key' + i] = i",
]


@pytest.mark.parametrize("source", GREEDY)
def test_memory_is_an_error_to_catch_and_else_ends_the_program(with_limits: WithLimits, source: str) -> None:
    programs = with_limits(memory=16 << 20)
    error = programs.failure(source)
    assert isinstance(error, MemoryExceeded), error
    assert (error.kind, error.message) == ("memory", "out of memory")
    caught = programs.value(
        f"let name; {{ const run = () => {{ {source} }}; try {{ run() }} catch (e) {{ name = e.name }} }} name"
    )
    assert caught == "InternalError"


def test_a_program_uses_the_memory_it_is_given(with_limits: WithLimits) -> None:
    programs = with_limits(memory=32 << 20)
    assert programs.value("const a = []; for (let i = 0; i < 28; i++) a.push(new Uint8Array(1 << 20)); a.length") == 28
    assert programs.value("new Uint8Array(30 << 20).length") == 30 << 20
    # Growing an array copies nothing when it lies last, and what was freed is used again.
    assert programs.value("const a = []; for (let i = 0; i < 2e6; i++) a.push(i); a.length") == 2_000_000
    again = "let n = 0; for (let i = 0; i < 200; i++) { n += new Uint8Array(8 << 20).length } n"
    assert programs.value(again) == 200 * (8 << 20)


@pytest.mark.parametrize(("memory", "alive"), [(64, 0), (64, 55), (8, 6), (2, 0)])
def test_garbage_in_cycles_is_collected_before_the_limit(with_limits: WithLimits, memory: int, alive: int) -> None:
    source = f"""
    const kept = Array.from({{ length: {alive} }}, () => new Uint8Array(1 << 20));
    for (let i = 0; i < {memory * 3000}; i++) {{ const a = {{}}; a.b = {{ a, pad: [1, 2, 3, 4, 5, 6, 7, 8] }} }}
    kept.length"""
    assert with_limits(memory=memory << 20).value(source) == alive


DEEP = [
    "function f() { return f() + 1 } f()",
    "const f = () => [1].map(f); f()",
    "const o = { get a() { return this.a } }; o.a",
    "const p = new Proxy({}, { get(t, k, r) { return r[k] } }); p.x",
    "const o = { toString() { return '' + this } }; '' + o",
    "class A { constructor() { new A() } } new A()",
    "const g = () => [3, 2, 1].sort(g); g()",
    "JSON.parse('['.repeat(1e5) + ']'.repeat(1e5))",
    "eval('('.repeat(1e5) + '1' + ')'.repeat(1e5))",
    "const a = []; a[0] = a; a.flat(Infinity)",
    "'x'.replace(/x/g, function f() { return 'x'.replace(/x/g, f) })",
    "const f = function* () { yield* f() }; [...f()]",
    "const f = (n) => Reflect.apply(f, null, [n + 1]); f(0)",
]


@pytest.mark.parametrize("source", DEEP)
def test_deep_recursion_is_an_error_to_catch_and_else_ends_the_program(programs: Programs, source: str) -> None:
    error = programs.failure(source)
    assert isinstance(error, StackExceeded), error
    assert (error.kind, error.name) == ("stack", "RangeError")
    caught = programs.value(f"const run = () => {{ {source} }}; try {{ run() }} catch (e) {{ return e.name }}")
    assert caught == "RangeError"


def test_running_out_of_stack_anywhere_is_never_a_crash(programs: Programs) -> None:
    """The engine's own C code runs in what is left above the program's deepest frame."""
    inner = [
        "JSON.stringify(deep)",
        "structuredClone(deep)",
        "host.x(deep)",
        "console.log(deep)",
        "new URL('https://a.example/?q=1').href",
        "/(a|b)*c/.exec('ab'.repeat(50))",
        "[3, 1, 2].sort((a, b) => a - b)",
        "(12345.678).toLocaleString()",
        "new Date().toString()",
        "'ä'.normalize('NFD')",
        "new Error('x').stack",
        "eval('1 + 1')",
        "10n ** 100n",
        'JSON.parse(\'{"a":[1,{"b":2}]}\')',
    ]
    setup = "let deep = {}; for (let i = 0; i < 90; i++) deep = { deep, list: [i] };\n"
    for code in inner:
        dive = f"const dive = () => {{ depth++; try {{ dive() }} catch {{ try {{ {code} }} catch {{}} }} }}"
        source = f"{setup}let depth = 0; {dive}; dive(); depth > 100"
        assert programs.value(source) is True, code


def test_the_stack_limit_is_a_setting(with_limits: WithLimits) -> None:
    source = "let n = 0; const f = () => { n++; f() }; try { f() } catch {} n"
    shallow, deep = with_limits(stack=64 << 10).value(source), with_limits(stack=256 << 10).value(source)
    assert 50 < shallow < deep / 3


def test_a_source_over_its_limit_does_not_run(with_limits: WithLimits) -> None:
    programs = with_limits(source=100)
    assert isinstance(programs.failure("1;" * 51), SizeExceeded)
    assert programs.value("1;" * 50) == 1


def test_logs_are_bounded_in_lines_and_the_rest_is_counted(with_limits: WithLimits) -> None:
    logs = with_limits(log_lines=3).logs("for (let i = 0; i < 10; i++) console.log(i)")
    assert logs == [("log", "0"), ("log", "1"), ("log", "2"), ("warn", "7 more log lines were dropped")]


def test_logs_are_bounded_in_bytes_and_cut_between_characters(with_limits: WithLimits) -> None:
    logs = with_limits(log_bytes=10).logs("console.log('a' + 'é'.repeat(100)); console.log('more')")
    assert logs == [("log", "aéééé (cut: the log is full)"), ("warn", "1 more log lines were dropped")]


def test_log_limits_hold_over_all_slices(with_limits: WithLimits) -> None:
    logs = with_limits(log_lines=4).logs("for (let i = 0; i < 10; i++) { console.log(i); await host.x() }")
    assert [text for _, text in logs] == ["0", "1", "2", "3", "6 more log lines were dropped"]


def test_a_result_limit_is_a_setting(with_limits: WithLimits) -> None:
    programs = with_limits(result=100)
    assert programs.value("'x'.repeat(98)") == "x" * 98
    assert isinstance(programs.failure("'x'.repeat(99)"), SizeExceeded)


def test_a_depth_limit_is_a_setting(with_limits: WithLimits) -> None:
    programs = with_limits(depth=2)
    assert programs.value("[[1]]") == [[1]]
    assert "deeper than 2 levels" in programs.failure("[[[1]]]").message


@pytest.mark.parametrize(
    ("name", "value"),
    [("memory", 0), ("memory", 2 << 30), ("cpu_time", 0), ("wall_time", -1), ("stack", 1 << 20), ("depth", 1000)],
)
def test_a_limit_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"limit {name}"):
        Limits(**{name: value})


def test_a_good_program_runs_after_every_bad_one(hurried: Programs) -> None:
    for source in (*ENDLESS[:3], *GREEDY[:3], *DEEP[:3]):
        hurried.run(source)
        assert hurried.value("1 + 1") == 2


def test_nothing_survives_from_run_to_run(programs: Programs) -> None:
    programs.run("globalThis.left = 1; Array.prototype.left = 2; Object.prototype.left = 3; Math.random = () => 4; 0")
    assert programs.value("[typeof left, [].left, ({}).left, Math.random() < 1]") == ["undefined", None, None, True]
