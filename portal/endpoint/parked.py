"""What a parked run keeps of the request that began it, as plain values, and the bytes of its checkpoint.

A checkpoint is a header in JSON and the program behind it:

    magic "CMRC", version u8 | length of the header u32 | header | program (`codemode.ParkedProgram`)

It holds no credential: of a login the person, and the family of their tokens, which says later whether it has ended.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from starlette.types import Scope

from codemode import Adherence
from portal.flows import RunLabels
from portal.identity import IDENTITY, Identity
from portal.state import LabelRead
from portal.trace_context import TraceContext
from portal.upstream import CallSource, DownstreamClient

MAX_HEADER = 1024 * 1024
MAX_CLIENT = 16 * 1024
"""Bytes of what a client said of itself that are kept."""
_MAGIC = b"CMRC\x01"
_ENTRY = b"CMRE\x01"
_FRONT = struct.Struct("<5sI")


class CheckpointUnreadable(Exception):
    """A checkpoint is damaged, or of a version that this portal does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRequest:
    """`login` says whose run it is (`portal.oauth.Logins.document_of`), None where nobody signs in. `scheme`, `host`,
    `root_path`, `path` and `query` are of the request. `source` is that of its calls. `spent` are the budgets that it
    has used, `read` is what it has read of what is labelled. It began `at` (microseconds since 1970), and its
    calls have `received` so many bytes. `holder` is in whose part it counts. `adherence` is of a program that keeps to
    its plan."""

    login: Mapping[str, object] | None
    scheme: str
    host: str
    root_path: str
    path: str
    query: str
    source: CallSource
    holder: str
    at: int
    received: int
    spent: Mapping[str, int] = field(default_factory=dict)
    read: Sequence[LabelRead] = ()
    adherence: Adherence | None = None

    def scope(self, identity: Identity | None) -> Scope:
        """The ASGI scope of a request at the same address. It shows no credential, and has no body."""
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "scheme": self.scheme,
            "headers": [(b"host", self.host.encode("latin-1", "replace"))] if self.host else [],
            "root_path": self.root_path,
            "path": self.path,
            "query_string": self.query.encode("latin-1", "replace"),
        }
        return scope if identity is None else {**scope, IDENTITY: identity}

    def labels(self) -> RunLabels:
        """What the run has read, to go on with."""
        return RunLabels(self.read)


def request_of(
    scope: Scope,
    *,
    login: Mapping[str, object] | None,
    source: CallSource,
    holder: str,
    at: int,
) -> ParkedRequest:
    """What is kept of the request with this scope."""
    host = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"")
    return ParkedRequest(
        login=login,
        scheme=str(scope.get("scheme", "http")),
        host=host.decode("latin-1"),
        root_path=str(scope.get("root_path", "")),
        path=str(scope.get("path", "")),
        query=bytes(scope.get("query_string", b"")).decode("latin-1"),
        source=_bounded(source),
        holder=holder,
        at=at,
        received=0,
    )


def checkpoint(request: ParkedRequest, program: bytes) -> bytes:
    """The checkpoint of a run, for `read_checkpoint`.

    Raises:
        ValueError: what is kept of the request has more than `MAX_HEADER` bytes.
    """
    header = orjson.dumps(_document(request))
    if len(header) > MAX_HEADER:
        raise ValueError(f"what is kept of its request has {len(header):,} bytes, at most {MAX_HEADER:,} are kept")
    return _FRONT.pack(_MAGIC, len(header)) + header + program


