"""Nesting without end, in JavaScript and in native code: an error the program can catch, never a crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deep import deep

from .hostile.arena import QUICK, Arena, KiB, arena
from .hostile.programs import DEEP

ROOT = Path(__file__).resolve().parents[2]
ENDS = ("stack", "memory", "exception", "cpu_time", "size", "completed")


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena() as made:
        yield made


SIMPLE = ("a function", "an arrow through map", "a getter", "a proxy", "toString", "a constructor", "apply", "sort",
          "parentheses", "JSON.parse of depth", "prepareStackTrace", "events", "an iterator")  # fmt: skip


@pytest.mark.parametrize("how", deep(DEEP, kind=lambda how: how in SIMPLE))
def test_nesting_without_end_is_an_outcome(ground: Arena, how: str) -> None:
    ended = ground.run(DEEP[how])
    assert ended.kind == "stack" if how in SIMPLE else ended.kind in ENDS


@pytest.mark.parametrize("how", deep(DEEP, kind=lambda how: how in SIMPLE))
def test_it_can_be_caught_and_the_program_goes_on(ground: Arena, how: str) -> None:
    ended = ground.run(f"let n = 0; for (let i = 0; i < 3; i++) try {{ {DEEP[how]}; n++ }} catch (e) {{ n++ }} n")
    assert ended.kind == "cpu_time" or ended.value == 3


def test_the_depth_of_recursion_follows_the_limit() -> None:
    depths: list[int] = []
    for stack in (16 * KiB, 64 * KiB, 256 * KiB):
        with arena(replace(QUICK, stack=stack)) as ground:
            assert ground.run("let n = 0; (function f() { n++; f() })").kind == "stack"
            depths.append(ground.run("let n = 0; const f = () => { n++; f() }; try { f() } catch {} n").value)
    assert 20 < depths[0] < depths[1] < depths[2]


AT_THE_BOTTOM = (
    "host.x(deep)",
    "console.log(deep)",
    "console.table([deep])",
    "JSON.stringify(deep)",
    "JSON.parse(text)",
    "structuredClone([deep[0]])",
    "(1.5).toFixed(100) + (1e300 / 7).toString(3)",
    "(7n ** 3000n).toString()",
    "new Date('2020-01-01T00:00:00Z').toString()",
    "/(a|b)*c/.test('ababab')",
    "new RegExp('(?:'.repeat(50) + ')'.repeat(50))",
    "eval('(((((1)))))')",
    "new Function('return [[[[1]]]]')()",
    "[5, 4, 3, 2, 1].sort((a, b) => a - b)",
    "new URL('http://h/a/../b?x=1').href",
    "Error.captureStackTrace({})",
    "rope.slice(1, 9)",
    "for (let i = 0; i < 50; i++) { const a = {}; a.a = a }",
    "Promise.reject(deep).catch(() => {})",
    "setTimeout(() => {}, 1)",
    "new TextDecoder().decode(new Uint8Array([255, 1]))",
    "'\\u1e9b\\u0323'.normalize('NFKD')",
    "Math.max(...Array(1000).fill(1))",
    "proxy.x",
    "class A extends Array {} new A()",
    "import('x').catch(() => {})",
    "console.log('%s %d %j %o', 1, 2, deep, new Error('x', { cause: deep }))",
    "crypto.randomUUID()",
    "'abc'.replace(/b/g, '$&$&')",
)


@pytest.mark.parametrize("work", deep(AT_THE_BOTTOM))
def test_native_work_at_every_depth_of_a_full_stack_is_an_outcome(work: str) -> None:
    """Every level of the way back from the deepest call does the work: with every amount of stack left."""
    source = f"""
    let deep = []; for (let i = 0; i < 395; i++) deep = i % 2 ? [deep] : {{ a: deep }};
    const text = '['.repeat(300) + ']'.repeat(300);
    let rope = ''; for (let i = 0; i < 300; i++) rope = rope + 'abcdefgh'.repeat(i % 7) + i;
    let proxy = {{ x: 1 }}; for (let i = 0; i < 50; i++) proxy = new Proxy(proxy, {{}});
    function f() {{ try {{ f() }} catch {{}} try {{ {work} }} catch {{}} }}
    f();
    const g = (...a) => {{ try {{ g(...a, 1) }} catch {{}} try {{ {work} }} catch {{}} }};
    g(); 'done'"""
    with arena(replace(QUICK, depth=400, calls=10_000, cpu_time=0.4)) as ground:
        assert ground.run(source).kind in ("completed", "cpu_time", "size", "calls")


CRASH = """
import faulthandler, sys, threading
faulthandler.enable()
sys.path.insert(0, {root!r})
from tests.sandbox.hostile.arena import arena
from tests.sandbox.hostile.programs import DEEP
with arena() as ground:
    for source in DEEP.values():
        ground.run(source, check=False)
    ground.check()
print("alive", end="")
"""


def test_no_nesting_ends_the_process_even_under_faulthandler() -> None:
    """Traps are signals inside the engine; Python's own handlers must not take them for crashes."""
    done = subprocess.run(
        [sys.executable, "-c", CRASH.format(root=str(ROOT))], capture_output=True, text=True, timeout=250, check=False
    )
    assert (done.returncode, done.stdout) == (0, "alive"), done.stderr[-2000:]
