"""Whatever moment a process is killed at, every row that it wrote arrives, in batches that are always the same."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest

from portal.logs import LogPlace
from tests.deep import times
from tests.patience import PATIENCE
from tests.portal.export.exporting import exporting, make_job, store_at
from tests.portal.export.receivers import receiver
from tests.portal.state.databases import new_state

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

FIELDS = {"field_names": ["RowID", "Name"]}


async def line_of(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "it has ended by itself"
    return line.removesuffix(b"\n")


@pytest.mark.parametrize("kills", times(4, 20))
async def test_exports_catch_up_after_each_kill(place: LogPlace, tmp_path: Path, kills: int) -> None:
    chance = random.Random(3)
    does: list[str | int] = ["cut", "lost", 503, 200, 200, 200]

    def behaves(number: int) -> str | int:
        return chance.choice(does)

    state, folder = new_state(tmp_path), tmp_path / "exported"
    async with receiver(behaves) as sink:
        async with store_at(state) as store:
            await make_job(store, "1", sink.url, output_options=FIELDS, max_upload_records=50)
            await make_job(store, "2", f"file://{folder}", output_options=FIELDS, max_upload_records=50)
        written: list[int] = []
        for life in range(kills):
            command = ["-m", "tests.portal.export.killed", place.url, str(place.folder), state, str(life)]
            process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
            seen = len(sink.requests)
            # A row at least, and then any moment, often one in which a batch is on its way.
            async with asyncio.timeout(PATIENCE):
                lines = [await line_of(process)]
                await sink.until(lambda seen=seen: len(sink.requests) > seen + 1)  # type: ignore[misc]
                lines += [await line_of(process) for _ in range(chance.randrange(200))]
                while not any(map(bytes.isdigit, lines)):
                    lines.append(await line_of(process))
            process.kill()
            assert process.stdout is not None
            # The last line may be cut. Among them are lines of what it logs.
            lines += (await process.stdout.read()).splitlines()
            await process.wait()
            written.append(max(int(line) for line in lines if line.isdigit()))
        async with exporting(place, tmp_path, state=state) as portal:
            await portal.log.stored()
            one, two = await portal.all_delivered("1"), await portal.all_delivered("2")
    names = {record["Name"] for each in sink.stored for record in each.records}
    for life, answered in enumerate(written):
        assert [number for number in range(answered) if f"{life}-{number}" not in names] == []
    texts: dict[str, set[str]] = {}
    for each in sink.requests:
        texts.setdefault(each.key, set()).add(each.text)
    assert {len(same) for same in texts.values()} == {1}
    batches = {each.key: each for each in sink.stored}
    ids = [record["RowID"] for each in batches.values() for record in each.records]
    assert len(ids) == len(set(ids)) and one.refused_rows == two.refused_rows == one.lost_rows == 0
    of_files = [json.loads(line)["RowID"] for file in folder.glob("*.ndjson") for line in file.read_text().splitlines()]
    assert sorted(of_files) == sorted(ids)
