"""HAR 1.2, entry by entry: a file of gigabytes is never in memory as a whole. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from portal.shadow.json_lines import MAX_BODY, ends, parse_line
from portal.shadow.request import MAX_AGENT, LogRequest, is_method, read_address, read_status, read_target
from portal.shadow.signs import PROTOCOL_HEADERS
from portal.shadow.times import read_time

MAX_ENTRY = 16 * 1024 * 1024
_MOST_HEADERS = 500
_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?\s*+\{\s*+"log"\s*+:\s*+\{')
_STRUCTURE = re.compile(rb'["{}\[\]]')
_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
# The object of the file, that of `log`, the list `entries`, an entry.
_ENTRY_DEPTH = 4
_READABLE = ("application/json", "text/event-stream")


def begins_har(beginning: bytes) -> bool:
    """Whether a file with this beginning is a HAR."""
    return _BEGINNING.match(beginning) is not None


class HarEntries:
    """Cuts a HAR into its entries, as its bytes come."""

    def __init__(self, longest: int = MAX_ENTRY) -> None:
        self._longest = longest
        self._open = bytearray()  # the brackets that are open
        self._in_string = False
        self._escape = False
        self._entry: bytearray | None = None
        self._too_long = False

    @property
    def unfinished(self) -> bool:
        """Whether the file has ended in the middle."""
        return bool(self._open)

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The objects that end in this chunk, where entries are; None for one that is longer than an entry may be."""
        at, start = 0, 0
        while at < len(chunk):
            if self._in_string:
                at = self._within_string(chunk, at)
                continue
            found = _STRUCTURE.search(chunk, at)
            if found is None:
                break
            at, mark = found.end(), found[0]
            if mark == b'"':
                self._in_string = True
            elif mark in (b"{", b"["):
                self._open += mark
                if self._entry is None and mark == b"{" and self._is_at_entry():
                    self._entry, self._too_long, start = bytearray(), False, at - 1
                del self._open[100_000:]
            else:
                if self._entry is not None and len(self._open) == _ENTRY_DEPTH:
                    self._keep(chunk[start:at])
                    yield None if self._too_long else bytes(self._entry)
                    self._entry = None
                del self._open[-1:]
        if self._entry is not None:
            self._keep(chunk[start:])

    def _is_at_entry(self) -> bool:
        return len(self._open) == _ENTRY_DEPTH and self._open[2:3] == b"["

    def _within_string(self, chunk: bytes, at: int) -> int:
        """The place behind what of the string is in this chunk."""
        if self._escape:
            self._escape = False
            return at + 1
        found = _STRING.match(chunk, at)
        at = found.end() if found else at
        if at < len(chunk):
            self._escape = chunk[at] == ord("\\")
            self._in_string = self._escape
            at += 1
        return at

    def _keep(self, part: bytes) -> None:
        if self._entry is None or self._too_long:
            return
        if len(self._entry) + len(part) > self._longest:
            self._too_long = True
            self._entry.clear()
        else:
            self._entry += part


def read_entry(entry: bytes) -> LogRequest | None:
    """The request in this entry; None if the object is none, such as a page.

    Raises:
        ValueError: this is no JSON, or its request is none.
    """
    record = parse_line(entry.decode("utf-8", "replace"))
    if record is None:
        raise ValueError("no JSON")
    if "request" not in record:
        return None
    sent, got = _object(record.get("request")), _object(record.get("response"))
    method, url = sent.get("method"), sent.get("url")
    if not isinstance(method, str) or not is_method(method.upper()) or not isinstance(url, str):
        raise ValueError("no request")
    target = read_target(url, method.upper())
    headers, answered = _headers(sent), _headers(got)
    content, body = _object(got.get("content")), _object(sent.get("postData"))
    answer_type = answered.get("content-type") or str(content.get("mimeType") or "")
    readable = answer_type.lower().startswith(_READABLE)
    bodies = (_text(body), _text(content) if readable else "")
    return LogRequest(
        host=target.host,
        port=target.port,
        path=target.path,
        method=method.upper(),
        status=read_status(got.get("status")),
        at=read_time(record.get("startedDateTime")),
        address=read_address(address) if isinstance(address := record.get("clientIPAddress"), str) else "",
        agent=headers.get("user-agent", "")[:MAX_AGENT],
        accept=headers.get("accept", ""),
        answer_type=answer_type[:200],
        protocol=not PROTOCOL_HEADERS.isdisjoint(headers) or "mcp-session-id" in answered,
        bodies=tuple(ends(text) for text in bodies if text),
    )


def _headers(message: Mapping[str, object]) -> dict[str, str]:
    """The headers by name in lower case."""
    listed = message.get("headers")
    found: dict[str, str] = {}
    for header in listed[:_MOST_HEADERS] if isinstance(listed, list) else ():
        match header:
            case {"name": str(name), "value": str(value)}:
                found.setdefault(name.lower(), value)
    return found


def _text(body: Mapping[str, object]) -> str:
    """The text of a body; what is encoded as base64 is decoded, the beginning alone."""
    text = body.get("text")
    if not isinstance(text, str):
        return ""
    if body.get("encoding") != "base64":
        return text
    try:
        return base64.b64decode(text[: MAX_BODY // 3 * 4]).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
