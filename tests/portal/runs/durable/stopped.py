"""A program for `test_stopped`: a process that runs a parked run on, and says what becomes of it.

`python -m tests.portal.runs.durable.stopped URL KEYS`: it writes `began`, and when its run is stopped, which of its
writes were refused because the run is not its own any more.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from portal.runs import DurableRuns, DurableSettings, RunOutcome
from portal.state import KeyRing, RunClaim, RunDocument, RunTaken, Store
from tests.portal.state.run_parts import call_start, completed


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(url: str, keys: Path) -> None:
    over = asyncio.Event()
    async with Store.open(url, KeyRing.open(keys)) as store:

        async def resume(claim: RunClaim) -> RunOutcome:
            id, revision = claim.run.id, claim.run.revision
            say("began")
            try:
                await asyncio.Event().wait()
            finally:
                for name, write in (
                    ("started", store.runs.started(id, revision, call_start(1))),
                    ("settled", store.runs.settled(id, revision, 1, b"late")),
                    ("hold", store.runs.hold(id, revision, "login", RunDocument())),
                    ("end", store.runs.end(id, revision, completed(claim.run.expires_at))),
                ):
                    try:
                        await write
                    except RunTaken:
                        say(f"{name} refused")
                over.set()
            raise AssertionError

        async with DurableRuns(store, resume, owner="stopped", settings=DurableSettings(renew=0.2)):
            await over.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
