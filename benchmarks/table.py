"""The table of all benchmarks: what is compared with what, and the bound each figure must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OURS = "sandbox_engine"


@dataclass(frozen=True, slots=True)
class Bound:
    """`ours` at most `times` the peer's figure of the same run, or at most `value` when no peer is named."""

    value: float
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a case, our subject, the peers' subjects, and what must hold."""

    title: str
    case: str
    ours: str = OURS
    peers: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    higher_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    group: Literal["engine", "portal", "search"]
    rows: tuple[Row, ...]


NATIVE, RS, MONTY, WORKERD = "native_quickjs", "quickjs_rs", "monty", "workerd"

ENGINE = Section(
    "Engine: the isolate alone, in process",
    "engine",
    (
        Row(
            "fresh isolate, `async () => 1 + 2`",
            "fresh",
            peers=(NATIVE, RS, MONTY, WORKERD),
            bounds=(Bound(0.6, NATIVE), Bound(0.08, RS)),
        ),
        Row(
            "one awaited host call, in sequence", "sequence", peers=(NATIVE, RS, MONTY, WORKERD), bounds=(Bound(25e-6),)
        ),
        Row("100 host calls in one Promise.all", "parallel_100", peers=(RS, WORKERD), bounds=(Bound(1.2e-3),)),
        Row("1 KB of rows in and out", "marshal_1kb", peers=(NATIVE, RS, MONTY)),
        Row("1 MB of rows in and out", "marshal_1mb", peers=(NATIVE, MONTY)),
        Row("fib(24)", "fib", peers=(NATIVE, RS, MONTY, WORKERD), bounds=(Bound(2.2, NATIVE),)),
        Row("freeze a small suspended program", "freeze"),
        Row("thaw it", "thaw", bounds=(Bound(150e-6),)),
        Row("its size, frozen", "frozen_bytes", bounds=(Bound(64 * 1024),)),
        Row("memory of one suspended run, of 10,000", "suspended_10000"),
    ),
)

SECTIONS: tuple[Section, ...] = (ENGINE,)
