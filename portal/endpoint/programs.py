"""Runs the programs of one portal, from the text to the answer, and writes the row of each."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog
from starlette.types import Scope

from codemode import (
    PLAN,
    Adherence,
    CallOutcome,
    Catalog,
    Failure,
    LabelsOf,
    LoggedResume,
    NotRecordable,
    ParkedProgram,
    ProgramLog,
    ProgramPlan,
    Reads,
    Replayed,
    Run,
    RunHandle,
    RunRecording,
    ToolCall,
    ToolCaller,
    answer_to,
    named_servers,
    paused,
    planned_answer,
    planned_run,
)
from portal.access import portal_decision
from portal.calls import Caller, EndedRun, LeasedRun, PlanApprovals
from portal.config import Plans
from portal.endpoint.ledger import RunLedger
from portal.endpoint.login_prompts import LoginPrompts, ProgramLogins
from portal.endpoint.modes import Mode
from portal.endpoint.parked import ParkedRequest
from portal.endpoint.parking import RunParking, shown_waits
from portal.endpoint.planned import PlannedCaller, agreement_to, held_to, reads_by
from portal.endpoint.portal_tools import PersonServers, ProgramServers
from portal.endpoint.questions import HeldWork
from portal.endpoint.request import ClientRequest, RawResult
from portal.endpoint.views import Catalogs, Views
from portal.errors import CallDenied, Outcome, ServerUnknown
from portal.identity import ANONYMOUS, Identity, key_of
from portal.logs import MOST_FAILURE
from portal.runs import LiveRun, NextEnd, NextPark, RunOutcome, WatchedRun, WatchedRuns
from portal.servers import ServerSnapshot
from portal.state import (
    DocumentInvalid,
    RunClaim,
    RunsFull,
    RunTaken,
    RunTooLarge,
    StateUnavailable,
    StoredRun,
)
from portal.trace_context import new_span
from portal.upstream import CallContext, CallSource, DownstreamClient, OnRequest

_log = structlog.get_logger("portal.endpoint")
_STORING_SECONDS = 5.0  # as long as anybody waits for the database
_PARKED = "it was parked when it ended, and its program did not go on"
_KILLED = "the process in which it ended was killed before it kept one, or had no room"
_LEFT = "its client left before it ended"
_STOPPED = "it was stopped before it ended"
_HIDDEN = "it has something that a rule of data loss prevention asks for"
_STEP = 0.001  # by which the progress of a program grows when no call is done


class CodeRunner(Protocol):
    """Runs programs for code mode; `codemode.CodeTool` is one."""

    def definition(self, catalog: Catalog, *, plans: bool = False) -> RawResult: ...

    async def prepare(self, catalog: Catalog) -> None: ...

    async def begin(
        self,
        arguments: Mapping[str, Any],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        handle: RunHandle,
        identity: str = "",
        run_id: str | None = None,
    ) -> RawResult | ParkedProgram: ...

    async def plan(
        self,
        arguments: Mapping[str, object],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        handle: RunHandle,
        identity: str = "",
        run_id: str | None = None,
        labels: LabelsOf | None = None,
        reads: Reads | None = None,
    ) -> ProgramPlan: ...

    async def resume(
        self,
        parked: ParkedProgram,
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        handle: RunHandle,
        tail: Sequence[LoggedResume] = (),
    ) -> RawResult | ParkedProgram: ...

    async def repeat(self, recording: RunRecording, *, identity: str = "") -> Replayed: ...


class AliasCaller:
    """A tool caller for programs that know some tools by aliases."""

    def __init__(self, run: LeasedRun, raw_names: Mapping[tuple[str, str], str]) -> None:
        self._run = run
        self._raw_names = raw_names

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        raw = self._raw_names.get((call.server, call.tool))
        return await self._run.call_tool(call if raw is None else replace(call, tool=raw))


class RunProgress:
    """What a client hears of its program: how many calls are done, so that it keeps waiting, and what it waits for.

    Values only grow (MCP, "Progress"). `silent`: the request has been answered.
    """

    def __init__(self, held: HeldWork) -> None:
        self.silent = False
        self._held = held
        self._done = 0
        self._last = 0.0

    async def call_done(self, name: str) -> None:
        self._done += 1
        await self._tell(name)

    async def waiting(self, text: str) -> None:
        await self._tell(text)

    async def _tell(self, message: str) -> None:
        if not self.silent:
            self._last = max(float(self._done), self._last + _STEP) if self._last else float(self._done) or _STEP
            await self._held.progress(self._last, None, message)


class ProgressCaller:
    """A tool caller that reports after each call how many are done."""

    def __init__(self, caller: ToolCaller, progress: RunProgress) -> None:
        self._caller = caller
        self._progress = progress

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        outcome = await self._caller.call_tool(call)
        await self._progress.call_done(f"{call.server}.{call.tool}")
        return outcome


@dataclass(slots=True, kw_only=True)
class _Job:
    """One program on its way to its end. `context` is that of its calls, `scope` of the request behind it. `at` is when
    it began (microseconds since 1970), `received` the bytes that its calls got before it was parked. `request` is what
    is kept of its request where it may be parked, `claim` and `ledger` are there once it was; `adherence` where it
    keeps to a plan. `recording` is that of a recorded one that has ended, or why there is none."""

    run: LiveRun
    watched: WatchedRun
    scope: Scope
    context: CallContext
    program: object
    is_kept: bool
    at: int
    parent_span: str
    received: int = 0
    request: ParkedRequest | None = None
    claim: RunClaim | None = None
    ledger: RunLedger | None = None
    progress: RunProgress | None = None
    adherence: Adherence | None = None
    parked: bool = False
    recording: RunRecording | str | None = None
    next: NextPark | None = None
    write: Callable[[], None] | None = None


Work = Callable[[Catalog, ToolCaller], Awaitable[RawResult | ParkedProgram]]


class ProgramRuns:
    """Runs programs over the views of a portal. `watched` has the runs under way; `parking` parks runs, and is None
    where they are not. `records` says whether they are recorded."""

    def __init__(
        self,
        views: Views,
        caller: Caller,
        catalogs: Catalogs,
        code_tool: CodeRunner,
        logins: LoginPrompts,
        person_servers: PersonServers | None,
        watched: WatchedRuns,
        parking: RunParking | None = None,
        *,
        records: Callable[[], bool] = lambda: False,
        plans: Callable[[], Plans] = lambda: "off",
        plan_approvals: PlanApprovals | None = None,
    ) -> None:
        """`plans` is what the portal does about plans; without `plan_approvals` nobody can approve one."""
        self._plans = plans
        self._plan_approvals = plan_approvals
        self._views = views
        self._caller = caller
        self._catalogs = catalogs
        self._code_tool = code_tool
        self._logins = logins
        self._person_servers = person_servers
        self._watched = watched
        self._parking = parking
        self._to_record = records

    async def run(self, arguments: Mapping[str, Any], held: HeldWork, run: LiveRun, progress: RunProgress) -> RawResult:
        """The answer of a program; `paused` for one that is parked. Meanwhile others can see and end the run. In a task
        of its own: the request may end before it does."""
        row = self._caller.row_of(begun(run.id, arguments.get("code")), held.request.context)
        with self._watched.watching(run, row, held.request.principal) as watched:
            return await self._program(arguments, held, run, progress, watched)

    async def ready(self, scope: Scope, identity: Identity | None) -> str | None:
        """Returns when the servers of somebody are known, as they are before each request; why they may not use the
        portal, None if they may."""
        access = self._views.access
        if access is not None:
            decision = portal_decision(await access.decide(identity or ANONYMOUS))
            if not decision.allowed:
                return decision.reason
        await self._views.meet(identity)
        try:
            await self._views.arrived(scope)
        except CallDenied as denial:
            return denial.reason
        return None

    def note_end(self, run: StoredRun, *, is_left: bool = False) -> None:
        """Write the row of a parked run, of any portal, that has ended without going on. One that `is_left` without a
        row has ended in a process that was killed; only what is stored of it is known."""
        end, at = run.document.end, int(run.created_at.timestamp() * 1_000_000)
        client = DownstreamClient(key="", info={"name": run.document.client_name})
        context = CallContext(identity=run.subject, source=CallSource(client=client), run_id=run.id)
        kind = "" if end is None else end.kind
        row = EndedRun(
            id=run.id,
            at=at,
            us=max(0, int(run.updated_at.timestamp() * 1_000_000) - at),
            outcome="ok" if run.state == "completed" else _OUTCOMES.get(kind, "error"),
            reason=kind,
            sent=0,
            answered=0,
            received=0,
        )
        why = _KILLED if is_left else _PARKED
        self._caller.write_run(row, context, recording=why if self._records() else None, portal=run.portal)

    async def refuse(
        self, request: ParkedRequest, parked: ParkedProgram, identity: Identity | None, failure: Failure
    ) -> NextEnd:
        """The end of a parked program that may not go on. Its row is written once that is stored."""
        assert self._parking is not None, "without it nothing is parked"
        record = parked.run
        record.failure = failure
        record.cancel_pending()
        result = answer_to(record, [])
        context = CallContext(identity=key_of(identity), principal=identity, source=request.source, run_id=record.id)
        us = max(0, time.time_ns() // 1000 - request.at)
        end = ended(record.id, record.program, result, request.received, request.at, us)
        parked.log.stop(failure)
        recording = await self._recording(parked.log)
        finished = await self._parking.finished(record, result, request)
        return NextEnd(finished, partial(self._caller.write_run, end, context, recording=recording))

    async def go_on(
        self,
        claim: RunClaim,
        request: ParkedRequest,
        parked: ParkedProgram,
        tail: Sequence[bytes],
        identity: Identity | None,
        run: LiveRun,
    ) -> RunOutcome:
        """How it went with a program that this process has claimed; `tail` is what it got since its checkpoint. As
        `run` otherwise.

        Raises:
            RunTaken, RunTooLarge, StateUnavailable: its journal cannot be written. It has not ended.
        """
        assert self._parking is not None, "without it nothing is parked"
        scope, program, source = request.scope(identity), parked.run.program, request.source
        context = CallContext(identity=key_of(identity), principal=identity, source=source)
        row = self._caller.row_of(replace(begun(run.id, program), at=request.at), context)
        with self._watched.watching(run, row, identity) as watched:
            behind = ClientRequest(scope=scope, mode=Mode.CODE, params={}, session=None, context=context)
            logins = self._log_in_by(behind, run, None)
            watched.shows_program = is_kept = await self._screen(program, run, context)
            spent = dict(request.spent)
            job = _Job(
                run=run,
                watched=watched,
                scope=scope,
                context=replace(
                    context,
                    source=_source_of_run(source),
                    spent=spent,
                    read=run.read,
                    run_id=run.id,
                    on_login=logins.log_in,
                ),
                program=program,
                is_kept=is_kept,
                at=request.at,
                parent_span="" if source.trace is None else source.trace.span,
                received=request.received,
                request=request,
                claim=claim,
                adherence=request.adherence,
                ledger=RunLedger(self._parking.rows, claim, spent, run.read, request.adherence),
            )
            run.handle.journal = job.ledger
            run.handle.park()
            self._ask_for_the_plan(job)
            got = await asyncio.to_thread(lambda: [LoggedResume.from_bytes(one) for one in tail])
            answer = await self._to_end(job, self._again(run, parked, got))
            if job.next is not None:
                return job.next if run.handle.ending is None else self._ended_as_it_parked(claim, run.handle.ending)
            record = run.handle.record
            assert record is not None and job.write is not None, "it was resumed with one, and has ended"
            return NextEnd(await self._parking.finished(record, answer, job.request or request), job.write)

    def _ended_as_it_parked(self, claim: RunClaim, failure: Failure) -> NextEnd:
        """The end of a program that somebody has ended while it was being parked again."""
        assert self._parking is not None, "without it nothing is parked"
        finished = self._parking.ended(claim, failure)
        row = replace(claim.run, document=finished.document, updated_at=datetime.now(UTC))
        return NextEnd(finished, partial(self.note_end, row))

    async def _program(
        self,
        arguments: Mapping[str, Any],
        held: HeldWork,
        run: LiveRun,
        progress: RunProgress,
        watched: WatchedRun,
    ) -> RawResult:
        request = held.request
        context, program = request.context, arguments.get("code")
        # Upstreams are told of a client only if it can answer their questions. Their own progress means nothing to a
        # client that waits for one program; how many of the program's calls are done does.
        asks = held.on_request is not None
        logins = self._log_in_by(request, run, run.line.ask if asks else None)
        is_kept = await self._screen(program, run, context)
        watched.shows_program = is_kept
        if run.handle.ending is None:
            await self._log_in(program, request, run, logins)
        at = time.time_ns() // 1000
        watched.program_begins(at)
        job = _Job(
            run=run,
            watched=watched,
            scope=request.scope,
            context=replace(
                context,
                source=_source_of_run(context.source),
                protocol="",
                spent={},
                read=run.read,
                run_id=run.id,
                client=context.client if asks else None,
                on_request=run.line.ask if asks else None,
                on_log=run.line.log if held.between_rounds or context.on_log is not None else None,
                on_progress=None,
                on_pause=None,
                on_login=logins.log_in,
            ),
            program=program,
            is_kept=is_kept,
            at=at,
            parent_span="" if context.source.trace is None else context.source.trace.span,
            progress=progress if held.may_tell_progress else None,
        )
        if arguments.get("check") == PLAN and self._plans() != "off":
            return await self._to_end(job, self._planning(arguments, job))
        if self._plans() == "required" and not arguments.get("check") and run.handle.ending is None:
            try:
                job.adherence = held_to(await self._plan_of(arguments, job))
            except BaseException:  # not for us to handle, but the run has ended, and has its row
                self._write(job, None, 0, None)
                raise
        if self._parking is not None and self._parking.on:
            job.request = self._parking.request(request.scope, context, run.holder, at)
            run.handle.park()
        run.handle.records = self._records()
        self._ask_for_the_plan(job)
        return await self._to_end(job, self._first(arguments, run))

    def _ask_for_the_plan(self, job: _Job) -> None:
        """Have the program wait at its first suspension until its plan is approved, if it has one that is not."""
        if job.adherence is not None and not job.adherence.agreed:
            handle = job.run.handle
            handle.agreement = agreement_to(job.adherence, handle, job.context, self._plan_approvals)

    def _log_in_by(self, request: ClientRequest, run: LiveRun, ask: OnRequest | None) -> ProgramLogins:
        """What asks the person of a run for logins, for its calls and for `codemode.portal`."""
        logins, principal = self._logins.of_program(request, ask), request.principal
        if self._person_servers is not None and principal is not None and principal.key:
            run.handle.servers = ProgramServers(self._person_servers, principal, logins, self._views, request)
        return logins

    def _first(self, arguments: Mapping[str, object], run: LiveRun) -> Work:
        async def work(catalog: Catalog, caller: ToolCaller) -> RawResult | ParkedProgram:
            return await self._code_tool.begin(
                arguments, catalog, caller, identity=run.holder, run_id=run.id, handle=run.handle
            )

        return work

    def _planning(self, arguments: Mapping[str, object], job: _Job) -> Work:
        """What makes the plan of a program its answer, also for those who come back for it later."""
        run = job.run

        async def work(catalog: Catalog, caller: ToolCaller) -> RawResult:
            # As it would be if the program ran now.
            snapshot = self._views.snapshot(job.context.principal)
            reads = reads_by(catalog, snapshot, approved=self._plans() == "required")
            plan = await self._planned(arguments, job, catalog, caller, reads)
            run.handle.record = record = planned_run(run.id, str(arguments.get("code")), plan)
            return planned_answer(record, plan)

        return work

    async def _planned(
        self, arguments: Mapping[str, object], job: _Job, catalog: Catalog, caller: ToolCaller, reads: Reads
    ) -> ProgramPlan:
        run, labels = job.run, self._labels(job.scope)
        return await self._code_tool.plan(
            arguments,
            catalog,
            caller,
            identity=run.holder,
            run_id=run.id,
            handle=run.handle,
            labels=labels,
            reads=reads,
        )

    def _labels(self, scope: Scope) -> LabelsOf:
        """The labels of tools, by the names that programs know them by."""
        raw_names = self._views.of(scope).selection.raw_tools
        return lambda server, tool: self._caller.labels_of(server, raw_names.get((server, tool), tool))

    async def _plan_of(self, arguments: Mapping[str, object], job: _Job) -> ProgramPlan:
        """The plan that the program is to keep to."""
        run = job.run
        leased = self._caller.run(job.context)
        with leased:
            catalog, caller = await self._calling(job, leased)
            reads = reads_by(catalog, leased.snapshot, approved=True)
            plan = await self._planned(arguments, job, catalog, caller, reads)
        job.received += leased.received
        run.handle.record = Run(run.id, str(arguments.get("code")))
        return plan

    def _again(self, run: LiveRun, parked: ParkedProgram, tail: Sequence[LoggedResume] = ()) -> Work:
        async def work(catalog: Catalog, caller: ToolCaller) -> RawResult | ParkedProgram:
            return await self._code_tool.resume(
                parked, catalog, caller, identity=run.holder, handle=run.handle, tail=tail
            )

        return work

    async def _to_end(self, job: _Job, work: Work) -> RawResult:
        """Run the program until it ends or is parked. Its row is written at its end; of one that was claimed once that
        is stored (`job.write`): somebody else may end it before, and then writes it."""
        leased = self._caller.run(job.context, job.watched, job.ledger)
        answer: RawResult | None = None
        failure: str | None = None
        try:
            with leased:
                result = await self._until_parked(job, leased, work)
            if job.parked:
                return result
            # What it has read its client reads now, also if it was long ago.
            await self._caller.hand_over_run(job.context)
            answer = result
            job.recording = await self._recording(job.run.handle.log)
            if words := failure_of(answer):
                job.watched.failed(words)
                failure = words if job.is_kept and await self._caller.keeps_program(words) else None
            return answer
        except (RunTaken, RunTooLarge, StateUnavailable, asyncio.CancelledError):
            # A claimed run has not ended: the next process that claims it goes on with it.
            job.parked = job.parked or job.claim is not None
            raise
        finally:
            if not job.parked:
                if answer is None and self._records():
                    job.recording = _LEFT if job.run.left else _STOPPED
                job.write = partial(self._write, job, answer, leased.received, failure)
                if job.claim is None:
                    job.write()

    async def _until_parked(self, job: _Job, leased: LeasedRun, work: Work) -> RawResult:
        """The answer; `paused` when the program is parked, which `job.parked` says then."""
        catalog, caller = await self._calling(job, leased)
        if job.adherence is not None:
            reads = reads_by(catalog, leased.snapshot, approved=True)
            caller = PlannedCaller(caller, reads, job.adherence, asks=self._plan_approvals is not None)
        while isinstance(outcome := await work(catalog, caller), ParkedProgram):
            if await self._park(job, outcome, leased.received):
                job.parked = job.run.parked = True
                return paused(job.run.id, shown_waits(outcome), outcome.run.calls)
            # There is no room to park it, or nothing to park it in now: it waits here, for as long as runs are kept.
            job.run.handle.unpark()
            work = self._again(job.run, outcome)
        return outcome

    async def _calling(self, job: _Job, leased: LeasedRun) -> tuple[Catalog, ToolCaller]:
        """The tools of a program, and what makes its calls."""
        view = self._views.of(job.scope, leased.snapshot)
        catalog = await self._catalogs.of(view)
        caller: ToolCaller = leased
        if raw_names := view.selection.raw_tools:
            caller = AliasCaller(leased, raw_names)
        return catalog, caller if job.progress is None else ProgressCaller(caller, job.progress)

    async def _park(self, job: _Job, parked: ParkedProgram, received: int) -> bool:
        """Whether the program is parked, or, if it was claimed, is to be."""
        assert self._parking is not None and job.request is not None
        job.request = replace(
            job.request,
            received=job.received + received,
            spent=dict(job.context.spent or {}),
            read=tuple(job.run.read),
            adherence=job.adherence,
        )
        try:
            following = await self._parking.following(job.run, parked, job.request, job.claim)
            if job.claim is None:
                await self._park_first(job, following)
            else:
                job.next = following
        except (RunsFull, RunTooLarge, DocumentInvalid, StateUnavailable, ValueError) as error:
            _log.info("a run is not parked", run_id=job.run.id, reason=str(error))
            return False
        return True

    async def _park_first(self, job: _Job, following: NextPark) -> None:
        """Store it, also while it is cancelled: what is stored goes on, unless its client has left."""
        assert self._parking is not None
        storing = asyncio.create_task(self._parking.park(following, since=job.at))
        try:
            await asyncio.shield(storing)
            if (ending := job.run.handle.ending) is not None:
                # Somebody has ended it meanwhile.
                if (ended := await self._parking.end(job.run.id, ending.message)) is not None:
                    self.note_end(ended)
        except asyncio.CancelledError:
            await asyncio.wait({storing}, timeout=_STORING_SECONDS)
            is_stored = storing.done() and not storing.cancelled() and storing.exception() is None
            storing.cancel()
            if not job.run.left:
                job.parked = is_stored
            else:
                with suppress(StateUnavailable):
                    await self._parking.left(job.run.id)
            raise

    def _records(self) -> bool:
        return self._to_record() and self._caller.keeps_recordings

    async def _recording(self, log: ProgramLog | None) -> RunRecording | str | None:
        """The recording of a run with this log, or why there is none; None where runs are not recorded."""
        if not self._records() or (log is not None and log.recorded is None):
            return None
        try:
            recording = RunRecording.of(log)
        except NotRecordable as error:
            return str(error)
        return recording if await self._caller.keeps_texts(recording.texts()) else _HIDDEN

    def _write(self, job: _Job, answer: RawResult | None, received: int, failure: str | None) -> None:
        us = max(0, time.time_ns() // 1000 - job.at)
        end = ended(job.run.id, job.program, answer, job.received + received, job.at, us)
        record = job.run.handle.record if job.is_kept else None
        text = None if record is None else record.program
        row = replace(end, parent_span=job.parent_span)
        self._caller.write_run(row, job.context, text, failure, job.recording)

    async def _screen(self, program: object, run: LiveRun, context: CallContext) -> bool:
        """Whether a program is kept. A run whose program may not run is ended before it begins."""
        if not isinstance(program, str):
            return False
        if (denial := await self._caller.screen_program(program, context)) is not None:
            run.handle.end(Failure("denied", "ToolError", denial.reason))
            return False
        return await self._caller.keeps_program(program)

    async def _log_in(self, program: object, request: ClientRequest, run: LiveRun, logins: ProgramLogins) -> None:
        """Ask for the logins of the servers that a program names and that show its person nothing yet.

        What a program can call is fixed when it begins, so these logins are waited for before.
        """
        wanting = self._views.wanting_login(request.scope)
        if not wanting or not isinstance(program, str) or not (named := named_servers(program, wanting)):
            return
        run.handle.record = Run(run.id, program)
        async with run.handle.before_it_begins() as on_wait:
            for server in sorted(named):
                try:
                    required = self._views.missing_login(request.scope, server)
                except ServerUnknown:
                    # It was removed while another one was waited for. The program reads that it is not there.
                    continue
                has_login = await logins.log_in(required, on_wait)
                # Much may have changed while it was waited for.
                await self._views.meet_again(request.scope)
                if has_login:
                    await self._views.arrived(request.scope, partial(_is_called, server))


_OUTCOMES: Mapping[str, Outcome] = {
    "denied": "denied",
    "cancelled": "cancelled",
    "cpu_time": "timeout",
    "wall_time": "timeout",
    "expired": "timeout",
}
"""How a run ended that failed, by the kind of its error; "error" for all others."""


def begun(id: str, program: object) -> EndedRun:
    """What is known of a run as it begins: as if it had ended at once."""
    sent = len(program) if isinstance(program, str) else 0
    at = time.time_ns() // 1000
    return EndedRun(id=id, at=at, us=0, outcome="ok", reason="", sent=sent, answered=0, received=0)


def ended(id: str, program: object, answer: Mapping[str, Any] | None, received: int, at: int, us: int) -> EndedRun:
    """What the log says of a run that began `at` and took `us` microseconds. Without an answer it was stopped."""
    outcome: Outcome = "cancelled"
    reason, answered = "", 0
    if answer is not None:
        answered = sum(len(block["text"]) for block in answer["content"] if block.get("type") == "text")
        error = answer.get("structuredContent", {}).get("error")
        reason = "" if error is None else str(error["kind"])
        outcome = _OUTCOMES.get(reason, "error") if error is not None or answer.get("isError") else "ok"
    return EndedRun(
        id=id,
        at=at,
        us=us,
        outcome=outcome,
        reason=reason,
        sent=len(program) if isinstance(program, str) else 0,
        answered=answered,
        received=received,
    )


def failure_of(answer: RawResult) -> str:
    """How a run failed, in the words that its agent reads; "" if it did not."""
    error = answer.get("structuredContent", {}).get("error")
    return "" if error is None else f"{error['name']}: {error['message']}"[:MOST_FAILURE]


def _source_of_run(source: CallSource) -> CallSource:
    """Where the calls of a run come from: their spans are below that of the run."""
    trace = source.trace
    return replace(source, trace=trace.below(new_span())) if trace is not None and trace.recorded else source


def _is_called(id: str, server: ServerSnapshot) -> bool:
    return server.id == id
