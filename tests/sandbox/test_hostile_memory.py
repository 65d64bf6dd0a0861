"""Programs that take memory until there is none: the guest has a ceiling, the host stays where it was."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import replace

import pytest

from sandbox import Failed, Limits, MemoryExceeded, Settlement
from tests.deep import deep

from .hostile.arena import HOUR, QUICK, SLACK, Arena, MiB, arena, resident
from .hostile.programs import GREEDY


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena() as made:
        yield made


SLOW = ("cpu_time", "memory", "exception")
AT_ONCE = {
    "buffers",
    "growing buffers",
    "one padded text",
    "one text",
    "one typed array",
    "resizable buffers",
    "transferred buffers",
}
"""What asks for it all at once, and so never runs into the CPU limit first."""


@pytest.mark.parametrize("how", deep(GREEDY, kind=lambda how: how in AT_ONCE))
def test_a_program_that_takes_all_memory_ends_and_the_host_does_not_grow(ground: Arena, how: str) -> None:
    ended = ground.run(GREEDY[how])
    assert ended.kind in (("memory",) if how in AT_ONCE else SLOW)


@pytest.mark.parametrize("how", deep(GREEDY, kind=lambda how: how in AT_ONCE))
def test_a_program_that_catches_every_error_ends_all_the_same(ground: Arena, how: str) -> None:
    ended = ground.run(f"for (;;) try {{ await (async () => {{ {GREEDY[how]} }})() }} catch (e) {{}}")
    assert ended.kind in ("cpu_time", "memory")


def test_want_of_memory_can_be_caught_and_the_program_goes_on(ground: Arena) -> None:
    source = """
    const hoard = () => { const a = []; for (;;) a.push(new ArrayBuffer(1e6)) };
    let name; try { hoard() } catch (e) { name = e.name }
    [name, "x".repeat(1e6).length, JSON.parse("[1]")]"""
    assert ground.run(source).value == ["InternalError", 1_000_000, [1]]


def test_a_program_that_hoards_and_then_fails_says_that_it_was_memory(ground: Arena) -> None:
    for size in (16, 100, 1000, 5000, 60_000, 250_000):
        ended = ground.run(f"const hoard = []; for (let i = 0; ; i++) hoard.push(new Uint8Array({size} + i % 7))")
        assert ended.kind in ("memory", "cpu_time")


@pytest.mark.parametrize(
    "source",
    [
        """const s = "\\ud55c\\u0301".repeat(5e5); s.normalize("NFKD"); for (;;) s.localeCompare(s + "a")""",
        "/^(?:(a)|b|(c))*?d/.test('ab'.repeat(5e6))",
        "/^(?:(a)|b|(c))*$/g[Symbol.matchAll]('ab'.repeat(5e6)).next()",
        "const a = ['x'.repeat(1e6)]; for (;;) a.push(a.at(-1).toUpperCase() + 'x')",
        "JSON.parse('[' + '{},'.repeat(1e6) + '1]')",
        "const h = []; for (;;) h.push(Error('x'.repeat(500)))",
    ],
)
def test_want_of_memory_inside_a_builtin_is_called_that(source: str) -> None:
    with arena(replace(QUICK, cpu_time=3.0)) as ground:
        assert ground.run(source).kind == "memory"


def test_a_full_heap_still_ends_in_an_outcome(ground: Arena) -> None:
    """Every way out needs a little memory of its own."""
    sizes = "[1e6, 1e5, 1e4, 1e3, 100, 16]"
    full = f"const h = []; for (const n of {sizes}) try {{ for (;;) h.push(new ArrayBuffer(n)) }} catch {{}}"
    for way in (
        "1",
        "'x'",
        "({})",
        "h.length",
        "throw 1",
        "throw new Error('x')",
        "null.x",
        "host.x(1)",
        "await host.x(1)",
        "await host.x(h.length).catch(() => 1)",
        "setTimeout(() => {}, 1)",
        "await new Promise((d) => setTimeout(d, 1))",
        "console.log('x'); 1",
        "console.log({ a: [1, 2, 3] }); 1",
        "Promise.reject(new Error('x')); 1",
        "await new Promise(() => {})",
        "JSON.parse('{')",
        "eval('(')",
        "(function f() { f() })()",
        "() => 1",
        "h.length = 0; ({ a: 'x'.repeat(1e5) })",
        "'x'.repeat(500)",
    ):
        ended = ground.run(f"{full}; {way}")
        assert ended.kind in ("completed", "exception", "memory", "cpu_time", "deadlock", "stack"), way


def test_settlements_into_a_full_heap_end_in_an_outcome(ground: Arena) -> None:
    source = """
    const h = []; for (const n of [1e6, 1e4, 100, 16]) try { for (;;) h.push(new ArrayBuffer(n)) } catch {}
    const r = [];
    for (let i = 0; i < 5; i++) try { r.push(typeof (await host.x())) } catch (e) { r.push(e?.name ?? null) }
    h.length = 0; r"""
    for answer in (
        lambda call: Settlement.value(call.id, [{"a": 1}] * 1000),
        lambda call: Settlement.value(call.id, "x" * 1_000_000),
        lambda call: Settlement.error(call.id, name="ToolError", message="m" * 1000, properties={"data": [1] * 1000}),
    ):
        ended = ground.run(source, answer=answer)
        assert ended.kind in ("completed", "memory", "deadlock", "cpu_time")


def test_what_the_host_holds_for_a_program_counts_too() -> None:
    """Arguments, timers and logs lie outside the engine's heap: they have limits of their own."""
    with arena(Limits(cpu_time=1.0, wall_time=HOUR, memory=32 * MiB, calls=1_000_000)) as ground:
        for source in (
            "const s = 'x'.repeat(1e6); for (;;) host.x(s)",
            "for (;;) host.x('x'.repeat(1000))",
            "const a = Array(3e5).fill([]); for (;;) host.x(a)",
            "const a = Array(6e4).fill('y'); for (;;) setTimeout(() => {}, 1e6, ...a)",
            "const m = new Map(Array.from({ length: 2e5 }, (_, i) => [i, i])); host.x(m); m",
            "const s = new Set(Array(3).fill(0).map((_, i) => 'x'.repeat(1e6) + i)); s",
        ):
            ended = ground.run(source)
            assert ended.kind in ("size", "calls", "memory", "cpu_time", "exception"), source


