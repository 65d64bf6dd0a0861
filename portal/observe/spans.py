"""The spans that a row of the log is, as OTLP has them in JSON. Pure.

    agent's request   SERVER     of a run, of a call that no program makes, and of what the portal answers itself
    ├ run             INTERNAL   of a run; its calls are below it
    └ call            CLIENT     of a call; what the server records is below it

A row has one span, and whatever is above it in the portal has an id that follows from that. So nothing has to be kept
from the beginning of a request to its end, and two portals in a row make one trace.

A span has names and numbers, never an argument, a result, a reason or a URI: a URI may be made of arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

import orjson

from portal.logs import LogRow, storable
from portal.observe import names
from portal.version import portal_version

Attribute = dict[str, object]
Span = dict[str, object]

_INTERNAL, _SERVER, _CLIENT = 1, 2, 3
_ERROR = 2
FAILED = frozenset({"tool_error", "error", "denied", "timeout", "unavailable"})
"""Outcomes that are failures. Who cancels wants no more of it."""
_SAMPLED, _KNOWN, _REMOTE = 0x001, 0x100, 0x200
"""Flags of a span (OTLP): those of W3C, whether it is known that the parent is elsewhere, whether it is."""
_CALLS = frozenset({"tool", "prompt", "resource", "completion", "subscription", "setting"})
_TARGETS: Mapping[str, str] = {"tool": names.TOOL, "prompt": names.PROMPT}


def request_of(span: str) -> str:
    """The id of the span of the request that this one is all of."""
    return sha256(b"request\n" + span.encode()).hexdigest()[:16]


def spans_of(row: LogRow, left_out: int = 0) -> list[Span]:
    """The spans of a row that has one, the outermost first. `left_out` calls of a run have none."""
    if is_of_run(row):
        return [_span(row, row.span, row.parent_span, _CLIENT, _name(row), _of_call(row))]
    if row.kind not in _CALLS and row.kind != "run":
        return [_span(row, row.span, row.parent_span, _SERVER, row.method, _of_request(row), is_remote=True)]
    request = request_of(row.span)
    outer = _span(row, request, row.parent_span, _SERVER, _name(row), _of_request(row), is_remote=True)
    if row.kind == "run":
        return [outer, _span(row, row.span, request, _INTERNAL, "run", _of_run(row, left_out))]
    return [outer, _span(row, row.span, request, _CLIENT, _name(row), _of_call(row))]


def is_of_run(row: LogRow) -> bool:
    """Whether a row is a call that a program makes: it has one span, any other row two."""
    return bool(row.run) and row.kind != "run"


def encoded(rows: Sequence[tuple[LogRow, int]], resource: Mapping[str, str]) -> bytes:
    """An ExportTraceServiceRequest with the spans of these rows, as JSON (OTLP 1.x, "JSON Protobuf Encoding")."""
    scope = {"name": names.SCOPE, "version": portal_version()}

    def request(rows: Iterable[tuple[LogRow, int]]) -> bytes:
        found = [span for row, left_out in rows for span in spans_of(row, left_out)]
        spans = [{"scope": scope, "spans": found}]
        return orjson.dumps(
            {"resourceSpans": [{"resource": {"attributes": _attributes(resource.items())}, "scopeSpans": spans}]}
        )

    try:
        return request(rows)
    except TypeError:
        # A name with half a character, which no JSON has.
        return request((storable(row), left_out) for row, left_out in rows)


def _span(
    row: LogRow,
    id: str,
    parent: str,
    kind: int,
    name: str,
    attributes: list[Attribute],
    *,
    is_remote: bool = False,
) -> Span:
    has_failed = row.outcome in FAILED
    return {
        "traceId": row.trace,
        "spanId": id,
        **({"parentSpanId": parent} if parent else {}),
        "flags": _SAMPLED | _KNOWN | (_REMOTE if is_remote and parent else 0),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(row.at * 1000),
        "endTimeUnixNano": str((row.at + row.us) * 1000),
        "attributes": attributes,
        **({"status": {"code": _ERROR}} if has_failed else {}),
    }


def _name(row: LogRow) -> str:
    """The method and what it is for, where that is no URI."""
    target = row.name if row.kind in _TARGETS or row.kind == "run" else ""
    return f"{row.method} {target}" if target else row.method


def _of_request(row: LogRow) -> list[Attribute]:
    return _attributes(
        (
            *_common(row),
            (names.PROTOCOL, row.protocol),
            (names.SESSION, row.session),
            (names.CLIENT, row.client),
            (names.CLIENT_VERSION, row.client_version),
        )
    )


def _of_run(row: LogRow, left_out: int) -> list[Attribute]:
    return _attributes(
        (
            (names.PORTAL, row.portal),
            (names.RUN, row.run),
            (names.OUTCOME, row.outcome),
            (names.ERROR_TYPE, _error_type(row)),
            (names.TOKENS_SAVED, row.tokens_saved),
            (names.BYTES_IN, row.bytes_in),
            (names.BYTES_OUT, row.bytes_out),
            (names.LEFT_OUT, left_out or None),
        )
    )


def _of_call(row: LogRow) -> list[Attribute]:
    host, port = _address(row.server_url)
    return _attributes(
        (
            *_common(row),
            (names.PROTOCOL, row.upstream_protocol),
            (names.SERVER, row.server),
            (names.ADDRESS, host),
            (names.PORT, port),
            (names.RUN, row.run),
            (names.CALL, row.call or None),
            (names.POLICY, row.policy),
            (names.FINDINGS, _number_of(row.findings)),
            (names.LABELS, row.labels),
            (names.BYTES_IN, row.bytes_in),
            (names.BYTES_OUT, row.bytes_out),
        )
    )


def _common(row: LogRow) -> tuple[tuple[str, str | int | None], ...]:
    is_tool = row.kind == "tool" or row.kind == "run"
    return (
        (names.METHOD, row.method),
        (names.OPERATION, names.EXECUTES_TOOL if is_tool else None),
        (_TARGETS.get(row.kind, names.TOOL), row.name if is_tool or row.kind in _TARGETS else None),
        (names.PORTAL, row.portal),
        (names.OUTCOME, row.outcome),
        (names.ERROR_TYPE, _error_type(row)),
        (names.STATUS_CODE, None if row.error_code is None else str(row.error_code)),
    )


def _error_type(row: LogRow) -> str | None:
    if row.outcome not in FAILED:
        return None
    # The reason of a denial is a sentence, that of anything else the name of an error.
    return row.reason if row.reason and row.outcome not in ("denied", "tool_error") else row.outcome


def _attributes(pairs: Iterable[tuple[str, str | int | None]]) -> list[Attribute]:
    """Attributes of OTLP, without those that are not known. Whole numbers are text in this JSON."""
    return [
        {"key": key, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}
        for key, value in pairs
        if value is not None and value != ""
    ]


def _number_of(findings: str) -> int | None:
    """How many findings a row has, and nothing of what they are."""
    try:
        return len(orjson.loads(findings)) if findings else None
    except (ValueError, TypeError):
        return None


@lru_cache(maxsize=1024)
def _address(url: str) -> tuple[str, int | None]:
    """The host and the port of the server that a row names."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None
