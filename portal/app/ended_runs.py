"""Makes sure that each parked run that has ended has its row in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from portal.app.definitions import OWN
from portal.config import LogSection

if TYPE_CHECKING:
    from portal.app.portal import Portal
    from portal.app.shared import Shared
    from portal.logs import CallLog
    from portal.state import StoredRun

_STORED_SECONDS, _SECONDS = 1.0, 5.0
"""How long the log is waited for. Meanwhile no claim of a parked run is renewed."""


class EndedRuns:
    """`portals` are those of this process."""

    def __init__(self, shared: Shared, portals: Mapping[str, Portal]) -> None:
        self._shared = shared
        self._portals = portals

    def note(self, run: StoredRun, *, is_left: bool = False) -> None:
        """Write the row of a run that has ended without going on, or that `is_left` without a row."""
        # Its portal may be one that this process does not serve, or that was removed.
        if (portal := self._portals.get(run.portal) or self._portals.get(OWN)) is not None:
            portal.endpoint.note_end(run, is_left=is_left)

    async def in_log(self, ended: Sequence[StoredRun]) -> bool:
        """Write the rows of those of these that the log lacks. False if nobody can say now which these are."""
        log = self._shared.log
        if log is None:
            # Rows are written nowhere, or where nobody can ask for them.
            return True
        if self._shared.runner is None:
            # Whoever runs programs writes their rows.
            return False
        section = self._shared.config.portal.logs or LogSection()
        # What ended before that may have had a row that is removed by now.
        kept_since = self._shared.parts.now() - timedelta(days=section.keep_days)
        asked = [run for run in ended if run.updated_at > kept_since]
        if not asked:
            return True
        written = await _written(log, asked)
        if written is None:
            return False
        for run in asked:
            if run.id not in written:
                self.note(run, is_left=True)
        return True


async def _written(log: CallLog, runs: Sequence[StoredRun]) -> set[str] | None:
    """Those of these runs that have their row in the log; None if it does not answer."""
    from portal.logs import LogUnavailable, runs_written

    since = int(min(run.created_at for run in runs).timestamp() * 1_000_000)
    with suppress(TimeoutError):
        # What a former process has left may be on its way. Of what comes twice the log stores the first.
        async with asyncio.timeout(_STORED_SECONDS):
            await log.stored()
    if log.trouble:
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            return await log.database.read(partial(runs_written, ids=[run.id for run in runs], since=since))
    except (LogUnavailable, TimeoutError):
        return None
