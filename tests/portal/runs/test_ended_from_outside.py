"""Parked runs of a whole portal that are ended from outside: by a login, an administrator, time, or the end of their
portal. Each has one row of the log, at its own portal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from codemode import Adherence, CodeTool
from portal.admin import Actions
from portal.calls import Call, Gate
from portal.calls.gate import Denial
from portal.cli.commands.approvals import acting
from portal.endpoint import programs as programs_module
from portal.endpoint.ledger import RunLedger
from portal.flows import RunLabels
from portal.runs import durable as durable_module
from portal.runs.durable import PORTAL_REMOVED
from portal.state import LIVE, FinishedRun, LabelRead, RunClaim, RunRows, StoredRun, utc_now
from portal.upstream import CallContext
from tests.patience import PATIENCE
from tests.portal.endpoint.people import client_with, token_of
from tests.portal.login.guarded import EMAIL, Guarded, guarded_portal
from tests.portal.portals import MODERN
from tests.portal.runs.login import Login
from tests.portal.state.run_parts import parking
from tests.portal.upstreams.hosting import hosted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
AT_ONCE = {"patience": 0.001, "patienceWithProgress": 0.001}
PORTALS, RUN = "/access/ai-controls/mcp/portals", "/access/ai-controls/mcp/runs/{run_id}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Counts:
    """An admission that counts the calls of a run as a budget does, and has read a label with each."""

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        assert context.spent is not None and isinstance(context.read, RunLabels)
        context.spent["budget"] = context.spent.get("budget", 0) + 1
        at = utc_now()
        label = f"label-{context.spent['budget']}"
        context.read.add(
            LabelRead(
                person="ada",
                client="",
                label=label,
                portal="",
                server=call.server,
                tool=call.name,
                at=at,
                until=at + timedelta(hours=1),
            )
        )
        return None


@dataclass
class Place:
    portal: Guarded
    login: Login
    token: str

    @property
    def actions(self) -> Actions:
        return acting(self.portal.admin)

    async def parked(self) -> StoredRun:
        """A run of a program that waits, of an agent of this person."""
        answer = await self.run("return await codemode.fix.echo({text: 'x'})")
        return await self.stored(answer["executionId"], "parked")

    async def run(self, program: str) -> Mapping[str, Any]:
        async with client_with(self.token) as http:
            transport = streamable_http_client(f"{self.portal.mcp}?codemode=search_and_execute", http_client=http)
            async with Client(transport, mode=MODERN, cache=None) as client:
                found: Mapping[str, Any] = (await client.call_tool("code", {"code": program})).structured_content
        return found

    async def stored(self, id: str, *states: str) -> StoredRun:
        """The run, once it is in one of these states."""
        changed = asyncio.Event()
        unsubscribe = self.portal.store.subscribe(lambda _: changed.set())
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    changed.clear()
                    run = await self.portal.store.runs.get(id)
                    if run is not None and run.state in states:
                        return run
                    await changed.wait()
        finally:
            unsubscribe()

    async def row(self, id: str) -> tuple[str, str, str]:
        """The portal, the outcome and the reason of the only row of a run, once it is written."""
        async with asyncio.timeout(PATIENCE):
            while not (found := [one for one in self.portal.kept.runs if one.run == id]):
                await asyncio.sleep(0.01)
        (row,) = found
        return row.portal, row.outcome, row.reason


@asynccontextmanager
async def place_in(folder: Path, code_tool: CodeTool, gate: Gate | None = None) -> AsyncIterator[Place]:
    login = Login("echo")
    async with (
        hosted() as upstream,
        guarded_portal(folder, upstream=upstream.url, code=code_tool, gate=gate or login.gate, runs=AT_ONCE) as portal,
    ):
        yield Place(portal, login, await token_of(portal, EMAIL))


async def test_a_login_that_ends_ends_its_parked_run_as_denied_at_once(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place_in(tmp_path, code_tool) as place:
        run = await place.parked()
        assert run.document.login
        await place.portal.store.tokens.revoke_family(run.document.login)
        ended = await place.stored(run.id, "denied")
        assert ended.document.end is not None and "the login" in ended.document.end.words
        assert await place.row(run.id) == ("", "denied", "denied")


async def test_an_administrator_ends_a_parked_run_which_has_one_row(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place_in(tmp_path, code_tool) as place:
        run = await place.parked()
        await place.actions.change("DELETE", RUN, run_id=run.id)
        await place.stored(run.id, "cancelled")
        assert await place.row(run.id) == ("", "cancelled", "cancelled")


async def test_the_row_of_an_expired_run_is_of_its_own_portal_whichever_process_sees_it(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with place_in(tmp_path, code_tool) as place:
        portal, now = place.portal, place.portal.clock()
        soon = parking("exec_elsewhere", now, portal="elsewhere", expires_in=timedelta(seconds=-1))
        await portal.store.runs.park(soon, b"checkpoint")
        await place.stored("exec_elsewhere", "expired")
        assert await place.row("exec_elsewhere") == ("elsewhere", "timeout", "expired")


async def test_a_portal_that_is_removed_ends_its_parked_runs_in_words(tmp_path: Path, code_tool: CodeTool) -> None:
    async with place_in(tmp_path, code_tool) as place:
        portal = place.portal
        await place.actions.change("POST", PORTALS, {"id": "docs", "name": "Docs", "hostname": "docs.example.com"})
        async with asyncio.timeout(PATIENCE):
            while "docs" not in portal.instance.portals:
                await asyncio.sleep(0.01)
        await portal.store.runs.park(parking("exec_docs", portal.clock(), portal="docs"), b"checkpoint")
        own = await place.parked()
        await place.actions.change("DELETE", PORTALS + "/{id}", id="docs")
        ended = await place.stored("exec_docs", "cancelled")
        assert ended.document.end is not None and ended.document.end.words == PORTAL_REMOVED
        assert await place.row("exec_docs") == ("docs", "cancelled", "cancelled")
        assert (await place.stored(own.id, "parked")).state in LIVE


async def test_a_process_that_dies_before_the_end_is_stored_leaves_budgets_and_labels_counted(
    tmp_path: Path, code_tool: CodeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[tuple[dict[str, int], set[str]]] = []
    end, deaths = RunRows.end, [RuntimeError("it dies")]

    class Watched(RunLedger):
        def __init__(
            self, rows: RunRows, claim: RunClaim, spent: Mapping[str, int], read: RunLabels, plan: Adherence | None
        ) -> None:
            began.append((dict(spent), {one.label for one in read}))
            super().__init__(rows, claim, spent, read, plan)

    async def dies(self: RunRows, id: str, revision: int, finished: FinishedRun) -> StoredRun:
        if deaths:
            raise deaths.pop()
        return await end(self, id, revision, finished)

    monkeypatch.setattr(programs_module, "RunLedger", Watched)
    monkeypatch.setattr(RunRows, "end", dies)
    monkeypatch.setattr(durable_module, "_BACK_OFF", timedelta(0))
    login = Login("echo")
    async with place_in(tmp_path, code_tool, Gate(admissions=[Counts(), login])) as place:
        program = "await codemode.fix.echo({text: 'a'}); return codemode.fix.structured({text: 'b'})"
        run_id = (await place.run(program))["executionId"]
        run = await place.stored(run_id, "parked")
        login.done.set()
        await place.portal.store.runs.ready_all(run.subject, "login")
        await place.stored(run_id, "completed")
        first, second = began
        assert not deaths and first[0]["budget"] < second[0]["budget"] and first[1] < second[1]
        assert await place.row(run_id) == ("", "ok", "")
