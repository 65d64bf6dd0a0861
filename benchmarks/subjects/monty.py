"""pydantic-monty: a Python subset interpreted in a pool of subprocesses; the same work written in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pydantic_monty

from benchmarks.cases import Case
from benchmarks.programs import MARSHAL_CHARS, marshal_rows

FIB = "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"


def cases() -> dict[str, Case]:
    return {
        "fresh": Case(fresh, rounds=100),
        "fib": Case(fib, rounds=10),
        "sequence": Case(lambda: calling("t = 0\nfor i in range(100):\n    t += echo(i)\nt"), per=100, rounds=20),
        "marshal_1kb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1kb"])),
        "marshal_1mb": Case(lambda: marshal(MARSHAL_CHARS["marshal_1mb"]), rounds=10),
    }


def fresh() -> Callable[[], object]:
    pool = pydantic_monty.Monty().__enter__()

    def operation() -> object:
        with pool.checkout() as session:
            return session.feed_run("1 + 2")

    return operation


def fib() -> Callable[[], object]:
    session = pydantic_monty.Monty().__enter__().checkout().__enter__()
    session.feed_run(FIB)
    return lambda: session.feed_run("fib(24)")


def calling(program: str, answer: Callable[[Any], Any] = lambda given: given) -> Callable[[], object]:
    pool = pydantic_monty.Monty().__enter__()

    def operation() -> object:
        with pool.checkout() as session:
            return session.feed_run(program, external_lookup={"echo": answer})

    return operation


def marshal(size: int) -> Callable[[], object]:
    rows = marshal_rows(size)
    return calling("echo(0)", lambda _: rows)
