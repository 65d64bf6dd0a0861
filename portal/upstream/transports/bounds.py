"""How much a server may send, in number, and how what it sends is read without making the event loop late.

Bytes are bounded where they are read. But a message of 5 MiB may have two million empty lists in it, and a stream of
any length nothing but empty lines. Reading costs time for each of them, so each number has a bound of its own. What is
still large is read in a thread, in pieces for which the interpreter's lock is held briefly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from codemode import excess, off_loop
from portal.errors import ResponseTooLarge

INLINE_BYTES = 64 * 1024
"""JSON up to this length is read on the event loop, longer texts in a thread."""
BYTES_FOR_A_VALUE, BYTES_FOR_A_GROUP = 20, 100
"""Of a message's bound in bytes, how many there are for each value that it may have, and for each list or object. A
bound of 5 MiB allows 262,144 values, among them 52,428 lists and objects."""
_DENSE_BYTES = 5 * 1024 * 1024
_LESS_DENSE = 4
"""Beyond 5 MiB there are so many times fewer values for the same bytes. A page of a list may have 16 MiB."""
MAX_BLOCKS = 10_000
"""Content blocks of a result, messages of a prompt, contents of a resource."""
MAX_DEPTH = 200
"""Levels of lists and objects in a result."""
MAX_EVENTS = 20_000
"""Events or lines that one stream may bring in a second, whatever is in them."""
MAX_OTHER_LINES = 100_000
"""Lines of one event stream in a second that have no data: comments, names, blank lines."""
MAX_TOLD = 1_000
"""Progress and log messages of one call that are delivered in a second. More are passed over."""
MAX_ASKED = 200
"""Questions and pings of one link that are answered in a second. More are passed over."""
MAX_ERROR_CHARS = 64 * 1024
"""Characters of an error's message. The rest is cut."""
MAX_ERROR_VALUES = 2_000
"""Values in the data of an error. Data with more are left out."""

_TURN_SECONDS = 0.002
_LISTED: Mapping[str, tuple[str, str]] = {
    "tools/call": ("content", "content blocks"),
    "prompts/get": ("messages", "messages"),
    "resources/read": ("contents", "contents"),
}

T = TypeVar("T")
_NESTED = (dict, list)


class Turn:
    """Gives other tasks a turn when one has kept the loop for long."""

    def __init__(self) -> None:
        self._end = 0.0

    def begin(self) -> None:
        """This task has just got the loop."""
        self._end = time.perf_counter() + _TURN_SECONDS

    async def over(self) -> None:
        if time.perf_counter() >= self._end:
            await asyncio.sleep(0)
            self.begin()


class PerSecond:
    """Counts what comes in a second."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._second = 0
        self._count = 0

    def exceeded(self, number: int = 1) -> bool:
        """Whether there are too many in this second, with `number` more."""
        second = int(time.monotonic())
        self._count = self._count + number if second == self._second else number
        self._second = second
        return self._count > self.most


class Flood:
    """Counts what one stream brings."""

    def __init__(self) -> None:
        self._events = PerSecond(MAX_EVENTS)
        self._others = PerSecond(MAX_OTHER_LINES)

    def count(self, events: int, others: int = 0) -> None:
        """Count events or lines, and other lines.

        Raises:
            ResponseTooLarge: there are too many in this second.
        """
        if events and self._events.exceeded(events):
            raise ResponseTooLarge(f"sent more than {MAX_EVENTS:,} events or lines in a second")
        if others and self._others.exceeded(others):
            raise ResponseTooLarge(f"sent more than {MAX_OTHER_LINES:,} lines without data in a second")


async def aside(work: Callable[[], T], size: int) -> T:
    """The result of `work`, which reads so many bytes: in a thread if they are many."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def check_number(data: bytes | bytearray, max_bytes: int) -> None:
    """Refuse a JSON text with more values than one may have that may have `max_bytes`.

    Quick for most texts, and in short pieces for others.

    Raises:
        ResponseTooLarge: it has more.
    """
    counted = min(max_bytes, _DENSE_BYTES) + max(0, max_bytes - _DENSE_BYTES) // _LESS_DENSE
    most, most_groups = counted // BYTES_FOR_A_VALUE, max_bytes // BYTES_FOR_A_GROUP
    if (what := excess(data, most, most_groups)) is not None:
        raise ResponseTooLarge(f"the answer has more than {most if what == 'values' else most_groups:,} {what}")


async def check_result(method: str, result: Mapping[str, object]) -> None:
    """Refuse a result with more parts than the portal passes on, or nested deeper.

    Raises:
        ResponseTooLarge: it has more, or is.
    """
    _check_parts(method, result)
    if await off_loop(lambda: too_deep(result, MAX_DEPTH), result):
        raise ResponseTooLarge(f"the result of {method} is nested deeper than {MAX_DEPTH} levels")


def _check_parts(method: str, result: Mapping[str, object]) -> None:
    member, what = _LISTED.get(method, ("", ""))
    parts = result.get(member)
    if not isinstance(parts, list):
        return
    number = len(parts)
    if method == "prompts/get" and number <= MAX_BLOCKS:
        # Some servers put several blocks into one message.
        contents = (part.get("content") for part in parts if isinstance(part, dict))
        number += sum(len(content) for content in contents if isinstance(content, list))
    if number > MAX_BLOCKS:
        raise ResponseTooLarge(f"the result of {method} has {number:,} {what}; the limit is {MAX_BLOCKS:,}")


def bounded_data(data: object) -> object:
    """The data of an error, None if they have too many parts to be passed on."""
    room = MAX_ERROR_VALUES
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict | list):
            room -= len(value)
            if room < 0:
                return None
            pending.extend(value.values() if isinstance(value, dict) else value)
    return data


def too_deep(value: object, limit: int) -> bool:
    """Whether lists and objects in `value` are nested deeper than `limit`. Not recursive, so no depth is too much."""
    level: list[object] = [value]
    for _ in range(limit):
        below: list[object] = []
        for parent in level:
            if isinstance(parent, _NESTED):
                children = parent.values() if isinstance(parent, dict) else parent
                below += [child for child in children if isinstance(child, _NESTED)]
        if not below:
            return False
        level = below
    return True
