"""How a run ended is for the host to say: no program chooses its kind, whatever it throws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from sandbox import Failed, GuestException, GuestSyntaxError, Settlement, StackExceeded
from tests.deep import deep

from .hostile.arena import QUICK, Arena, arena
from .hostile.scripts import lines, sections


@pytest.fixture(scope="module")
def ground() -> Iterator[Arena]:
    with arena(replace(QUICK, cpu_time=1.0)) as made:
        yield made


KINDS = ("syntax", "exception", "deadlock", "cpu_time", "wall_time", "memory", "stack", "calls", "size", "cancelled",
         "denied", "engine")  # fmt: skip

LOOK_ALIKES = sections("look_alikes.js")


@pytest.mark.parametrize(("how", "kind"), deep(product(LOOK_ALIKES, KINDS)))
def test_what_looks_like_another_failure_is_an_exception(ground: Arena, how: str, kind: str) -> None:
    ended = ground.run(LOOK_ALIKES[how].replace("KIND", kind), check=False)
    assert ended.kind == "exception"
    assert type(ended.exception) is GuestException


@pytest.mark.parametrize("source", deep(lines("thrown.js")))
def test_whatever_is_thrown_is_an_exception_with_a_message(ground: Arena, source: str) -> None:
    error = ground.run(source).exception
    assert type(error) is GuestException
    assert error.message or source == "throw ''"
    assert error.line is None or error.line >= 1


@pytest.mark.parametrize("name", ["CpuTimeExceeded", "Deadlock", "InternalError", "__proto__", "", "\ud800"])
def test_an_error_from_the_host_stays_what_it_was_made(ground: Arena, name: str) -> None:
    def answer(call: object) -> Settlement:
        return Settlement.error(1, name=name, message="out of memory", properties={"kind": "memory", "stack": "forged"})

    assert ground.run("await host.x()", answer=answer).kind == "exception"


def test_the_engines_own_error_stays_what_it_is_when_it_is_thrown_on(ground: Arena) -> None:
    source = "const f = () => f() + 1; try { f() } catch (e) { try { throw e } finally { 1 } }"
    assert isinstance(ground.run(source).outcome, Failed)
    assert ground.run(source).kind == "stack"
    assert ground.run(f"await (async () => {{ {source} }})()").kind == "stack"
    another = "const f = () => f() + 1; try { f() } catch (e) { throw new Error(e.message) }"
    assert ground.run(another).kind == "exception"


def test_an_error_made_to_look_like_the_engines_by_its_stack_trace_does_not_become_it(ground: Arena) -> None:
    source = """
    const mine = new RangeError('Maximum call stack size exceeded');
    Error.prepareStackTrace = () => { throw mine };
    try { (function f() { f() })() } catch (e) { throw mine }"""
    assert ground.run(source).kind == "exception"
    source = """
    Error.prepareStackTrace = () => { try { (function g() { g() })() } catch {} return '' };
    (function f() { f() })()"""
    ended = ground.run(source)
    assert isinstance(ended.outcome, Failed)
    assert isinstance(ended.outcome.error, StackExceeded)


UNCOMPILABLE = [
    "(", "let let", "return return", "import", "export", "class { }", "`", "/[/", "'", "0b2", "1_", "a b", "{",
    "function", "for (;;", "\\", "#x", "@", "\0", "\ufeff(", "<!-- x\n(", "yield 1 1", "new.target", "super()",
    "let a; let a", "with (a) {}", "delete x", "010", "arguments = 1", "eval = 1", "\U0001f600", "/* ", "}", "})(",
    "*/", "\n})\n(async()=>{\n", "});(async()=>{", "async () => { await }; )", "import.meta.x; return 1",
]  # fmt: skip
"""The last few try to step out of the function a program may be wrapped in."""


@pytest.mark.parametrize("source", deep(UNCOMPILABLE))
def test_what_does_not_compile_is_a_syntax_error(ground: Arena, source: str) -> None:
    ended = ground.run(source)
    assert isinstance(ended.outcome, Failed), ended
    assert isinstance(ended.outcome.error, GuestSyntaxError)
    assert ended.outcome.error.message
    assert ended.calls == ()


STEPS_OUT = [
    "}\nhost.x();\n{",
    "})(); host.x(); (async () => {",
    "})\nhost.x();\n(async()=>{\n",
    "}); host.x(); ({",
    "}, host.x(), async () => {",
    "}\nasync function g() {",
    "} host.x(); {",
    "}; host.x(); async () => {",
]


@pytest.mark.parametrize("source", STEPS_OUT)
def test_a_program_that_closes_the_function_round_it_runs_nothing(ground: Arena, source: str) -> None:
    ended = ground.run(f"return 1;\n{source}")
    assert ended.kind == "syntax"
    assert ended.calls == ()


def test_no_error_names_a_place_on_the_host(ground: Arena) -> None:
    for source in ("null.x", "host.x(() => 1)", "new URL('x')", "structuredClone(() => 1)", "import('x')", "(", "f()"):
        outcome = ground.run(f"await ({source})" if source != "(" else "(").outcome
        assert isinstance(outcome, Failed)
        text = f"{outcome.error.message} {outcome.error.stack}"
        assert not [word for word in (".py", "Traceback", "prelude", "native", "0x", "wasm") if word in text]
