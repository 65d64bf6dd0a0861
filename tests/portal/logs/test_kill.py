"""Whatever moment a process is killed at, every row that was written is in the log, once, and the chain is whole."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from functools import partial

import pytest
from sqlalchemy import select

from portal.logs import CallLog, LogPlace
from portal.logs.chain import LogKey
from portal.logs.schema import calls
from portal.logs.verification import verify
from tests.deep import times
from tests.patience import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

KILLS = 10
RATE = 1000


@pytest.mark.parametrize("tenths", times(4, 60))
async def test_a_thousand_rows_a_second_outlive_ten_kills(place: LogPlace, tenths: int) -> None:
    command = ["-m", "tests.portal.logs.killed", place.url, str(place.folder), str(KILLS), str(tenths / 10), str(RATE)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    written = json.loads(output)
    assert len(written) == KILLS and min(written) >= 1
    async with CallLog.open(place) as log:
        async with asyncio.timeout(PATIENCE):
            await log.stored()
        found = await log.database.read(lambda connection: connection.execute(select(calls.c.name)).scalars().all())
        await log._sign()
        report = await log.database.read(partial(verify, trusted=[LogKey.open(place.key).public]), 60)
        assert log.dropped == 0
    times_found = Counter(found)
    assert set(times_found.values()) == {1}
    # One more may have been written in each life, whose answer came too late.
    for life, answered in enumerate(written):
        missing = [number for number in range(answered) if f"{life}-{number}" not in times_found]
        assert missing == []
    assert sum(written) <= len(found) <= sum(written) + KILLS
    assert report.is_whole and report.rows == report.signed == len(found), report.faults