def read_checkpoint(data: bytes) -> tuple[ParkedRequest, bytes]:
    """The request and the program of a checkpoint.

    Raises:
        CheckpointUnreadable: it is damaged, or of another version.
    """
    if len(data) < _FRONT.size:
        raise CheckpointUnreadable("the checkpoint is cut off")
    magic, size = _FRONT.unpack_from(data)
    if magic != _MAGIC:
        raise CheckpointUnreadable("it is no checkpoint of this version")
    if size > MAX_HEADER or len(data) < _FRONT.size + size:
        raise CheckpointUnreadable("the checkpoint is cut off, or its header is too long")
    try:
        request = _request(orjson.loads(data[_FRONT.size : _FRONT.size + size]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointUnreadable(f"the header of the checkpoint is damaged: {type(error).__name__}") from None
    return request, data[_FRONT.size + size :]


def entry(
    resume: bytes, spent: Mapping[str, int], read: Iterable[LabelRead], adherence: Adherence | None = None
) -> bytes:
    """What the journal has of a run that goes on: what its program gets, with the budgets that it has used by then,
    what it has read of what is labelled, and which calls of its plan it has made. For `read_entry`."""
    document = {"spent": dict(spent), "read": [_read_document(one) for one in read]}
    if adherence is not None:
        document["plan"] = adherence.progress()
    header = orjson.dumps(document)
    return _FRONT.pack(_ENTRY, len(header)) + header + resume


def read_entry(data: bytes, request: ParkedRequest) -> tuple[ParkedRequest, bytes]:
    """The request with what it had used and read by then, and what the program got. What an entry of before there was
    more in it does not say stays as it is.

    Raises:
        CheckpointUnreadable: it is damaged.
    """
    if not data.startswith(_ENTRY):
        return request, data
    try:
        _, size = _FRONT.unpack_from(data)
        document = orjson.loads(data[_FRONT.size : _FRONT.size + size])
        spent = {_text(name): _number(count) for name, count in document["spent"].items()}
        read = tuple(_label_read(one) for one in document["read"])
        adherence = request.adherence
        if adherence is not None and (progress := document.get("plan")) is not None:
            # What the journal repeats is not called again: without this its entries would be free for other calls.
            adherence = adherence.come_to(progress)
    except (struct.error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointUnreadable(f"its journal is damaged: {type(error).__name__}") from None
    return replace(request, spent=spent, read=read, adherence=adherence), data[_FRONT.size + size :]


def _document(request: ParkedRequest) -> dict[str, object]:
    source, client = request.source, request.source.client
    return {
        "login": None if request.login is None else dict(request.login),
        **{name: getattr(request, name) for name in ("scheme", "host", "root_path", "path", "query")},
        **{name: getattr(request, name) for name in ("holder", "at", "received")},
        "spent": dict(request.spent),
        "read": [_read_document(one) for one in request.read],
        "plan": None if request.adherence is None else request.adherence.as_dict(),
        "source": {
            "protocol": source.protocol,
            "session": source.session,
            "client_id": source.client_id,
            "client": None if client is None else {"key": client.key, "info": dict(client.info)},
            "trace": None if source.trace is None else _trace_document(source.trace),
        },
    }


def _request(document: Any) -> ParkedRequest:
    source, login = document["source"], document["login"]
    client, trace = source["client"], source["trace"]
    texts = {name: _text(document[name]) for name in ("scheme", "host", "root_path", "path", "query", "holder")}
    return ParkedRequest(
        login=None if login is None else dict(login),
        **texts,
        at=int(document["at"]),
        received=int(document["received"]),
        spent={_text(name): int(count) for name, count in document["spent"].items()},
        read=tuple(_label_read(one) for one in document["read"]),
        adherence=None if (plan := document.get("plan")) is None else Adherence.from_dict(plan),
        source=CallSource(
            _text(source["protocol"]),
            None if client is None else DownstreamClient(key=_text(client["key"]), info=dict(client["info"])),
            _text(source["session"]),
            None if trace is None else _trace(trace),
            _text(source["client_id"]),
        ),
    )


def _bounded(source: CallSource) -> CallSource:
    """The source without what a client may have said of itself at any length. What it can be asked ends with it."""
    client = source.client
    if client is None:
        return source
    info = client.info if len(orjson.dumps(dict(client.info), default=str)) <= MAX_CLIENT else {}
    return replace(source, client=DownstreamClient(key=client.key, info=info))


def _read_document(read: LabelRead) -> dict[str, object]:
    texts = ("person", "client", "label", "portal", "server", "tool")
    times = {"at": read.at.isoformat(), "until": read.until.isoformat(), "number": read.number}
    return {**{name: getattr(read, name) for name in texts}, **times}


def _label_read(document: Mapping[str, object]) -> LabelRead:
    texts = {name: _text(document[name]) for name in ("person", "client", "label", "portal", "server", "tool")}
    at, until = (datetime.fromisoformat(_text(document[name])) for name in ("at", "until"))
    return LabelRead(**texts, at=at, until=until, number=_number(document["number"]))


def _trace_document(trace: TraceContext) -> dict[str, object]:
    return {**trace._asdict(), "baggage_to": sorted(trace.baggage_to)}


def _trace(document: Mapping[str, object]) -> TraceContext:
    texts = {name: _text(document[name]) for name in ("trace", "span", "state", "baggage")}
    to = frozenset(_text(one) for one in _list(document["baggage_to"]))
    return TraceContext(flags=_number(document["flags"]), recorded=bool(document["recorded"]), baggage_to=to, **texts)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("not a number")
    return value


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
