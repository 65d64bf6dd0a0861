"""The rows of requests: what the portal answers itself, and what it refuses before there is a call.

A request has one row, or those of its calls and of its run. Without one are pings, notifications, looks at a task, and
requests that end with a question to the client or go on behind their answer (`paused`, or a task): what comes of them
has rows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND
from starlette.types import Scope

from codemode import off_loop
from portal.calls import HIDDEN, EndedRequest, request_row, session_name
from portal.endpoint.params import INITIALIZE
from portal.endpoint.request import SdkContext, client_id_of, plain_context
from portal.endpoint.sessions import scope_of
from portal.errors import CallDenied, CallError, Outcome
from portal.exact import encode
from portal.http import Refusal
from portal.identity import key_of, principal_of
from portal.logs import EventSink, Kind, event
from portal.sdk import connection_of
from portal.state import StateUnavailable
from portal.upstream import CallContext, CallSource, DownstreamClient

Hides = Callable[[str], Awaitable[bool]]
CONTEXT = "portal.call_context"
"""The key of the ASGI scope under which a handler leaves the context of its request."""
MAX_VERSION = 32
_SILENT = "ping"
_POLL = "tasks/get"
_NAMES = ("name", "uri")
_WORDS = {INVALID_PARAMS: "invalid params", METHOD_NOT_FOUND: "unknown method"}
_NO_ROOM = ("share", "full")
_UNFINISHED = ("paused", "input_required", "task")
_STATE = "requestState"


class UnlistedName(MCPError):
    """A tool, a prompt or a resource (`kind`) that is not there for this caller."""

    def __init__(self, kind: str, message: str, code: int = INVALID_PARAMS, data: object = None) -> None:
        self.kind = kind
        super().__init__(code, message, data)


@dataclass(slots=True)
class Stopwatch:
    """When a request began: microseconds since 1970, and seconds of the performance counter."""

    at: int = field(default_factory=lambda: time.time_ns() // 1000)
    counter: float = field(default_factory=time.perf_counter)

    @property
    def us(self) -> int:
        return int((time.perf_counter() - self.counter) * 1_000_000)


class RequestLog:
    """Writes the rows of the requests of one portal. `hides` says whether what a caller has named must not be there."""

    def __init__(self, events: EventSink, hides: Hides | None = None) -> None:
        self._events = events
        self._hides = hides

    def answered(self, method: str, name: str, context: CallContext, begun: Stopwatch, size: int) -> None:
        """A request has its result, of this many bytes, and no call has been made for it."""
        ended = EndedRequest(method=method, name=name, at=begun.at, us=begun.us, answered=size)
        self._events.write(request_row("request", ended, context))

    def tool_answered(self, name: str, context: CallContext, begun: Stopwatch, result: Mapping[str, object]) -> None:
        """`tools/call` has this result, perhaps with calls that have their rows."""
        if context.facts.rows or _goes_on(result):
            return
        failed = result.get("isError") is True
        outcome: Outcome = "tool_error" if failed else "ok"
        ended = EndedRequest(method="tools/call", name=name, at=begun.at, us=begun.us, outcome=outcome)
        self._events.write(request_row("refusal" if failed else "request", ended, context))

    async def failed(
        self, method: str, name: str, context: CallContext, begun: Stopwatch, error: BaseException
    ) -> None:
        """A request has no result. A call that is cancelled has its row, or never began; a run has its row later."""
        if context.facts.rows or (method == "tools/call" and isinstance(error, asyncio.CancelledError)):
            return
        kind: Kind = "refusal"
        if isinstance(error, asyncio.CancelledError):
            kind, why = "request", _Why("cancelled")
        else:
            why = _why(error)
            # No screening has seen what is named, and it may be anything: there is no such tool or method.
            if self._hides is not None and await self._hides(f"{method}\n{name}"):
                method, name = HIDDEN if await self._hides(method) else method, HIDDEN
        ended = EndedRequest(
            method=method,
            name=name,
            at=begun.at,
            us=begun.us,
            outcome=why.outcome,
            policy=why.policy,
            reason=why.reason,
            code=why.code,
        )
        self._events.write(request_row(kind, ended, context))

    def refused(self, scope: Scope, refusal: Refusal) -> None:
        """An HTTP request was refused before it was read as one of MCP."""
        policy = refusal.data.get("policy")
        outcome: Outcome = "unavailable" if refusal.status == 503 else "denied"
        row = event(
            "refusal",
            str(scope["method"]),
            outcome,
            who=principal_of(scope),
            policy=policy if isinstance(policy, str) else "",
            reason=refusal.message if refusal.reason == "denied" else refusal.reason,
        )
        self._events.write(row._replace(error_code=refusal.code))

    async def middleware(self, ctx: SdkContext, call_next: CallNext) -> HandlerResult:
        """The middleware of the SDK's server that writes the row of every request that comes that way."""
        if ctx.request_id is None or ctx.method == _SILENT:
            return await call_next(ctx)
        begun = Stopwatch()
        # What comes back to a question goes on with the work of an earlier request, which has the rows.
        goes_on = _STATE in (ctx.params or {})
        try:
            result = await call_next(ctx)
        except BaseException as error:
            if not (goes_on and isinstance(error.__cause__, CallError)):
                await self.failed(ctx.method, _name_in(ctx), _context_of(ctx), begun, error)
            raise
        context = _context_of(ctx)
        if goes_on:
            return result
        if ctx.method == "tools/call":
            if isinstance(result, dict):
                self.tool_answered(_name_in(ctx), context, begun, result)
        elif not context.facts.rows and ctx.method != _POLL:
            size = await off_loop(partial(_size, result), result)
            self.answered(ctx.method, _name_in(ctx), context, begun, size)
        return result


