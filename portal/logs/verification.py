"""Whether the log is as it was written: every batch, every link of the chain, every signature.

Synchronous, over one connection (`LogDatabase.read`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection, func, select

from portal.logs.chain import START, Checkpoint, digest_of, is_signed, linked
from portal.logs.schema import ROW_COLUMNS, as_written, batches, calls, checkpoints, writers

MOST_FAULTS = 20
_SOME = 1_000


@dataclass(slots=True)
class Verification:
    """What was found. `faults` are sentences, at most `MOST_FAULTS`. `signed` is how many rows a trusted signature
    covers, `unsigned` how many came after the last one. `keys` are the public keys that have signed, in hexadecimal."""

    rows: int = 0
    batches: int = 0
    checkpoints: int = 0
    signed: int = 0
    unsigned: int = 0
    dropped: int = 0
    keys: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.faults

    def fault(self, words: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(words)


def verify(
    connection: Connection, trusted: Collection[bytes], progress: Callable[[int, int], object] = lambda done, of: None
) -> Verification:
    """Recompute the chain, and compare it with what is stored. `trusted` are the public keys whose signatures count;
    those of others are faults. `progress` is called with how many batches are done, of how many."""
    report = Verification()
    total = int(connection.execute(select(func.count()).select_from(batches)).scalar() or 0)
    signatures = _signatures(connection, trusted, report)
    previous: bytes | None = None
    number = last_id = covered = 0
    for n, first, last, count, digest, hash in _batches(connection):
        if previous is None:
            previous, number, last_id = _begin(n, signatures, report), n - 1, first - 1
            _check_gap(connection, 0, first, report)
        if n != number + 1:
            report.fault(f"batches {number + 1} to {n - 1} are missing")
        _check_gap(connection, last_id, first, report)
        rows = _rows(connection, first, last)
        if len(rows) != count:
            report.fault(f"batch {n} has {len(rows)} rows and had {count} when it was written")
        elif digest_of(orjson.dumps(as_written(row)) for row in rows) != digest:
            report.fault(f"a row of batch {n} (ids {first} to {last}) was changed")
        if linked(previous, digest) != hash:
            report.fault(f"batch {n} does not follow from the one before it")
        if (signed := signatures.get(n)) is not None:
            if signed != hash:
                report.fault(f"batch {n} is not the one that was signed")
            covered = report.rows + len(rows)
        previous, number, last_id = hash, n, last
        report.rows += len(rows)
        report.batches += 1
        progress(report.batches, total)
    if signatures and max(signatures) > number:
        report.fault(f"batches {number + 1} to {max(signatures)} were signed and are missing")
    _check_gap(connection, last_id, None, report)
    report.signed, report.unsigned = covered, report.rows - covered
    _check_writers(connection, report)
    return report


def _batches(connection: Connection) -> Iterator[tuple[int, int, int, int, bytes, bytes]]:
    """All batches in order, some at a time."""
    n = -1
    columns = (batches.c[name] for name in ("first", "last", "digest", "hash"))
    query = select(batches.c.n, batches.c.count.label("rows"), *columns).order_by(batches.c.n).limit(_SOME)
    while found := connection.execute(query.where(batches.c.n > n)).all():
        for one in found:
            yield one.n, one.first, one.last, one.rows, one.digest, one.hash
        n = found[-1].n


def _rows(connection: Connection, first: int, last: int) -> Sequence[Sequence[object]]:
    return connection.execute(select(*ROW_COLUMNS).where(calls.c.id.between(first, last)).order_by(calls.c.id)).all()


def _signatures(connection: Connection, trusted: Collection[bytes], report: Verification) -> dict[int, bytes]:
    """The hash that is signed for each batch by a key that is trusted."""
    found: dict[int, bytes] = {}
    for batch, at, hash, public, signature in connection.execute(select(checkpoints)):
        report.checkpoints += 1
        report.keys.add(public.hex())
        if public not in trusted:
            report.fault(f"the checkpoint of batch {batch} is signed by {public.hex()[:16]}…, which is not trusted")
        elif not is_signed(Checkpoint(batch, hash, at), signature, public):
            report.fault(f"the signature of the checkpoint of batch {batch} is not right")
        elif found.setdefault(batch, hash) != hash:
            report.fault(f"two checkpoints of batch {batch} contradict each other")
    return found


def _begin(n: int, signatures: dict[int, bytes], report: Verification) -> bytes:
    """The hash before the first batch that is there: what was older was removed, which was signed."""
    if n == 1:
        return START
    if (signed := signatures.get(n - 1)) is None:
        report.fault(f"batches 1 to {n - 1} are missing, and no signature says where the log began after that")
        return START
    return signed


def _check_gap(connection: Connection, last: int, first: int | None, report: Verification) -> None:
    """Rows between two batches belong to none."""
    between = select(func.count()).select_from(calls).where(calls.c.id > last)
    if first is not None:
        between = between.where(calls.c.id < first)
    if strangers := connection.execute(between).scalar():
        report.fault(f"{strangers} rows with ids after {last} are in no batch: they were added by hand")


def _check_writers(connection: Connection, report: Verification) -> None:
    for instance, number, dropped in _reached(connection):
        report.dropped += dropped
        newest = select(calls.c.number).where(calls.c.instance == instance).order_by(calls.c.id.desc()).limit(1)
        found = connection.execute(newest).scalar()
        if found is not None and found != number:
            report.fault(f"instance {instance[:8]} has written {number} rows, and the last that is there is {found}")


def _reached(connection: Connection) -> Iterator[tuple[str, int, int]]:
    columns = writers.c.instance, writers.c.number, writers.c.dropped
    yield from (tuple(row) for row in connection.execute(select(*columns)))
