"""Files of lines: one for each day, each line once, whatever a process that was killed has left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from portal.config import ExportSection
from portal.export.destination import FileDestination
from portal.export.files import FileSender
from portal.export.output import OutputOptions, Writer
from portal.export.sending import ExportBatch, ExportRow, NotTaken
from portal.logs import LogPlace
from portal.logs.schema import DAY
from tests.portal.export.exporting import exporting
from tests.portal.logs.rows import AT

pytestmark = pytest.mark.anyio


def sender(folder: Path, *allowed: Path, stream: str = "s") -> FileSender:
    settings = ExportSection(folders=allowed or (folder,))
    return FileSender(FileDestination(folder), lambda: settings, Writer(OutputOptions()), kind="ndjson", stream=stream)


def batch(*ids: int) -> ExportBatch:
    rows = [ExportRow(id, b'{"RowID":%d}\n' % id) for id in ids]
    return ExportBatch("s", ids[0], ids[-1], rows)


def lines(folder: Path) -> dict[str, list[int]]:
    return {
        one.name: [json.loads(line)["RowID"] for line in one.read_text().splitlines()]
        for one in sorted(folder.glob("*.ndjson"))
    }


async def test_rows_are_in_the_file_of_their_day(tmp_path: Path) -> None:
    there = sender(tmp_path / "logs", tmp_path)
    await there.send(batch(AT, AT + 1))
    await there.send(batch(AT + 2, AT + DAY, AT + DAY + 1))
    [first, second] = lines(tmp_path / "logs").values()
    assert first == [AT, AT + 1, AT + 2] and second == [AT + DAY, AT + DAY + 1]
    assert {one.stat().st_mode & 0o777 for one in (tmp_path / "logs").iterdir()} == {0o600}


async def test_a_batch_that_is_appended_again_is_there_once(tmp_path: Path) -> None:
    await sender(tmp_path).send(batch(AT, AT + DAY))
    await sender(tmp_path).send(batch(AT, AT + DAY))
    assert list(lines(tmp_path).values()) == [[AT], [AT + DAY]]


@pytest.mark.parametrize("torn", [b'{"RowID"', b'{"RowID":1}\n{"RowID":2}\n{"Ro', b""])
@pytest.mark.parametrize("before", [0, 1])
async def test_what_was_appended_and_not_noted_is_cut_off(tmp_path: Path, torn: bytes, before: int) -> None:
    if before:
        await sender(tmp_path).send(batch(AT))
    else:
        # As when the first of all batches is cut short: its place was noted before it.
        await sender(tmp_path).send(batch(AT + 5))
        file = next(tmp_path.glob("*.ndjson"))
        note = next(tmp_path.glob(".*.reached"))
        note.write_text(json.dumps({**json.loads(note.read_text()), "length": 0, "last": 0}))
        file.write_bytes(b"")
    file = next(tmp_path.glob("*.ndjson"))
    with file.open("ab") as open_file:
        open_file.write(torn)
    await sender(tmp_path).send(batch(AT + 1, AT + 2))
    assert lines(tmp_path)[file.name] == [*([AT] if before else []), AT + 1, AT + 2]


async def test_a_file_that_was_put_away_or_cut_by_others_is_begun_again(tmp_path: Path) -> None:
    await sender(tmp_path).send(batch(AT))
    file = next(tmp_path.glob("*.ndjson"))
    file.rename(tmp_path / "old")
    await sender(tmp_path).send(batch(AT + 1))
    os.truncate(file, 0)
    await sender(tmp_path).send(batch(AT + 2))
    assert lines(tmp_path) == {file.name: [AT + 2]}
    assert json.loads((tmp_path / "old").read_text()) == {"RowID": AT}


async def test_what_others_have_in_a_file_of_that_name_stays(tmp_path: Path) -> None:
    await sender(tmp_path).send(batch(AT))
    [file], [note] = tmp_path.glob("*.ndjson"), tmp_path.glob(".*.reached")
    note.unlink()
    await sender(tmp_path).send(batch(AT + 1))
    assert lines(tmp_path) == {file.name: [AT, AT + 1]}


async def test_no_file_is_written_outside_the_folders_that_are_allowed(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "in", tmp_path / "out"
    allowed.mkdir()
    outside.mkdir()
    (allowed / "link").symlink_to(outside)
    for folder in (outside, allowed / "link", allowed / "link" / "deeper", tmp_path):
        with pytest.raises(NotTaken, match=r"portal\.exports\.folders") as refused:
            await sender(folder, allowed).send(batch(AT))
        assert refused.value.refusal == "place"
    assert list(outside.iterdir()) == []
    # Nor through a link in the place of the file.
    await sender(allowed).send(batch(AT))
    file = next(allowed.glob("*.ndjson"))
    file.unlink()
    file.symlink_to(outside / "stolen")
    with pytest.raises(NotTaken):
        await sender(allowed).send(batch(AT + 1))
    assert list(outside.iterdir()) == []


async def test_a_job_writes_its_files(place: LogPlace, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    async with exporting(place, tmp_path, settings=ExportSection(folders=(folder,))) as portal:
        options = {"field_names": ["RowID", "ServerID"]}
        await portal.make("7", f"file://{folder}", output_options=options, max_upload_records=10)
        for first in range(0, 100, 25):
            await portal.write(first, first + 25)
        assert (await portal.all_delivered("7")).rows == 100
    written = [id for ids in lines(folder).values() for id in ids]
    assert len(written) == 100 and written == sorted(set(written))
