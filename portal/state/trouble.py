"""The trouble that a database is in: what an error says of it, who is refused meanwhile, and what is logged.

A trouble begins with the first error that is about the database and not about what was asked. It ends when a read and a
write have shown that the database is well. In between nobody waits for what others have waited for in vain.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from time import monotonic

import structlog
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from portal.state.errors import StateUnavailable

SLOW_SECONDS = 0.5
"""After a failure that took longer, callers are refused at once until the database is well."""
QUIET_SECONDS = 2.0
"""A trouble is over when nothing has failed for so long: on a full disk small writes go through while large ones
fail."""
MAX_REASONS = 5

GONE = "its file was deleted, or another one is in its place"
BUSY = "another process holds its lock"
SILENT = "it does not answer in time"
FULL = "the disk is full"
DAMAGED = ("the file is damaged", "the file is no database")
UNDONE = (BUSY, FULL, GONE)
"""With these, a commit that failed has not happened."""

# https://sqlite.org/rescode.html, the primary codes.
_SQLITE = {
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_PROTOCOL: BUSY,
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_PERM: "its file may not be opened",
    sqlite3.SQLITE_AUTH: "its file may not be opened",
    sqlite3.SQLITE_IOERR: "the disk gives an error",
    sqlite3.SQLITE_CORRUPT: DAMAGED[0],
    sqlite3.SQLITE_NOTADB: DAMAGED[1],
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened",
    sqlite3.SQLITE_NOMEM: "the memory is full",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html, the longest that fits.
_POSTGRESQL = {
    "08": "the connection was lost",
    "25006": "it takes no writes: it is a standby, or set to read only",
    "28": "it does not let the portal in",
    "3D000": "the server has no such database",
    "42P01": "its tables are gone",
    "42501": "it does not let the portal in",
    "53": "the server is out of resources",
    "53100": FULL,
    "53300": "the server takes no more connections",
    "55": "the server does not take it just now",
    "55P03": BUSY,
    "57": "the server ended the query",
    "57014": SILENT,
    "57P01": "the server was stopped",
    "57P02": "the server crashed",
    "57P03": "the server is starting, stopping or recovering",
    "58": "the server has a fault of its system",
    "XX": "the server has a fault, or its data are damaged",
}


class LockHeld(TimeoutError):
    """Somebody waited for the lock of another process, as long as anybody waits."""


class FileDamaged(OSError):
    """The file of SQLite is not as SQLite wrote it, and SQLite has no code for what is wrong."""


def reason_of(error: BaseException) -> str | None:
    """What an error says of the database, for people; None for one that tells of what was asked instead.

    It quotes nothing: the words of a database may have in them what was to be stored.
    """
    original = getattr(error, "orig", None) or error
    if isinstance(original, sqlite3.Error):
        if "no such table" in str(original):
            return "its tables are gone"
        return _SQLITE.get((getattr(original, "sqlite_errorcode", None) or 0) & 0xFF)
    if state := getattr(original, "sqlstate", None) or "":
        return next((_POSTGRESQL[state[:n]] for n in (5, 2) if state[:n] in _POSTGRESQL), None)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return "the connection was lost"
    if isinstance(original, FileNotFoundError):
        return GONE
    if isinstance(original, FileDamaged):
        return DAMAGED[0]
    if isinstance(original, LockHeld):
        return BUSY
    if isinstance(original, TimeoutError | NoConnectionLeft):
        return SILENT
    if isinstance(original, OSError):
        return f"it cannot be reached ({type(original).__name__})"
    if isinstance(error, OperationalError) or is_of_driver(original):
        return "the connection was lost"
    return None


def is_of_value(error: BaseException) -> bool:
    """Whether the database does not take a value of what was asked: whoever asked is at fault."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    return isinstance(error, DataError) or state.startswith("22")


def is_failure(error: BaseException) -> bool:
    """Whether the database raised it, its driver, or the way to it."""
    return isinstance(error, SQLAlchemyError | OSError | TimeoutError) or is_of_driver(error)


def is_of_driver(error: BaseException) -> bool:
    """Whether PostgreSQL's driver raised it itself: while it connects, nobody translates its errors."""
    return type(error).__module__.partition(".")[0] == "asyncpg"


class Trouble:
    """The trouble of one database, which `name` names to the operator. `began` is called when one begins.

    `reads_fail` says whether reading fails too.
    """

    def __init__(self, name: str, began: Callable[[], None], clock: Callable[[], float] = monotonic) -> None:
        self.reads_fail = False
        self.reasons: list[str] = []
        self._name = name
        self._began = began
        self._clock = clock
        self._since: float | None = None
        self._failed_at = 0.0
        self._refused = 0
        self._slow_reads = False
        self._slow_writes = False
        self._log = structlog.get_logger("portal.state")

    def __bool__(self) -> bool:
        return self._since is not None

    def refuse(self, *, writes: bool) -> StateUnavailable | None:
        """The refusal for somebody who would wait in vain."""
        if not (self._slow_writes if writes else self._slow_reads):
            return None
        return self.error(self.reasons[-1])

    def error(self, reason: str, *, may_have_happened: bool = False) -> StateUnavailable:
        message = f"the database at {self._name} did not answer: {reason}"
        return StateUnavailable(message, ran="unknown" if may_have_happened else "no", reason=reason)

    def failed(self, reason: str, *, writes: bool, seconds: float) -> None:
        """Something failed after so many seconds, for this reason."""
        self._failed_at = self._clock()
        self.reads_fail |= not writes
        if seconds >= SLOW_SECONDS:
            self._slow_writes = True
            self._slow_reads |= not writes
        if reason not in self.reasons and len(self.reasons) < MAX_REASONS:
            self.reasons.append(reason)
        if self._since is None:
            self._since = self._failed_at
            what = "nothing can be read" if self.reads_fail else "nothing can be stored, reading goes on"
            self._log.error(f"the database is in trouble: {what}", database=self._name, reason=reason)
            self._began()

    def refused(self) -> None:
        """Somebody was told that the database is in trouble."""
        self._refused += 1

    def reads(self) -> None:
        """Reading has worked again."""
        self._slow_reads = self.reads_fail = False

    def over(self) -> bool:
        """Reading and writing have worked again. Whether that ends the trouble."""
        self._slow_reads = self._slow_writes = False
        if self._since is None or self._clock() < self._failed_at + QUIET_SECONDS:
            return self._since is None
        seconds, reasons = round(self._clock() - self._since, 1), "; ".join(self.reasons)
        self._log.warning(
            "the database is well again", database=self._name, seconds=seconds, refused=self._refused, reasons=reasons
        )
        self._since, self.reads_fail, self._refused = None, False, 0
        self.reasons.clear()
        return True
