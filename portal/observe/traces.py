"""Places of requests in traces, and which rows become spans: decided when a call or a run has ended.

    begin ─▶ request, run, calls ─▶ rows ─▶ kept? ─▶ queue ─▶ `SpanSender`

The calls of a run wait until one of them, or the run's own row, says that the trace is kept. Nothing here fails or
waits: what there is no room for is counted.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from portal.bounded import Bounded
from portal.config import TraceSection
from portal.logs import LogRow
from portal.observe.keeping import Keeping
from portal.shares import Shares
from portal.trace_context import SAMPLED, TraceContext, found_in, new_trace

ROOM = 10_000
"""Rows that wait for the end of their run, or to be sent; of one caller half as many."""
CALLS_OF_A_RUN = 256
"""Rows of one run that wait for its end."""
RUNS = 2_000
"""Runs whose end is waited for."""
_REMEMBERED = 4_096
URGENT = 512
"""Rows that are sent together at most."""


@dataclass(slots=True)
class _Held:
    rows: list[LogRow] = field(default_factory=list)
    holder: str = ""
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Rules:
    keeping: Keeping
    follow_caller: bool
    baggage_to: frozenset[str]


class Traces:
    """`begin` gives each request its place; `take` is given each row. Off, it passes places on and takes nothing."""

    def __init__(self, room: int = ROOM) -> None:
        self.dropped = 0
        """Rows that there was no room for."""
        self.available = asyncio.Event()
        self.urgent = asyncio.Event()
        self._rules: _Rules | None = None
        self._ready: deque[tuple[LogRow, int, str]] = deque()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._decided: Bounded[str, bool] = Bounded(_REMEMBERED)
        self._asked: Bounded[str, bool] = Bounded(_REMEMBERED)
        self._room = Shares(room, max(1, room // 2))

    def __len__(self) -> int:
        """Rows that wait to be sent."""
        return len(self._ready)

    def apply(self, section: TraceSection | None) -> None:
        """Decide by this section from now on; without one no spans are made."""
        if section is None:
            self._rules = None
            return
        keeping = Keeping(sample=section.sample, keep_errors=section.keep_errors, slow_us=section.slow_ms * 1000)
        self._rules = _Rules(keeping, section.follow_caller, frozenset(section.baggage_to))

    def begin(self, headers: Iterable[tuple[bytes, bytes]], meta: Mapping[str, object]) -> TraceContext | None:
        """The place of a request: in the trace that it names, or in a new one where spans are made."""
        rules = self._rules
        if rules is None:
            return found_in(headers, meta)
        found = found_in(headers, meta, baggage=bool(rules.baggage_to))
        if found is None:
            trace = new_trace()
            return TraceContext(trace, flags=SAMPLED if rules.keeping.takes(trace) else 0, recorded=True)
        flags = found.flags
        if rules.follow_caller:
            self._asked[found.trace] = bool(found.flags & SAMPLED)
        elif rules.keeping.takes(found.trace):
            flags |= SAMPLED
        return TraceContext(found.trace, found.span, flags, found.state, True, found.baggage, rules.baggage_to)

    def take(self, row: LogRow, holder: str = "") -> None:
        """Take a row that has ended. One without a span is passed over."""
        rules = self._rules
        if rules is None or not row.span:
            return
        if row.kind == "run":
            self._end(row, holder, rules)
        elif row.run:
            self._take_call(row, holder, rules)
        elif self._keeps(row, rules):
            self._put(row, holder)

    def batch(self, most: int = URGENT) -> list[tuple[LogRow, int]]:
        """Take the next rows to send, each with the number of the calls of its run that are left out."""
        taken = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
        for _, _, holder in taken:
            self._room.give_back(holder)
        return [(row, left_out) for row, left_out, _ in taken]

    def _keeps(self, row: LogRow, rules: _Rules) -> bool:
        asked = self._asked.get(row.trace) if rules.follow_caller else None
        return (rules.keeping.takes(row.trace) if asked is None else asked) or rules.keeping.stands_out(row)

    def _take_call(self, row: LogRow, holder: str, rules: _Rules) -> None:
        if (decided := self._decided.get(row.run)) is not None:
            if decided:
                self._put(row, holder)
            return
        if self._keeps(row, rules):
            self._decided[row.run] = True
            self._let_go(row.run, keep=True)
            self._put(row, holder)
            return
        held = self._held.get(row.run)
        if held is None:
            if len(self._held) >= RUNS:
                oldest = next(iter(self._held))
                self.dropped += len(self._held[oldest].rows)
                self._let_go(oldest, keep=False)
            held = self._held[row.run] = _Held(holder=holder)
        if len(held.rows) >= CALLS_OF_A_RUN or self._room.full_for(holder) is not None:
            held.left_out += 1
            return
        self._room.take(holder)
        held.rows.append(row)

    def _end(self, row: LogRow, holder: str, rules: _Rules) -> None:
        keep = self._decided.get(row.run) or self._keeps(row, rules)
        # Calls that end after their run are of the same trace.
        self._decided[row.run] = keep
        left_out = self._let_go(row.run, keep=keep)
        if keep:
            self._put(row, holder, left_out)

    def _let_go(self, run: str, *, keep: bool) -> int:
        """Send the rows that wait for the end of a run, or forget them. How many others there are."""
        held = self._held.pop(run, None)
        if held is None:
            return 0
        for row in held.rows:
            self._room.give_back(held.holder)
            if keep:
                self._put(row, held.holder)
        return held.left_out

    def _put(self, row: LogRow, holder: str, left_out: int = 0) -> None:
        if self._room.full_for(holder) is not None:
            self.dropped += 1
            return
        self._room.take(holder)
        self._ready.append((row, left_out, holder))
        self.available.set()
        if len(self._ready) >= URGENT:
            self.urgent.set()
