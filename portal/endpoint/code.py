"""Code mode: the portal lists one tool, `code`, and a program it is given calls the tools of every server."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INVALID_PARAMS

from codemode import (
    CatalogError,
    Failure,
    ParkedProgram,
    ParkedUnreadable,
    Run,
    RunHandle,
    asks_for_servers,
    computes_servers,
    named_servers,
    only_fetches,
    paused,
    refused,
)
from portal.endpoint.approval_prompts import ApprovalPrompts
from portal.endpoint.generations import Generation
from portal.endpoint.own_parked import OwnParkedRuns, owner_of, parked_runs_of
from portal.endpoint.parked import CheckpointUnreadable, read_checkpoint, read_entry
from portal.endpoint.parking import RunParking
from portal.endpoint.presence import presence_of
from portal.endpoint.programs import CodeRunner, ProgramRuns, RunProgress
from portal.endpoint.questions import PARKING_SECONDS, HeldWork, Questions
from portal.endpoint.request import ClientRequest, RawResult
from portal.endpoint.request_log import UnlistedName
from portal.endpoint.run_prompts import RunPrompts, RunState
from portal.endpoint.tasks import Tasks
from portal.endpoint.views import Catalogs, View, Views
from portal.flows import RunLabels
from portal.identity import Identity
from portal.runs import (
    DurableRuns,
    Line,
    LiveRun,
    NextAttempt,
    NextEnd,
    Owner,
    OwnRuns,
    RunOutcome,
    RunRegistry,
    TooManyRuns,
    in_words,
    waits_of,
)
from portal.shares import holder_of
from portal.state import LIVE, RunClaim, StateUnavailable, StoredRun
from portal.upstream import CallContext
from sandbox import Overloaded

CODE = "code"
LOGIN_ENDED = "the login that this program was begun with has ended while it was parked. Log in to go on."


class CodeMode:
    """`tools/list` and `tools/call` when a request is in code mode."""

    def __init__(
        self,
        views: Views,
        catalogs: Catalogs,
        code_tool: CodeRunner,
        questions: Questions,
        runs: RunRegistry,
        programs: ProgramRuns,
        parking: RunParking | None = None,
        durable: DurableRuns | None = None,
        tasks: Tasks | None = None,
        *,
        approvals: ApprovalPrompts,
    ) -> None:
        """Without `parking` and `durable` a run ends with this process at the latest."""
        self._tasks = tasks
        self._parking = parking
        self._durable = durable
        self._approvals = approvals
        self._views = views
        self._catalogs = catalogs
        self._code_tool = code_tool
        self._questions = questions
        self._runs = runs
        self._programs = programs
        self._leaving: set[asyncio.Task[None]] = set()

    async def tools(self, view: View, generation: Generation) -> list[Mapping[str, Any]]:
        plans = self._runs.settings().plan != "off"
        return [self._code_tool.definition(await self._catalogs.of(view), plans=plans)]

    async def call(self, request: ClientRequest, name: str, arguments: Mapping[str, Any]) -> RawResult:
        """Run `arguments["code"]`. Cancelling stops the program and its calls, unless it has answered `paused`."""
        if name != CODE:
            raise UnlistedName("tool", other_tool(name))
        if request.session is None:
            return await self._questions.hold(request, lambda held: self._answer(arguments, held), self._again)
        with presence_of(request.scope).required():
            return await self._questions.hold(request, lambda held: self._answer(arguments, held), self._again)
        raise MCPError(CONNECTION_CLOSED, "The client closed the connection; the program was stopped.")

    async def _answer(self, arguments: Mapping[str, Any], held: HeldWork) -> RawResult:
        """The answer of a new run, that it goes on without its request (`paused`), or that there is no room for it."""
        run_id, holder = f"exec_{secrets.token_hex(12)}", holder_of(held.request.principal)
        try:
            self._runs.admit(holder)
        except Overloaded as refusal:
            return refused(run_id, refusal)
        try:
            await self._await_servers(arguments.get("code"), held.request)
        except BaseException:
            self._runs.dismiss(holder)
            raise
        progress, prompts = RunProgress(held), RunPrompts(self._approvals, held)
        owner = owner_of(held.request)
        parked = self._parked_of(owner)
        run = self._live_run(run_id, owner, held.request.principal, holder, RunLabels(), parked)
        leaves_at, every = self._leaves_at(held), self._runs.settings().progress_every
        held.id, held.waits, held.is_parking = run_id, lambda: run.handle.waits.open, lambda: _parks(run)
        task = self._started(run, self._programs.run(arguments, held, run, progress))
        try:
            with run.line.through(CallContext(on_request=held.on_request, on_log=held.log)):
                async with prompts.during(run):
                    answer = await run.answer(
                        lambda: inf if held.becomes_task else leaves_at(), every=every, on_waiting=progress.waiting
                    )
            if answer is not None and run.parked and parked is not None:
                # From now on its row says what becomes of it.
                held.stored = True
                if held.is_task:
                    return answer
                found = await self._follow(run.id, answer, parked, leaves_at, progress, prompts)
                return await self._as_task(held, run.id, found)
            if answer is not None:
                return answer
            progress.silent = True
            return await prompts.paused(await self._paused(run, task, parked))
        except asyncio.CancelledError:
            prompts.stop()
            run.stop()
            if run.parked and parked is not None and not held.away:
                # Between two rounds no client is there that could leave.
                await self._left(run.id, parked)
            raise

    async def _left(self, run_id: str, parked: OwnParkedRuns) -> None:
        """End a parked run whose client has left: that goes on when the request has been cancelled again."""
        leaving = asyncio.create_task(parked.left(run_id), name=f"the client of {run_id} left")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        await asyncio.shield(leaving)

    def _live_run(
        self,
        run_id: str,
        owner: Owner,
        person: Identity | None,
        holder: str,
        read: RunLabels,
        parked: OwnParkedRuns | None,
    ) -> LiveRun:
        """A run of this owner that has not started. `person` is whoever is signed in, None where nobody signs in."""
        line, told_apart = Line(), person is None or bool(person.key)
        own = OwnRuns(self._runs, owner, run_id, line, told_apart=told_apart, read=read, parked=parked)
        return LiveRun(run_id, owner, RunHandle(own), line, holder, read)

    def _started(self, run: LiveRun, work: Coroutine[object, object, RawResult]) -> asyncio.Task[RawResult]:
        """The task of an admitted run, which is dismissed at its end."""
        task = run.start(work)
        self._runs.note(task)
        task.add_done_callback(lambda _: self._runs.dismiss(run.holder))
        return task

    def _parked_of(self, owner: Owner) -> OwnParkedRuns | None:
        return parked_runs_of(self._durable, self._parking, owner)

    def _leaves_at(self, held: HeldWork) -> Callable[[], float]:
        """Until when the client of this work waits, by the clock of the event loop. Between two rounds it does."""
        settings = self._runs.settings()

        def leaves_at() -> float:
            if held.away:
                return inf
            has_progress = held.request.context.on_progress is not None
            return held.since + (settings.patience_with_progress if has_progress else settings.patience)

        return leaves_at

    async def _again(self, state: str, held: HeldWork) -> RawResult:
        """The answer of a parked run to a client that was asked about it and comes back, maybe to another process. What
        it says of an earlier state of the run does not count: it gets the present one.

        Raises:
            MCPError: the client has no such run.
        """
        came, owner = RunState.of(state), owner_of(held.request)
        parked = self._parked_of(owner)
        run = None if parked is None else await parked.find(came.run)
        if parked is None or run is None:
            raise MCPError(INVALID_PARAMS, "The program that this answers is not kept any more. Run it again.")
        # Its row says what becomes of it, for a client that takes tasks too.
        held.id, held.stored = run.id, True
        prompts = RunPrompts(self._approvals, held)
        try:
            if run.state == "parked" and run.revision == came.revision:
                await prompts.take(run)
            answer = paused(run.id, waits_of(run), [])
            found = await self._follow(run.id, answer, parked, self._leaves_at(held), RunProgress(held), prompts)
            return await self._as_task(held, run.id, found)
        except asyncio.CancelledError:
            # As in the round that began it.
            await self._left(run.id, parked)
            raise

    async def _follow(
        self,
        run_id: str,
        paused: RawResult,
        parked: OwnParkedRuns,
        leaves_at: Callable[[], float],
        progress: RunProgress,
        prompts: RunPrompts,
    ) -> RawResult:
        """The answer of a run that was parked, if it ends while its client waits, or what asks the client for what it
        waits for; else that it is `paused`. A client that leaves before ends it, as it does any other."""
        loop, every = asyncio.get_running_loop(), self._runs.settings().progress_every
        words = "; ".join(one["text"] for one in paused["structuredContent"]["waiting"])
        try:
            while (run := await parked.find(run_id)) is not None and run.state in LIVE:
                is_late = loop.time() >= leaves_at()
                if run.state == "parked" and (asked := await prompts.asks(run, is_late=is_late)) is not None:
                    present = await parked.find(run_id)
                    if present is not None and (present.state, present.revision) == (run.state, run.revision):
                        return asked
                    # It went on meanwhile: the answer would be one to an earlier state.
                    continue
                if (now := loop.time()) >= (end := leaves_at()):
                    progress.silent = True
                    return await prompts.paused(await parked.paused(run_id) or paused)
                await progress.waiting(f"Waiting: {words}")
                await parked.change(run, min(end, now + every))
            return paused if run is None else (await parked.ended(run)).answer
        except (StateUnavailable, CatalogError):
            # It is stored. A later program gets its result.
            return paused

    async def _as_task(self, held: HeldWork, run_id: str, answer: RawResult) -> RawResult:
        """The answer of a run that was parked; its task instead of `paused`, for a client that takes tasks."""
        is_paused = answer.get("structuredContent", {}).get("status") == "paused"
        if not is_paused or not held.becomes_task or self._tasks is None:
            return answer
        return await self._tasks.of_run(held.request, run_id) or answer

    def note_end(self, run: StoredRun, *, is_left: bool = False) -> None:
        """Write the row of a parked run that has ended without going on, or that `is_left` without one."""
        self._programs.note_end(run, is_left=is_left)

    async def resume(self, claim: RunClaim) -> RunOutcome:
        """How it went with a parked run that this process has claimed.

        Raises:
            RunTaken, RunTooLarge, StateUnavailable: what it does cannot be written down. It has not ended.
        """
        parking = self._parking
        assert parking is not None, "without it nothing is parked"
        try:
            request, data = read_checkpoint(claim.checkpoint)
            tail = list[bytes]()
            for one in claim.tail:
                request, resume = read_entry(one.data, request)
                tail.append(resume)
            program = await asyncio.to_thread(ParkedProgram.from_bytes, data)
        except (CheckpointUnreadable, ParkedUnreadable) as error:
            lost = parking.lost(claim, str(error))
            row = replace(claim.run, document=lost.document, updated_at=datetime.now(UTC))
            return NextEnd(lost, partial(self.note_end, row))
        login, identity = request.login, None
        failure: Failure | None = None
        if login is not None and (identity := await parking.logins.again(login)) is None:
            failure = Failure("denied", "LoginEnded", LOGIN_ENDED)
        elif (denial := await self._programs.ready(request.scope(identity), identity)) is not None:
            failure = Failure("denied", "ToolError", denial)
        if failure is not None:
            return await self._programs.refuse(request, program, identity, failure)
        holder = request.holder
        try:
            self._runs.admit(holder)
        except Overloaded:
            return NextAttempt()
        owner = Owner(claim.run.subject, claim.run.client)
        run = self._live_run(claim.run.id, owner, identity, holder, request.labels(), self._parked_of(owner))
        outcome: list[RunOutcome] = []

        async def work() -> RawResult:
            outcome.append(await self._programs.go_on(claim, request, program, tail, identity, run))
            return {}

        try:
            await self._started(run, work())
        except asyncio.CancelledError:
            run.stop()
            raise
        return outcome[0]

    async def _paused(self, run: LiveRun, task: asyncio.Task[RawResult], parked: OwnParkedRuns | None) -> RawResult:
        """Let a run go on without its request. A program that only waits for an earlier run need not go on."""
        if _parks(run):
            # What is answered holds then, whatever becomes of this process.
            await asyncio.wait({task}, timeout=PARKING_SECONDS)
            if task.done():
                return task.result()
        record, waiting = run.handle.record, run.handle.waits.open
        assert record is not None, "a program that waits has a record"
        earlier_id = only_fetches(record.program)
        earlier = None if earlier_id is None else self._runs.find(earlier_id, run.owner)
        if earlier is not None and earlier.handle.record is not None:
            run.stop()
            return paused(earlier.id, waiting, earlier.handle.record.calls)
        if earlier_id is not None and parked is not None and (answer := await _paused_of(parked, earlier_id)):
            run.stop()
            return answer
        try:
            self._runs.keep(run, task)
        except TooManyRuns as refusal:
            message = f"{in_words(waiting)}. The program was stopped, because {refusal}. {_made(record)}"
            run.handle.end(Failure("cancelled", "TooManyRuns", message))
            return await task
        return paused(run.id, waiting, record.calls)

    async def _await_servers(self, program: object, request: ClientRequest) -> None:
        """Wait for servers that are still connecting, if the program asks for them.

        What a program can call is fixed when it begins. So it begins when the servers it names have come or failed, and
        all of them if it computes a name; for a search those that are not named are waited for briefly.
        """
        connecting = self._views.connecting(request.scope)
        if not connecting or not isinstance(program, str):
            return
        if named := named_servers(program, connecting):
            await self._views.arrived(request.scope, lambda server: server.id in named)
        if asks_for_servers(program):
            await self._views.arrived(request.scope, briefly=True)
        elif computes_servers(program, self._views.of(request.scope).selection.servers):
            await self._views.arrived(request.scope)


async def _paused_of(parked: OwnParkedRuns, run_id: str) -> RawResult | None:
    """The answer `paused` for a parked run; None for any other."""
    with suppress(StateUnavailable):
        return await parked.paused(run_id)
    return None


def _parks(run: LiveRun) -> bool:
    """Whether a run is about to be parked."""
    return run.handle.wants_to_park and all(run.handle.waits.calls.values())


def _made(record: Run) -> str:
    """How much of a run that is ended has happened."""
    done = sum(call.status == "ok" for call in record.calls)
    return f"{done} of its calls had completed." if done else "None of its calls had completed."


def other_tool(name: str) -> str:
    """The error for a tool that exists only inside a program."""
    return (
        f"This portal is in code mode: its only tool is `code`. Call {name[:128]!r} from a program given to `code`, as "
        "codemode.<server>.<tool>(input); codemode.search(query) finds its exact name."
    )
