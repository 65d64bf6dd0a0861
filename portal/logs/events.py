"""Rows about what is no call: requests that a portal answers itself, refusals, sign-ins, consents, changes.

A room that has something to say is given an `EventSink`, makes a row with `event`, and writes it. A row has who, what
and how it ended, in our own words: never a credential, a code, a value, or what somebody has typed.

Whoever has not signed in can send as much as they like. So of each network of theirs a few rows a minute are written,
of all of them together some more, and of the others one row a minute says how many they were.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from portal.errors import Outcome
from portal.http import Rate
from portal.identity import Identity
from portal.logs.row import MAX_NAME, Kind, LogRow
from portal.shares import STRANGERS, network_of

if TYPE_CHECKING:
    from portal.logs.log import CallLog

EACH_BURST, EACH_MINUTE = 20, 10
"""Rows of one network of people who have not signed in: at once, and a minute."""
ALL_BURST, ALL_MINUTE = 200, 30
"""Rows of all such networks together, for each kind."""
LEFT_OUT_SECONDS = 60.0
_MOST_GROUPS = 500
_Group: TypeAlias = tuple[str, Kind, str]
_OTHERS: _Group = ("", "refusal", "")


class EventSink(Protocol):
    """Takes rows of events."""

    def write(self, row: LogRow) -> None:
        """Take a row. Does not wait and does not fail."""


class NoEvents:
    """For a portal without a log."""

    def write(self, row: LogRow) -> None:
        return None


NO_EVENTS = NoEvents()


class PortalEvents:
    """Events of one portal: its id is in every row."""

    def __init__(self, events: EventSink, portal: str) -> None:
        self._events = events
        self._portal = portal

    def write(self, row: LogRow) -> None:
        self._events.write(row._replace(portal=self._portal) if self._portal else row)


def event(
    kind: Kind,
    method: str,
    outcome: Outcome = "ok",
    *,
    who: Identity | None = None,
    ip: str = "",
    email: str = "",
    name: str = "",
    client: str = "",
    policy: str = "",
    reason: str = "",
) -> LogRow:
    """The row of an event that has just happened. `who` is the caller, where one is known; `ip` and `email` go before
    theirs. `name` says what it is about."""
    who_key = "" if who is None else who.key
    if who is not None:
        ip, email = ip or who.ip, email or who.email
    return LogRow(
        time.time_ns() // 1000,
        0,
        kind,
        method[:MAX_NAME],
        outcome,
        name=name[:MAX_NAME],
        identity=who_key[:MAX_NAME],
        email=email[:MAX_NAME],
        ip=ip,
        country="" if who is None else who.country,
        client=client[:MAX_NAME],
        policy=policy[:MAX_NAME],
        reason=reason[:MAX_NAME],
    )


class EventLog:
    """Events for the log of an instance, whose owner is somebody else. Use it as a block.

    `left_out` counts the rows of strangers that are not written and not reported yet. `watchers` see each row that is
    written, with its holder, and may change at any time.
    """

    def __init__(self, log: CallLog, clock: Callable[[], float] = time.monotonic) -> None:
        self.watchers: tuple[Callable[[LogRow, str], None], ...] = ()
        self._log = log
        self._each = Rate(EACH_BURST, EACH_MINUTE, clock)
        self._all = Rate(ALL_BURST, ALL_MINUTE, clock)
        self._left_out: Counter[_Group] = Counter()
        self._since = _now()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EventLog:
        self._task = asyncio.create_task(self._report_often(), name="events left out")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.report()

    @property
    def left_out(self) -> int:
        return self._left_out.total()

    def write(self, row: LogRow) -> None:
        if row.identity or not row.ip:
            # Where nobody signs in at all there is no address: that is the operator.
            self._write(row, row.identity)
            return
        network = network_of(row.ip)
        # A request was let in, and is answered: it counts as calls do.
        if row.kind == "request" or (self._each.allows(network) and self._all.allows(row.kind)):
            self._write(row, STRANGERS + network)
            return
        group = row.portal, row.kind, row.method
        self._left_out[group if group in self._left_out or len(self._left_out) < _MOST_GROUPS else _OTHERS] += 1

    def _write(self, row: LogRow, holder: str) -> None:
        self._log.write(row, holder)
        for watcher in self.watchers:
            watcher(row, holder)

    def report(self) -> None:
        """Write how many rows were left out since the last time, one row for each portal, kind and method."""
        left_out, self._left_out = self._left_out, Counter[_Group]()
        since, self._since = self._since, _now()
        for (portal, kind, method), count in left_out.items():
            reason = f"{count} more of callers who have not signed in are left out"
            self._log.write(LogRow(since, self._since - since, kind, method, "denied", portal=portal, reason=reason))

    async def _report_often(self) -> None:
        while True:
            await asyncio.sleep(LEFT_OUT_SECONDS)
            self.report()


def _now() -> int:
    return time.time_ns() // 1000
