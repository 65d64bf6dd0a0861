"""Analytics over the admin API: Cloudflare's time series, and what calls add up to beside the window before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.logs import LogRow
from tests.portal.admin.test_logs import get, logged, refused, words
from tests.portal.logs.rows import row

pytestmark = pytest.mark.anyio

DAY = 86_400_000_000
HOUR = 3_600_000_000
NOON = datetime(2025, 11, 30, 12, 30, tzinfo=UTC)
AT = int(NOON.timestamp()) * 1_000_000
SERIES = "/analytics/tool-calls/timeseries"


def noon() -> datetime:
    return NOON


def of_days(*numbers: int, **changes: Any) -> list[LogRow]:
    """So many calls today, yesterday, the day before..."""
    return [row(at=AT - day * DAY - n * 1000, **changes) for day, number in enumerate(numbers) for n in range(number)]


async def test_the_time_series_has_the_original_s_members_and_each_day(tmp_path: Path) -> None:
    made = of_days(3, 0, 2, server="files", portal="team") + of_days(0, 5, server="mail", run="exec_1", call=1)
    made += of_days(4, kind="run", server="", run="exec_1")
    async with logged(tmp_path, sorted(made), clock=noon) as (api, _):
        found = (await get(api, SERIES))["result"]
        assert found == {
            "granularity": "daily",
            "aggregate": False,
            "tz": "utc",
            "start": int(datetime(2025, 11, 24, tzinfo=UTC).timestamp()) * 1000,
            "end": int(datetime(2025, 12, 1, tzinfo=UTC).timestamp()) * 1000,
            "series": [
                {"day": f"2025-11-{day}", "count": n}
                for day, n in zip(range(24, 31), (0, 0, 0, 0, 2, 5, 3), strict=True)
            ],
            "total": 10,
        }

        async def counts(path: str = SERIES, **query: Any) -> list[int]:
            result = (await get(api, path, **query))["result"]
            assert result["total"] == sum(point["count"] for point in result["series"])
            return [point["count"] for point in result["series"]]

        assert await counts(days=3) == [2, 5, 3]
        assert await counts("/analytics/portals/team/tool-calls/timeseries", days=2) == [0, 3]
        assert await counts("/analytics/portals/_/tool-calls/timeseries", days=2) == [5, 0]
        assert await counts("/analytics/servers/mail/tool-calls/timeseries", days=2) == [5, 0]
        assert await counts("/analytics/servers/nobody/tool-calls/timeseries") == [0] * 7
        assert len(await counts(days=179)) == 179
        aggregate = (await get(api, SERIES, aggregate=True))["result"]
        assert aggregate["series"] == [{"day": "2025-11-24", "count": 10}] and aggregate["aggregate"] is True
        monthly = (await get(api, SERIES, granularity="monthly", days=1))["result"]
        assert [one["count"] for one in monthly["series"]] == [0] * 11 + [10]
        assert monthly["series"][0]["day"] == "2024-12-01" and monthly["series"][-1]["day"] == "2025-11-01"


async def test_a_day_is_that_of_the_time_zone(tmp_path: Path) -> None:
    late = datetime(2025, 11, 29, 23, 10, tzinfo=UTC)
    made = [row(at=int(late.timestamp()) * 1_000_000)]
    async with logged(tmp_path, made, clock=noon) as (api, _):
        for tz, expected in {
            "Z": [1, 0],
            "+01:00": [0, 1],
            "-12:00": [1, 0],
            "Europe/Berlin": [0, 1],
            "+14:00": [1, 0],
        }.items():
            found = (await get(api, SERIES, days=2, tz=tz))["result"]
            assert [one["count"] for one in found["series"]] == expected, tz
            assert found["tz"] == tz
        # A plus sign that was not escaped.
        answer = await get(api, f"{SERIES}?tz=+01:00&days=2")
        assert [one["count"] for one in answer["result"]["series"]] == [0, 1]


@pytest.mark.parametrize(
    "query",
    [
        {"days": 0},
        {"days": 180},
        {"days": "x"},
        {"granularity": "hourly"},
        {"aggregate": "perhaps"},
        {"tz": "+14:30"},
        {"tz": "../../etc/passwd"},
        {"tz": "Europe/Nowhere"},
    ],
)
async def test_a_series_that_there_is_not_is_refused(tmp_path: Path, query: dict[str, Any]) -> None:
    async with logged(tmp_path, []) as (api, _):
        assert (await refused(api, SERIES, **query)).status_code == 400


async def test_sums_say_how_much_each_server_and_tool_has_beside_the_time_before(tmp_path: Path) -> None:
    made = [row(at=AT - n * 1000, server="files", name="read", us=2_000, bytes_in=5, bytes_out=7) for n in range(90)]
    made += [row(at=AT - n * 1000, server="files", name="read", us=200_000, outcome="timeout") for n in range(10)]
    made += [row(at=AT, server="mail", name="send", us=500)]
    made += [row(at=AT - DAY, server="mail", name="send", us=500) for _ in range(4)]
    made += [row(at=AT, kind="run", server="", name="code", tokens_saved=1000, run="exec_1")]
    async with logged(tmp_path, sorted(made), clock=noon) as (api, _):
        found = (await get(api, "/analytics/sums"))["result"]
        assert found["window"] == {"start": "2025-11-29T12:00:00Z", "end": "2025-11-30T13:00:00Z"}
        assert found["window_before"] == {"start": "2025-11-28T11:00:00Z", "end": "2025-11-29T12:00:00Z"}
        files, mail = found["groups"]
        assert files["server"] == "files" and files["before"] is None
        assert files["now"] == {
            "calls": 100,
            "errors": 10,
            "denied": 0,
            "mean_ms": 21.8,
            "p50_ms": 1.888,
            "p95_ms": 191.783,
            "p99_ms": 191.783,
            "max_ms": 200.0,
            "bytes_in": 90 * 5 + 10 * 10,
            "bytes_out": 90 * 7 + 10 * 200,
            "tokens_saved": 0,
        }
        assert mail["now"]["calls"] == 5 and mail["before"] is None
        assert found["total"]["calls"] == 105 and found["total_before"] is None and not found["more"]
        # The hour before this one, and the day before that.
        day = {"since": (NOON - timedelta(hours=1)).isoformat(), "until": NOON.isoformat()}
        tools = (await get(api, "/analytics/sums", by="server,tool,outcome", limit=2, **day))["result"]
        assert [(one["server"], one["tool"], one["outcome"], one["now"]["calls"]) for one in tools["groups"]] == [
            ("files", "read", "ok", 90),
            ("files", "read", "timeout", 10),
        ]
        assert tools["more"] and tools["total"]["calls"] == 101
        assert (await get(api, "/analytics/sums", by="", server_id="mail", **day))["result"]["total"]["calls"] == 1
        runs = (await get(api, "/analytics/sums", kind="run"))["result"]
        assert runs["total"]["tokens_saved"] == 1000
        assert (await get(api, "/analytics/sums", kind="all"))["result"]["total"]["calls"] == 106


async def test_the_time_before_is_compared_group_by_group_however_many_there_are(
    tmp_path: Path,
) -> None:
    made = [row(at=AT - DAY, server=f"s{n}") for n in range(9)] + [row(at=AT - DAY, server="s3")]
    made += [row(at=AT, server=f"s{n}") for n in range(9)] * 2
    window = {"since": (NOON - timedelta(days=1) + timedelta(hours=1)).isoformat(), "until": NOON.isoformat()}
    async with logged(tmp_path, sorted(made), clock=noon) as (api, _):
        found = (await get(api, "/analytics/sums", limit=3, **window))["result"]
        assert [(one["server"], one["now"]["calls"], one["before"]["calls"]) for one in found["groups"]] == [
            ("s0", 2, 1),
            ("s1", 2, 1),
            ("s2", 2, 1),
        ]
        assert found["total"]["calls"] == 18 and found["total_before"]["calls"] == 10 and found["more"]


async def test_hours_have_their_sums(tmp_path: Path) -> None:
    made = [row(at=AT - 3 * HOUR, us=2_000)] + [row(at=AT - n * 1000, us=20_000) for n in range(4)]
    async with logged(tmp_path, sorted(made), clock=noon) as (api, _):
        found = (await get(api, "/analytics/hours"))["result"]
        assert [(one["hour"], one["calls"], one["p50_ms"]) for one in found["hours"]] == [
            ("2025-11-30T09:00:00Z", 1, 1.888),
            ("2025-11-30T12:00:00Z", 4, 19.027),
        ]
        assert (await get(api, "/analytics/hours", server_id="nobody"))["result"]["hours"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"by": "identity"},
        {"by": "server,server"},
        {"limit": 201},
        {"since": "2025-11-30T00:00:00Z", "until": "2025-11-29T00:00:00Z"},
        {"since": "2025-01-01T00:00:00Z", "until": "2025-11-29T00:00:00Z"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59Z"},
        {"since": "0001-01-01T00:00:00Z", "until": "0001-01-01T05:00:00Z"},
        {"days": 3},
    ],
)
async def test_a_window_that_there_is_not_is_refused(tmp_path: Path, query: dict[str, Any]) -> None:
    async with logged(tmp_path, []) as (api, _):
        error = await refused(api, "/analytics/sums", **query)
        assert error.status_code == 400 and words(error)
