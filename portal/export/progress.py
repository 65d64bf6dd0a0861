"""How far each job is, in the database of the log: a row of a table of its own, written by whichever process has the
job's lease.

A batch is named before it is sent for the first time: `first` and `last` stay until it is delivered or refused, so that
the next process sends the same rows under the same name. Synchronous, over one connection (`LogDatabase.write`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    String,
    Table,
    Text,
    Update,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from portal.logs import Leaving

metadata = MetaData()
_LOCK = 0x636F_6465_6578_706F
MOST_REFUSALS = 100
"""Refused batches that are remembered of each job."""

exports = Table(
    "exports",
    metadata,
    Column("job", String(64), primary_key=True),
    # The id of the last row that was delivered, passed over or refused.
    Column("cursor", BigInteger, nullable=False),
    # The batch that is on its way, 0 if none is.
    Column("first", BigInteger, nullable=False, default=0),
    Column("last", BigInteger, nullable=False, default=0),
    Column("holder", String(64), nullable=False, default=""),
    Column("until", BigInteger, nullable=False, default=0),
    Column("batches", BigInteger, nullable=False, default=0),
    Column("rows", BigInteger, nullable=False, default=0),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("refused_batches", BigInteger, nullable=False, default=0),
    Column("refused_rows", BigInteger, nullable=False, default=0),
    Column("lost_rows", BigInteger, nullable=False, default=0),
    Column("completed_at", BigInteger, nullable=False, default=0),
    Column("failed_at", BigInteger, nullable=False, default=0),
    Column("error", Text, nullable=False, default=""),
    # By its receiver, with a job that stops then; the revision of the job that has stopped.
    Column("stopped", BigInteger, nullable=False, default=0),
)

refusals = Table(
    "export_refusals",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class RefusedBatch:
    """A batch that its receiver refuses, or a part of it: it is skipped, and these rows are not there. `at` is in
    microseconds since 1970."""

    first: int
    last: int
    rows: int
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How far a job is. Times are microseconds since 1970, 0 for never. `error` is why it fails at the moment, "" while
    it does not. `stopped` is the revision of the job that has stopped because a batch was refused, 0 while none has."""

    cursor: int
    first: int = 0
    last: int = 0
    batches: int = 0
    rows: int = 0
    bytes: int = 0
    refused_batches: int = 0
    refused_rows: int = 0
    lost_rows: int = 0
    completed_at: int = 0
    failed_at: int = 0
    error: str = ""
    stopped: int = 0


_READ = [exports.c[name] for name in ExportProgress.__dataclass_fields__]


