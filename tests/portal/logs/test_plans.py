"""Every question about the log goes by an index, on a small log and on one of a million rows, and none takes long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from portal.admin.overview import OverviewQuery, overview
from portal.logs import (
    CallLog,
    CallWindow,
    Filters,
    LogDatabase,
    LogPlace,
    count_calls,
    count_some,
    days,
    find,
    months,
    newer,
    newest_id,
    older,
    run_of,
    sums,
)
from portal.logs.schema import DAY, HOUR, SUM_TABLES
from tests.once import once
from tests.portal.logs.million import fill, write_fast
from tests.portal.logs.rows import AT

pytestmark = pytest.mark.anyio

Work = Callable[[Connection], object]
NOW = datetime.fromtimestamp(AT // 1_000_000, UTC)
FILTERS = {
    "everything": Filters(),
    "a server": Filters(server="server-3"),
    "a person": Filters(identity="person-7"),
    "a person at a server": Filters(identity="person-7", server="server-3"),
    "failures": Filters(failed=True),
    "failures at a server": Filters(failed=True, server="server-3"),
    "failures of a person": Filters(failed=True, identity="person-7"),
    "an outcome": Filters(outcome="timeout"),
    "a portal": Filters(portal="team"),
    "a quiet portal": Filters(portal="quiet"),
    "a tool": Filters(name="tool_17"),
    "a rare tool": Filters(name="rare_tool"),
    "a rare tool of a server": Filters(server="server-1", name="rare_tool"),
    "no such client": Filters(client="nobody"),
    "a kind": Filters(kind="sign_in"),
    "runs": Filters(kind="run"),
    "runs that failed": Filters(kind="run", failed=True),
    "a portal and a server": Filters(portal="team", server="server-3"),
    "a portal and a server that it does not have": Filters(portal="team", server="server-2"),
    "a policy": Filters(policy="nobody"),
    "a trace": Filters(trace=f"{5:032x}"),
    "a run": Filters(run=f"exec_{5:016x}"),
    "a while": Filters(since=AT - DAY, until=AT - DAY + HOUR, name="tool_17"),
}

SUMMED: dict[str, dict[str, Any]] = {
    "a person": {"identity": "person-7"},
    "a client": {"client": "agent"},
    "a person at a server": {"identity": "person-7", "server": "server-3"},
}


def questions() -> dict[str, Work]:
    """What is asked over the admin API."""
    found: dict[str, Work] = {"newest": newest_id, "one": partial(find, id=AT - DAY)}
    for name, filters in FILTERS.items():
        found[f"{name}: newest"] = partial(older, filters=filters)
        found[f"{name}: older"] = partial(older, filters=filters, id=AT - 15 * DAY)
        found[f"{name}: newer"] = partial(newer, filters=filters, id=AT - 15 * DAY)
        found[f"{name}: counted"] = partial(count_some, filters=filters)
    found["a run with its calls"] = partial(run_of, run=f"exec_{5:016x}")
    for number in (7, 179):
        found[f"{number} days"] = partial(count_calls, periods=days(NOW, UTC, number))
    found["months of a server"] = partial(count_calls, periods=months(NOW, UTC), server="server-3")
    for by in (("server",), ("server", "name", "outcome"), ("hour",), (), ("identity",), ("client", "client_version")):
        window = CallWindow(since=AT - 7 * DAY, until=AT, portal="team")
        found[f"sums by {by}"] = partial(sums, by=by, wanted=window, most=50)
    window = CallWindow(since=AT - DAY, until=AT)
    found["sums of some"] = partial(sums, by=["server"], wanted=window, only=[("server-1",), ("server-2",)])
    for name, more in SUMMED.items():
        window = CallWindow(since=AT - 30 * DAY, until=AT, **more)
        found[f"sums of {name}"] = partial(sums, by=["hour"], wanted=window)
    found["tools of a person"] = partial(
        sums, by=["server", "name"], wanted=CallWindow(since=AT - 30 * DAY, until=AT, identity="person-7")
    )
    for length, lists in product(("1h", "24h", "7d", "30d"), ("full", "short")):
        query = {"window": length, "server_id": "server-3", "tz": "Europe/Berlin", "lists": lists}
        asked = OverviewQuery.model_validate(query)
        found[f"overview of {length}, {lists}"] = partial(overview, asked=asked, now=NOW, portal="team")
    return found


def explained(connection: Connection, work: Work) -> list[str]:
    """The plan of each statement of this work."""
    asked: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", note)
    try:
        work(connection)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    assert asked
    return [" / ".join(_plan(connection, *one)) for one in asked]


def _plan(connection: Connection, statement: str, parameters: Any) -> Sequence[str]:
    if connection.dialect.name == "sqlite":
        return [str(line[-1]) for line in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    # Of a small table PostgreSQL reads everything; whether there is an index that it could use is the question.
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    return [str(line[0]) for line in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]


def check(plans: dict[str, list[str]]) -> None:
    """PostgreSQL sorts the few rows of a small log; SQLite never does."""
    for name, steps in plans.items():
        for plan in steps:
            assert "Seq Scan" not in plan, (name, plan)
            assert "SCAN calls" not in plan.replace("SCAN calls USING", ""), (name, plan)
            for table in SUM_TABLES:
                assert f"SCAN {table.name}" not in plan, (name, plan)
            if not any(word in plan for word in ("GROUP BY", *(table.name for table in SUM_TABLES))):
                # Rows are found in the order in which they are shown.
                assert "TEMP B-TREE" not in plan, (name, plan)


async def test_each_question_goes_by_an_index(place: LogPlace) -> None:
    await fill(place, 4_000)
    async with CallLog.open(place) as log:
        plans = {name: await log.database.read(partial(explained, work=work)) for name, work in questions().items()}
    check(plans)
    if place.url.startswith("sqlite"):
        for name, index in {
            "a server: older": "calls_by_server",
            "a person: older": "calls_by_identity",
            "a run: older": "calls_by_run",
            "failures: older": "calls_failed",
            "an outcome: older": "calls_by_outcome",
            "a tool: older": "calls_by_name",
            "a person at a server: older": "calls_by_identity",
            "a portal: older": "calls_by_portal",
            "a quiet portal: older": "calls_by_portal",
            "no such client: older": "calls_by_client",
            "a policy: older": "calls_by_policy",
            "a kind: older": "calls_by_kind",
            "runs: older": "calls_by_kind",
            "failures at a server: older": "calls_failed",
        }.items():
            assert index in plans[name][-1], (name, plans[name])


async def ask_everything(place: LogPlace) -> None:
    """Ask each question of this large log: by an index, and within seconds."""
    database = LogDatabase(place.url)
    await database.open(make=False)
    try:
        plans: dict[str, list[str]] = {}
        for name, work in questions().items():
            plans[name] = await database.read(partial(explained, work=work))
            # The database gives up what takes longer: most take milliseconds.
            await database.read(work, seconds=5)
        check(plans)
        rare = await database.read(partial(older, filters=Filters(name="rare_tool")))
        assert rare.rows and not rare.more
        nothing = await database.read(partial(older, filters=Filters(trace="nobody")))
        assert nothing.more and nothing.rows == []
        month = CallWindow(since=AT - 31 * DAY, until=AT + DAY)
        for by in ((), ("identity",), ("server", "name")):
            found = await database.read(partial(sums, by=by, wanted=month))
            assert sum(one.n for one in found.groups.values()) == await database.read(number_of_rows)
    finally:
        await database.close()


def number_of_rows(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM calls")).scalar() or 0)


async def test_of_a_large_log_each_question_goes_by_an_index_and_looks_at_few(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    await ask_everything(large(tmp_path_factory, 100_000))


@pytest.mark.deep
async def test_of_a_million_rows_each_question_goes_by_an_index_and_looks_at_few(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    await ask_everything(large(tmp_path_factory, 1_000_000))


def large(folders: pytest.TempPathFactory, of: int) -> LogPlace:
    """A log of so many rows, made once for all of pytest's workers."""

    def make() -> str:
        folder = folders.mktemp(f"rows-{of}")
        write_fast(folder / "logs.db", of)
        return str(folder)

    folder = Path(once(folders, f"log-of-{of}", make))
    return LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)
