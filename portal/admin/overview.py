"""All that a dashboard shows of a window, in one answer: `access/ai-controls/mcp/analytics/overview`. Ours.

Calls, errors by outcome, times, bytes and tokens, beside the window before; the same by the hour or day; and the
servers, people, clients and tools with the most calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from portal.admin.analytics import ANALYTICS, FINE_DAYS, Amount, HoursWindow, amount, midnight_after, time_zone
from portal.admin.api.errors import invalid
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import LOGS
from portal.admin.log_reading import LogReading, Text, microseconds
from portal.logs import OTHERS, CallWindow, FoundSums, Sums, SumsQuestion, added, days, email_of, sums_of_each, zone
from portal.state import Clock

MAX_TOP = 50
MAX_SPAN = timedelta(days=31)
PARTS = ("total", "series", "servers", "people", "clients", "tools")
_MINUTE, _HOUR, _DAY, _STEP = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(minutes=5)
_FINE = timedelta(hours=2)
"""A time of the last day that is no longer than this is answered to the minute."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    with the hour that is not over; `1h` is to the minute. With `since` (and `until`, or now) it is the time between
    these, at most 31 days, instead: to the minute for two hours of the last day, else whole hours. `step` is that of
    the series of days, hours up to 7 of them without it. `parts` is what is wanted, `limit` how many of each kind.
    Lists that are `short` have no `before` and no quantiles: these take long where there are no sums."""

    model_config = ConfigDict(extra="forbid")

    window: Literal["1h", "24h", "7d", "30d"] = "24h"
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    tz: Annotated[str, Field(max_length=64), AfterValidator(time_zone)] = "utc"
    step: Literal["hour", "day"] | None = None
    portal_id: Text | None = None
    server_id: Text | None = None
    identity: Text | None = None
    client: Text | None = None
    kind: Text = "tool"
    parts: Annotated[str, Field(max_length=64), AfterValidator(_parts)] = ",".join(PARTS)
    limit: Annotated[int, Field(ge=1, le=MAX_TOP)] = 10
    lists: Literal["full", "short"] = "full"


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
    that had no sums of their own in an hour in which there were very many. In a list that is `short` there is no
    `before`, and `now` has no quantiles."""

    server: str | None = None
    tool: str | None = None
    identity: str | None = None
    email: str | None = None
    client: str | None = None
    client_version: str | None = None
    others: bool = False
    now: Amount
    before: Amount | None = None


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
        asked, now = request.asked(OverviewQuery), self._clock().astimezone(UTC)
        if asked.since is not None or asked.until is not None:
            asked = asked.model_copy(update=_between(asked, now))
        portal = await self._reading.portal(request, asked.portal_id)
        work = partial(overview, asked=asked, now=now, portal=portal)
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
                rows=self._step == "five_minutes",
            )
            for window in (self._window, self._before)
        )
        self._since: int | None = None
        self._until: int | None = None

    def answer(self) -> Overview:
        parts = {*self._asked.parts.split(",")}
        tops = {name: by for name, by in _TOP.items() if name in parts}
        is_short = self._asked.lists == "short"
        asked = {name: SumsQuestion(by, self._asked.limit + 1, times=not is_short) for name, by in tops.items()}
        asked |= {"total": SumsQuestion(["outcome"])} if "total" in parts else {}
        asked |= {"series": SumsQuestion([self._series_step()[0]])} if "series" in parts else {}
        now = self._sums(asked, self._now)
        keys = {name: [*now[name].groups][: self._asked.limit] for name in tops}
        again = {} if is_short else {name: SumsQuestion(by, only=keys[name]) for name, by in tops.items()}
        again |= {"total": asked["total"]} if "total" in parts else {}
        former = self._sums(again, self._former)

        found = Overview(window=self._window, window_before=self._before, step=self._step, tz=self._asked.tz)
        if "total" in parts:
            self._add_total(found, now["total"], former["total"])
        if "series" in parts:
            found.series = self._series(now["series"])
        for name, by in tops.items():
            setattr(found, name, self._top(by, keys[name], now[name], former.get(name)))
        found.counted_since, found.counted_until = _time(self._since), _time(self._until)
        return found

    def _add_total(self, found: Overview, now: FoundSums, former: FoundSums) -> None:
        self._note_since(now, former)
        found.total, found.total_before = (amount(added(one.groups.values())) for one in (now, former))
        counts = {str(key[0]): (now.groups.get(key), former.groups.get(key)) for key in (*now.groups, *former.groups)}
        found.outcomes = tuple(
            OutcomeCount(outcome=name, calls=one.n if one else 0, calls_before=two.n if two else 0)
            for name, (one, two) in counts.items()
        )

    def _series_step(self) -> tuple[str, int]:
        """The column that points of the series are added up from, and its length in seconds."""
        if self._now.rows:
            return "minutes", int(_STEP.total_seconds())
        day = int(_DAY.total_seconds())
        # Days of UTC have sums of their own.
        if all(start.timestamp() % day == 0 for start in self._starts) and self._step == "day":
            return "day", day
        return "hour", int(_HOUR.total_seconds())

    def _series(self, now: FoundSums) -> tuple[OverviewPoint, ...]:
        self._note_since(now)
        _, length = self._series_step()
        starts = [int(start.timestamp()) for start in self._starts]
        points: list[list[Sums]] = [[] for _ in starts]
        at = 0
        for (number,), one in sorted(now.groups.items()):
            while at + 1 < len(starts) and int(number) * length >= starts[at + 1]:
                at += 1
            points[at].append(one)
        return tuple(
            OverviewPoint(start=start, amount=amount(added(several)))
            for start, several in zip(self._starts, points, strict=True)
        )

    def _top(
        self, by: Sequence[str], keys: Sequence[tuple[str | int, ...]], now: FoundSums, former: FoundSums | None
    ) -> TopAmounts:
        groups = []
        for key in keys:
            names = {("tool" if name == "name" else name): str(value) for name, value in zip(by, key, strict=True)}
            names |= {"email": email_of(self._connection, names["identity"])} if "identity" in names else {}
            others = by[0] in ("identity", "client") and {*key} == {OTHERS}
            before = None if former is None else amount(former.groups.get(key))
            groups.append(TopAmount(**names, others=others, now=amount(now.groups[key]), before=before))
        return TopAmounts(groups=tuple(groups), more=len(now.groups) > len(keys), counted_since=_time(now.since))

    def _sums(self, asked: Mapping[str, SumsQuestion], window: CallWindow) -> dict[str, FoundSums]:
        found = dict(zip(asked, sums_of_each(self._connection, [*asked.values()], window), strict=True))
        for one in found.values():
            self._note(one)
        return found

    def _note_since(self, *several: FoundSums) -> None:
        for found in several:
            if found.since is not None:
                self._since = max(found.since, self._since or 0)

    def _note(self, found: FoundSums) -> None:
        if found.until is not None:
            self._until = min(found.until, self._until or found.until)


