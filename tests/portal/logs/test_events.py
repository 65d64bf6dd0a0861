"""Events of strangers are bounded, and what is left out is counted; nobody's rows are dropped because of them."""

from __future__ import annotations

from functools import partial

import pytest

from portal.identity import Identity
from portal.logs import CallLog, EventLog, Filters, LogPlace, LogRow, PortalEvents, after, event
from portal.logs.events import ALL_BURST, EACH_BURST
from tests.portal.logs.rows import row

pytestmark = pytest.mark.anyio
ADA = Identity(id="ada", email="ada@example.com", ip="198.51.100.7", country="AT")


class Watch:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def read(log: CallLog) -> list[LogRow]:
    await log.stored()
    return [one.row for one in await log.database.read(partial(after, filters=Filters(), id=0))]


def refusal(address: str) -> LogRow:
    return event("refusal", "POST", "denied", ip=address, reason="authentication")


async def test_of_one_network_a_few_rows_are_written_and_the_others_are_counted(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        async with EventLog(log, Watch()) as events:
            for number in range(5_000):
                # A customer has a network of 64 bits, and one address counts as all of it.
                events.write(refusal(f"2001:db8::{number:x}"))
            events.write(event("sign_in", "sign_in", who=ADA, name="local"))
            assert events.left_out == 5_000 - EACH_BURST
        rows = await read(log)
    assert [one.kind for one in rows].count("refusal") == EACH_BURST + 1
    assert rows[-1].reason == f"{5_000 - EACH_BURST} more of callers who have not signed in are left out"
    assert [(one.identity, one.country) for one in rows if one.kind == "sign_in"] == [("ada", "AT")]


async def test_of_all_networks_together_some_rows_are_written_for_each_kind(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        async with EventLog(log, Watch()) as events:
            for number in range(3_000):
                events.write(refusal(f"10.0.{number // 250}.{number % 250}"))
            # A flood of one kind leaves no other kind out.
            events.write(event("sign_in", "sign_in", "denied", ip="192.0.2.1", reason="wrong PIN"))
        rows = await read(log)
    assert [one.kind for one in rows] == ["refusal"] * ALL_BURST + ["sign_in", "refusal"]
    assert rows[-1].reason.startswith(f"{3_000 - ALL_BURST} more")


async def test_a_minute_later_a_network_has_rows_again_and_each_report_counts_once(place: LogPlace) -> None:
    watch = Watch()
    async with CallLog.open(place) as log, EventLog(log, watch) as events:
        for _ in range(EACH_BURST + 5):
            events.write(refusal("192.0.2.1"))
        events.report()
        events.report()
        watch.now = 60.0
        events.write(refusal("192.0.2.1"))
        rows = await read(log)
        assert events.left_out == 0
    assert [one.reason[:2] for one in rows] == ["au"] * EACH_BURST + ["5 ", "au"]


async def test_groups_that_are_left_out_are_as_many_as_somebody_likes_and_are_still_bounded(place: LogPlace) -> None:
    async with CallLog.open(place) as log:
        async with EventLog(log, Watch()) as events:
            for number in range(3_000):
                events.write(refusal("192.0.2.1")._replace(method=f"M{number}"))
        rows = await read(log)
    assert len(rows) < 600
    assert sum(int(one.reason.split()[0]) for one in rows if "left out" in one.reason) == 3_000 - EACH_BURST


async def test_who_is_known_and_who_was_let_in_is_not_limited(place: LogPlace) -> None:
    async with CallLog.open(place) as log, EventLog(log, Watch()) as events:
        for _ in range(100):
            events.write(event("refusal", "tools/call", "error", who=ADA))
            events.write(event("request", "tools/list", ip="192.0.2.1"))
        assert len(await read(log)) == 200 and events.left_out == 0


async def test_strangers_leave_half_of_the_room_to_everybody_else(place: LogPlace) -> None:
    async with CallLog.open(place, room=20) as log:
        # Nothing is stored before somebody waits.
        for number in range(100):
            log.write(row(number, identity=""), f"address:10.0.0.{number}")
        for number in range(8):
            assert log.write(row(number), "ada") is not None
        rows = await read(log)
        assert [one.identity for one in rows] == [""] * 10 + ["ada"] * 8 and log.dropped == 90


async def test_strangers_with_large_rows_leave_half_of_the_journal_to_everybody_else(place: LogPlace) -> None:
    async with CallLog.open(place, journal_bytes=64 * 1024) as log:
        for number in range(200):
            log.write(row(number, identity="", name="x" * 4000), f"address:10.0.0.{number}")
        assert log.dropped > 150
        for number in range(100):
            assert log.write(row(number), "ada") is not None


async def test_an_event_says_at_which_portal_it_was(place: LogPlace) -> None:
    async with CallLog.open(place) as log, EventLog(log) as events:
        PortalEvents(events, "docs").write(event("consent", "consent", who=ADA, name="client"))
        PortalEvents(events, "").write(event("consent", "consent", who=ADA, name="client"))
        assert [one.portal for one in await read(log)] == ["docs", ""]


def test_an_event_has_no_more_of_a_text_than_a_row_takes() -> None:
    made = event("refusal", "M" * 10_000, name="N" * 10_000, reason="R" * 10_000, client="C" * 10_000)
    assert max(map(len, (made.method, made.name, made.reason, made.client))) == 512
