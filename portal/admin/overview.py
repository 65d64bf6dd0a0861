"""All that a dashboard shows of a window, in one answer: `access/ai-controls/mcp/analytics/overview`. Ours.

Calls, errors by outcome, times, bytes and tokens, beside the window before; the same by the hour or day; and the
servers, people, clients and tools with the most calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from portal.admin.analytics import ANALYTICS, Amount, HoursWindow, amount, time_zone
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import LOGS
from portal.admin.log_reading import LogReading, Text, microseconds
from portal.logs import OTHERS, CallWindow, FoundSums, Sums, added, days, email_of, sums, zone
from portal.state import Clock

MAX_TOP = 50
PARTS = ("total", "series", "servers", "people", "clients", "tools")
_HOUR, _STEP = timedelta(hours=1), timedelta(minutes=5)
_DAYS = {"24h": 1, "7d": 7, "30d": 30}
_TOP: dict[str, tuple[str, ...]] = {
    "servers": ("server",),
    "people": ("identity",),
    "clients": ("client", "client_version"),
    "tools": ("server", "name"),
}


def _parts(text: str) -> str:
    named = text.split(",")
    if not {*named} <= {*PARTS}:
        raise ValueError(f"must be some of {', '.join(PARTS)}, with a comma between")
    return text


class OverviewQuery(BaseModel):
    """`window` ends now. `24h` is whole hours, `7d` and `30d` are whole days of the time zone `tz` up to today, all
    with the hour that is not over; `1h` is to the minute. `step` is that of the series of days, hours up to 7 of them
    without it. `parts` is what is wanted, `limit` how many of each kind."""

    model_config = ConfigDict(extra="forbid")

    window: Literal["1h", "24h", "7d", "30d"] = "24h"
    tz: Annotated[str, Field(max_length=64), AfterValidator(time_zone)] = "utc"
    step: Literal["hour", "day"] | None = None
    portal_id: Text | None = None
    server_id: Text | None = None
    identity: Text | None = None
    client: Text | None = None
    kind: Text = "tool"
    parts: Annotated[str, Field(max_length=64), AfterValidator(_parts)] = ",".join(PARTS)
    limit: Annotated[int, Field(ge=1, le=MAX_TOP)] = 10


class OutcomeCount(BaseModel):
    outcome: str
    calls: int
    calls_before: int


class OverviewPoint(BaseModel):
    """What began at `start`; the next point says where it ends. Also where there was no call."""

    start: datetime
    amount: Amount


class TopAmount(BaseModel):
    """One server, person, client or tool. `email` is the newest that the log has of a person. `others` are all those
    that had no sums of their own in an hour in which there were very many."""

    server: str | None = None
    tool: str | None = None
    identity: str | None = None
    email: str | None = None
    client: str | None = None
    client_version: str | None = None
    others: bool = False
    now: Amount
    before: Amount


class TopAmounts(BaseModel):
    """Those with the most calls first; `more` says that some are left out. Where there are no sums for what is asked,
    such as the tools of a person, the newest rows are added up: what ended before `counted_since` is not in it."""

    groups: tuple[TopAmount, ...]
    more: bool
    counted_since: datetime | None = None


class Overview(BaseModel):
    """`counted_since` is as in the lists. What ended after `counted_until` is not in it yet: that is so only while a
    log of an earlier version is brought up to date."""

    window: HoursWindow
    window_before: HoursWindow
    step: Literal["five_minutes", "hour", "day"]
    tz: str
    total: Amount | None = None
    total_before: Amount | None = None
    outcomes: tuple[OutcomeCount, ...] | None = None
    series: tuple[OverviewPoint, ...] | None = None
    servers: TopAmounts | None = None
    people: TopAmounts | None = None
    clients: TopAmounts | None = None
    tools: TopAmounts | None = None
    counted_since: datetime | None = None
    counted_until: datetime | None = None


class OverviewOperations:
    def __init__(self, reading: LogReading, clock: Clock) -> None:
        self._reading = reading
        self._clock = clock

    def operations(self) -> list[Operation]:
        # Who called is in it, as in the rows of the log.
        return [
            Operation(
                "GET",
                f"{ANALYTICS}/overview",
                "Show what a dashboard shows",
                self._get,
                Overview,
                LOGS,
                query=OverviewQuery,
            )
        ]

    async def _get(self, request: ApiRequest) -> Overview:
        asked = request.asked(OverviewQuery)
        portal = await self._reading.portal(request, asked.portal_id)
        work = partial(overview, asked=asked, now=self._clock().astimezone(UTC), portal=portal)
        return await self._reading.read(request, work)


def overview(connection: Connection, asked: OverviewQuery, now: datetime, portal: str | None) -> Overview:
    """The answer, of the log that this connection is to."""
    return _Reading(connection, asked, now, portal).answer()


class _Reading:
    """One answer on its way. `starts` are those of the points of the series."""

    def __init__(self, connection: Connection, asked: OverviewQuery, now: datetime, portal: str | None) -> None:
        self._connection = connection
        self._asked = asked
        self._step, self._starts, end = _points(asked, now)
        self._window = HoursWindow(start=self._starts[0], end=end)
        self._before = HoursWindow(start=self._starts[0] - (end - self._starts[0]), end=self._starts[0])
        self._now, self._former = (
            CallWindow(
                since=_us(window.start),
                until=_us(window.end),
                portal=portal,
                server=asked.server_id,
                kind=None if asked.kind == "all" else asked.kind,
                identity=asked.identity,
                client=asked.client,
                rows=asked.window == "1h",
            )
            for window in (self._window, self._before)
        )
        self._since: int | None = None
        self._until: int | None = None

    def answer(self) -> Overview:
        parts = {*self._asked.parts.split(",")}
        found = Overview(window=self._window, window_before=self._before, step=self._step, tz=self._asked.tz)
        if "total" in parts:
            self._add_total(found)
        if "series" in parts:
            found.series = self._series()
        for name, by in _TOP.items():
            if name in parts:
                setattr(found, name, self._top(by))
        found.counted_since, found.counted_until = _time(self._since), _time(self._until)
        return found

    def _add_total(self, found: Overview) -> None:
        now, former = (self._sums(["outcome"], window) for window in (self._now, self._former))
        found.total, found.total_before = (amount(added(one.values())) for one in (now, former))
        counts = {str(key[0]): (now.get(key), former.get(key)) for key in (*now, *former)}
        found.outcomes = tuple(
            OutcomeCount(outcome=name, calls=one.n if one else 0, calls_before=two.n if two else 0)
            for name, (one, two) in counts.items()
        )

    def _series(self) -> tuple[OverviewPoint, ...]:
        by = "minutes" if self._now.rows else "hour"
        length = int((_STEP if self._now.rows else _HOUR).total_seconds())
        starts = [int(start.timestamp()) for start in self._starts]
        points: list[list[Sums]] = [[] for _ in starts]
        at = 0
        for (number,), one in sorted(self._sums([by], self._now).items()):
            while at + 1 < len(starts) and int(number) * length >= starts[at + 1]:
                at += 1
            points[at].append(one)
        return tuple(
            OverviewPoint(start=start, amount=amount(added(several)))
            for start, several in zip(self._starts, points, strict=True)
        )

    def _top(self, by: Sequence[str]) -> TopAmounts:
        found = sums(self._connection, by, self._now, most=self._asked.limit + 1)
        self._note(found)
        shown = [*found.groups.items()][: self._asked.limit]
        former = sums(self._connection, by, self._former, only=[key for key, _ in shown])
        groups = []
        for key, one in shown:
            names = {("tool" if name == "name" else name): str(value) for name, value in zip(by, key, strict=True)}
            names |= {"email": email_of(self._connection, names["identity"])} if "identity" in names else {}
            others = by[0] in ("identity", "client") and {*key} == {OTHERS}
            groups.append(TopAmount(**names, others=others, now=amount(one), before=amount(former.groups.get(key))))
        return TopAmounts(groups=tuple(groups), more=len(found.groups) > len(shown), counted_since=_time(found.since))

    def _sums(self, by: Sequence[str], window: CallWindow) -> dict[tuple[str | int, ...], Sums]:
        found = sums(self._connection, by, window)
        if found.since is not None:
            self._since = max(found.since, self._since or 0)
        self._note(found)
        return found.groups

    def _note(self, found: FoundSums) -> None:
        if found.until is not None:
            self._until = min(found.until, self._until or found.until)


def _points(
    asked: OverviewQuery, now: datetime
) -> tuple[Literal["five_minutes", "hour", "day"], list[datetime], datetime]:
    """The step of the series, where its points begin, and where the last one ends."""
    if asked.window == "1h":
        end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        start = end - _HOUR
        first = start.replace(minute=start.minute // 5 * 5)
        return "five_minutes", [start, *(first + n * _STEP for n in range(1, 13) if first + n * _STEP < end)], end
    end = now.replace(minute=0, second=0, microsecond=0) + _HOUR
    number = _DAYS[asked.window]
    if number == 1:
        return "hour", [end - n * _HOUR for n in range(24, 0, -1)], end
    # An hour of UTC counts in the day in which it begins.
    starts = [datetime.fromtimestamp(-(-day.start // 3600) * 3600, UTC) for day in days(now, zone(asked.tz), number)]
    starts = [start for start in starts if start < end]
    if (asked.step or ("hour" if number <= 7 else "day")) == "day":
        return "day", starts, end
    return "hour", [starts[0] + n * _HOUR for n in range((end - starts[0]) // _HOUR)], end


def _us(at: datetime) -> int:
    found = microseconds(at)
    assert found is not None
    return found


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1_000_000, UTC)