def _between(asked: OverviewQuery, now: datetime) -> dict[str, datetime]:
    """The times that are asked for, in UTC.

    Raises:
        AdminError: there is no such window.
    """
    if asked.since is None:
        raise invalid("until takes a since")
    try:
        since, until = asked.since.astimezone(UTC), (asked.until or now).astimezone(UTC)
        # What is around it, and the one before it, must be times too.
        _ = since - MAX_SPAN - timedelta(days=2), until + timedelta(days=2)
    except OverflowError:
        raise invalid("since and until must be of this age") from None
    if until <= since:
        raise invalid("until must be after since")
    if until - since > MAX_SPAN:
        raise invalid(f"since and until must be at most {MAX_SPAN.days} days apart")
    return {"since": since, "until": until}


def _points(
    asked: OverviewQuery, now: datetime
) -> tuple[Literal["five_minutes", "hour", "day"], list[datetime], datetime]:
    """The step of the series, where its points begin, and where the last one ends."""
    if asked.since is not None and asked.until is not None:
        return _points_between(asked, asked.since, asked.until, now)
    if asked.window == "1h":
        end = now.replace(second=0, microsecond=0) + _MINUTE
        return "five_minutes", _fives(end - _HOUR, end), end
    end = now.replace(minute=0, second=0, microsecond=0) + _HOUR
    number = _DAYS[asked.window]
    if number == 1:
        return "hour", [end - n * _HOUR for n in range(24, 0, -1)], end
    starts = [start for start in _midnights(now, asked.tz, number) if start < end]
    if (asked.step or ("hour" if number <= 7 else "day")) == "day":
        return "day", starts, end
    return "hour", _hours(starts[0], end), end


def _points_between(
    asked: OverviewQuery, since: datetime, until: datetime, now: datetime
) -> tuple[Literal["five_minutes", "hour", "day"], list[datetime], datetime]:
    if until - since <= _FINE and since >= now - timedelta(days=1):
        start, end = _floor(since, _MINUTE), _ceiling(until, _MINUTE)
        return "five_minutes", _fives(start, end), end
    start, end = _floor(since, _HOUR), _ceiling(until, _HOUR)
    if start - (end - start) < now - timedelta(days=FINE_DAYS):
        # So long ago there are sums of whole days alone.
        start, end = start.replace(hour=0), midnight_after(end)
    if (asked.step or ("hour" if end - start <= timedelta(days=7) else "day")) == "day":
        number = (end - start).days + 2
        inner = [at for at in _midnights(end, asked.tz, number) if start < at < end]
        return "day", [start, *inner], end
    return "hour", _hours(start, end), end


def _fives(start: datetime, end: datetime) -> list[datetime]:
    first = _floor(start, _STEP)
    return [start, *(at for n in range(1, (end - first) // _STEP + 1) if (at := first + n * _STEP) < end)]


def _hours(start: datetime, end: datetime) -> list[datetime]:
    return [start + n * _HOUR for n in range((end - start) // _HOUR)]


def _midnights(last: datetime, tz: str, number: int) -> list[datetime]:
    """Where so many days of a time zone begin. An hour of UTC counts in the day in which it begins."""
    return [datetime.fromtimestamp(-(-day.start // 3600) * 3600, UTC) for day in days(last, zone(tz), number)]


def _floor(at: datetime, step: timedelta) -> datetime:
    return at - (at - _EPOCH) % step


def _ceiling(at: datetime, step: timedelta) -> datetime:
    return at + -(at - _EPOCH) % step


def _us(at: datetime) -> int:
    found = microseconds(at)
    assert found is not None
    return found


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1_000_000, UTC)
