"""The waterfall of a run: the start and duration of each call as a bar. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Span:
    """One tool call of a run. `ms` is its duration, `at` the time since the start of the run or None, both in ms."""

    seq: int
    tool: str
    status: str
    ms: float
    at: float | None = None


def spans_of(calls: object) -> list[Span]:
    """The spans of an answer's `calls`, [] if there are none."""
    return [_span(call) for call in mappings_in(calls)]


def mappings_in(value: object) -> list[Mapping[str, object]]:
    """The objects in a JSON array, [] if `value` is not an array."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _span(call: Mapping[str, object]) -> Span:
    seq, ms, at = call.get("seq"), call.get("ms"), call.get("at")
    return Span(
        seq=seq if isinstance(seq, int) else 0,
        tool=str(call.get("tool", "")),
        status=str(call.get("status", "")),
        ms=float(ms) if isinstance(ms, int | float) else 0.0,
        at=at if isinstance(at, int | float) else None,
    )


def bar(span: Span, total: float, width: int, *, ascii_only: bool = False) -> str:
    """The bar for a span in a run of `total` ms: at most `width` cells, blank before its start, at least one mark."""
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
    """The milliseconds from the start of the run to the end of its last call."""
    return max(((span.at or 0.0) + span.ms for span in spans), default=0.0)
