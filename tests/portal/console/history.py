"""Rows of the log for pages of the console: a day of two people at two servers, and what is no call."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from portal.logs import CallLog, LogPlace, LogRow, LogSettings
from tests.portal.login.guarded import Guarded
from tests.portal.logs.rows import row

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def calls(number: int, ago: int, **changes: Any) -> list[LogRow]:
    """So many calls that ended at most so long ago."""
    now = time.time_ns() // 1000
    return [row(at=now - ago + n * 1000, **changes) for n in range(number)]


def day() -> list[LogRow]:
    """Calls of the last day, and some of the day before it."""
    found = calls(40, 30 * MINUTE, server="notes", name="search", client="editor", client_version="2.1", us=12_000)
    found += calls(6, 20 * MINUTE, server="notes", name="add", outcome="timeout", us=30_000_000, client="editor")
    bob = {"identity": "bob", "email": "bob@example.com", "client": "assistant", "client_version": "7"}
    for hour in range(1, 20):
        outcome = "denied" if hour % 6 == 0 else "ok"
        found += calls(
            5 + hour * 7 % 11,
            hour * HOUR,
            server="mail",
            name="send",
            us=90_000 + hour * 9_000,
            outcome=outcome,
            reason="No mail in the night." if outcome == "denied" else "",
            policy="quiet-hours" if outcome == "denied" else "",
            **bob,
        )
    found += calls(3, 40 * MINUTE, kind="run", server="", name="", tokens_saved=12_000, client="editor")
    return sorted([*found, *calls(50, 30 * HOUR, server="mail", name="send", us=15_000)])


async def write_before(folder: Path, rows: list[LogRow]) -> None:
    """Write these rows into the log that a portal with its state in this folder will have: each at its own time."""
    place = LogPlace(url=f"sqlite:///{folder}/state-logs.db", folder=folder, name="state-logs")
    async with CallLog.open(place, LogSettings) as log:
        for one in rows:
            log.write(one)
        await log.stored()


async def write(portal: Guarded, rows: list[LogRow]) -> None:
    """Write these rows into the log of a portal that runs."""
    log = portal.instance.shared.log
    assert log is not None
    for one in rows:
        log.write(one)
    await log.stored()
