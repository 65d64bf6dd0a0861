"""How often, how long and how much: `access/ai-controls/mcp/analytics`, from the sums of the hours alone.

The time series are Cloudflare's. `/sums` and `/hours` are ours.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from portal.admin.api.errors import invalid
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import PORTALS
from portal.admin.log_reading import MCP, LogReading, Text, microseconds
from portal.logs import CallWindow, Period, Sums, count_calls, days, months, sums, zone
from portal.state import Clock

ANALYTICS = f"{MCP}/analytics"
MAX_DAYS = 179
MAX_HOURS = 31 * 24
MAX_GROUPS = 200
FINE_DAYS = 69
"""Tools have sums by the hour for so long; before that, of whole days alone."""
_HOUR = timedelta(hours=1)
_COLUMNS = {"portal": "portal", "server": "server", "kind": "kind", "tool": "name", "outcome": "outcome"}
"""What sums are told apart by, and the columns of the log for that."""


def time_zone(text: str) -> str:
    """The name of a time zone as it is meant.

    Raises:
        ValueError: there is no such zone.
    """
    # A plus sign that was not escaped is a space in a URL.
    text = "+" + text[1:] if text.startswith(" ") else text
    zone(text)
    return text


def _columns(text: str) -> str:
    named = text.split(",") if text else []
    if len(set(named)) < len(named) or not {*named} <= {*_COLUMNS}:
        raise ValueError(f"must be some of {', '.join(_COLUMNS)}, with a comma between")
    return text


class SeriesQuery(BaseModel):
    """The original's parameters. `days` says nothing where months are asked for. `tz` may also be the name of a time
    zone (ours), which knows when clocks change."""

    granularity: Literal["daily", "monthly"] = "daily"
    aggregate: bool = False
    tz: Annotated[str, Field(max_length=64), AfterValidator(time_zone)] = "utc"
    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = 7


class SeriesPoint(BaseModel):
    """`day` is the first day of what is counted."""

    day: str
    count: int


class CallSeries(BaseModel):
    """`start` (included) and `end` (excluded) are milliseconds since 1970."""

    granularity: Literal["daily", "monthly"]
    aggregate: bool
    tz: str
    start: int
    end: int
    series: tuple[SeriesPoint, ...]
    total: int


class WindowQuery(BaseModel):
    """Whole hours from that of `since` (a day ago) to that of `until` (now). `kind` is that of the rows, `all` of all
    kinds; `run` has what programs saved."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    portal_id: Text | None = None
    server_id: Text | None = None
    kind: Text = "tool"


class SumsQuery(WindowQuery):
    by: Annotated[str, Field(max_length=64), AfterValidator(_columns)] = "server"
    limit: Annotated[int, Field(ge=1, le=MAX_GROUPS)] = 50


class Amount(BaseModel):
    """What calls add up to. `errors` did not end well, and `denied` are those of them that were denied. Of the calls
    50, 95 and 99 of 100 took at most so many milliseconds: at most 6 % from the true value, or 1 ms where that is
    more. Without a call there are no times."""

    calls: int
    errors: int
    denied: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    bytes_in: int
    bytes_out: int
    tokens_saved: int


class HourAmount(Amount):
    hour: datetime


class HoursWindow(BaseModel):
    start: datetime
    end: datetime


class GroupSums(BaseModel):
    """What one server, tool... adds up to, now and in the window before."""

    portal: str | None = None
    server: str | None = None
    kind: str | None = None
    tool: str | None = None
    outcome: str | None = None
    now: Amount
    before: Amount | None = None


class ShownSums(BaseModel):
    """A window, the one of the same length before it, and their sums: of everything, and of the groups with the most
    calls."""

    window: HoursWindow
    window_before: HoursWindow
    total: Amount | None = None
    total_before: Amount | None = None
    groups: tuple[GroupSums, ...] = ()
    more: bool = False


class ShownHours(BaseModel):
    """Hours without a call are left out."""

    window: HoursWindow
    hours: tuple[HourAmount, ...]


