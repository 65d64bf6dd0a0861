"""The one function every call to an upstream goes through, whoever makes it: a client, a program, the command line.

    resolve -> gate.admit (policy) -> gate.screen (DLP) -> pins -> gate.credentials
            -> upstream -> gate.screen_result -> record

`Gate` is where identity and policy will sit; the default one lets everything pass.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol

from codemode import ToolCall, ToolDenied, ToolFailed, ToolReturned
from portal.calls.call import _KINDS, _READS, Call, Denial
from portal.calls.gate import Gate, OpenGate, Passed
from portal.errors import CallDenied, CallError, Outcome
from portal.logs import MAX_NAME, CallRecord
from portal.servers import Lease, Servers, Snapshot
from portal.upstream import NO_CONTEXT, CallContext


class Records(Protocol):
    def write(self, record: CallRecord) -> None: ...


class Observer(Protocol):
    def observe(self, call: Call, result: Mapping[str, Any], snapshot: Snapshot) -> None:
        """A tool has returned this, and the gate let it pass. Quick, and never raises."""


class Caller:
    """Makes calls. `call` is for direct ones; `run` gives a program a caller of its own."""

    def __init__(
        self,
        servers: Servers,
        records: Records,
        *,
        gate: Gate | None = None,
        observer: Observer | None = None,
        portal: str = "",
    ) -> None:
        """`portal` is the id of the portal whose calls these are, for their records."""
        self._servers = servers
        self._records = records
        self._gate = gate or OpenGate()
        self._observer = observer
        self._portal = portal

    async def call(self, call: Call, context: CallContext = NO_CONTEXT) -> dict[str, Any]:
        """The raw MCP result of one call.

        Raises:
            CallError: there is none.
        """
        with self._servers.lease() as lease:
            return await self.call_on(lease, call, context)

    def run(self, context: CallContext = NO_CONTEXT) -> Run:
        """A caller for one program, whose servers stay as they are until the block ends."""
        return Run(self, self._servers.lease(), context)

    async def call_on(self, lease: Lease, call: Call, context: CallContext) -> dict[str, Any]:
        """The one function. Raises as `call`."""
        began = time.perf_counter()
        started = datetime.now(UTC)
        outcome: Outcome = "cancelled"
        failure: CallError | None = None
        protocol: str | None = None
        try:
            connection = lease.connection(call.server, context.client, context.protocol)
            _allowed(await self._gate.admit(call, context), call)
            sent = _passed(await self._gate.screen(call, context), call)
            _approved(self._servers.snapshot, lease.snapshot, sent)
            credentials = await self._gate.credentials(sent, context)
            result = await connection.request(
                sent.method,
                sent.params,
                context,
                credentials=credentials,
                repeatable=_repeatable(lease.snapshot, sent),
            )
            protocol = connection.protocol
            result = _passed(await self._gate.screen_result(sent, result, context), call, ran=True)
            outcome = "tool_error" if result.get("isError") is True else "ok"
            if self._observer is not None and outcome == "ok" and sent.method == "tools/call":
                self._observer.observe(sent, result, lease.snapshot)
            return result
        except CallError as error:
            failure, outcome = error, error.outcome
            raise
        except Exception:  # Not for us to handle, but it ended the call and belongs in its record.
            outcome = "error"
            raise
        finally:
            self._records.write(
                CallRecord(
                    time=started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    server=call.server[:MAX_NAME],
                    kind=_KINDS.get(call.method, "tool"),
                    name=call.name[:MAX_NAME],
                    duration_ms=round((time.perf_counter() - began) * 1000, 3),
                    outcome=outcome,
                    error_code=failure.code if failure is not None else None,
                    policy=failure.policy if isinstance(failure, CallDenied) else None,
                    portal=self._portal,
                    run_id=context.run_id,
                    identity=context.identity,
                    protocol=protocol,
                )
            )


class Run:
    """Implements `codemode.ToolCaller` for one program; a `with` block. `snapshot` is what its servers offer."""

    def __init__(self, caller: Caller, lease: Lease, context: CallContext) -> None:
        self._caller = caller
        self._lease = lease
        # A program cannot be handed a question to come back with: those go to the client, or fail.
        self._context = replace(context, protocol="", headers={}, spent={})

    @property
    def snapshot(self) -> Snapshot:
        return self._lease.snapshot

    def __enter__(self) -> Run:
        self._lease.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lease.__exit__(kind, error, traceback)

    async def call_tool(self, call: ToolCall) -> ToolReturned | ToolFailed | ToolDenied:
        context = self._context if call.run_id == self._context.run_id else replace(self._context, run_id=call.run_id)
        try:
            made = Call.tool(call.server, call.tool, call.arguments)
            return ToolReturned(await self._caller.call_on(self._lease, made, context))
        except CallDenied as denied:
            return ToolDenied(denied.reason, denied.policy)
        except CallError as error:
            return ToolFailed(error.message, error.code, error.data)


def _allowed(denial: Denial | None, call: Call) -> None:
    if denial is not None:
        raise CallDenied(denial.reason, policy=denial.policy, server=call.server)


def _approved(now: Snapshot, leased: Snapshot, call: Call) -> None:
    """Raises when the server is pinned and this waits for approval now, whatever was listed when a program began."""
    kind = {"tools/call": "tool", "prompts/get": "prompt"}.get(call.method)
    server = now.servers.get(call.server)
    if server is None or not server.listed:
        server = leased.servers.get(call.server)
    if kind is None or server is None:
        return
    reason = server.unapproved(kind, str(call.params.get("name", call.name)))
    if reason is not None:
        raise CallDenied(reason, policy="pin", server=call.server)


def _passed(verdict: Passed | Denial, call: Call, *, ran: bool = False) -> Passed:
    if isinstance(verdict, Denial):
        raise CallDenied(verdict.reason, policy=verdict.policy, server=call.server, ran="yes" if ran else "no")
    return verdict


def _repeatable(snapshot: Snapshot, call: Call) -> bool:
    """Whether making the call twice is the same as once: by its nature, or because the server says so of the tool."""
    if call.method != "tools/call":
        return call.method in _READS
    server = snapshot.servers.get(call.server)
    tool = server.tool(call.name) if server is not None else None
    annotations = tool.get("annotations") if tool is not None else None
    return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
