"""Calls of tools by days and months of a time zone: every call is in one of them, and clocks that change cost none."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.logs import CallLog, LogPlace, LogRow, count_calls, days, months, zone
from portal.logs.batch import store
from portal.logs.schema import DAY
from tests.portal.logs.rows import AT, batch_of, row

pytestmark = pytest.mark.anyio
ZONES = ("utc", "Z", "+14:00", "-12:00", "+05:30", "-00:30", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
NO_ZONES = (
    "",
    "+14:01",
    "-12:30",
    "+5",
    "+05:60",
    "CET",
    "../etc/passwd",
    "Europe/../x",
    "Europe",
    "Europe/Nowhere",
    "A/" + 90 * "b",
)


@pytest.mark.parametrize("text", NO_ZONES)
def test_what_is_no_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be utc, Z"):
        zone(text)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)), st.sampled_from(ZONES), st.integers(1, 179))
def test_periods_follow_one_another_and_end_with_the_one_that_is_now(at: datetime, name: str, number: int) -> None:
    now = at.replace(tzinfo=UTC)
    for periods in (days(now, zone(name), number), months(now, zone(name))):
        assert all(one.end == two.start and one.day < two.day for one, two in pairwise(periods))
        assert periods[-1].start <= now.timestamp() < periods[-1].end
    assert len(days(now, zone(name), number)) == number and len(months(now, zone(name))) == 12


def test_a_day_in_which_clocks_change_has_another_length() -> None:
    lengths = {
        one.day.isoformat(): one.end - one.start
        for one in days(datetime(2026, 10, 26, tzinfo=UTC), zone("Europe/Berlin"), 3)
    }
    assert lengths == {"2026-10-24": 24 * 3600, "2026-10-25": 25 * 3600, "2026-10-26": 24 * 3600}


@pytest.mark.parametrize("name", ZONES)
async def test_each_call_of_a_tool_counts_in_its_day(place: LogPlace, name: str) -> None:
    tz, now = zone(name), datetime.fromtimestamp(AT // 1_000_000, UTC)
    start = AT - 3 * DAY
    made: list[LogRow] = []
    for n in range(288):
        at = start + n * DAY // 96
        changes: Any = {"portal": ("", "team")[n % 2], "server": f"s{n % 3}", "kind": "run" if n % 12 == 0 else "tool"}
        made.append(row(at=at - 1500, run="exec_1" if n % 5 else "", **changes))
    async with CallLog.open(place) as log:
        await log.database.write(partial(store, batch=batch_of("i", 1, made), now=AT + DAY))
        periods = days(now, tz, 7)

        async def counts(**more: Any) -> list[int]:
            return await log.database.read(partial(count_calls, periods=periods, **more))

        def expected(rows: list[LogRow]) -> list[int]:
            # An hour of UTC counts in the day in which it begins.
            hours = [datetime.fromtimestamp((one.at + one.us) // 3_600_000_000 * 3600, UTC) for one in rows]
            dates = [hour.astimezone(tz).date() for hour in hours]
            return [dates.count(one.day) for one in periods]

        tools = [one for one in made if one.kind == "tool"]
        assert await counts() == expected(tools)
        assert sum(await counts()) == len(tools)
        assert await counts(portal="team") == expected([one for one in tools if one.portal == "team"])
        assert await counts(portal="") == expected([one for one in tools if one.portal == ""])
        assert await counts(server="s1") == expected([one for one in tools if one.server == "s1"])


def test_a_zone_of_whole_hours_is_exact_and_others_are_wrong_by_at_most_an_hour_at_midnight() -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert {one.start % 3600 for one in days(now, ZoneInfo("Europe/Berlin"), 30)} == {0}
    assert {one.start % 3600 for one in days(now, zone("+05:30"), 30)} == {1800}
