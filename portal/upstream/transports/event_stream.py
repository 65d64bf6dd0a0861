"""A parser of server-sent events, without I/O and bounded. Source: WHATWG HTML, section 9.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_EMPTY_LINES = b"\n\n\n"
# Empty lines in a row that cost as much as another line.
_LINES_AT_ONCE = 16


class EventTooLarge(ValueError):
    """An event is longer than the parser accepts."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `name` is its type, `id` the last id on the stream so far, `retry` milliseconds."""

    name: str
    data: bytes
    id: str
    retry: int | None = None


class EventParser:
    """Feed it the chunks of a stream in order; it returns the events that are complete.

    `others` counts the lines so far that have no data: comments, names, empty lines.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self.others = 0
        self._max = max_event_bytes
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._id = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that `chunk` completes.

        Raises:
            EventTooLarge: an event has more than `max_event_bytes`.
        """
        for line in self._lines(chunk):
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                yield event

    def end(self) -> Iterator[Event]:
        """The event without its blank line with which the stream ended. It may be cut off, so its id does not count."""
        self._id = ""
        yield from self.feed(b"\n\n")

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes. A line ends with LF, CR or CRLF, which may be split between chunks."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if _EMPTY_LINES in chunk:
            chunk = self._without_empty_lines(chunk)
        head, newline, rest = chunk.partition(b"\n")
        self._tail.append(head)
        self._tail_size += len(head)
        self._check(self._tail_size)
        if not newline:
            return []
        lines = rest.split(b"\n")
        last = lines.pop()
        lines.insert(0, b"".join(self._tail))
        self._tail, self._tail_size = [last], len(last)
        self._check(self._tail_size)
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
        return lines

    def _without_empty_lines(self, chunk: bytes) -> bytes:
        """A chunk with one of many empty lines in a row: after the first of them the others mean nothing."""
        size = len(chunk)
        while _EMPTY_LINES in chunk:
            chunk = chunk.replace(_EMPTY_LINES, b"\n\n")
        self.others += (size - len(chunk)) // _LINES_AT_ONCE
        return chunk

    def _field(self, line: bytes) -> None:
        if line.startswith(b":"):
            self.others += 1
            return
        self._size += len(line)
        self._check(0)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            return
        self.others += 1
        if name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", b"\n".join(self._data), self._id, self._retry)
        # A browser ignores an event that only sets id or retry, but resuming a stream needs it.
        relevant = bool(self._data) or self._retry is not None or self._size > 0
        self._name, self._data, self._size, self._retry = "", [], 0, None
        return event if relevant else None

    def _check(self, pending: int) -> None:
        if self._size + pending > self._max:
            raise EventTooLarge(f"one event is over {self._max} bytes")
