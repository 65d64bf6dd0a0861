"""The rows of the log that calls and runs are. Pure.

A row has our own words only: what a server says in an error may quote anything, so it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal
from urllib.parse import urlsplit

import orjson

from portal.calls.gate import Call
from portal.config import ServerConfig
from portal.errors import CallDenied, CallError, Outcome
from portal.logs import MAX_NAME, Kind, LogRow
from portal.trace_context import new_span
from portal.upstream import CallContext

HIDDEN = "[redacted]"
"""The name of a target that has in it what a screening found."""
MAX_CLIENT = 128
"""Characters of what a client calls itself. The rest is cut."""
MAX_FINDINGS = 20
"""Findings of a row. The others are left out."""
BYTES_OF_A_TOKEN = 4
"""About as many bytes are a token of JSON."""


def call_row(
    call: Call,
    context: CallContext,
    *,
    portal: str,
    at: int,
    us: int,
    outcome: Outcome,
    failure: CallError | None,
    server: ServerConfig | None,
    protocol: str | None,
    sent: int,
    received: int,
) -> LogRow:
    """The row of one call of a server, which began `at` (microseconds since 1970) and took `us` microseconds."""
    above, own = context.source.trace, context.facts.trace
    return LogRow(
        at,
        us,
        call.kind,
        call.method,
        outcome,
        portal,
        call.server[:MAX_NAME],
        HIDDEN if context.facts.hides_name else call.name[:MAX_NAME],
        context.run_id,
        context.number,
        context.run_id,
        *_who(context),
        protocol or "",
        "" if server is None else _url(server),
        failure.policy or "" if isinstance(failure, CallDenied) else context.facts.policy,
        _reason(failure) or _approved(context),
        None if failure is None else failure.code,
        sent,
        received,
        findings=_findings(context.facts.findings),
        trace="" if above is None else above.trace,
        span="" if own is None or not own.recorded else own.span,
        parent_span="" if above is None else above.span,
        labels=",".join(sorted(context.facts.labels))[:MAX_NAME] if context.facts.labels else "",
        line=context.line,
    )


def _findings(findings: Sequence[Mapping[str, object]]) -> str:
    """The findings of a call as JSON, of many the first."""
    return orjson.dumps([*findings[:MAX_FINDINGS]]).decode() if findings else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """One execution of a program of `sent` bytes: when it began (microseconds since 1970) and how many microseconds it
    took, how it ended, the bytes of its answer, and those that its calls have received. `parent_span` is that of the
    request."""

    id: str
    at: int
    us: int
    outcome: Outcome
    reason: str
    sent: int
    answered: int
    received: int
    parent_span: str = ""


def run_row(run: EndedRun, context: CallContext, *, portal: str, recording: Literal["on", "off", ""] = "") -> LogRow:
    """The row of a run, in whose context its calls are below it. What they have received and no model has read is
    saved."""
    own = context.source.trace
    saved = max(0, run.received - run.answered) // BYTES_OF_A_TOKEN
    return LogRow(
        run.at,
        run.us,
        "run",
        "tools/call",
        run.outcome,
        portal,
        "",
        "code",
        run.id,
        0,
        "",
        *_who(context),
        policy=context.facts.policy,
        reason=run.reason[:MAX_NAME],
        bytes_in=run.sent,
        bytes_out=run.answered,
        tokens_saved=saved,
        findings=_findings(context.facts.findings),
        trace="" if own is None else own.trace,
        span="" if own is None or not own.recorded else own.span,
        parent_span=run.parent_span,
        recording=recording,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRequest:
    """A request of a client that has no row of a call or run: its method, what it names, when it began (microseconds
    since 1970) and how many microseconds it took, how it ended, and the bytes of its result."""

    method: str
    name: str = ""
    at: int
    us: int
    outcome: Outcome = "ok"
    policy: str = ""
    reason: str = ""
    code: int | None = None
    answered: int = 0


def request_row(kind: Kind, request: EndedRequest, context: CallContext) -> LogRow:
    """The row of a request that the portal has answered itself, or has refused."""
    above = context.source.trace
    return LogRow(
        request.at,
        request.us,
        kind,
        request.method[:MAX_NAME],
        request.outcome,
        "",
        "",
        request.name[:MAX_NAME],
        "",
        0,
        "",
        *_who(context),
        policy=request.policy[:MAX_NAME],
        reason=request.reason[:MAX_NAME],
        error_code=request.code,
        bytes_out=request.answered,
        trace="" if above is None else above.trace,
        span="" if above is None or not above.recorded else new_span(),
        parent_span="" if above is None else above.span,
    )


def _who(context: CallContext) -> tuple[str, str, str, str, str, str, str, str]:
    caller, source = context.principal, context.source
    client, version = ("", "") if source.client is None else _introduced(source.client.info)
    email, ip, country = ("", "", "") if caller is None else (caller.email, caller.ip, caller.country)
    return context.identity[:MAX_NAME], email[:MAX_NAME], ip, country, source.session, client, version, source.protocol


def _introduced(info: Mapping[str, object]) -> tuple[str, str]:
    name, version = info.get("name"), info.get("version")
    return (
        name[:MAX_CLIENT] if isinstance(name, str) else "",
        version[:MAX_CLIENT] if isinstance(version, str) else "",
    )


def _reason(failure: CallError | None) -> str:
    if failure is None:
        return ""
    return failure.reason[:MAX_NAME] if isinstance(failure, CallDenied) else type(failure).__name__


def _approved(context: CallContext) -> str:
    approval = context.facts.approval
    return f"approved with {approval}"[:MAX_NAME] if approval else ""


@lru_cache(maxsize=4096)
def session_name(id: str) -> str:
    """What the log calls a session. Its id opens it, and is no text for a log."""
    return sha256(b"session\n" + id.encode("utf-8", "replace")).hexdigest()[:16]


def _url(server: ServerConfig) -> str:
    url = getattr(server, "url", "")
    return _shown_url(url, bool(server.expanded)) if url else ""


@lru_cache(maxsize=4096)
def _shown_url(url: str, has_secrets: bool) -> str:
    """A URL without what may be a secret: user and query, and the path of one that is made of variables."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{'' if has_secrets else parts.path}"[:MAX_NAME]