@dataclass(frozen=True, slots=True)
class _Why:
    outcome: Outcome
    reason: str = ""
    policy: str = ""
    code: int | None = None


def _why(error: BaseException) -> _Why:
    """How a request has ended that has no result: why, in our own words."""
    code = error.error.code if isinstance(error, MCPError) else None
    cause = error.__cause__ if isinstance(error, MCPError) and error.__cause__ is not None else error
    match cause:
        case CallDenied():
            return _Why(cause.outcome, cause.reason, cause.policy or "", cause.code)
        case CallError():
            return _Why(cause.outcome, type(cause).__name__, code=cause.code)
        case StateUnavailable():
            return _Why("unavailable", "StoreUnavailable", code=code)
        case UnlistedName():
            return _Why("error", f"unknown {cause.kind}", code=code)
        case MCPError():
            data = cause.error.data
            reason = data.get("reason") if isinstance(data, dict) else None
            if reason in _NO_ROOM:
                return _Why("denied", str(reason), code=code)
            return _Why("error", _WORDS.get(cause.error.code, ""), code=code)
    return _Why("error", "the portal failed", code=code)


def _goes_on(result: Mapping[str, object]) -> bool:
    structured = result.get("structuredContent")
    status = structured.get("status") if isinstance(structured, Mapping) else None
    return result.get("resultType") in _UNFINISHED or status in _UNFINISHED


def _name_in(ctx: SdkContext) -> str:
    """The tool, prompt or resource that a request names."""
    params = ctx.params or {}
    found = next((value for member in _NAMES if isinstance(value := params.get(member), str)), "")
    return found


def _context_of(ctx: SdkContext) -> CallContext:
    """The context that the handler has made, or what is known of a request that no handler has had."""
    scope = scope_of(ctx) or {}
    of_handler = scope.get(CONTEXT)
    if isinstance(of_handler, CallContext):
        return of_handler
    caller, params = principal_of(scope), ctx.params or {}
    meta, info, wanted = params.get("_meta"), params.get("clientInfo"), params.get("protocolVersion")
    connection = connection_of(ctx)
    id = connection.session_id
    if ctx.method != INITIALIZE:
        made = plain_context(
            caller, ctx.protocol_version, meta if isinstance(meta, Mapping) else {}, None, client_id_of(scope)
        )
        if id is None or connection.client_params is None:
            return made
        known = DownstreamClient(key="", info=connection.client_params.client_info.model_dump(mode="json"))
        return replace(made, source=replace(made.source, client=known, session=session_name(id)))
    source = CallSource(
        wanted[:MAX_VERSION] if isinstance(wanted, str) else "",
        DownstreamClient(key="", info=info) if isinstance(info, Mapping) else None,
        session_name(id) if id else "",
    )
    return CallContext(identity=key_of(caller), principal=caller, source=source)


def _size(result: HandlerResult) -> int:
    try:
        return len(encode(result))
    except (TypeError, ValueError):
        return 0
