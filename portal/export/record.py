"""A row of the log as a record of the dataset `mcp_portal_logs`: the original's 19 fields by name, and ours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from portal.logs import StoredRow

DATASET = "mcp_portal_logs"
TIME = "Datetime"
Kind = Literal["string", "int", "bool", "time"]
Value = str | int | bool
Record = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Audiences:
    """The audience of each portal's and each server's application, by their ids. What has none is not in it."""

    portals: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportField:
    """One field: its `kind`, what it `means`, and how it is read from a row. `ours` is not of the original."""

    kind: Kind
    means: str
    read: Callable[[StoredRow, Audiences], Value]
    ours: bool = False


def _error(stored: StoredRow, _: Audiences) -> str:
    row = stored.row
    return "" if row.outcome == "ok" else row.reason or row.outcome


def _named(*kinds: str) -> Callable[[StoredRow, Audiences], str]:
    return lambda stored, _: stored.row.name if stored.row.kind in kinds else ""


def _text(name: str) -> Callable[[StoredRow, Audiences], Value]:
    return lambda stored, _: getattr(stored.row, name)


_THEIRS: Mapping[str, ExportField] = {
    "ClientCountry": ExportField("string", "The country of the caller's address, where it is known.", _text("country")),
    "ClientIP": ExportField("string", "The caller's address.", _text("ip")),
    "ColoCode": ExportField("string", "The place of a data centre: always empty here.", lambda stored, _: ""),
    TIME: ExportField("time", "When the call began.", _text("at")),
    "Error": ExportField(
        "string",
        "Why it did not end well, in the portal's words: of a policy, or the name of the error. Else empty.",
        _error,
    ),
    "Method": ExportField("string", "The MCP method.", _text("method")),
    "PortalAUD": ExportField(
        "string",
        "The audience of the portal's application, where it has one.",
        lambda stored, audiences: audiences.portals.get(stored.row.portal, ""),
    ),
    "PortalID": ExportField("string", "The portal; empty for the document's own.", _text("portal")),
    "PromptGetName": ExportField("string", "The name of the prompt, of one that was asked for.", _named("prompt")),
    "ResourceReadURI": ExportField("string", "The URI of the resource, of one that was read.", _named("resource")),
    "ServerAUD": ExportField(
        "string",
        "The audience of the server's application, where it has one.",
        lambda stored, audiences: audiences.servers.get(stored.row.server, ""),
    ),
    "ServerID": ExportField("string", "The server; empty for a run of a program.", _text("server")),
    "ServerResponseDurationMs": ExportField(
        "int", "How long it took, in whole milliseconds.", lambda stored, _: round(stored.row.us / 1000)
    ),
    "ServerURL": ExportField("string", "The URL of the server, without what may be a secret.", _text("server_url")),
    "SessionID": ExportField("string", "A name for the session, not its id, which opens it.", _text("session")),
    "Success": ExportField("bool", "Whether it ended well.", lambda stored, _: stored.row.outcome == "ok"),
    "ToolCallName": ExportField(
        "string", "The tool's own name, of a call of one; `code` for a run of a program.", _named("tool", "run")
    ),
    "UserEmail": ExportField("string", "The caller's address of mail, where it is known.", _text("email")),
    "UserID": ExportField("string", "The key of the caller.", _text("identity")),
}


def _ours(kind: Kind, means: str, read: Callable[[StoredRow, Audiences], Value]) -> ExportField:
    return ExportField(kind, means, read, ours=True)


_OURS: Mapping[str, ExportField] = {
    "BytesIn": _ours("int", "Bytes that went to the server.", _text("bytes_in")),
    "BytesOut": _ours("int", "Bytes that came back.", _text("bytes_out")),
    "CallNumber": _ours("int", "The number of the call in its run, from 1; else 0.", _text("call")),
    "ClientName": _ours("string", "What the client calls itself.", _text("client")),
    "ClientProtocol": _ours("string", "The version of MCP that the client speaks.", _text("protocol")),
    "ClientVersion": _ours("string", "The client's version, as it says.", _text("client_version")),
    "DurationUs": _ours("int", "How long it took, in microseconds.", _text("us")),
    "ErrorCode": _ours(
        "int", "The code of the JSON-RPC error, 0 without one.", lambda stored, _: stored.row.error_code or 0
    ),
    "Findings": _ours("string", "What screenings found, as JSON.", _text("findings")),
    "Instance": _ours("string", "The journal that the row was written to.", lambda stored, _: stored.instance),
    "InstanceNumber": _ours("int", "The number of the row in it: both name the row for ever.", lambda s, _: s.number),
    "Kind": _ours("string", "What the row is of: `tool`, `prompt`, `resource`, `run`, ...", _text("kind")),
    "Labels": _ours("string", "The labels of the server and the tool.", _text("labels")),
    "Line": _ours("int", "The line of the program that makes the call, from 1; else 0.", _text("line")),
    "Name": _ours("string", "The name or URI of whatever was called.", _text("name")),
    "Outcome": _ours("string", "How it ended: `ok`, `tool_error`, `denied`, `timeout`, ...", _text("outcome")),
    "ParentID": _ours("string", "The run or request that caused it.", _text("parent")),
    "ParentSpanID": _ours("string", "The span of the trace that caused it.", _text("parent_span")),
    "Policy": _ours("string", "The policy that decided.", _text("policy")),
    "RowID": _ours("int", "The row's number in the log: later rows have larger ones.", lambda stored, _: stored.id),
    "RunID": _ours("string", "The run of a program that it belongs to.", _text("run")),
    "ServerProtocol": _ours("string", "The version of MCP that the server speaks.", _text("upstream_protocol")),
    "SpanID": _ours("string", "Its own span of the trace.", _text("span")),
    "TokensSaved": _ours("int", "Of a run: tokens of results that no model has read.", _text("tokens_saved")),
    "TraceID": _ours("string", "The W3C trace that it belongs to.", _text("trace")),
}

FIELDS: Mapping[str, ExportField] = {**_THEIRS, **_OURS}
"""All fields, the original's first."""
THEIR_FIELDS: Sequence[str] = tuple(_THEIRS)
"""What a job exports that names no fields."""


def record_of(stored: StoredRow, names: Sequence[str], audiences: Audiences) -> Record:
    """The record of a row: these fields, in this order. `Datetime` is in microseconds since 1970."""
    return {name: FIELDS[name].read(stored, audiences) for name in names}
