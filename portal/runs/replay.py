"""Replays of recorded runs: read from the log, repeated in this process, and compared. No server is called.

One at a time, under the limits of a run and in the part of whoever asks, so that programs of people have their turn.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Protocol

from sqlalchemy import Connection

from codemode import ParkedUnreadable, Replayed, RunRecording
from portal.logs import CallLog, ContentLog, KeptRecording, LogRow, RowName, StoredRow, run_of
from portal.runs.history import STORED_SECONDS
from portal.state import SecretUnreadable
from sandbox import EngineError

_DAY, _JUST_ENDED = 86_400_000_000, 5_000_000
HOW_TO_RECORD = (
    'With `"runs": {"record": "on"}` in its `portal` section, programs that begin from then on are recorded.'
)


class ReplayImpossible(Exception):
    """A run cannot be replayed: it has no recording, or this process cannot repeat it now. `str()` says why, in whole
    sentences. `known`: there is such a run; `now`: it may be tried again."""

    def __init__(self, words: str, *, known: bool = True, now: bool = False) -> None:
        super().__init__(words)
        self.known = known
        self.now = now


class RunsPrograms(Protocol):
    """What repeats a recorded program (`codemode.CodeTool`)."""

    async def repeat(self, recording: RunRecording, *, identity: str = "") -> Replayed: ...


class RunReplays:
    """`log` and `contents` are None where there is none, `programs` where nothing runs programs."""

    def __init__(self, log: CallLog | None, contents: ContentLog | None, programs: RunsPrograms | None) -> None:
        self._log = log
        self._contents = contents
        self._programs = programs
        self._turn = asyncio.Lock()

    async def replay(self, run_id: str, identity: str = "") -> Replayed:
        """What came of repeating the run with this id. `identity`: who asks, in whose part it counts.

        Raises:
            LogUnavailable: the log does not answer.
            ReplayImpossible: it cannot be replayed.
        """
        if self._log is None or self._contents is None:
            raise ReplayImpossible("This portal has no log, and no recordings.", known=False)
        if self._programs is None:
            raise ReplayImpossible("Nothing in this process runs programs.")
        try:
            row, kept = await self._found(self._log, self._contents, run_id)
            if kept is None:
                # Of a run that has just ended row and recording may be on their way.
                with suppress(TimeoutError):
                    async with asyncio.timeout(STORED_SECONDS):
                        await self._log.stored()
                        await self._contents.stored()
                row, kept = await self._found(self._log, self._contents, run_id)
        except SecretUnreadable as error:
            raise ReplayImpossible(f"Its recording cannot be opened: {error}.") from None
        if row is None:
            raise ReplayImpossible("The log has no run with this id that has ended.", known=False)
        recording = await recording_of(kept, row.row, self._log.content_days)
        async with self._turn:
            return await repeated(self._programs, recording, identity)

    async def _found(
        self, log: CallLog, contents: ContentLog, run_id: str
    ) -> tuple[StoredRow | None, KeptRecording | None]:
        """The row of the run, and what is kept of its recording."""
        row = await log.database.read(partial(row_of_run, run_id=run_id))
        return row, None if row is None else await contents.recording(RowName(row.instance, row.number))


def row_of_run(connection: Connection, run_id: str) -> StoredRow | None:
    """The row of the run with this id, if it has ended."""
    return run_of(connection, run_id)[0] if run_id else None


def has_just_ended(run: LogRow) -> bool:
    """Whether its row and its recording may still be on their way."""
    return time.time_ns() // 1000 - run.at - run.us < _JUST_ENDED


async def recording_of(kept: KeptRecording | None, run: LogRow, kept_days: int) -> RunRecording:
    """What the log keeps of the run with this row, as the recording that it is. Recordings are kept for so many days.

    Raises:
        ReplayImpossible: it is none.
    """
    if kept is None:
        raise _nothing_kept(run, kept_days)
    if kept.data is None:
        raise ReplayImpossible(f"This run has no recording: {kept.why}.")
    try:
        return await asyncio.to_thread(RunRecording.from_bytes, kept.data)
    except ParkedUnreadable as error:
        raise ReplayImpossible(f"Its recording cannot be read: {error}.") from None


def _nothing_kept(run: LogRow, kept_days: int) -> ReplayImpossible:
    """Why nothing is kept of the recording of a run, not even a reason."""
    is_old = run.at // _DAY < time.time_ns() // 1000 // _DAY - kept_days
    days = "a day" if kept_days == 1 else f"{kept_days} days"
    gone = f"its recording is gone by now: recordings are kept for {days}."
    match run.recording:
        case "off":
            return ReplayImpossible(f"This run was not recorded. {HOW_TO_RECORD}")
        case "on" if is_old:
            return ReplayImpossible(f"This run was recorded, and {gone}")
        case "on" if has_just_ended(run):
            words = "This run was recorded, and its recording is not stored yet. Try again in a moment."
            return ReplayImpossible(words, now=True)
        case "on":
            words = "its process was killed, or the log's database did not take it. Run the program again to have one."
            return ReplayImpossible(f"This run was recorded, and its recording was lost before it was stored: {words}")
        case _ if is_old:
            return ReplayImpossible(f"This run was not recorded, or {gone}")
        case _:
            return ReplayImpossible(f"This run was not recorded, or its recording was lost. {HOW_TO_RECORD}")


async def repeated(programs: RunsPrograms, recording: RunRecording, identity: str = "") -> Replayed:
    """What came of a repetition.

    Raises:
        ReplayImpossible: it cannot be repeated here now.
    """
    try:
        return await programs.repeat(recording, identity=identity)
    except TimeoutError:
        raise ReplayImpossible("It took longer than a run may, and was stopped.", now=True) from None
    except EngineError as error:
        raise ReplayImpossible(f"It cannot run here now: {error}.", now=True) from None