def test_a_batch_of_calls_is_bounded_before_the_host_reads_it() -> None:
    """A list of empty lists is three bytes of JSON each, and sixty in the host."""
    with arena(Limits(cpu_time=2.0, wall_time=HOUR, calls=200)) as ground:
        before = resident()
        ended = ground.run("const a = Array(349000).fill([]); for (let i = 0; i < 60; i++) host.x(a); await host.y()")
        assert ended.kind == "size"
        assert resident() - before < SLACK


@pytest.mark.parametrize("size", [1, 8, 64])
def test_the_ceiling_follows_the_limit(size: int) -> None:
    with arena(Limits(cpu_time=1.0, memory=size * MiB)) as ground:
        source = """
        let n = 0; const h = [];
        try { for (;;) { h.push(new ArrayBuffer(65536)); n++ } } catch {}
        h.length = 0; n * 65536"""
        taken = ground.run(source).value
        assert size * MiB * 0.3 < taken <= size * MiB
        assert ground.run(f"new ArrayBuffer({size * MiB})").kind == "memory"


def test_twenty_greedy_programs_at_once_stay_under_their_ceilings_together() -> None:
    with arena(QUICK, threads=20, slots=24) as ground:
        before = resident()
        running = [ground.threads.submit(ground.drive, GREEDY["buffers"]) for _ in range(20)]
        wait(running)
        for ended in (future.result() for future in running):
            assert isinstance(ended.outcome, Failed)
            assert isinstance(ended.outcome.error, MemoryExceeded)
        assert resident() - before < SLACK + 20 * (QUICK.memory // 16)
        ground.check()
