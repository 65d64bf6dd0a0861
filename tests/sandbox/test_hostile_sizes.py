"""Giant results, arguments, logs and sources, and values that throw, loop or change while they leave the isolate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from sandbox import GuestError, LimitExceeded, Settlement
from tests.deep import deep

from .hostile.arena import QUICK, Arena, KiB, MiB, arena
from .hostile.scripts import lines

LIMITS = replace(
    QUICK, cpu_time=5.0, memory=64 * MiB, result=64 * KiB, arguments=32 * KiB, log_bytes=8 * KiB, log_lines=50, depth=20
)


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(LIMITS) as made:
        yield made


GIANTS = {
    "a text": "'x'.repeat(1e7)",
    "a text of surrogates": "'\\ud800'.repeat(3e4)",
    "a text that grows by escaping": "'\\u0001'.repeat(2e4)",
    "a rope": "let s = 'ab'; for (let i = 0; i < 22; i++) s = s + s; s",
    "a key": "({ ['k'.repeat(1e5)]: 1 })",
    "numbers": "new Array(1e5).fill(0.1)",
    "holes": "new Array(4294967295)",
    "a proxy of holes": "new Proxy(new Array(4294967295), {})",
    "an array whose length lies": "new Proxy([], { get: (t, k) => k === 'length' ? 2 ** 53 - 1 : 0 })",
    "empty lists": "Array(1e5).fill([])",
    "bytes": "new Uint8Array(1e5)",
    "a buffer": "new ArrayBuffer(1e6)",
    "a view": "new DataView(new ArrayBuffer(1e6))",
    "floats": "new Float64Array(1e6)",
    "a typed array whose length lies": "Object.defineProperty(new Float64Array(2), 'length', { value: 2 ** 53 - 1 })",
    "a map": "new Map(Array.from({ length: 1e5 }, (_, i) => [i, i]))",
    "a set": "new Set(Array.from({ length: 1e5 }, (_, i) => i))",
    "a bigint": "7n ** 100000n",
    "a pattern": "new RegExp('x'.repeat(1e5))",
    "an error": "Object.assign(new Error('x'.repeat(1e5)), { data: 'y'.repeat(1e5) })",
    "many keys": "Object.fromEntries(Array.from({ length: 2e4 }, (_, i) => ['key' + i, i]))",
    "a boxed text": "Object('x'.repeat(1e6))",
    "a tree that shares": "let t = 'x'.repeat(99); for (let i = 0; i < 15; i++) t = [t, t]; t",
    "toJSON that grows": "({ toJSON: () => 'x'.repeat(1e6) })",
    "a getter that grows": "({ get a() { return 'x'.repeat(1e6) } })",
}


@pytest.mark.parametrize("what", deep(GIANTS))
def test_a_giant_result_is_too_large_whatever_it_is_made_of(ground: Arena, what: str) -> None:
    ended = ground.run(GIANTS[what])
    assert ended.kind == "size"
    assert "result" in ended.message


@pytest.mark.parametrize("what", deep(GIANTS))
def test_giant_arguments_end_the_run_and_nothing_is_called(ground: Arena, what: str) -> None:
    *before, last = GIANTS[what].split("; ")
    source = f"{'; '.join(before)}; try {{ await host.take({last}) }} catch {{}} finally {{ host.late(1) }} 'survived'"
    ended = ground.run(source)
    assert ended.kind == "size"
    assert "arguments" in ended.message
    assert ended.calls == ()


@pytest.mark.parametrize("what", deep(GIANTS))
def test_a_giant_value_in_the_log_is_cut(ground: Arena, what: str) -> None:
    *before, last = GIANTS[what].split("; ")
    ended = ground.run(f"{'; '.join(before)}; for (let i = 0; i < 3; i++) console.log('n', {last}); 1")
    assert ended.kind in ("completed", "cpu_time")
    assert sum(len(line.text.encode()) for line in ended.logs) < 16 * KiB


@pytest.mark.parametrize("what", deep(GIANTS))
def test_a_giant_that_is_thrown_is_described_briefly(ground: Arena, what: str) -> None:
    *before, last = GIANTS[what].split("; ")
    ended = ground.run(f"{'; '.join(before)}; throw {last}")
    assert ended.kind == "exception"
    error = ended.exception
    assert sum(len(text or "") for text in (error.message, error.name, error.stack)) < 16 * KiB


def test_errors_with_giant_names_messages_and_stacks_are_cut(ground: Arena) -> None:
    source = """
    Error.prepareStackTrace = () => ('    at f (program.js:1:1)\\n').repeat(2e4);
    throw Object.assign(new Error('m'.repeat(1e6)), { name: '\\u20ac'.repeat(1e6) })"""
    error = ground.run(source).exception
    assert error.name is not None
    assert 3000 < len(error.name.encode()) <= 4096
    assert set(error.name) == {"\u20ac"}
    assert 3000 < len(error.message) <= 4096
    assert len(error.stack or "") <= 4096


def test_a_flood_of_lines_is_cut_and_counted(ground: Arena) -> None:
    ended = ground.run("for (let i = 0; i < 5000; i++) console.log(i); 1")
    assert ended.value == 1
    assert [line.text for line in ended.logs[:50]] == [str(i) for i in range(50)]
    assert [line.text for line in ended.logs[50:]] == ["4950 more log lines were dropped"]


def test_the_log_is_one_for_all_slices(ground: Arena) -> None:
    ended = ground.run("for (let i = 0; i < 40; i++) { console.log('a'); console.log('b'); await host.x() } 1")
    assert len(ended.logs) == 51
    assert ended.logs[-1].text == "30 more log lines were dropped"


def test_one_giant_line_is_cut_where_a_character_ends(ground: Arena) -> None:
    for character in ("y", "\u00e9", "\u20ac", "\U0001f600"):
        (line, *_) = ground.run(f"console.log('{character}'.repeat(1e5)); 1").logs
        assert 7 * KiB < len(line.text.encode()) < 9 * KiB
        assert set(line.text.split(" ")[0]) == {character}


@pytest.mark.parametrize("method", ["log", "error", "table", "dir", "group", "assert", "count", "trace", "time"])
def test_no_console_method_gets_round_the_limit(ground: Arena, method: str) -> None:
    for argument in ("'x'.repeat(3e5)", "Array(5000).fill({ a: 1 })", "'\\n'.repeat(5000)", "'%s'.repeat(2000)"):
        ended = ground.run(f"for (let i = 0; i < 60; i++) console.{method}({argument} + i); 1")
        assert ended.kind in ("completed", "cpu_time")
        assert len(ended.logs) <= 51
        assert sum(len(line.text.encode()) for line in ended.logs) < 16 * KiB


def test_a_source_over_its_limit_never_runs() -> None:
    with arena(replace(QUICK, source=1000)) as ground:
        ended = ground.run("1;" + " " * 1000)
        assert ended.kind == "size"
        assert "source" in ended.message
        assert ground.run("//" + "\u20ac" * 400).kind == "size"
        assert ground.run("1 +" + " " * 995 + "1").value == 2


def test_a_settlement_over_its_limit_rejects_its_call_and_the_run_goes_on() -> None:
    with arena(replace(QUICK, tool_result=1000)) as ground:
        source = "const r = []; for (let i = 0; i < 2; i++) r.push(await host.x().catch((e) => e.name)); r"
        answers = ["x" * 5000, "short"]
        ended = ground.run(source, answer=lambda call: Settlement.value(call.id, answers[call.id - 1]))
        assert ended.value == ["RangeError", "short"]
        error = lambda call: Settlement.error(call.id, name="E", message="m" * 5000)  # noqa: E731
        assert ground.run("await host.x().catch((e) => e.name)", answer=error).value == "RangeError"


DEEP_VALUES = {
    "arrays": "let v = 1; for (let i = 0; i < DEPTH; i++) v = [v]",
    "objects": "let v = 1; for (let i = 0; i < DEPTH; i++) v = { a: v }",
    "maps": "let v = 1; for (let i = 0; i < DEPTH; i++) v = new Map([['k', v]])",
    "sets": "let v = 1; for (let i = 0; i < DEPTH; i++) v = new Set([v])",
    "getters": "const deeper = () => ({ get a() { return deeper() } }); let v = deeper()",
    "toJSON": "const deeper = () => ({ toJSON: () => ({ a: deeper() }) }); let v = deeper()",
    "toJSON of itself": "let v = { toJSON() { return { a: v } } }",
    "a proxy": "let v = new Proxy([], { get: (t, k) => k === 'length' ? 1 : v })",
    "errors": "let v = new Error('e'); for (let i = 0; i < DEPTH; i++) v = Object.assign(new Error('e'), { v })",
}


@pytest.mark.parametrize(("how", "depth"), deep(product(DEEP_VALUES, [21, 1000, 100_000])))
def test_a_value_nested_too_deeply_is_an_error_that_names_its_path(ground: Arena, how: str, depth: int) -> None:
    made = DEEP_VALUES[how].replace("DEPTH", str(depth))
    ended = ground.run(f"{made}; v")
    assert ended.kind == "exception"
    assert ended.message.startswith(("result", "result["))
    assert "deep" in ended.message or "cycle" in ended.message
    assert ground.run(f"{made}; await host.x(v).catch((e) => e.name)").value == "TypeError"
    assert ground.run(f"{made}; console.log(v); 1").value == 1


def test_the_deepest_values_allowed_arrive_whatever_they_are_made_of(ground: Arena) -> None:
    """What the guest lets through the host must read: a pair of a map is a level too."""
    for how, levels in (("arrays", 20), ("objects", 20), ("maps", 10), ("sets", 20), ("errors", 19)):
        made = DEEP_VALUES[how].replace("DEPTH", str(levels))
        assert ground.run(f"{made}; v").kind == "completed", how
        assert len(ground.run(f"{made}; await host.x(v); 1").calls) == 1
        one_more = DEEP_VALUES[how].replace("DEPTH", str(levels + 1))
        assert "nested deeper than 20" in ground.run(f"{one_more}; v").message, how
    for mixed in ("new Map([[1, 2]])", "new Uint8Array(1)", "new DataView(new ArrayBuffer(1))", "new Error('e')"):
        for levels in (18, 19, 20):
            ended = ground.run(f"let v = {mixed}; for (let i = 0; i < {levels}; i++) v = [v]; v")
            assert ended.kind in ("completed", "exception")


def test_a_to_json_that_returns_another_for_ever_ends(ground: Arena) -> None:
    """What a toJSON returns is not asked again, as in JSON.stringify."""
    assert ground.run("const o = () => ({ toJSON: o, x: 1 }); o()").kind in ("completed", "exception")
    assert ground.run("({ toJSON() { return this }, x: 1 })").kind in ("completed", "exception")


UNRULY = {
    "a getter that throws": "{ get a() { throw new TypeError('mine') } }",
    "toJSON that throws": "{ toJSON() { throw new TypeError('mine') } }",
    "a toJSON getter that throws": "{ get toJSON() { throw new TypeError('mine') } }",
    "a proxy that throws": "new Proxy({}, { ownKeys() { throw new TypeError('mine') } })",
    "a proxy with a getter that throws": "new Proxy({ a: 1 }, { get() { throw new TypeError('mine') } })",
    "a proxy of an array that throws": "new Proxy([1], { get() { throw new TypeError('mine') } })",
    "a member of a map that throws": "new Map([[1, { get a() { throw new TypeError('mine') } }]])",
    "a trap that throws": "new Proxy({ a: 1 }, { getOwnPropertyDescriptor() { throw new TypeError('mine') } })",
}


@pytest.mark.parametrize("what", UNRULY)
def test_a_value_that_throws_while_it_leaves_is_the_programs_exception(ground: Arena, what: str) -> None:
    error = ground.run(f"({UNRULY[what]})").exception
    assert (error.name, error.message) == ("TypeError", "mine")
    ended = ground.run(f"const r = await host.x({UNRULY[what]}).catch((e) => e.message); [r, 1]")
    assert ended.value == ["mine", 1]
    assert ended.calls == ()
    assert ground.run(f"console.log({UNRULY[what]}); 'logged'").value == "logged"
    assert ground.run(f"throw ({UNRULY[what]})").kind == "exception"
    assert ground.run(f"Promise.reject({UNRULY[what]}); 1").value == 1


BROKEN = lines("broken_values.js")


@pytest.mark.parametrize("expression", deep(BROKEN))
def test_a_broken_object_is_a_value_or_an_error_of_the_program(ground: Arena, expression: str) -> None:
    """Never the engine's fault, in any of the ways a value can leave."""
    for source in (
        f"({expression})",
        f"[1, {{ a: ({expression}) }}]",
        f"await host.x(({expression}))",
        f"console.log(({expression}), [({expression})], '%o %d %s', 1); 1",
        f"throw ({expression})",
        f"Promise.reject(({expression})); 1",
        f"structuredClone(({expression}))",
        f"setTimeout(() => {{ throw ({expression}) }}, 0); await new Promise((d) => setTimeout(d, 5))",
    ):
        ended = ground.run(source, check=False)
        assert ended.kind in ("completed", "exception", "size"), source
        error = getattr(ended.outcome, "error", None)
        assert error is None or isinstance(error, GuestError | LimitExceeded)
    ground.check()


def test_a_value_that_changes_while_it_leaves_is_read_once(ground: Arena) -> None:
    """What a check saw is what travels: there is one read."""
    source = """
    let reads = 0;
    const sly = { get path() { return reads++ ? '/etc/passwd' : '/tmp/fine' } };
    await host.open(sly);
    const list = [1, 2]; const call = host.take(list); list.push('late'); list[0] = 'late'; await call;
    reads"""
    ended = ground.run(source)
    assert [call.arguments for call in ended.calls] == [{"path": "/tmp/fine"}, [1, 2]]
    assert ended.value == 1
