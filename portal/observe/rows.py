"""Rows on their way to the log, seen by whoever counts them or makes spans of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from portal.logs import LogRow, RowName

OnRow = Callable[[LogRow, str], None]
"""Called with a row and whose part it counts in. Quick, and never raises."""


class RowRecords(Protocol):
    """Where rows go (`portal.calls.Records`)."""

    def write(self, row: LogRow, holder: str = "") -> RowName | None: ...

    def has_room(self, holder: str = "") -> bool: ...

    async def room(self, holder: str = "") -> None: ...


class ObservedRecords:
    """The records, whose rows `watchers` see after they were taken. The list may change at any time."""

    def __init__(self, records: RowRecords) -> None:
        self.watchers: tuple[OnRow, ...] = ()
        self.has_room = records.has_room
        self.room = records.room
        self._write = records.write

    def write(self, row: LogRow, holder: str = "") -> RowName | None:
        name = self._write(row, holder)
        for watcher in self.watchers:
            watcher(row, holder)
        return name
