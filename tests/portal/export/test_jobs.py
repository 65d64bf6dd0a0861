"""Jobs: every row arrives, in batches that are the same each time they are sent, whatever the receiver does."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from portal.config import ExportSection
from portal.export import EXPORT_JOB
from portal.logs import LogPlace
from portal.logs.schema import DAY
from tests.patience import PATIENCE
from tests.portal.export.exporting import HURRY, exporting, make_job
from tests.portal.export.receivers import receiver
from tests.portal.logs.rows import AT, row

pytestmark = pytest.mark.anyio

FIELDS = {"field_names": ["RowID", "Datetime", "ToolCallName", "ServerID", "Success"]}


async def test_rows_arrive_in_batches_as_lines_of_json(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        await portal.write(0, 7, name="search")
        await portal.make("1", f"{sink.url}/in?token=t&header_X-Key=k", output_options=FIELDS)
        done = await portal.all_delivered()
        assert (done.rows, done.batches, done.refused_rows, done.error) == (7, len(sink.stored), 0, "")
        first = sink.stored[0]
        assert first.path == "/in?token=t" and first.headers["x-key"] == "k"
        assert first.headers["content-encoding"] == "gzip"
        assert first.key == f"mcp_portal_logs-1/{first.records[0]['RowID']}-{first.records[-1]['RowID']}"
        assert list(first.records[0]) == FIELDS["field_names"] and first.records[0]["ToolCallName"] == "search"
        await portal.write(7, 9)
        await portal.all_delivered()
        assert len(sink.ids()) == 9


async def test_a_receiver_that_does_everything_wrong_half_of_the_time_gets_every_row(
    place: LogPlace, tmp_path: Path
) -> None:
    chance = random.Random(7)
    wrong: list[str | int] = ["cut", "lost", 429, 500, 503, 408, 425, 302]

    def behaves(number: int) -> str | int:
        return chance.choice(wrong) if chance.random() < 0.5 else 200

    async with receiver(behaves) as sink, exporting(place, tmp_path) as portal:
        sink.retry_after = "1"
        await portal.make("1", sink.url, output_options=FIELDS, max_upload_records=10)
        for first in range(0, 400, 40):
            await portal.write(first, first + 40)
        done = await portal.all_delivered()
        assert len(sink.ids()) == 400 and done.rows == 400 and done.refused_rows == 0
        same: dict[str, set[str]] = {}
        for one in sink.requests:
            if one.text:
                same.setdefault(one.key, set()).add(one.text)
        assert {len(texts) for texts in same.values()} == {1}
        # Some were stored twice, because their answers were lost, and by their keys they are once.
        assert len(sink.stored) > len({one.key for one in sink.stored})
        assert len([record for one in same.values() for record in list(one)[0].splitlines()]) == 400


async def test_a_batch_that_is_refused_is_left_out_counted_and_noted(place: LogPlace, tmp_path: Path) -> None:
    async with receiver(lambda number: 400 if number < HURRY.refusals else 200) as sink:
        async with exporting(place, tmp_path) as portal:
            await portal.write(0, 5)
            await portal.make("1", sink.url, output_options=FIELDS)
            skipped = await portal.all_delivered()
            assert (skipped.refused_batches, skipped.refused_rows, skipped.rows) == (1, 5, 0)
            assert skipped.error == "it answered with status 400" and skipped.failed_at
            [noted] = await portal.jobs.refusals("1")
            ids = [record["RowID"] for record in sink.requests[0].records]
            assert (noted.first, noted.last, noted.rows, noted.reason) == (ids[0], ids[-1], 5, skipped.error)
            assert len({one.key for one in sink.requests}) == 1 and len(sink.requests) == HURRY.refusals
            await portal.write(5, 8)
            done = await portal.until(lambda found: found.rows == 3)
            assert done.error == "" and done.failed_at == 0 and done.refused_rows == 5


async def test_a_job_may_stop_when_a_batch_is_refused_and_goes_on_when_it_is_changed(
    place: LogPlace, tmp_path: Path
) -> None:
    async with receiver(lambda number: 422 if number < HURRY.refusals else 200) as sink:
        async with exporting(place, tmp_path) as portal:
            await portal.write(0, 5)
            await portal.make("1", sink.url, output_options=FIELDS, on_refused="stop")
            stopped = await portal.until(lambda found: found.stopped > 0)
            assert stopped.error and stopped.refused_rows == 0 and stopped.cursor == 0
            job = await portal.store.get(EXPORT_JOB, "1")
            assert job is not None
            await portal.store.replace(EXPORT_JOB, "1", job.document, by="test")
            done = await portal.all_delivered()
            assert done.rows == 5 and len({one.key for one in sink.requests}) == 1


async def test_a_receiver_that_does_not_know_the_job_costs_no_row(place: LogPlace, tmp_path: Path) -> None:
    async with receiver(lambda number: [401, 403, 404, 302][number % 4] if number < 12 else 200) as sink:
        async with exporting(place, tmp_path) as portal:
            await portal.write(0, 5)
            await portal.make("1", sink.url, output_options=FIELDS)
            done = await portal.all_delivered()
            assert done.rows == 5 and done.refused_rows == 0


async def test_a_batch_that_is_too_large_is_cut(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        await portal.write(0, 20)
        sink.behaviour = lambda number: 413 if number < 2 else 200
        await portal.make("1", sink.url, output_options=FIELDS)
        done = await portal.all_delivered()
        assert done.rows == 20 and done.refused_rows == 0
        assert [len(one.records) for one in sink.requests] == [20, 10, 5, 5, 5, 5]


async def test_a_filter_and_a_sample_choose_rows_and_the_rest_is_passed_over(place: LogPlace, tmp_path: Path) -> None:
    wanted = '{"where": {"and": [{"key": "ServerID", "operator": "eq", "value": "mail"}]}}'
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        for number in range(0, 300, 3):
            portal.log.write(row(number))
            portal.log.write(row(number + 1, server="mail"))
            portal.log.write(row(number + 2))
        await portal.log.stored()
        await portal.make("1", sink.url, output_options=FIELDS, filter=wanted)
        await portal.make("2", f"{sink.url}/2", output_options={**FIELDS, "sample_rate": 0.5})
        one, two = await portal.all_delivered("1"), await portal.all_delivered("2")
        of_one = [record for each in sink.stored if "-1/" in each.key for record in each.records]
        assert one.rows == 100 == len(of_one) and {record["ServerID"] for record in of_one} == {"mail"}
        assert 90 < two.rows < 210


async def test_two_processes_run_a_job_once_and_the_other_takes_over(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink:
        async with exporting(place, tmp_path) as other, exporting(place, tmp_path) as one:
            await one.make("1", sink.url, output_options=FIELDS, max_upload_records=10)
            for first in range(0, 200, 20):
                await one.write(first, first + 20)
            done = await other.all_delivered()
            assert done.rows == 200
            assert len(sink.stored) == len({each.key for each in sink.stored}) == done.batches
        async with exporting(place, tmp_path) as third:
            await third.write(200, 220)
            assert (await third.all_delivered()).rows == 220
        assert len(sink.ids()) == 220


async def test_a_batch_that_was_on_its_way_when_the_portal_ended_is_sent_again_as_it_was(
    place: LogPlace, tmp_path: Path
) -> None:
    async with receiver(lambda number: "hang" if number == 0 else 200) as sink:
        async with exporting(place, tmp_path) as portal:
            await portal.write(0, 5)
            await portal.make("1", sink.url, output_options=FIELDS)
            await sink.until(lambda: len(sink.requests) == 1)
            # The next process has more rows to send.
            await portal.write(5, 50)
        async with exporting(place, tmp_path) as portal:
            done = await portal.all_delivered()
        first, again = sink.requests[:2]
        assert (first.key, first.text) == (again.key, again.text) and len(first.records) == 5
        assert done.rows == 50 == len(sink.ids())


async def test_a_job_begins_when_it_is_made(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        await portal.write(0, 5)
        await make_job(portal.store, "1", sink.url, output_options=FIELDS, start_at=None)
        await portal.until(lambda found: True)
        now = int(asyncio.get_running_loop().time())
        portal.log.write(row(0, at=2**60, name=f"late{now}"))
        await portal.log.stored()
        await portal.until(lambda found: found.rows == 1)
        assert sink.stored[0].records[0]["ToolCallName"] == f"late{now}"


async def test_rows_that_are_removed_before_they_were_exported_are_counted(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        await portal.write(0, 5, server="a")
        await portal.make("1", sink.url, output_options=FIELDS)
        await portal.all_delivered()
        sink.behaviour = lambda number: 503
        await portal.write(5, 900)
        await portal.until(lambda found: bool(found.error))
        await portal.log.remove_old(AT + 100 * DAY)
        lost = await portal.progress()
        assert lost.lost_rows == 895
        sink.behaviour = lambda number: 200
        await portal.write(900, 902, at=AT + 101 * DAY)
        done = await portal.all_delivered()
        assert done.lost_rows == 895 and done.rows >= 7


async def test_a_job_that_is_changed_disabled_and_removed_follows(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, receiver() as second, exporting(place, tmp_path) as portal:
        await portal.make("1", sink.url, output_options=FIELDS)
        await portal.write(0, 3)
        await portal.all_delivered()
        job = await portal.store.get(EXPORT_JOB, "1")
        assert job is not None
        moved = job.document.model_copy(update={"destination": second.url})
        await portal.store.replace(EXPORT_JOB, "1", moved, by="test", secret=second.url.encode())
        await portal.write(3, 6)
        await portal.all_delivered()
        assert len(sink.ids()) == 3 and len(second.ids()) == 3
        off = moved.model_copy(update={"enabled": False})
        await portal.store.replace(EXPORT_JOB, "1", off, by="test")
        await portal.jobs.settled(PATIENCE)
        await portal.write(6, 9)
        assert len(second.ids()) == 3
        await portal.store.replace(EXPORT_JOB, "1", moved, by="test")
        await portal.all_delivered()
        assert len(second.ids()) == 6
        await portal.store.delete(EXPORT_JOB, "1", by="test")
        await portal.jobs.settled(PATIENCE)
        assert (await portal.jobs.state()).jobs == {}


async def test_without_being_allowed_a_job_asks_no_private_address_and_sends_nothing_in_the_clear(
    place: LogPlace, tmp_path: Path
) -> None:
    async with receiver() as sink, exporting(place, tmp_path, settings=ExportSection()) as portal:
        await portal.write(0, 2)
        await portal.make("1", sink.url, output_options=FIELDS)
        await portal.make("2", sink.url.replace("http:", "https:"), output_options=FIELDS)
        clear = await portal.until(lambda found: bool(found.error))
        private = await portal.until(lambda found: bool(found.error), "2")
        assert "allowPrivate" in clear.error and "its address is not a public one" in private.error
        assert sink.requests == []
        # Taken up while it runs.
        portal.settings[0] = ExportSection(allow_private=True)
        assert (await portal.all_delivered()).rows == 2


async def test_a_job_whose_secret_cannot_be_read_costs_no_other(place: LogPlace, tmp_path: Path) -> None:
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        await portal.make("1", "nonsense", output_options=FIELDS)
        await portal.make("2", sink.url, output_options=FIELDS)
        await portal.write(0, 2)
        assert (await portal.all_delivered("2")).rows == 2
