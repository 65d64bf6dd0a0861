"""Jobs at work for tests: a log, a store, and jobs that hurry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from portal.config import ExportSection
from portal.export import EXPORT_JOB, ExportJobDocument, ExportJobs, ExportPace, ExportProgress, shown_destination
from portal.logs import CallLog, LogPlace, LogRow
from portal.state import KeyRing, Store
from tests.patience import PATIENCE
from tests.portal.logs.rows import row
from tests.portal.state.databases import new_state

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
HURRY = ExportPace(poll=0.01, lease=2.0, first_pause=0.005, longest_pause=0.02, longest_wish=0.01)


@dataclass
class Exporting:
    """A log whose jobs run."""

    log: CallLog
    store: Store
    jobs: ExportJobs
    settings: list[ExportSection] = field(default_factory=list)

    async def write(self, first: int, last: int, **changes: Any) -> None:
        """Rows of these numbers, stored."""
        for number in range(first, last):
            self.log.write(row(number, **changes))
        await self.log.stored()

    async def make(self, id: str, destination: str, **members: Any) -> None:
        """A new job, which exports from the first row on."""
        await make_job(self.store, id, destination, **members)
        await self.jobs.settled(PATIENCE)

    async def progress(self, id: str = "1") -> ExportProgress:
        return (await self.jobs.state()).jobs[id]

    async def until(self, holds: Callable[[ExportProgress], bool], id: str = "1") -> ExportProgress:
        """The progress of a job, as soon as this holds."""
        async with asyncio.timeout(PATIENCE):
            while (found := (await self.jobs.state()).jobs.get(id)) is None or not holds(found):
                await asyncio.sleep(0.01)
        return found

    async def all_delivered(self, id: str = "1") -> ExportProgress:
        newest = (await self.jobs.state()).newest
        return await self.until(lambda found: found.cursor >= newest, id)


def store_at(url: str) -> Store:
    """The store of this URL, whose keys lie beside it: another process may open it too."""
    return Store.open(url, KeyRing.open(Path(url.partition("///")[2].partition("?")[0]).with_suffix(".key")))


async def make_job(store: Store, id: str, destination: str, **members: Any) -> None:
    document = ExportJobDocument(
        **{"enabled": True, "destination": shown_destination(destination), "start_at": FIRST, **members}
    )
    await store.create(EXPORT_JOB, id, document, by="test", secret=destination.encode())


@asynccontextmanager
async def exporting(
    place: LogPlace, folder: Path, *, pace: ExportPace = HURRY, settings: ExportSection | None = None, state: str = ""
) -> AsyncIterator[Exporting]:
    in_force = [settings or ExportSection(allow_private=True, folders=(folder,))]
    async with CallLog.open(place) as log, store_at(state or new_state(folder)) as store:
        async with ExportJobs(store, log, lambda: in_force[0], pace) as jobs:
            yield Exporting(log, store, jobs, in_force)


def rows_of(count: int) -> list[LogRow]:
    return [row(number) for number in range(count)]
