"""Every call to an upstream server goes through `Caller.call_on`: a client's, a program's, the command line's.

The order is fixed:

    resolve      the connection to the server; a call of an unknown server ends here
    admissions   may this caller make this call? people who approve it are the first, access policies come after them
    data flow    may it be made after what was read?
    screenings   may the params go out? each may change them
    pins         was the tool or prompt approved as its server offers it now?
    credentials  the HTTP headers the call carries
    upstream     the request itself; a tool's result in the form of the protocol. What the server asks and tells the
                 client meanwhile passes the screenings too, and so does an error that it answers with
    screenings   may the result come back? in reverse order
    data flow    what the result has of labels counts as read
    record       one row, however the call ended

Pins are asked after admissions and screenings, because these can take long, and a definition may change meanwhile.
Credentials come last before the request, so that no token is made for a call that is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from types import TracebackType
from typing import Any, Protocol

from codemode import PARKED, CallOutcome, ToolCall, ToolDenied, ToolFailed, ToolReturned, off_loop, well_formed
from portal.calls.asked import require_as_shown
from portal.calls.asking import Asking
from portal.calls.flows import CallFlow, flow_of
from portal.calls.gate import READS, Call, Denial, Gate, refuse
from portal.calls.pins import PinAdmission
from portal.calls.policy import count_in_budgets
from portal.calls.rows import EndedRun, call_row, run_row
from portal.calls.told import through_gate
from portal.errors import CallDenied, CallError, LoginRequired, Outcome, StoreUnavailable, UpstreamError
from portal.flows import Flows, RunLabels
from portal.identity import NOBODY, Identity, OnBehalf
from portal.logs import Content, LogRow, Recordable, RowName, Wanted
from portal.servers import Lease, Servers, Snapshot
from portal.shares import holder_of
from portal.state import CallEffect, StateUnavailable
from portal.upstream import NO_CONTEXT, CallContext, CallFacts, Traffic

OPEN = Gate()


class Records(Protocol):
    """Takes a row for each call and run. `holder` is whose part it counts in until it is stored (`portal.shares`).
    Where a call has to wait for room, `has_room` is false until `room` returns. `write` gives the name of the row in a
    log, None if it is in none."""

    def write(self, row: LogRow, holder: str = "") -> RowName | None: ...

    def has_room(self, holder: str = "") -> bool: ...

    async def room(self, holder: str = "") -> None: ...


class KeptContents(Protocol):
    """Keeps arguments and results of calls, and programs, where the operator has said so."""

    def wants(self, server: str, tool: str) -> Wanted:
        """What of the calls of a tool is kept."""

    def wants_programs(self) -> bool:
        """Whether the text of a program is kept."""

    def take(self, name: RowName, at: int, content: Content, size: int, holder: str = "") -> None:
        """Keep the content of the call or run whose row has this name and began `at` (microseconds since 1970), of
        about `size` bytes. Quick, and never raises."""

    def record(self, name: RowName, at: int, recording: Recordable | str, holder: str = "") -> None:
        """Keep the recording of such a run, or why there is none. Quick, and never raises."""


class Observer(Protocol):
    def observe(self, call: Call, result: Mapping[str, object], snapshot: Snapshot, caller: Identity | None) -> None:
        """Learn from the result of a tool, after the screenings: what this caller has seen. Quick, and never raises."""


class RunWatcher(Protocol):
    """Is told of the calls of one program while it runs. Quick, and never raises."""

    def began(self, call: ToolCall, at: int) -> None:
        """A call began `at` (microseconds since 1970)."""

    def noted(self, row: LogRow) -> None:
        """A call has this row. One that is made again after a login has two."""

    def ended(self, call: ToolCall) -> None:
        """A call that began has ended."""


class CallJournal(Protocol):
    """What a program that was parked before writes down of its calls."""

    async def outcome(self, call: ToolCall) -> CallOutcome | None:
        """What came of a call that was made before, by a process that ended; None if it is to be made now. Where nobody
        knows, it waits until a person says so."""

    async def leaves(self, call: ToolCall, arguments: Mapping[str, object], effect: CallEffect) -> None:
        """Returns when it is stored that the call leaves.

        Raises:
            CallError: that cannot be stored; the call must not leave.
        """

    async def came_back(self, call: ToolCall) -> None:
        """A call that has left has come back, and nothing ran. It may leave again, also from another process."""


class Caller:
    """Makes calls: `call` makes a single one, `run` gives a program a caller of its own.

    Without a `gate` every call may be made: for a portal without identity. `portal` is the id of the portal whose calls
    these are, for their records.
    """

    def __init__(
        self,
        servers: Servers,
        records: Records,
        *,
        gate: Gate = OPEN,
        observer: Observer | None = None,
        portal: str = "",
        on_behalf: Callable[[Identity | None], OnBehalf] = lambda caller: NOBODY,
        contents: KeptContents | None = None,
        flows: Flows | None = None,
        on_run_end: Callable[[str], None] | None = None,
    ) -> None:
        """`on_behalf` says whose credentials the calls of a caller show. `contents` keeps what calls carry. Without
        `flows` no rule of data flow holds. `on_run_end` is told of each run that has ended, by its id."""
        self._on_run_end = on_run_end
        self._contents = contents
        self.on_behalf = on_behalf
        self._servers = servers
        self._records = records
        self._gate = gate
        self._observer = observer
        self.portal = portal
        self._flows = flows

    async def call(self, call: Call, context: CallContext = NO_CONTEXT) -> dict[str, Any]:
        """The raw MCP result of one call.

        Raises:
            CallError: the call has no result.
        """
        context = self._for_caller(context)
        with self._servers.lease(context.on_behalf) as lease:
            return await self.call_on(lease, call, context)

    def run(
        self,
        context: CallContext = NO_CONTEXT,
        watcher: RunWatcher | None = None,
        journal: CallJournal | None = None,
    ) -> LeasedRun:
        """A caller for one program, whose servers stay as they are until the block ends."""
        context = self._for_caller(context)
        return LeasedRun(self, self._servers.lease(context.on_behalf), context, watcher, journal)

    async def call_on(
        self, lease: Lease, call: Call, context: CallContext, watcher: RunWatcher | None = None
    ) -> dict[str, Any]:
        """As `call`, on the servers of a lease that is on behalf of the same person as the context."""
        holder = holder_of(context.principal)
        if not self._records.has_room(holder):
            await self._records.room(holder)
        context.facts.clear()
        if (trace := context.source.trace) is not None:
            context.facts.trace = trace.for_server(call.server)
        known = lease.snapshot.servers.get(call.server)
        context.facts.server = known.config if known is not None else None
        began, at, traffic = time.perf_counter(), time.time_ns() // 1000, context.traffic
        sent_before, received_before = traffic.sent, traffic.received
        outcome: Outcome = "cancelled"
        failure: CallError | None = None
        withdrawn = False
        protocol: str | None = None
        # What has passed the screenings, and nothing else: what they stop or change is kept nowhere.
        passed: Mapping[str, object] | None = None
        answer: Mapping[str, object] | None = None
        try:
            await self._servers.know(context.on_behalf)
            # Whoever has to log in first is told before anything is asked about the call.
            lease.connection(call.server, context.client, context.protocol, holder)
            flow = flow_of(self._flows, call, context, portal=self.portal, holder=holder)
            if flow is not None:
                context.facts.labels |= flow.labels
            await self._gate.admit(call, context)
            if flow is not None:
                flow.admit(context.facts.approved)
            sent = await self._gate.screen_params(call, context)
            await require_as_shown(sent, context)
            current = self._servers.snapshot_for(context.on_behalf)
            refuse(await PinAdmission(current, lease.snapshot).admit(sent, context), sent)
            passed = sent.params
            result, protocol = await self._request(lease, sent, context, flow)
            if sent.method == "tools/call":
                # Before the screenings, so that nothing passes them in a form that they do not read.
                result = await off_loop(partial(well_formed, result), result)
            result = await self._gate.screen_result(sent, result, context)
            if flow is not None:
                await flow.hand_over()
            answer = result
            outcome = "tool_error" if result.get("isError") is True else "ok"
            if self._observer is not None and outcome == "ok" and sent.method == "tools/call":
                self._observer.observe(sent, result, lease.snapshot, context.principal)
            return result
        except CallError as error:
            failure, outcome = error, error.outcome
            await _give_back(error, context)
            raise
        except StateUnavailable as error:
            failure = _without_store(error)
            outcome = failure.outcome
            await _give_back(failure, context)
            raise failure from error
        except BaseException as error:  # Not for us to handle, but it ended the call and belongs in its record.
            outcome, withdrawn = _ended_by(error)
            raise
        finally:
            row = call_row(
                call,
                context,
                portal=self.portal,
                at=at,
                us=int((time.perf_counter() - began) * 1_000_000),
                outcome=outcome,
                failure=failure,
                server=context.facts.server,
                protocol=protocol,
                sent=traffic.sent - sent_before,
                received=traffic.received - received_before,
            )
            if not withdrawn:
                self._write(row, context, watcher, passed, answer)

    def _write(
        self,
        row: LogRow,
        context: CallContext,
        watcher: RunWatcher | None,
        passed: Mapping[str, object] | None,
        answer: Mapping[str, object] | None,
    ) -> None:
        """Write the row of a call, and keep what of the call is wanted."""
        context.facts.rows += 1
        if watcher is not None:
            watcher.noted(row)
        holder = holder_of(context.principal)
        name, contents = self._records.write(row, holder), self._contents
        if (
            contents is None
            or name is None
            or passed is None
            or row.method != "tools/call"
            or not any(wanted := contents.wants(row.server, row.name))
        ):
            return
        arguments = passed.get("arguments") if wanted.arguments else None
        content = Content(arguments if isinstance(arguments, Mapping) else None, answer if wanted.results else None)
        size = 256 + (row.bytes_in if wanted.arguments else 0) + (row.bytes_out if wanted.results else 0)
        contents.take(name, row.at, content, size, holder)

    def labels_of(self, server: str, tool: str) -> tuple[str, ...]:
        """The labels that data-flow rules know a tool by."""
        return () if self._flows is None else tuple(sorted(self._flows.settings.labels_of(server, tool)))

    async def screen_program(self, program: str, context: CallContext) -> Denial | None:
        """Why a program may not run, or None."""
        return await self._gate.screen_program(program, context)

    async def hides(self, text: str) -> bool:
        """Whether a text that no call is made with must not be in a row."""
        return await self._gate.hides(text)

    async def _request(
        self, lease: Lease, sent: Call, context: CallContext, flow: CallFlow | None
    ) -> tuple[dict[str, Any], str | None]:
        """The result of the upstream, as it came, and the version of the protocol that it came in."""
        headers = await self._gate.headers(sent, context)
        repeatable = _repeatable(lease.snapshot, sent)
        if context.on_send is not None and sent.method == "tools/call":
            # The last thing before its bytes leave: what is written ahead is of a call that may really go out.
            effect = effect_of(lease.snapshot, sent)
            await context.on_send(sent.params, effect)
            if effect != "read":
                context.facts.repeat_key = repeat_key(context.run_id, context.number)
        # The gate stands nearer to the server: what it stops is not read.
        during = through_gate(self._gate, sent, context if flow is None else flow.guarded(context))
        # Not before: an approval may have taken hours. If the person has logged in again since, their earlier
        # connections are closed.
        connection = lease.connection(sent.server, context.client, context.protocol, holder_of(context.principal))
        try:
            result = await connection.request(
                sent.method, sent.params, during, credentials=headers, repeatable=repeatable
            )
            return result, connection.protocol
        except UpstreamError as error:
            required = lease.login_required(connection, error)
            passed = await self._gate.screen_error(sent, error if required is None else required, context)
            if required is not None:
                # It did not run: with a login it may.
                raise passed from (error if passed is required else None)
            if flow is not None:
                await flow.failed(passed)
            if passed is not error:
                raise passed from None
            raise

    async def hand_over_run(self, context: CallContext) -> None:
        """Note that the client is about to read what the program of this context has read.

        Raises:
            StoreUnavailable, CallDenied: it could not be noted, and the answer must not be handed over.
        """
        if self._flows is not None and context.read is not None:
            client = context.source.client_id
            await self._flows.hand_over_run(holder_of(context.principal), client, context.read)

    async def keeps_program(self, program: str) -> bool:
        """Whether the text of a program, or of how one failed, is kept: the operator has said so, and no rule asks for
        anything in it. Where only some servers are screened, a program with that in it may run."""
        return self._contents is not None and self._contents.wants_programs() and not await self.hides(program)

    @property
    def keeps_recordings(self) -> bool:
        """Whether there is a place for recordings of runs."""
        return self._contents is not None

    async def keeps_texts(self, texts: Iterable[str]) -> bool:
        """Whether all of these texts, of whatever a program had, may be kept: no rule asks for anything in them."""
        for text in texts:
            if text and await self.hides(text):
                return False
        return self.keeps_recordings

    def row_of(self, run: EndedRun, context: CallContext) -> LogRow:
        """The row of a run of a program, which is not written."""
        return run_row(run, context, portal=self.portal)

    def write_run(
        self,
        run: EndedRun,
        context: CallContext,
        program: str | None = None,
        failure: str | None = None,
        recording: Recordable | str | None = None,
        *,
        portal: str | None = None,
    ) -> None:
        """Write the row of a run of a program, and keep the program, if there is one that is kept (`keeps_program`),
        with the words that say how it failed; and the recording of one that is recorded (`keeps_texts`), or why there
        is none. `portal` is the id of another portal, whose run it is."""
        context.facts.rows += 1
        if self._on_run_end is not None:
            self._on_run_end(run.id)
        whose = self.portal if portal is None else portal
        row = run_row(run, context, portal=whose, recording="off" if recording is None else "on")
        holder = holder_of(context.principal)
        name = self._records.write(row, holder)
        if self._contents is not None and name is not None and program and self._contents.wants_programs():
            content = Content(program=program, failure=failure or None)
            self._contents.take(name, row.at, content, 256 + len(program) + len(failure or ""), holder)
        if self._contents is not None and name is not None and recording is not None:
            self._contents.record(name, row.at, recording, holder)

    def whose(self, server: str, principal: Identity | None) -> str:
        """A text that is the same for all callers whose calls of a server use the same connections."""
        return self._servers.whose(server, self.on_behalf(principal))

    def _for_caller(self, context: CallContext) -> CallContext:
        if context is NO_CONTEXT:
            # All have this one, and a call writes into its context.
            context = CallContext()
        on_behalf = self.on_behalf(context.principal)
        return context if on_behalf == context.on_behalf else replace(context, on_behalf=on_behalf)


class LeasedRun:
    """The `codemode.ToolCaller` of one program; a `with` block. `snapshot` is what its servers offer."""

    def __init__(
        self,
        caller: Caller,
        lease: Lease,
        context: CallContext,
        watcher: RunWatcher | None = None,
        journal: CallJournal | None = None,
    ) -> None:
        self._caller = caller
        self._lease = lease
        self._watcher = watcher
        self._journal = journal
        # No protocol: a program cannot be handed a question to come back with, so upstreams ask its client or fail.
        # Budgets (`spent`) count the calls of this program alone.
        own = not context.protocol and context.spent is not None
        spent = context.spent if own else {}
        self._context = replace(context, protocol="", spent=spent, read=context.read or RunLabels())
        self.received = 0
        """The bytes that its calls have received."""

    @property
    def snapshot(self) -> Snapshot:
        return self._lease.snapshot

    def __enter__(self) -> LeasedRun:
        self._lease.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lease.__exit__(kind, error, traceback)

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        journal = self._journal
        if journal is not None and (known := await journal.outcome(call)) is not None:
            return known
        asking = Asking(self._context.on_request, call.on_wait)
        context = replace(
            self._context,
            run_id=call.run_id,
            number=call.seq,
            line=call.line,
            unplanned=call.unplanned,
            traffic=Traffic(),
            facts=CallFacts(),
            on_wait=call.on_wait,
            on_request=asking.ask if asking.possible else None,
            on_send=None if journal is None else partial(_leaves, journal, call),
        )
        made, watcher = Call.tool(call.server, call.tool, call.arguments), self._watcher
        if watcher is not None:
            watcher.began(call, time.time_ns() // 1000)
        try:
            try:
                result = await self._caller.call_on(self._lease, made, context, watcher)
            except LoginRequired as required:
                if journal is not None:
                    await journal.came_back(call)
                if not await _logs_in(required, context):
                    raise
                result = await self._caller.call_on(self._lease, made, context, watcher)
            return asking.explained(ToolReturned(result))
        except CallDenied as denied:
            return ToolDenied(denied.reason, denied.policy, denied.details)
        except CallError as error:
            return asking.explained(ToolFailed(error.full_message, error.code, error.data))
        except StateUnavailable as error:
            # Of the page where a person would have logged in.
            failure = _without_store(error)
            return ToolFailed(failure.message, failure.code, failure.data)
        finally:
            self.received += context.traffic.received
            if watcher is not None:
                watcher.ended(call)


def _ended_by(error: BaseException) -> tuple[Outcome, bool]:
    """The outcome of a call that this ended, and whether it is made again later: it has its row then."""
    return "error" if isinstance(error, Exception) else "cancelled", error.args == (PARKED,)


async def _leaves(journal: CallJournal, call: ToolCall, params: Mapping[str, object], effect: CallEffect) -> None:
    arguments = params.get("arguments")
    await journal.leaves(call, arguments if isinstance(arguments, Mapping) else {}, effect)


def _without_store(error: StateUnavailable) -> StoreUnavailable:
    return StoreUnavailable(error.words, ran=error.ran, seconds=error.seconds)


async def _logs_in(required: LoginRequired, context: CallContext) -> bool:
    """Whether there is a login for a call now, which did not run. While it waits for that it is counted nowhere: a
    program that is parked then makes it again, and once is what it may have."""
    count_in_budgets(context, -1)
    if context.on_login is not None and await context.on_login(required, context.on_wait):
        return True
    count_in_budgets(context, 1)
    return False


async def _give_back(error: CallError, context: CallContext) -> None:
    """Return what admissions have used up for a call that did not run."""
    if error.ran == "no" and context.facts.give_back is not None:
        await context.facts.give_back()


def repeat_key(run: str, call: int) -> str:
    """What a call of a run has each time that it is made. It tells a server neither the run nor which call it is."""
    return sha256(f"codemode/idempotency {run}/{call}".encode()).hexdigest()[:32]


def _repeatable(snapshot: Snapshot, call: Call) -> bool:
    """Whether making the call twice is the same as once: by its method, or because the server says so of the tool."""
    if call.method != "tools/call":
        return call.method in READS
    return effect_of(snapshot, call) == "read"


def effect_of(snapshot: Snapshot, call: Call) -> CallEffect:
    """What making the call again would do. A server may say of any tool that it can be called twice: that counts where
    somebody has approved its tools as they are. That a tool only reads is believed of every server."""
    server = snapshot.servers.get(call.server)
    tool = server.tool(call.name) if server is not None else None
    annotations = tool.get("annotations") if tool is not None else None
    if server is None or not isinstance(annotations, dict):
        return "effect"
    if annotations.get("readOnlyHint") is True:
        return "read"
    return "idempotent" if annotations.get("idempotentHint") is True and server.config.pin else "effect"