def prepare(connection: Connection) -> None:
    """Make the tables if they are not there."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    metadata.create_all(connection)


def claim(connection: Connection, job: str, holder: str, start: int, seconds: float) -> ExportProgress | None:
    """The progress of a job, which `holder` alone may work on for so many seconds; None while another one may. A job
    that has none yet begins behind the row `start`."""
    if connection.execute(select(exports.c.job).where(exports.c.job == job)).first() is None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if connection.execute(select(exports.c.job).where(exports.c.job == job)).first() is None:
            connection.execute(insert(exports).values(job=job, cursor=start))
    now = _now(connection)
    free = (exports.c.holder == "") | (exports.c.until <= now) | (exports.c.holder == holder)
    taken = update(exports).where(exports.c.job == job, free)
    if connection.execute(taken.values(holder=holder, until=now + int(seconds * 1_000_000))).rowcount != 1:
        return None
    return ExportProgress(*connection.execute(select(*_READ).where(exports.c.job == job)).one())


def renew(connection: Connection, job: str, holder: str, seconds: float) -> bool:
    """Whether `holder` still has the job, which is then its own for so many seconds more."""
    until = _now(connection) + int(seconds * 1_000_000)
    return connection.execute(_held(job, holder).values(until=until)).rowcount == 1


def release(connection: Connection, job: str, holder: str) -> None:
    """Let others have the job at once."""
    connection.execute(_held(job, holder).values(holder="", until=0))


def begin(connection: Connection, job: str, holder: str, first: int, last: int) -> bool:
    """Name the batch that is sent now. False if another one has the job."""
    return connection.execute(_held(job, holder).values(first=first, last=last)).rowcount == 1


def fail(connection: Connection, job: str, holder: str, error: str) -> bool:
    """Note that the batch was not taken. False if another one has the job."""
    noted = {"failed_at": _now(connection), "error": error}
    return connection.execute(_held(job, holder).values(noted)).rowcount == 1


def deliver(
    connection: Connection, job: str, holder: str, last: int, *, rows: int, size: int, refused: RefusedBatch | None
) -> bool:
    """Go on behind `last`: `rows` rows of `size` bytes are delivered; none with 0. `refused` is what the receiver did
    not take of them. False if another one has the job."""
    reached: dict[str, object] = {"cursor": last, "first": 0, "last": 0}
    if rows or refused is None:
        reached |= {"error": "", "failed_at": 0}
    if rows:
        reached |= {"batches": exports.c.batches + 1, "rows": exports.c.rows + rows, "bytes": exports.c.bytes + size}
        reached |= {"completed_at": _now(connection)}
    if refused is not None:
        reached |= {"refused_batches": exports.c.refused_batches + 1}
        reached |= {"refused_rows": exports.c.refused_rows + refused.rows}
    if connection.execute(_held(job, holder).values(reached)).rowcount != 1:
        return False
    if refused is not None:
        _remember(connection, job, refused)
    return True


def stop(connection: Connection, job: str, holder: str, revision: int) -> bool:
    """Note that this revision of the job does nothing any more. False if another one has the job."""
    return connection.execute(_held(job, holder).values(stopped=revision)).rowcount == 1


def forget(connection: Connection, job: str) -> None:
    """Remove what is known of a job."""
    for table in (exports, refusals):
        connection.execute(delete(table).where(table.c.job == job))


def read_progress(connection: Connection) -> Mapping[str, ExportProgress]:
    """How far each job is."""
    found = connection.execute(select(exports.c.job, *_READ))
    return {job: ExportProgress(*values) for job, *values in found}


def read_refusals(connection: Connection, job: str) -> Sequence[RefusedBatch]:
    """The batches of a job that were refused, the newest first."""
    columns = [refusals.c[name] for name in RefusedBatch.__dataclass_fields__]
    query = select(*columns).where(refusals.c.job == job).order_by(refusals.c.first.desc()).limit(MOST_REFUSALS)
    return [RefusedBatch(*found) for found in connection.execute(query)]


def count_lost(connection: Connection, leaving: Leaving) -> None:
    """Count, for each job that is not behind them yet, the rows that are removed now."""
    for job, cursor in connection.execute(select(exports.c.job, exports.c.cursor)).all():
        if cursor < leaving.until and (lost := leaving.count_after(connection, cursor)):
            connection.execute(update(exports).where(exports.c.job == job).values(lost_rows=exports.c.lost_rows + lost))


def _remember(connection: Connection, job: str, refused: RefusedBatch) -> None:
    # A part of a batch may be refused, and all of it later.
    connection.execute(delete(refusals).where(refusals.c.job == job, refusals.c.first == refused.first))
    values = {name: getattr(refused, name) for name in RefusedBatch.__dataclass_fields__}
    connection.execute(insert(refusals).values(job=job, **values))
    kept = select(refusals.c.first).where(refusals.c.job == job).order_by(refusals.c.first.desc()).limit(MOST_REFUSALS)
    oldest = connection.execute(select(func.min(kept.subquery().c.first))).scalar()
    connection.execute(delete(refusals).where(refusals.c.job == job, refusals.c.first < oldest))


def _held(job: str, holder: str) -> Update:
    mine: ColumnElement[bool] = (exports.c.job == job) & (exports.c.holder == holder)
    return update(exports).where(mine)


def _now(connection: Connection) -> int:
    """Microseconds since 1970: of the server, whose clock is the same for all processes."""
    if connection.dialect.name == "postgresql":
        clock = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
        return int(connection.execute(clock).scalar() or 0)
    return time.time_ns() // 1000
