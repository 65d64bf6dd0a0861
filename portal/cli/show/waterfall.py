"""When each call of a run started and how long it took, as bars. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Span:
    """One tool call of a run. `at` and `ms` are milliseconds; `at` counts from the run's start, None when unknown."""

    seq: int
    tool: str
    status: str
    ms: float
    at: float | None = None


def spans_of(calls: Sequence[Mapping[str, object]]) -> list[Span]:
    """The spans of an answer's `calls`."""
    return [
        Span(call["seq"], call["tool"], call["status"], float(call.get("ms") or 0), call.get("at")) for call in calls
    ]


def bar(span: Span, total: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar of `width` cells for a span within `total` ms: blank before it starts, at least one mark wide."""
    if total <= 0 or width <= 0:
        return ""
    start = min(max((span.at or 0.0) / total, 0.0), 1.0)
    end = min(max(start + span.ms / total, start), 1.0)
    first = min(int(start * width), width - 1)
    if ascii_only:
        last = min(max(first + 1, round(end * width)), width)
        return " " * first + "=" * (last - first)
    cells = min(max((end - start) * width, 0.125), width - first)
    whole, part = int(cells), round((cells - int(cells)) * 8)
    return " " * first + _EIGHTHS[8] * whole + (_EIGHTHS[part] if part else "")


def total_ms(spans: Sequence[Span]) -> float:
    """From the run's start to the end of its last call."""
    return max(((span.at or 0.0) + span.ms for span in spans), default=0.0)
