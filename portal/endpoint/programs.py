"""Runs the programs of one portal, from the text to the answer, and writes the row of each."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from codemode import CallOutcome, Catalog, Failure, Run, RunHandle, ToolCall, ToolCaller, named_servers
from portal.calls import Caller, EndedRun, LeasedRun
from portal.endpoint.login_prompts import LoginPrompts, ProgramLogins
from portal.endpoint.portal_tools import PersonServers, ProgramServers, login_at
from portal.endpoint.questions import HeldWork
from portal.endpoint.request import ClientRequest, RawResult
from portal.endpoint.views import Catalogs, Views
from portal.errors import Outcome, ServerUnknown
from portal.logs import MOST_FAILURE
from portal.runs import LiveRun, WatchedRun, WatchedRuns
from portal.servers import ServerSnapshot
from portal.trace_context import new_span
from portal.upstream import CallContext, CallSource

_STEP = 0.001  # by which the progress of a program grows when no call is done


class CodeRunner(Protocol):
    """Runs programs for code mode; `codemode.CodeTool` is one."""

    def definition(self, catalog: Catalog) -> RawResult: ...

    async def prepare(self, catalog: Catalog) -> None: ...

    async def run(
        self,
        arguments: Mapping[str, Any],
        catalog: Catalog,
        caller: ToolCaller,
        *,
        identity: str = "",
        run_id: str | None = None,
        handle: RunHandle | None = None,
    ) -> RawResult: ...


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


class ProgramRuns:
    """Runs programs over the views of a portal. `watched` has the runs under way."""

    def __init__(
        self,
        views: Views,
        caller: Caller,
        catalogs: Catalogs,
        code_tool: CodeRunner,
        logins: LoginPrompts,
        person_servers: PersonServers | None,
        watched: WatchedRuns,
    ) -> None:
        self._views = views
        self._caller = caller
        self._catalogs = catalogs
        self._code_tool = code_tool
        self._logins = logins
        self._person_servers = person_servers
        self._watched = watched

    async def run(self, arguments: Mapping[str, Any], held: HeldWork, run: LiveRun, progress: RunProgress) -> RawResult:
        """As `_program`; meanwhile others can see and end the run."""
        row = self._caller.row_of(begun(run.id, arguments.get("code")), held.request.context)
        with self._watched.watching(run, row, held.request.principal) as watched:
            return await self._program(arguments, held, run, progress, watched)

    async def _program(
        self,
        arguments: Mapping[str, Any],
        held: HeldWork,
        run: LiveRun,
        progress: RunProgress,
        watched: WatchedRun,
    ) -> RawResult:
        """Run the program to its end. In a task of its own: the request may end before it does."""
        request = held.request
        context = request.context
        # Upstreams are told of a client only if it can answer their questions. Their own progress means nothing to a
        # client that waits for one program; how many of the program's calls are done does.
        asks = held.on_request is not None
        logins = self._logins.of_program(request, run.line.ask if asks else None)
        if self._person_servers is not None and context.principal is not None and context.principal.key:
            at = partial(login_at, views=self._views, request=request)
            run.handle.servers = ProgramServers(self._person_servers, context.principal, logins, at)
        is_kept = await self._screen(arguments.get("code"), run, context)
        watched.shows_program = is_kept
        if run.handle.ending is None:
            await self._log_in(arguments.get("code"), request, run, logins)
        above = context.source.trace
        context = replace(
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
        )
        began, started, leased = time.perf_counter(), time.time_ns() // 1000, self._caller.run(context, watched)
        watched.program_begins(started)
        answer: RawResult | None = None
        failure: str | None = None
        try:
            result = await self._execute(arguments, request, run, leased, held, progress)
            # What it has read its client reads now, also if it was long ago.
            await self._caller.hand_over_run(context)
            answer = result
            if words := failure_of(answer):
                watched.failed(words)
                failure = words if is_kept and await self._caller.keeps_program(words) else None
            return answer
        finally:
            us = int((time.perf_counter() - began) * 1_000_000)
            end = ended(run.id, arguments.get("code"), answer, leased.received, started, us)
            record = run.handle.record if is_kept else None
            text = None if record is None else record.program
            end = replace(end, parent_span="" if above is None else above.span)
            self._caller.write_run(end, context, text, failure)

    async def _screen(self, program: object, run: LiveRun, context: CallContext) -> bool:
        """Whether a program is kept. A run whose program may not run is ended before it begins."""
        if not isinstance(program, str):
            return False
        if (denial := await self._caller.screen_program(program, context)) is not None:
            run.handle.end(Failure("denied", "ToolError", denial.reason))
            return False
        return await self._caller.keeps_program(program)

    async def _execute(
        self,
        arguments: Mapping[str, Any],
        request: ClientRequest,
        run: LiveRun,
        leased: LeasedRun,
        held: HeldWork,
        progress: RunProgress,
    ) -> RawResult:
        with leased:
            view = self._views.of(request.scope, leased.snapshot)
            catalog = await self._catalogs.of(view)
            caller: ToolCaller = leased
            if raw_names := view.selection.raw_tools:
                caller = AliasCaller(leased, raw_names)
            if held.may_tell_progress:
                caller = ProgressCaller(caller, progress)
            return await self._code_tool.run(
                arguments, catalog, caller, identity=run.holder, run_id=run.id, handle=run.handle
            )

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
