"""The runs under way in this process, for those who watch them and may end them: whose they are, which calls they have
made so far, and what they wait for.

Bounded: of one run, of one person and of all there are only so many calls in memory. Those beyond are counted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from codemode import Failure, ToolCall
from portal.identity import Identity
from portal.logs import LogRow
from portal.runs.live import LiveRun
from portal.runs.waterfall import CallOfRun, RunFacts, RunStory, call_of, story_of
from portal.shares import Shares

MOST_CALLS: Final = 1_000
"""Calls of one run that are in memory, so many as a page of the log has."""
ROOM: Final = 20_000
"""Calls of all runs that are in memory, of one person at most half of them. One takes about a KiB."""
_REMEMBERED: Final = 512


@dataclass(frozen=True, slots=True)
class _Open:
    call: ToolCall
    at: int


class _Ended(NamedTuple):
    """A run that has ended: whose it was, and how it failed."""

    id: str
    identity: str
    failure: str


class WatchedRun:
    """One run under way; it is told of its calls (`portal.calls.RunWatcher`). `row` says who runs it, where and since
    when; calls count from then on. `principal` is who was let in with the request that began it, None for nobody in
    particular. `shows_program`: its text is kept, so that others than its person may see it."""

    def __init__(self, run: LiveRun, row: LogRow, room: Shares, principal: Identity | None = None) -> None:
        self.run = run
        self.row = row
        self.principal = principal
        self.made = 0
        self.shows_program = False
        self.failure = ""
        self._room = room
        self._open: dict[int, _Open] = {}
        self._rows: list[LogRow] = []
        self._taken = 0
        self._left_out = False
        self._over = False

    @property
    def id(self) -> str:
        return self.run.id

    def program_begins(self, at: int) -> None:
        """Its program begins `at` (microseconds since 1970): what was waited for before is no part of it."""
        self.row = self.row._replace(at=at)

    def began(self, call: ToolCall, at: int) -> None:
        self.made += 1
        if self._take():
            self._open[call.seq] = _Open(call, at)

    def noted(self, row: LogRow) -> None:
        if self._take():
            self._rows.append(row)

    def failed(self, words: str) -> None:
        """It has failed, and its agent reads these words."""
        self.failure = words

    def ended(self, call: ToolCall) -> None:
        if self._open.pop(call.seq, None) is not None:
            self._give_back(1)

    def facts(self, now: int) -> RunFacts:
        """What is known of it `now` (microseconds since 1970)."""
        return RunFacts(
            row=self.row,
            us=max(0, now - self.row.at),
            outcome="running",
            made=self.made,
            waiting=self.run.handle.waits.open,
        )

    def story(self, now: int, *, with_program: bool, own: bool = False) -> RunStory:
        """The run with its calls so far. `own`: for the person whose it is."""
        since = self.row.at
        calls = [call_of(row, since) for row in self._rows]
        calls += [_pending(one, since, now) for one in self._open.values()]
        record = self.run.handle.record
        shown = with_program and (own or self.shows_program)
        program = record.program if shown and record is not None else None
        return story_of(self.facts(now), calls, more=self._left_out, program=program)

    def end(self, failure: Failure) -> None:
        """End the run with this failure, and cancel its calls."""
        self.run.handle.end(failure)

    def forget(self) -> None:
        """It has ended: give back what it has of the room."""
        # A call that does not stop when it is cancelled may still say something.
        self._over = True
        self._open.clear()
        self._rows.clear()
        self._give_back(self._taken)

    def _take(self) -> bool:
        if self._over or self._taken >= MOST_CALLS or self._room.full_for(self.run.holder) is not None:
            self._left_out = True
            return False
        self._room.take(self.run.holder)
        self._taken += 1
        return True

    def _give_back(self, count: int) -> None:
        self._taken -= count
        self._room.give_back(self.run.holder, count)


class WatchedRuns:
    """All runs under way in this process, of every portal. `now` is in microseconds since 1970."""

    def __init__(self, now: Callable[[], int] = lambda: time.time_ns() // 1000, room: int = ROOM) -> None:
        self._now = now
        self._runs: dict[str, WatchedRun] = {}
        self._ended: deque[_Ended] = deque(maxlen=_REMEMBERED)
        self._room = Shares(room, max(1, room // 2))

    def __len__(self) -> int:
        return len(self._runs)

    def __bool__(self) -> bool:
        """It is there, also while nothing runs."""
        return True

    @contextmanager
    def watching(self, run: LiveRun, row: LogRow, principal: Identity | None = None) -> Iterator[WatchedRun]:
        """A block in which a run is under way, begun by this `principal`. Its row is to be written before the block
        ends."""
        self._runs[run.id] = watched = WatchedRun(run, row, self._room, principal)
        try:
            yield watched
        finally:
            del self._runs[run.id]
            self._ended.append(_Ended(run.id, row.identity, watched.failure))
            watched.forget()

    def all(self, wanted: Callable[[LogRow], bool] = lambda row: True) -> list[RunFacts]:
        """The runs whose row is wanted, the newest first."""
        now = self._now()
        found = [one.facts(now) for one in self._runs.values() if wanted(one.row)]
        return sorted(found, key=lambda one: one.row.at, reverse=True)

    def find(self, run_id: str, identity: str | None = None) -> WatchedRun | None:
        """The run with this id, if it is under way, and one of this identity if there is one."""
        found = self._runs.get(run_id)
        return found if found is not None and identity in (None, found.row.identity) else None

    def story(self, run_id: str, identity: str | None = None, *, with_program: bool) -> RunStory | None:
        """The run with this id and its calls so far; None if it is not under way, or another's."""
        found, own = self.find(run_id, identity), identity is not None
        return None if found is None else found.story(self._now(), with_program=with_program, own=own)

    def end_logged_out(self, holds: Callable[[Identity], bool]) -> int:
        """End the runs whose login has ended, and say how many that were. `holds` says whether the login of an
        identity, by object, has not ended."""
        ended = [one for one in self._runs.values() if one.principal is not None and not holds(one.principal)]
        for one in ended:
            one.end(logged_out(one))
        return len(ended)

    def has_ended(self, run_id: str) -> bool:
        """Whether this is one of the runs that ended last: its row may still be on its way to the log."""
        return any(one.id == run_id for one in self._ended)

    def failure(self, run_id: str, identity: str) -> str:
        """How a run of this identity failed, which is one of those that ended last; "" for any other."""
        found = (one.failure for one in self._ended if one.id == run_id and one.identity == identity)
        return next(found, "")


def ended_by(whom: str, run: WatchedRun) -> Failure:
    """How a run ends that `whom` ends: what its agent reads."""
    message = f"{whom} ended this program; {_completed(run)}. Do not run it again without asking."
    return Failure("cancelled", "RunEnded", message)


def logged_out(run: WatchedRun) -> Failure:
    """How a run ends whose login ends: what its agent reads."""
    message = f"the login that this program was begun with has ended; {_completed(run)}. Log in to go on."
    return Failure("denied", "LoginEnded", message)


def _completed(run: WatchedRun) -> str:
    record = run.run.handle.record
    done = 0 if record is None else sum(call.status == "ok" for call in record.calls)
    return f"{done} of its calls had completed and are not undone" if done else "none of its calls had completed"


def _pending(one: _Open, since: int, now: int) -> CallOfRun:
    call = one.call
    return CallOfRun(
        number=call.seq,
        server=call.server,
        tool=call.tool,
        start_ms=round(max(0, one.at - since) / 1000, 3),
        ms=round(max(0, now - one.at) / 1000, 3),
        outcome="pending",
        line=call.line,
    )
