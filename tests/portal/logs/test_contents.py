"""Contents of calls: sealed for their row, masked, bounded, gone in time, and never in the clear on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, update

from portal.logs import (
    CallLog,
    Content,
    ContentLog,
    ContentRule,
    ContentSettings,
    KeptRecording,
    LogPlace,
    LogSettings,
    Recordable,
    RowName,
    read_content,
    rewrap_contents,
)
from portal.logs.contents import MAX_RECORDING, remove_contents
from portal.logs.schema import DAY, contents, recordings
from portal.state import KeyRing, SecretUnreadable
from tests.portal.logs.rows import AT, row

pytestmark = pytest.mark.anyio
MARKER = "a-marker-of-somebody-31c8"
ALL = ContentSettings([ContentRule("files", ("*",), arguments=True, results=True)])


@dataclass
class Kept:
    log: CallLog
    contents: ContentLog
    keys: KeyRing

    def take(self, number: int = 0, holder: str = "", **content: Any) -> RowName:
        name = self.log.write(row(number), holder)
        assert name is not None
        self.contents.take(name, AT, Content(**content), 1000, holder)
        return name

    async def read(self, name: RowName) -> dict[str, object] | None:
        await self.contents.stored()
        return await self.log.database.read(partial(read_content, name=name, keys=self.keys))

    async def count(self) -> int:
        await self.contents.stored()
        query = select(func.count()).select_from(contents)
        return await self.log.database.read(lambda connection: int(connection.execute(query).scalar() or 0))


@asynccontextmanager
async def kept_at(
    place: LogPlace, room: int = 10**6, days: int = 7, settings: ContentSettings = ALL
) -> AsyncIterator[Kept]:
    keys = KeyRing.open(place.folder / "state.key")
    async with CallLog.open(place, lambda: LogSettings(content_days=days)) as log:
        async with ContentLog(log.database, keys, lambda: settings, room) as kept:
            yield Kept(log, kept, keys)


async def test_a_content_is_opened_with_the_key_and_is_nowhere_in_the_clear(place: LogPlace) -> None:
    async with kept_at(place) as at:
        name = at.take(arguments={"text": MARKER}, result={"content": [{"type": "text", "text": MARKER}]})
        assert await at.read(name) == {
            "arguments": {"text": MARKER},
            "result": {"content": [{"type": "text", "text": MARKER}]},
        }
        other = at.take(1, arguments={"number": 10**40, "half": "\ud800"})
        assert await at.read(other) == {"arguments": {"number": 10**40, "half": "\ud800"}}
        assert await at.read(RowName(name.instance, 99)) is None
    files = [file for file in place.folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert MARKER.encode() not in file.read_bytes(), file


async def test_what_is_masked_is_not_even_sealed(place: LogPlace) -> None:
    async with kept_at(place) as at:
        name = at.take(arguments={"password": MARKER, "user": "ada"}, result=None)
        assert await at.read(name) == {"arguments": {"password": "[masked]", "user": "ada"}}


async def test_a_content_has_at_most_as_many_bytes_as_is_set(place: LogPlace) -> None:
    async with kept_at(place, settings=ContentSettings(ALL.rules, most=2048)) as at:
        name = at.take(arguments={"rows": ["x" * 100] * 1000}, result={"rows": ["y" * 100_000]})
        found = await at.read(name)
        assert found is not None and len(str(found)) < 3000 and str(found).count("[cut]") >= 2


async def test_a_content_that_is_moved_to_another_row_or_changed_does_not_open(place: LogPlace) -> None:
    async with kept_at(place) as at:
        first, second = at.take(arguments={"a": 1}), at.take(1, arguments={"a": 2})
        await at.contents.stored()
        sealed = select(contents.c.sealed).where(contents.c.number == first.number).scalar_subquery()
        moved = update(contents).where(contents.c.number == second.number).values(sealed=sealed)
        await at.log.database.write(lambda connection: connection.execute(moved))
        assert await at.read(first) == {"arguments": {"a": 1}}
        with pytest.raises(SecretUnreadable):
            await at.read(second)


async def test_contents_go_after_their_days_while_their_rows_stay(place: LogPlace) -> None:
    async with kept_at(place, days=3) as at:
        for number in range(10):
            at.take(number, arguments={"a": number})
        await at.log.stored()
        assert await at.count() == 10
        await at.log.remove_old(AT + 2 * DAY)
        assert await at.count() == 10
        await at.log.remove_old(AT + 5 * DAY)
        assert await at.count() == 0


async def test_another_key_opens_them_after_a_rotation_and_the_former_one_is_not_needed(place: LogPlace) -> None:
    async with kept_at(place) as at:
        before = [at.take(number, arguments={"a": number}) for number in range(250)]
        await at.contents.stored()
        former = at.keys.newest.kid
        # Another process makes the key.
        new = KeyRing.open(place.folder / "state.key").add()
        after = at.take(300, arguments={"a": 300})
        await at.contents.stored()
        rewrap, done = partial(rewrap_contents, keys=at.keys, kid=new.kid), 0
        while some := await at.log.database.write(rewrap):
            done += some
        assert done == 250
        assert KeyRing.open(place.folder / "state.key").keep_only([new.kid]) == (former,)
        at.keys.reload()
        assert await at.read(before[0]) == {"arguments": {"a": 0}} and await at.read(after) == {"arguments": {"a": 300}}


async def test_without_its_key_a_content_does_not_open_and_a_rotation_removes_it(place: LogPlace) -> None:
    async with kept_at(place) as at:
        name = at.take(arguments={"a": 1})
        await at.contents.stored()
        ring = KeyRing.open(place.folder / "state.key")
        ring.keep_only([ring.add().kid])
        at.keys.reload()
        with pytest.raises(SecretUnreadable):
            await at.read(name)
        await at.log.database.write(partial(rewrap_contents, keys=at.keys, kid=at.keys.newest.kid))
        assert await at.count() == 0


async def test_of_one_caller_half_of_the_room_is_taken_and_the_rest_is_dropped_and_counted(place: LogPlace) -> None:
    async with kept_at(place, room=10_000) as at:
        for number in range(20):
            at.take(number, "ada", arguments={"a": number})
        for number in range(5):
            at.take(number, "grace", arguments={"a": number})
        assert at.contents.dropped == 15 and await at.count() == 10


async def test_a_key_file_that_is_gone_costs_the_contents_and_nothing_else(place: LogPlace) -> None:
    async with kept_at(place) as at:
        (place.folder / "state.key").unlink()
        at.take(arguments={"a": 1})
        await at.contents.stored()
        assert at.contents.dropped == 1
        await at.log.stored()


def test_a_rule_covers_the_tools_it_names() -> None:
    settings = ContentSettings(
        [ContentRule("files", ("read_*",), arguments=True), ContentRule("*", ("read_all",), results=True)]
    )
    assert settings.wants("files", "read_one") == (True, False)
    assert settings.wants("files", "read_all") == (True, True)
    assert settings.wants("other", "read_all") == (False, True)
    assert settings.wants("other", "write") == settings.wants("files", "write") == (False, False)
    assert ContentSettings().wants("files", "read_one") == (False, False)


class Recorded:
    """A recording, as the log sees one."""

    def __init__(self, data: bytes) -> None:
        self.size, self._data = len(data), data

    def as_bytes(self) -> bytes:
        return self._data


async def test_a_recording_is_kept_as_it_is_sealed_bounded_and_gone_in_time(place: LogPlace) -> None:
    async with kept_at(place, room=20 * MAX_RECORDING) as at:
        data = f"password={MARKER}".encode()
        given: list[Recordable | str | None] = [Recorded(data), Recorded(b"x" * (MAX_RECORDING + 1)), "it ended", None]
        names: list[RowName] = []
        for number, recording in enumerate(given):
            name = at.log.write(row(number), "")
            assert name is not None
            names.append(name)
            if recording is not None:
                at.contents.record(name, AT, recording)
        found = [await at.contents.recording(name) for name in names]
        assert found[0] == KeptRecording(data) and found[2] == KeptRecording(None, "it ended") and found[3] is None
        assert found[1] is not None and found[1].data is None and "at most 4,194,304 of a run are kept" in found[1].why
        # It opens in no other place.
        moved = RowName(names[2].instance, 99)
        move = update(recordings).where(recordings.c.number == names[2].number).values(number=moved.number)
        await at.log.database.write(lambda connection: connection.execute(move))
        with pytest.raises(SecretUnreadable):
            await at.contents.recording(moved)
        assert await at.log.database.write(partial(remove_contents, day=AT // DAY)) == 0
        assert await at.log.database.write(partial(remove_contents, day=AT // DAY + 1)) == 3
    for file in place.folder.rglob("*"):
        assert not file.is_file() or MARKER.encode() not in file.read_bytes(), file
