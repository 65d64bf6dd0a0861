"""Rows of the log for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from portal.logs import LogRow
from portal.logs.batch import Batch
from portal.logs.row import COLUMNS

AT = 1_796_000_000_000_000
"""A moment in November 2026, in microseconds since 1970."""


def row(number: int = 0, **changes: Any) -> LogRow:
    """A call that took 1.5 ms, `number` milliseconds after `AT`."""
    made = LogRow(
        AT + 1000 * number,
        1500,
        "tool",
        "tools/call",
        "ok",
        server="files",
        name="read",
        identity="ada",
        bytes_in=10,
        bytes_out=200,
    )
    return made._replace(**changes)


def batch_of(instance: str, first: int, rows: Sequence[LogRow]) -> Batch:
    """Rows of an instance whose numbers begin at `first`."""
    return Batch(instance, list(enumerate(rows, first)))


_NUMBERS = st.integers(-(2**63), 2**64 - 1)


def rows() -> st.SearchStrategy[LogRow]:
    """Any row: texts that no database takes, and numbers that are too large."""
    texts = st.text(st.characters(), max_size=20)
    count = st.integers(0, 2**53)
    numbers = {"at": count, "us": count, "call": st.integers(0, 10**6), "error_code": st.none() | st.integers()}
    numbers |= dict.fromkeys(("bytes_in", "bytes_out", "tokens_saved"), count)
    return st.builds(LogRow, **{name: numbers.get(name, texts) for name in COLUMNS})
