"""What tests of parked runs begin with: a run to park, a call to start, a clock that is set by hand."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from portal.state import CallEffect, CallStart, FinishedRun, Parking, ParkReason, RunDocument, WaitOfRun

LEASE = timedelta(seconds=30)
DAY = timedelta(days=1)


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = datetime(2026, 11, 28, 12, tzinfo=UTC) if now is None else now

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def parking(
    id: str,
    now: datetime,
    *,
    subject: str = "ann",
    portal: str = "main",
    client: str = "editor",
    reason: ParkReason = "login",
    waits: int = 0,
    wake_in: float | None = None,
    expires_in: timedelta = DAY,
) -> Parking:
    return Parking(
        id=id,
        portal=portal,
        subject=subject,
        client=client,
        reason=reason,
        wake_at=None if wake_in is None else now + timedelta(seconds=wake_in),
        expires_at=now + expires_in,
        document=RunDocument(calls=2, waits=tuple(WaitOfRun(kind="approval", tool="shop.buy") for _ in range(waits))),
    )


def call_start(call: int, effect: CallEffect = "effect", arguments: bytes = b'{"n":1}') -> CallStart:
    return CallStart(
        call=call,
        seq=call,
        server="shop",
        tool="buy",
        effect=effect,
        digest=hashlib.sha256(arguments).digest(),
        arguments=arguments,
    )


def completed(now: datetime, result: bytes | None = b"3") -> FinishedRun:
    return FinishedRun("completed", now + DAY, RunDocument(calls=3), result)
