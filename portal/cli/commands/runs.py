"""`codemode runs`: runs that outlive their process, looked at, waited for and cancelled, over the database itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from rich.text import Text

from portal.admin import (
    Actions,
    Admin,
    AdminError,
    ApprovalPageInfo,
    RunPageInfo,
    RunWithCalls,
    ShownApproval,
    ShownRun,
)
from portal.cli.commands.approvals import PATH as APPROVALS
from portal.cli.commands.approvals import acting, names_of_service_tokens
from portal.cli.commands.declared import open_admin
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import nearest
from portal.cli.show.approval_page import run_lines, runs_table, state_text
from portal.cli.show.console import as_json as as_json_text
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.state import LIVE, Store

PATH = "/access/ai-controls/mcp/runs"
ITEM = f"{PATH}/{{run_id}}"
OPEN = "open"
STATES = (OPEN, "parked", "ready", "running", "completed", "failed", "cancelled", "denied", "expired", "lost")
LOOK_SECONDS = 1.0
"""How long a change that nobody told of stays unnoticed, at most."""


async def list_runs(state: str, limit: int, database: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Print the runs in a state, or those that have not ended, newest first."""
    stdout, stderr = consoles()
    query = {"limit": str(limit), **({"live": "true"} if state == OPEN else {"state": state})}
    async with open_admin(database, config) as (admin, store):
        page = await _asked(acting(admin), query)
        names = {} if as_json else await names_of_service_tokens(store)
    if as_json:
        stdout.print_json(data=[one.model_dump(mode="json") for one in page])
        return Exit.OK
    if not page:
        stdout.print("No run is kept that has not ended." if state == OPEN else "There are none.")
        return Exit.OK
    stdout.print(runs_table(page, names))
    if len(page) == limit:
        stderr.print(Text(f"There may be more: --limit {2 * limit}", style="dim"))
    return Exit.OK


async def show_run(id: str, database: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Print one run, and what it asks people for."""
    stdout, _ = consoles()
    async with open_admin(database, config) as (admin, _):
        found = await _found(admin, id)
        query = {"run": id, "limit": "200"}
        approvals = (await acting(admin).keyed(ShownApproval, ApprovalPageInfo, APPROVALS, query)).items
    if as_json:
        shown = found.model_dump(mode="json") | {"approvals": [one.model_dump(mode="json") for one in approvals]}
        stdout.print_json(as_json_text(shown))
        return Exit.OK
    for line in run_lines(found, approvals):
        stdout.print(line, soft_wrap=isinstance(line, Text))
    return Exit.OK


async def wait_for_run(
    id: str, seconds: float | None, database: str | None, config: Path | None, *, as_json: bool
) -> Exit:
    """Wait until a run has ended, and print how. The exit code is 1 unless it has completed."""
    stdout, stderr = consoles()
    async with open_admin(database, config) as (admin, store):
        found = await _found(admin, id)
        with WaitLine(stderr, f"Waiting for {id} ..."), suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                found = await _ended(admin, store, found)
    if as_json:
        stdout.print_json(data={"id": found.id, "state": found.state or found.outcome, "failure": found.failure})
    else:
        why = f": {found.failure}" if found.failure else ""
        stdout.print(Text.assemble((found.id, "bold"), ": ", state_text(found.state or found.outcome), why))
    if not _has_ended(found):
        stderr.print(f"It has not ended within {seconds:g} s, and goes on waiting.", highlight=False)
    return Exit.OK if found.state == "completed" else Exit.PROGRAM_FAILED


async def cancel_run(id: str, database: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """End a run that has not ended. What it asked people for is not wanted any more."""
    stdout, stderr = consoles()
    async with open_admin(database, config, logged=True) as (admin, _):
        found = await _found(admin, id)
        if _has_ended(found):
            raise CommandError(f"{id} has ended already: {found.state or found.outcome}.", Exit.PROGRAM_FAILED)
        try:
            await acting(admin).change("DELETE", ITEM, run_id=id)
        except AdminError as error:
            raise CommandError(f"{error}.", Exit.PROGRAM_FAILED) from error
    stderr.print(f"Cancelled: {id}", highlight=False)
    if as_json:
        stdout.print_json(data={"id": id, "state": "cancelled"})
    return Exit.OK


async def _ended(admin: Admin, store: Store, found: RunWithCalls) -> RunWithCalls:
    """The run once it has ended."""
    news = asyncio.Event()
    unsubscribe = store.subscribe(lambda _: news.set())
    try:
        while not _has_ended(found):
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await news.wait()
            news.clear()
            found = await _found(admin, found.id)
    finally:
        unsubscribe()
    return found


def _has_ended(run: ShownRun) -> bool:
    return run.state not in LIVE if run.state is not None else not run.live


async def _found(admin: Admin, id: str) -> RunWithCalls:
    """
    Raises:
        CommandError: there is no such run in the database.
    """
    try:
        return await acting(admin).show(RunWithCalls, ITEM, run_id=id)
    except AdminError as error:
        if error.status != 404:
            raise CommandError(f"{error}.", Exit.PROGRAM_FAILED) from error
    near = nearest(id, [one.id for one in await _asked(acting(admin), {"live": "true", "limit": "200"})])
    meant = f" Did you mean {' or '.join(near)}?" if near else " `codemode logs --run ID` has those of the log."
    raise CommandError(f"The database keeps no run {id!r}.{meant}", Exit.PROGRAM_FAILED)


async def _asked(actions: Actions, query: dict[str, str]) -> list[ShownRun]:
    try:
        return list((await actions.keyed(ShownRun, RunPageInfo, PATH, query)).items)
    except AdminError as error:
        raise CommandError(f"{error}.") from error
