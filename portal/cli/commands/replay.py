"""`codemode replay`: a recorded run, repeated in this process without any server, from the log of the configuration.

It works on the database itself, also while a portal runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codemode import CodeTool, common_preload
from portal.admin import ShownReplay, shown_replay
from portal.app import events_of_command, limits_of, log_settings
from portal.cli.commands.log_contents import keys_of_document
from portal.cli.commands.logs import opened_log
from portal.cli.exits import CommandError, Exit
from portal.cli.session import load
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.cli.show.unseen import seen
from portal.config import Config
from portal.logs import KeptRecording, LogDatabase, RowName, StoredRow, event, read_recording
from portal.runs import ReplayImpossible, has_just_ended, recording_of, repeated, row_of_run
from portal.state import KeyRing, SecretUnreadable
from sandbox import Engine, InProcessExecutor

BY = "codemode replay"
LOOKS, BETWEEN_SECONDS = 4, 0.2
"""Looks for a run that is not in the log yet, or not its recording: a portal stores them a moment after the end."""
_OUTCOMES = {"result": "a result", "cancelled": "its end from outside", "wall_time": "its time being over"}


async def replay_run(run: str, config: Path | None, *, as_json: bool) -> Exit:
    """Print whether a repetition is equal, or the first difference. The exit code is 1 if something differs."""
    stdout, stderr = consoles()
    _, document = load(config, stderr, quiet=True)
    try:
        row, kept = await _kept(config, document, run, stderr, quiet=as_json)
        recording = await recording_of(kept, row.row, log_settings(document.portal.logs).days_of_contents)
        with WaitLine(stderr, f"Replaying {run} ...", quiet=as_json):
            async with _tool(document) as tool:
                replayed = shown_replay(run, await repeated(tool, recording))
    except ReplayImpossible as reason:
        raise CommandError(f"{run}: {reason}") from None
    async with events_of_command(document) as events:
        events.write(event("change", "REPLAY", name=f"runs/{run}")._replace(identity=BY))
    if as_json:
        stdout.print_json(replayed.model_dump_json(), indent=None)
    else:
        for line in replay_lines(replayed):
            stdout.print(line, soft_wrap=True)
    return Exit.OK if replayed.equal else Exit.PROGRAM_FAILED


def replay_lines(replayed: ShownReplay) -> list[Text]:
    """What came of a replay, for a person. What the program and its servers wrote hides nothing."""
    found = replayed.difference
    build = "" if replayed.same_build else " It began in another build of the engine."
    if found is None:
        ended = _OUTCOMES.get(replayed.ended, f"an error ({replayed.ended})")
        counts = f"{_count(replayed.calls, 'call')}, {_count(replayed.logs, 'line')} logged, and {ended}"
        return [Text.assemble(("Equal", "green"), f": {replayed.id} again has {counts}.{build}")]
    where = {"call": f"call {found.at}", "log": f"line {found.at} of its logs"}.get(found.what, f"its {found.what}")
    lines = [Text.assemble(("Different", "red"), f" at {where}: {seen(found.words)}.{build}")]
    for sign, text, style in (("-", found.then, "red"), ("+", found.now, "green")):
        if text:
            lines.append(Text(f"{sign} {seen(text)}", style))
    return lines


async def _kept(
    config: Path | None, document: Config, run: str, stderr: Console, *, quiet: bool
) -> tuple[StoredRow, KeptRecording | None]:
    keys = keys_of_document(document)
    async with opened_log(config, stderr, quiet=quiet) as (database, _):
        looks = LOOKS if document.portal.runs.record == "on" else 1
        for look in range(1, looks + 1):
            row = await database.read(partial(row_of_run, run_id=run))
            kept = None if row is None or keys is None else await _recording(database, row, keys)
            if kept is not None or look == looks or not (row is None or has_just_ended(row.row)):
                break
            # It may be on its way to the log.
            await asyncio.sleep(BETWEEN_SECONDS)
        if row is None:
            raise CommandError(
                f"The log has no run {run!r} that has ended. `codemode logs --kind run` shows those that it has."
            )
        if keys is None:
            raise ReplayImpossible("There is no key of the portal's database here that could open a recording.")
        return row, kept


async def _recording(database: LogDatabase, row: StoredRow, keys: KeyRing) -> KeptRecording | None:
    """
    Raises:
        ReplayImpossible: it was changed, or its key is gone.
    """
    try:
        name = RowName(row.instance, row.number)
        return await database.read(partial(read_recording, name=name, keys=keys))
    except SecretUnreadable as error:
        raise ReplayImpossible(f"Its recording cannot be opened: {error}.") from None


@asynccontextmanager
async def _tool(document: Config) -> AsyncIterator[CodeTool]:
    """A code tool for one program, under the limits of this configuration."""
    engine = await asyncio.to_thread(Engine, limits_of(document), slots=1, common=common_preload())
    try:
        async with InProcessExecutor(engine) as executor:
            yield CodeTool(executor)
    finally:
        engine.close()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
