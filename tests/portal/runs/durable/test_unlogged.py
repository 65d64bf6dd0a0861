"""A process that is killed between the stored end of a run and its row of the log costs no row: the run has exactly
one, whoever finds it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from codemode import CodeTool
from portal.app import Instance
from portal.logs import Filters, LogKey, LogRow, before, verify
from portal.state.run_values import LOG_SECONDS
from portal.state.schema import runs
from tests.patience import PATIENCE
from tests.portal.login.guarded import Guarded, guarded_portal

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def killed(folder: Path, moment: str) -> str:
    """The id of a run whose process was killed as the run had ended."""
    command = ("-m", "tests.portal.runs.durable.unlogged", str(folder), moment)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == -signal.SIGKILL
    [id] = [line for line in said.decode().splitlines() if line.startswith("exec_")]
    return id


@asynccontextmanager
async def begun_again(folder: Path, code_tool: CodeTool) -> AsyncIterator[Guarded]:
    async with guarded_portal(folder, code=code_tool, has_log=True) as portal:
        yield portal


async def rows_of(instance: Instance, id: str) -> list[LogRow]:
    log = instance.shared.log
    assert log is not None
    await log.stored()
    found = await log.database.read(partial(before, filters=Filters(run=id, kind="run"), limit=10))
    return [one.row for one in found]


async def is_unlogged(portal: Guarded, id: str) -> bool:
    """Whether a run has ended and nobody knows yet whether the log has its row."""
    query = select(runs.c.id).where(runs.c.id == id, runs.c.log_due.is_not(None))
    async with portal.store._database.reading() as connection:
        return (await connection.execute(query)).first() is not None


async def looked_for(portal: Guarded, id: str) -> None:
    """Returns when the log is known to have the row of this run."""
    parked = portal.instance.shared.parked
    assert parked is not None
    async with asyncio.timeout(PATIENCE):
        while await is_unlogged(portal, id):
            parked.again()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_run_whose_process_is_killed_as_it_ends_has_exactly_one_row(
    tmp_path: Path, code_tool: CodeTool, moment: str
) -> None:
    id = await killed(tmp_path, moment)
    async with begun_again(tmp_path, code_tool) as portal:
        run = await portal.store.runs.get(id)
        assert run is not None and run.state == "completed"
        assert await is_unlogged(portal, id)
        # What a process that was killed has in its journal is stored by the next one.
        assert len(await rows_of(portal.instance, id)) == (moment == "after")
        portal.clock.ahead += timedelta(seconds=LOG_SECONDS + 1)
        await looked_for(portal, id)
        [row] = await rows_of(portal.instance, id)
        assert (row.outcome, row.portal, row.identity) == ("ok", "", run.subject)
        assert (row.bytes_in > 0) == (moment == "after")
    async with begun_again(tmp_path, code_tool) as portal:
        portal.clock.ahead += timedelta(seconds=2 * LOG_SECONDS)
        assert len(await rows_of(portal.instance, id)) == 1


async def test_the_row_that_another_process_has_written_is_not_written_again_from_a_journal(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    id = await killed(tmp_path, "after")
    # The journal of the process that was killed is out of reach, as on another machine.
    journals = list(tmp_path.glob("*.journal"))
    for journal in journals:
        journal.rename(journal.with_suffix(".away"))
    async with begun_again(tmp_path, code_tool) as portal:
        portal.clock.ahead += timedelta(seconds=LOG_SECONDS + 1)
        await looked_for(portal, id)
        [row] = await rows_of(portal.instance, id)
        assert row.outcome == "ok" and row.bytes_in == 0
    for journal in journals:
        journal.unlink(missing_ok=True)
        journal.with_suffix(".away").rename(journal)
    async with begun_again(tmp_path, code_tool) as portal:
        assert await rows_of(portal.instance, id) == [row]
        log = portal.instance.shared.log
        assert log is not None
        trusted = [LogKey.open(tmp_path / "state-logs.key").public]
        assert (await log.database.read(partial(verify, trusted=trusted))).is_whole


async def test_an_end_stays_until_the_log_can_say_whether_it_has_the_row(tmp_path: Path, code_tool: CodeTool) -> None:
    id = await killed(tmp_path, "before")
    async with begun_again(tmp_path, code_tool) as portal:
        log, rows = portal.instance.shared.log, portal.store.runs
        assert log is not None
        log.trouble = "it does not answer"
        portal.clock.ahead += timedelta(days=3)
        parked = portal.instance.shared.parked
        assert parked is not None
        parked.again()
        async with asyncio.timeout(PATIENCE):
            while await rows.take_unlogged():
                await asyncio.sleep(0.01)
        # Its time is over, and nothing was purged.
        assert await rows.purge() == 0 and await is_unlogged(portal, id)
        log.trouble = ""
        portal.clock.ahead += timedelta(seconds=LOG_SECONDS + 1)
        await looked_for(portal, id)
        assert len(await rows_of(portal.instance, id)) == 1
