"""pydantic-monty: a Python subset interpreted in a pool of subprocesses; the same work written in Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pydantic_monty

from benchmarks.cases import Case, Measurement, Reading
from benchmarks.programs import MARSHAL_CHARS, WAITED, WAITING_PYTHON, marshal_rows

FIB = "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n"


def cases() -> dict[str, Case | Reading]:
    dumps: dict[str, Case | Reading] = {}
    for size, rounds in (("small", 300), ("large", 20)):
        dumps[f"{size}_bytes"] = Reading(partial(dump_bytes, size))
        dumps[f"{size}_take"] = Case(partial(take, size), rounds=rounds)
        dumps[f"{size}_restore"] = Case(partial(restore, size), rounds=rounds)
    return {
        **dumps,
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


def waiting(size: str) -> pydantic_monty.FunctionSnapshot:
    session = pydantic_monty.Monty().__enter__().checkout().__enter__()
    snapshot = session.feed_start(WAITING_PYTHON[size])
    if not isinstance(snapshot, pydantic_monty.FunctionSnapshot):
        raise RuntimeError(f"the benchmark's program did not wait for its call: {snapshot}")
    return snapshot


def take(size: str) -> Callable[[], object]:
    return waiting(size).dump


def dump_bytes(size: str, once: bool) -> Measurement:
    length = float(len(waiting(size).dump()))
    return Measurement(length, length, "B")


def restore(size: str) -> Callable[[], object]:
    """A dump is loaded into a fresh session, as a frozen program of ours is thawed into a fresh isolate."""
    dump, pool = waiting(size).dump(), pydantic_monty.Monty().__enter__()
    with pool.checkout() as session:
        snapshot = session.load_snapshot(dump)
        if not isinstance(snapshot, pydantic_monty.FunctionSnapshot):
            raise RuntimeError(f"the restored program does not wait for its call: {snapshot}")
        ended = snapshot.resume({"return_value": 7})
    if not isinstance(ended, pydantic_monty.MontyComplete) or ended.output != WAITED[size]:
        raise RuntimeError(f"the restored program did not go on: {ended}")

    def operation() -> object:
        with pool.checkout() as session:
            return session.load_snapshot(dump)

    return operation
