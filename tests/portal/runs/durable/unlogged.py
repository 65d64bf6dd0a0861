"""A program for `test_unlogged`: a portal in a process that kills itself as a parked run ends.

`python -m tests.portal.runs.durable.unlogged FOLDER MOMENT`. It writes the id of the run. MOMENT is `before`: the end
of the run is stored and its row of the log is not written; or `after`: the row is written into the journal, and the
database of the log does not have it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codemode import CodeTool
from portal.calls import Caller
from portal.logs import LogDatabase
from sandbox import Engine, InProcessExecutor
from tests.portal.endpoint.people import token_of
from tests.portal.login.guarded import EMAIL, guarded_portal
from tests.portal.runs.login import Login
from tests.portal.runs.test_ended_from_outside import AT_ONCE, Place
from tests.portal.upstreams.hosting import hosted


def dies(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_after(work: Callable[..., None]) -> Callable[..., None]:
    def both(*given: Any, **named: Any) -> None:
        work(*given, **named)
        dies()

    return both


async def nothing(*_: object, **__: object) -> None:
    """Rows stay in the journal: the process is killed before they are stored."""
    await asyncio.Event().wait()


async def main(folder: Path, moment: str) -> None:
    executor, login = InProcessExecutor(Engine()), Login("echo")
    tool = CodeTool(executor)
    async with (
        hosted() as upstream,
        guarded_portal(folder, upstream=upstream.url, code=tool, gate=login.gate, runs=AT_ONCE, has_log=True) as portal,
    ):
        place = Place(portal, login, await token_of(portal, EMAIL))
        run = await place.parked()
        sys.stdout.write(f"{run.id}\n")
        sys.stdout.flush()
        log = portal.instance.shared.log
        assert log is not None
        await log.stored()
        if moment == "before":
            Caller.write_run = dies  # type: ignore[method-assign]
        else:
            LogDatabase.write = nothing  # type: ignore[method-assign, assignment]
            Caller.write_run = dies_after(Caller.write_run)  # type: ignore[method-assign]
        login.done.set()
        await portal.store.runs.ready_all(run.subject, "login")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