class AnalyticsOperations:
    def __init__(self, reading: LogReading, clock: Clock) -> None:
        self._reading = reading
        self._clock = clock

    def operations(self) -> list[Operation]:
        scopes = {
            f"{ANALYTICS}/tool-calls/timeseries": "all portals",
            f"{ANALYTICS}/portals/{{portal_id}}/tool-calls/timeseries": "a portal",
            f"{ANALYTICS}/servers/{{server_id}}/tool-calls/timeseries": "a server",
        }
        found = [
            Operation(
                "GET", path, f"Count the calls of tools of {what}", self._series, CallSeries, PORTALS, query=SeriesQuery
            )
            for path, what in scopes.items()
        ]
        return [
            *found,
            Operation("GET", f"{ANALYTICS}/sums", "Sum up calls", self._sums, ShownSums, PORTALS, query=SumsQuery),
            Operation(
                "GET",
                f"{ANALYTICS}/hours",
                "Sum up calls by the hour",
                self._hours,
                ShownHours,
                PORTALS,
                query=WindowQuery,
            ),
        ]

    async def _series(self, request: ApiRequest) -> CallSeries:
        asked = request.asked(SeriesQuery)
        portal, server = await self._reading.portal(request), request.path.get("server_id")
        work = partial(_series_of, asked=asked, now=self._clock(), portal=portal, server=server)
        return await self._reading.read(request, work)

    async def _sums(self, request: ApiRequest) -> ShownSums:
        asked = request.asked(SumsQuery)
        window = self._window(asked, MAX_DAYS * 24)
        names = asked.by.split(",")
        if "tool" in names and window.start - (window.end - window.start) < self._clock() - timedelta(days=FINE_DAYS):
            # So long ago there are sums of whole days alone.
            window = HoursWindow(start=window.start.replace(hour=0), end=midnight_after(window.end))
        portal = await self._reading.portal(request, asked.portal_id)
        return await self._reading.read(request, partial(_sums_of, asked=asked, window=window, portal=portal))

    async def _hours(self, request: ApiRequest) -> ShownHours:
        asked = request.asked(WindowQuery)
        window = self._window(asked, MAX_HOURS)
        portal = await self._reading.portal(request, asked.portal_id)
        return await self._reading.read(request, partial(_hours_of, asked=asked, window=window, portal=portal))

    def _window(self, asked: WindowQuery, most: int) -> HoursWindow:
        """The whole hours that are asked for.

        Raises:
            AdminError: it ends before it begins, or is of more than `most` hours.
        """
        try:
            until = (asked.until or self._clock()).astimezone(UTC)
            since = (asked.since or until - timedelta(days=1)).astimezone(UTC)
            start = since.replace(minute=0, second=0, microsecond=0)
            end = until.replace(minute=0, second=0, microsecond=0)
            end = end if end == until else end + _HOUR
            # The one before it must be a time too.
            _ = start - (end - start)
        except OverflowError:
            raise invalid("since and until must be of this age") from None
        if end <= start:
            raise invalid("until must be after since")
        if (end - start) / _HOUR > most:
            raise invalid(f"since and until must be at most {most} hours apart")
        return HoursWindow(start=start, end=end)


def midnight_after(at: datetime) -> datetime:
    """The end of the day, of UTC, that this hour ends in."""
    day = at.replace(hour=0)
    return day if day == at else day + timedelta(days=1)


def _series_of(
    connection: Connection, asked: SeriesQuery, now: datetime, portal: str | None, server: str | None
) -> CallSeries:
    tz = zone(asked.tz)
    periods: list[Period] = days(now, tz, asked.days) if asked.granularity == "daily" else months(now, tz)
    counts = count_calls(connection, periods, portal, server)
    points = [SeriesPoint(day=one.day.isoformat(), count=count) for one, count in zip(periods, counts, strict=True)]
    total = sum(counts)
    return CallSeries(
        granularity=asked.granularity,
        aggregate=asked.aggregate,
        tz=asked.tz,
        start=periods[0].start * 1000,
        end=periods[-1].end * 1000,
        series=(SeriesPoint(day=points[0].day, count=total),) if asked.aggregate else tuple(points),
        total=total,
    )


def _sums_of(connection: Connection, asked: SumsQuery, window: HoursWindow, portal: str | None) -> ShownSums:
    before = HoursWindow(start=window.start - (window.end - window.start), end=window.start)
    names = asked.by.split(",") if asked.by else []
    columns = [_COLUMNS[name] for name in names]
    now, former = (_calls(asked, times, portal) for times in (window, before))
    total, total_before = (sums(connection, [], times).groups.get(()) for times in (now, former))
    groups: tuple[GroupSums, ...] = ()
    more = False
    if columns:
        found = [*sums(connection, columns, now, most=asked.limit + 1).groups.items()]
        more, found = len(found) > asked.limit, found[: asked.limit]
        past = sums(connection, columns, former, only=[key for key, _ in found]).groups if found else {}
        groups = tuple(
            GroupSums(
                **dict(zip(names, map(str, key), strict=True)),
                now=amount(one),
                before=amount(past[key]) if key in past else None,
            )
            for key, one in found
        )
    return ShownSums(
        window=window,
        window_before=before,
        total=None if total is None else amount(total),
        total_before=None if total_before is None else amount(total_before),
        groups=groups,
        more=more,
    )


def _hours_of(connection: Connection, asked: WindowQuery, window: HoursWindow, portal: str | None) -> ShownHours:
    found = sums(connection, ["hour"], _calls(asked, window, portal)).groups
    hours = {datetime.fromtimestamp(int(hour) * 3600, UTC): one for (hour,), one in found.items()}
    return ShownHours(
        window=window,
        hours=tuple(HourAmount(hour=hour, **amount(hours[hour]).model_dump()) for hour in sorted(hours)),
    )


def _calls(asked: WindowQuery, window: HoursWindow, portal: str | None) -> CallWindow:
    since, until = _times(window)
    return CallWindow(since=since, until=until, portal=portal, server=asked.server_id, kind=_kind(asked))


def _kind(asked: WindowQuery) -> str | None:
    return None if asked.kind == "all" else asked.kind


def _times(window: HoursWindow) -> tuple[int, int]:
    start, end = microseconds(window.start), microseconds(window.end)
    assert start is not None and end is not None
    return start, end


def amount(one: Sums | None) -> Amount:
    """What is shown of sums."""
    one = one or Sums(0, 0, 0, 0, 0, 0)
    return Amount(
        calls=one.n,
        errors=one.errors,
        denied=one.denied,
        mean_ms=round(one.us / one.n / 1000, 3) if one.n else None,
        p50_ms=_ms(one.quantile(0.5)),
        p95_ms=_ms(one.quantile(0.95)),
        p99_ms=_ms(one.quantile(0.99)),
        max_ms=_ms(one.us_max if one.n else None),
        bytes_in=one.bytes_in,
        bytes_out=one.bytes_out,
        tokens_saved=one.tokens_saved,
    )


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000
