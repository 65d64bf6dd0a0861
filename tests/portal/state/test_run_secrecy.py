"""Nothing that a parked run keeps is in the database's files in clear, nor in what the state says of itself."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from sqlalchemy import select, text

from portal.state import CallEnd, KeyRing, RunTaken, RunTooLarge, Store
from portal.state.run_values import MAX_CHECKPOINT_BYTES
from portal.state.schema import run_calls, run_resumes, runs
from tests.portal.state.run_parts import LEASE, SetClock, call_start, completed, parking

pytestmark = pytest.mark.anyio

HEAP, ARGUMENTS, SETTLED, ANSWER, RESULT = (
    f"hush-{name}-7f3a".encode() for name in ("heap", "arguments", "settled", "answer", "result")
)
SECRETS = (HEAP, ARGUMENTS, SETTLED, ANSWER, RESULT)


def in_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("s.db*"))


async def test_what_a_run_keeps_is_never_in_the_files_in_clear_and_is_gone_after_its_end(tmp_path: Path) -> None:
    clock = SetClock()
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory(), clock=clock) as store:
        # Large enough for pages of its own.
        await store.runs.park(parking("a", clock.now), HEAP * 1000)
        await store.runs.ready("a")
        await store.runs.claim("p1", LEASE)
        await store.runs.started("a", 2, call_start(1, arguments=ARGUMENTS * 500))
        await store.runs.started("a", 2, call_start(2, arguments=ARGUMENTS))
        await store.runs.settled("a", 2, 1, SETTLED * 500, [CallEnd(call=1)])
        clock.move(31)
        await store.runs.claim("p2", LEASE)
        await store.runs.resolve("a", 2, "happened", ANSWER * 500)
        sealed: list[bytes] = []
        async with store._database.reading() as connection:
            for table in (runs, run_calls, run_resumes):
                found = (await connection.execute(select(table.c.secret))).scalars()
                sealed += [bytes(secret) for secret in found if secret is not None]
        assert len(sealed) == 3
        files = in_files(tmp_path)
        assert all(secret not in files for secret in SECRETS)
        # What is sealed is there: the search finds what is in the files.
        assert all(secret[-64:] in files for secret in sealed)
        await store.runs.end("a", 3, completed(clock.now, RESULT))
        assert RESULT not in in_files(tmp_path)
        async with store._database.writing() as connection:
            await connection.execute(text("DELETE FROM facts WHERE name = 'none'"))
        async with store._database._engine.connect() as connection:
            await connection.exec_driver_sql("COMMIT")
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        files = in_files(tmp_path)
        # Not even sealed: their pages are overwritten.
        assert all(secret[-64:] not in files for secret in sealed)
        assert all(secret not in files for secret in SECRETS)


async def test_what_a_run_keeps_is_not_in_reprs_and_errors(tmp_path: Path) -> None:
    clock, said = SetClock(), list[str]()
    async with Store.open(f"sqlite:///{tmp_path}/s.db", KeyRing.in_memory(), clock=clock) as store:
        said.append(repr(await store.runs.park(parking("a", clock.now), HEAP)))
        await store.runs.ready("a")
        await store.runs.claim("p1", LEASE)
        start = call_start(1, arguments=ARGUMENTS)
        await store.runs.started("a", 2, start)
        await store.runs.settled("a", 2, 1, SETTLED)
        clock.move(31)
        said += [repr(await store.runs.claim("p2", LEASE)), repr(start), repr(completed(clock.now, RESULT))]
        for attempt, error in (
            (store.runs.settled("a", 2, 1, SETTLED), RunTaken),
            (store.runs.end("a", 2, completed(clock.now, RESULT)), RunTaken),
            (store.runs.park(parking("b", clock.now), HEAP * (MAX_CHECKPOINT_BYTES // 8)), RunTooLarge),
        ):
            with pytest.raises(error) as refused:
                await attempt
            said.append("".join(traceback.format_exception(refused.value)))
    words = "\n".join(said).encode()
    assert all(secret not in words for secret in SECRETS)
