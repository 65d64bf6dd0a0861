"""Recordings in the log of a running portal, and how a test changes one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from codemode import RunRecording
from portal.app import Instance
from portal.logs import RowName
from portal.logs.contents import _place, _recording
from portal.logs.schema import recordings
from portal.runs import row_of_run
from portal.state import seal


async def stored_recording(instance: Instance, run_id: str) -> tuple[RowName, RunRecording]:
    """The name of the row of a run that has ended, and its recording."""
    log, kept = instance.shared.log, instance.shared.kept
    assert log is not None and kept is not None
    await log.stored()
    await kept.stored()
    row = await log.database.read(partial(row_of_run, run_id=run_id))
    assert row is not None
    name = RowName(row.instance, row.number)
    found = await kept.recording(name)
    assert found is not None and found.data is not None, found
    return name, RunRecording.from_bytes(found.data)


async def change_recording(instance: Instance, run_id: str, **end: Any) -> None:
    """Let the recording of a run say that it ended in another way."""
    name, recording = await stored_recording(instance, run_id)
    log, kept = instance.shared.log, instance.shared.kept
    assert log is not None and kept is not None
    changed = replace(recording, end=replace(recording.end, **end))
    sealed = seal(_recording(changed), _place(recordings, name), kept._keys.newest)
    statement = recordings.update().where(recordings.c.number == name.number).values(sealed=sealed)
    await log.database.write(lambda connection: connection.execute(statement))
