"""Runs a command again whenever one of its files changes, until it is interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.text import Text
from watchfiles import awatch

from portal.cli.exits import CommandError, Exit
from portal.errors import InputError

# Editors write a file in several steps.
_SETTLE_MS = 100


async def run_on_change(
    files: Sequence[Path], once: Callable[[], Coroutine[object, object, Exit]], stderr: Console
) -> Exit:
    """Run `once` now and after every change of these files. A change during a run stops that run."""
    names = {file.resolve() for file in files}
    running = asyncio.create_task(_run_and_report(once, stderr))
    try:
        # Watch the folders: editors replace a file, and a watch on the old file would see no more changes.
        async for _ in awatch(
            *sorted({file.parent for file in names}),
            watch_filter=lambda change, path: Path(path).resolve() in names,
            debounce=_SETTLE_MS,
            step=20,
            recursive=False,
        ):
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            stderr.print(Rule(Text(f"changed {datetime.now():%H:%M:%S}"), style="dim"))
            running = asyncio.create_task(_run_and_report(once, stderr))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return Exit.OK


async def _run_and_report(once: Callable[[], Coroutine[object, object, Exit]], stderr: Console) -> None:
    """Run once. An error in the files is printed, and the next change may fix it."""
    try:
        await once()
    except (CommandError, InputError) as error:
        stderr.print(Text(f"codemode: {error}", style="red"), soft_wrap=True)
    stderr.print(Text("Waiting for a change; Ctrl-C ends.", style="dim"))
