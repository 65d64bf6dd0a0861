"""Native QuickJS-ng in process (`quickjs-ng` on PyPI): no isolation, no memory wall; what a bare engine costs."""

from __future__ import annotations

import json
from collections.abc import Callable

import quickjs

from benchmarks.cases import Case
from benchmarks.programs import FIB, MARSHAL_CHARS, marshal_text


def cases() -> dict[str, Case]:
    return {
        "fresh": Case(lambda: fresh),
        "fib": Case(fib, rounds=15),
        "marshal_1kb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1kb"])),
        "marshal_1mb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1mb"]), rounds=20),
        "sequence": Case(lambda: sequence, per=100, rounds=30),
    }


def settle(context: quickjs.Context) -> None:
    while context.execute_pending_job():
        pass


def fresh() -> object:
    context = quickjs.Context()
    context.eval("let answer; (async () => 1 + 2)().then(value => { answer = value })")
    settle(context)
    return context.eval("answer")


def fib() -> Callable[[], object]:
    context = quickjs.Context()
    context.eval(FIB)
    return lambda: context.eval("fib(24)")


def marshal(size: int) -> Callable[[], object]:
    text = marshal_text(size)

    def operation() -> object:
        context = quickjs.Context()
        context.add_callable("echo", lambda given: given)
        context.eval("globalThis.given = " + json.dumps(text))
        return json.loads(context.eval("JSON.stringify(JSON.parse(echo(given)))"))

    return operation


def sequence() -> object:
    """The library has no asynchronous host functions: the call is answered inside the guest, which ours never does."""
    context = quickjs.Context()
    context.add_callable("call", lambda given: given)
    context.eval(
        "let answer; (async () => { let sum = 0; for (let i = 0; i < 100; i++) "
        "sum += JSON.parse(await call(JSON.stringify({ i }))).i; return sum })().then(value => { answer = value })"
    )
    settle(context)
    return context.eval("answer")
