"""Limits: the most that one run may use. No program can reach the code that enforces them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, fields

KiB = 1024
MiB = 1024 * KiB


class LimitInvalid(ValueError):
    """The value of a limit is not between its bounds, `low` and `high`."""

    def __init__(self, name: str, value: object, low: float, high: float) -> None:
        super().__init__(f"limit {name} is {value!r}, it must lie between {low} and {high}")
        self.low = low
        self.high = high


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes are bytes, times are seconds. Raises ValueError for a limit outside its sensible range."""

    cpu_time: float = 10.0
    wall_time: float = 60.0
    memory: int = 64 * MiB
    stack: int = 256 * KiB
    calls: int = 200
    calls_in_flight: int = 16
    arguments: int = 1 * MiB
    tool_result: int = 5 * MiB
    result: int = 1 * MiB
    log_bytes: int = 64 * KiB
    log_lines: int = 1000
    source: int = 256 * KiB
    depth: int = 100
    timers: int = 1000
    words: bytes = field(init=False, repr=False, compare=False)  # those of the guest, as `struct limits` of guest.h
    outcome: int = field(init=False, repr=False, compare=False)  # the most bytes of one outcome of an honest guest

    def __post_init__(self) -> None:
        for limit in fields(self):
            if not limit.init:
                continue
            value = getattr(self, limit.name)
            low, high = _RANGES.get(limit.name, (1, 1024 * MiB))
            if not low <= value <= high:
                raise LimitInvalid(limit.name, value, low, high)
        object.__setattr__(self, "words", struct.pack("<10I", *(getattr(self, name) for name in _GUEST)))
        calls = _CALLS_OF_ONE_BATCH * self.arguments
        logs = _ESCAPED * self.log_bytes + _LOG_LINE * self.log_lines
        object.__setattr__(self, "outcome", self.result + calls + logs + _FAILURE)


_CALLS_OF_ONE_BATCH = 4  # times the limit for one call (BATCH in calls.c)
_ESCAPED = 6  # bytes of JSON for one byte of text, at most
_LOG_LINE = 64  # bytes of JSON for a line in addition to its text
_FAILURE = 128 * KiB  # a name, a message and a stack of 4 KiB each, escaped, and the JSON between them
_GUEST = (
    "memory", "stack", "calls", "arguments", "result", "log_bytes", "log_lines", "depth", "timers", "source",
)  # fmt: skip


_RANGES: dict[str, tuple[float, float]] = {
    "cpu_time": (0.001, 3600.0),
    "wall_time": (0.001, 86400.0),
    "memory": (1 * MiB, 1024 * MiB),
    # The guest's own stack is 320 KiB; the rest is for the engine's C code above the program's deepest frame.
    "stack": (16 * KiB, 256 * KiB),
    "calls": (0, 1_000_000),
    "depth": (1, 400),
    "log_lines": (0, 1_000_000),
    "log_bytes": (0, 64 * MiB),
    "timers": (0, 100_000),
}
