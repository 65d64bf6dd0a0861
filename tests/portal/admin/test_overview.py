"""The answer for a dashboard: a window beside the one before, its series, and who and what has the most calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from portal.logs import LogRow
from tests.portal.admin.test_logs import get, logged, refused, words
from tests.portal.logs.rows import row

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
DAY = 24 * HOUR
# Of these days, because sums are kept for so long and no longer: half past twelve, and the same hours after it.
NOON = datetime.now(UTC).replace(hour=12, minute=30, second=0, microsecond=0) - timedelta(days=1)
AT = int(NOON.timestamp()) * 1_000_000
OVERVIEW = "/analytics/overview"


def noon() -> datetime:
    return NOON


def on(day: int, time: str) -> str:
    """A time so many days after that of `NOON`."""
    return f"{NOON + timedelta(days=day):%Y-%m-%d}T{time}"


def calls(number: int, ago: int, **changes: Any) -> list[LogRow]:
    """So many calls that ended so long ago, a millisecond apart."""
    return [row(at=AT - ago - n * 1000 - 1500, **changes) for n in range(number)]


def made() -> list[LogRow]:
    found = calls(60, 0, portal="team", server="files", name="read", us=1500, tokens_saved=5)
    found += calls(
        20, 2 * HOUR, identity="bob", email="bob@example.com", client="editor", client_version="2", us=90_000
    )
    found += calls(10, 3 * HOUR, identity="bob", server="mail", outcome="denied", us=1500)
    found += calls(15, DAY + HOUR, server="mail", outcome="timeout")
    found += calls(4, 40 * DAY) + calls(3, 0, kind="run", server="", tokens_saved=1000)
    return sorted(found)


async def test_one_answer_has_all_that_a_dashboard_shows(tmp_path: Path) -> None:
    async with logged(tmp_path, made(), clock=noon) as (api, _):
        found = (await get(api, OVERVIEW))["result"]
        assert found["window"] == {"start": on(-1, "13:00:00Z"), "end": on(0, "13:00:00Z")}
        assert found["window_before"] == {"start": on(-2, "13:00:00Z"), "end": on(-1, "13:00:00Z")}
        total, former = found["total"], found["total_before"]
        assert (total["calls"], total["errors"], total["denied"], total["tokens_saved"]) == (90, 10, 10, 300)
        assert (former["calls"], former["errors"], former["denied"]) == (15, 15, 0)
        assert abs(total["p50_ms"] - 1.5) < 0.06 * 1.5 and abs(total["p99_ms"] - 90) < 0.06 * 90
        assert {(one["outcome"], one["calls"], one["calls_before"]) for one in found["outcomes"]} == {
            ("ok", 80, 0),
            ("denied", 10, 0),
            ("timeout", 0, 15),
        }
        assert len(found["series"]) == 24 and found["step"] == "hour"
        points = {one["start"][11:13]: one["amount"] for one in found["series"]}
        assert [points[hour]["calls"] for hour in ("08", "09", "10", "11", "12")] == [0, 10, 20, 0, 60]
        assert points["11"] == {
            **dict.fromkeys(("calls", "errors", "denied", "bytes_in", "bytes_out", "tokens_saved"), 0),
            **dict.fromkeys(("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")),
        }

        def top(name: str, *keys: str) -> list[tuple[Any, ...]]:
            return [
                (*(one[key] for key in keys), one["now"]["calls"], one["before"]["calls"])
                for one in found[name]["groups"]
            ]

        assert top("servers", "server") == [("files", 80, 0), ("mail", 10, 15)]
        assert top("people", "identity", "email") == [("ada", "", 60, 15), ("bob", "bob@example.com", 30, 0)]
        assert top("clients", "client", "client_version") == [("", "", 70, 15), ("editor", "2", 20, 0)]
        assert top("tools", "server", "tool") == [("files", "read", 80, 0), ("mail", "read", 10, 15)]
        assert found["counted_since"] is None and found["counted_until"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"portal_id": "team"}, 60),
        ({"portal_id": "_"}, 30),
        ({"server_id": "mail"}, 10),
        ({"identity": "bob"}, 30),
        ({"client": "editor"}, 20),
        ({"identity": "bob", "server_id": "mail"}, 10),
        ({"identity": "bob", "client": "editor", "portal_id": "team"}, 0),
        ({"kind": "run"}, 3),
        ({"kind": "all"}, 93),
        ({"window": "1h"}, 60),
        ({"window": "7d"}, 105),
        ({"window": "7d", "step": "day", "tz": "Asia/Kolkata"}, 105),
        ({"window": "30d"}, 105),
        ({"window": "30d", "tz": "America/New_York"}, 105),
    ],
)
async def test_each_part_of_an_answer_is_of_the_same_calls(
    tmp_path: Path, query: dict[str, Any], expected: int
) -> None:
    async with logged(tmp_path, made(), clock=noon) as (api, _):
        found = (await get(api, OVERVIEW, **query))["result"]
        assert found["total"]["calls"] == expected
        assert sum(one["amount"]["calls"] for one in found["series"]) == expected
        assert sum(one["calls"] for one in found["outcomes"]) == expected
        for name in ("servers", "people", "clients", "tools"):
            assert sum(one["now"]["calls"] for one in found[name]["groups"]) == expected, name
        starts = [one["start"] for one in found["series"]]
        assert starts == sorted(set(starts)) and starts[0] == found["window"]["start"]
        window = query.get("window")
        assert found["step"] == (
            "five_minutes" if window == "1h" else query.get("step") or ("day" if window == "30d" else "hour")
        )
        if window == "30d":
            assert len(starts) == 30 and found["total_before"]["calls"] == 4


async def test_only_the_parts_that_are_asked_for_are_there(tmp_path: Path) -> None:
    async with logged(tmp_path, made(), clock=noon) as (api, _):
        found = (await get(api, OVERVIEW, parts="people,total", limit=1))["result"]
        assert found["total"] and found["series"] is found["servers"] is found["tools"] is None
        assert len(found["people"]["groups"]) == 1 and found["people"]["more"]


@pytest.mark.parametrize("query", [{}, {"server_id": "mail"}, {"identity": "bob", "server_id": "files"}])
async def test_short_lists_have_all_but_the_quantiles_and_the_window_before(
    tmp_path: Path, query: dict[str, str]
) -> None:
    async with logged(tmp_path, made(), clock=noon) as (api, _):
        full = (await get(api, OVERVIEW, **query))["result"]
        short = (await get(api, OVERVIEW, lists="short", **query))["result"]
        for name in ("servers", "people", "clients", "tools"):
            for one in full[name]["groups"]:
                assert one["before"] and one["now"]["p50_ms"]
                one["before"] = None
                one["now"] |= dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"))
        assert short == full


@pytest.mark.parametrize(
    ("since", "until", "step", "points", "expected"),
    [
        (on(0, "12:10:30Z"), on(0, "12:31:00Z"), "five_minutes", 5, 60),
        (on(0, "10:20:00Z"), on(0, "11:05:00Z"), "five_minutes", 9, 20),
        (on(0, "08:30:00Z"), on(0, "11:05:00Z"), "hour", 4, 30),
        (on(-1, "10:20:00Z"), on(-1, "11:40:00Z"), "hour", 2, 15),
        (on(-10, "00:00:00+05:30"), None, "day", 12, 105),
        (on(-10, "07:00:00Z"), on(0, "13:00:00Z"), "day", 11, 105),
    ],
    ids=["twenty minutes", "within two hours", "three hours", "yesterday", "days up to now", "days"],
)
async def test_a_time_of_any_length_is_shown_as_fine_as_there_are_sums_for_it(
    tmp_path: Path, since: str, until: str | None, step: str, points: int, expected: int
) -> None:
    async with logged(tmp_path, made(), clock=noon) as (api, _):
        query = {"since": since, **({"until": until} if until else {})}
        found = (await get(api, OVERVIEW, **query))["result"]
        assert (found["step"], len(found["series"]), found["total"]["calls"]) == (step, points, expected)
        assert sum(one["amount"]["calls"] for one in found["series"]) == expected
        assert found["series"][0]["start"] == found["window"]["start"]
        assert datetime.fromisoformat(found["window"]["start"]) <= datetime.fromisoformat(since)
        assert found["window_before"]["end"] == found["window"]["start"]


async def test_of_long_ago_whole_days_are_shown(tmp_path: Path) -> None:
    async with logged(tmp_path, [*calls(7, 100 * DAY, server="files"), *made()], clock=noon) as (api, _):
        found = (await get(api, OVERVIEW, since=on(-100, "11:00:00Z"), until=on(-100, "13:00:00Z")))["result"]
        assert found["window"] == {"start": on(-100, "00:00:00Z"), "end": on(-99, "00:00:00Z")}
        assert found["total"]["calls"] == sum(one["now"]["calls"] for one in found["tools"]["groups"]) == 7


@pytest.mark.parametrize(
    "query",
    [
        {"until": on(0, "12:00:00Z")},
        {"since": on(0, "12:00:00Z"), "until": on(0, "12:00:00Z")},
        {"since": on(-60, "00:00:00Z")},
        {"since": "0001-01-01T00:00:00Z", "until": "0001-01-01T01:00:00Z"},
        {"since": "9999-12-31T22:00:00Z", "until": "9999-12-31T23:00:00-12:00"},
        {"since": on(0, "12:00:00")},
    ],
)
async def test_a_time_that_there_is_not_is_refused(tmp_path: Path, query: dict[str, Any]) -> None:
    async with logged(tmp_path, [], clock=noon) as (api, _):
        error = await refused(api, OVERVIEW, **query)
        assert error.status_code == 400 and words(error)


@pytest.mark.parametrize(
    "query",
    [
        {"window": "2d"},
        {"tz": "Nowhere"},
        {"parts": "all"},
        {"limit": 51},
        {"who": "ada"},
        {"step": "minute"},
        {"lists": "none"},
    ],
)
async def test_an_overview_that_there_is_not_is_refused(tmp_path: Path, query: dict[str, Any]) -> None:
    async with logged(tmp_path, []) as (api, _):
        error = await refused(api, OVERVIEW, **query)
        assert error.status_code == 400 and words(error)


async def test_of_an_empty_log_there_are_no_times(tmp_path: Path) -> None:
    async with logged(tmp_path, [], clock=noon) as (api, _):
        found = (await get(api, OVERVIEW))["result"]
        assert found["total"]["calls"] == 0 and found["total"]["p99_ms"] is None
        assert found["outcomes"] == [] and found["servers"]["groups"] == []
