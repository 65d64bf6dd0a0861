"""One row of the log: what is known of a call, a run or an event, as one value that never changes.

A row is wide, so that no question about it needs another table. It has no arguments, no results and no secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import orjson

from portal.errors import Outcome

Kind = Literal[
    "tool", "prompt", "resource", "completion", "subscription", "setting",
    "run", "request", "sign_in", "consent", "refusal", "change",
]  # fmt: skip

_MOST = 2**62
MAX_NAME = 512
"""Characters of a name, a URI or a reason. The rest is cut."""


class LogRow(NamedTuple):
    """`at` is when it began, in microseconds since 1970, and `us` how many it took.

    Who: `identity` is the key of the caller, `email` and `ip` are of that request; `session` is a session of a 2025
    client, `client` and `client_version` what it calls itself, `protocol` the version it speaks.

    What: `kind` is the capability, `method` the MCP method, `server` a configured id, `name` the raw name of a tool or
    prompt or the URI of a resource. `upstream_protocol` is what the server speaks. `portal` is "" for the document's
    own.

    Where it belongs: `run` is the program's execution, `call` the number of the call in it (from 1), `line` the line
    of the program that makes it (from 1; 0: not known), `parent` the run or request that caused it. `trace`, `span` and
    `parent_span` are ids of W3C Trace Context.

    How it ended: `outcome`, with the `policy` that decided and the `reason` in words; `error_code` is that of JSON-RPC.
    `bytes_in` went to the server and `bytes_out` came back; `tokens_saved` are those of results that no model has read.
    `findings` are those of screenings, as JSON; `labels` those of what was called, with a comma between. `recording` of
    a run is "on" if it was recorded, "off" if not, "" if that is not known.
    """

    at: int
    us: int
    kind: Kind
    method: str
    outcome: Outcome
    portal: str = ""
    server: str = ""
    name: str = ""
    run: str = ""
    call: int = 0
    parent: str = ""
    identity: str = ""
    email: str = ""
    ip: str = ""
    country: str = ""
    session: str = ""
    client: str = ""
    client_version: str = ""
    protocol: str = ""
    upstream_protocol: str = ""
    server_url: str = ""
    policy: str = ""
    reason: str = ""
    error_code: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    tokens_saved: int = 0
    findings: str = ""
    trace: str = ""
    span: str = ""
    parent_span: str = ""
    labels: str = ""
    line: int = 0
    recording: str = ""

    @property
    def time(self) -> str:
        """When it began, RFC 3339 in UTC with milliseconds."""
        return rfc3339(self.at)

    @property
    def ms(self) -> float:
        return round(self.us / 1000, 3)


class RowName(NamedTuple):
    """What names a row for ever: its number at an instance, which is the id of a journal."""

    instance: str
    number: int


def rfc3339(microseconds: int) -> str:
    """The time so many microseconds after 1970, in UTC with milliseconds."""
    at = datetime.fromtimestamp(microseconds // 1000 / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


COLUMNS: Sequence[str] = LogRow._fields
_LEAST = 5  # the members without a default


def packed(row: LogRow) -> bytes | None:
    """A row as JSON; None if it has something that no database takes (`storable`)."""
    try:
        text = orjson.dumps(row[:])
    except TypeError:
        return None
    has_large = row.error_code is not None and abs(row.error_code) > _MOST
    return None if has_large or b"\\u0000" in text else text


def storable(row: LogRow) -> LogRow:
    """The row as a database takes it: a lone surrogate or NUL is U+FFFD, a number of over 64 bits the largest."""
    return LogRow._make(map(_fitting, row))


def unpacked(text: bytes) -> LogRow:
    """The row that `packed` gave, also that of another version: members are only ever added at the end.

    Raises:
        ValueError: it is no row.
    """
    values = orjson.loads(text)
    if not isinstance(values, list) or len(values) < _LEAST:
        raise ValueError("not a row of the log")
    return LogRow(*values[: len(COLUMNS)])


def _fitting(value: str | int | None) -> str | int | None:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    return max(-_MOST, min(value, _MOST)) if isinstance(value, int) else value
