"""People, a call, and a store with approvals, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from portal.access import ApprovalGroup, ApprovalRule
from portal.approvals import ApprovalNeed, Approvals, Decider
from portal.logs import LogRow
from portal.state import KeyRing, Store
from tests.portal.state.databases import new_state

ADA = Decider(subject="ada", email="ada@example.com", via="browser")
BOB = Decider(subject="bob", email="bob@example.com", via="browser")
CAROL = Decider(subject="carol", email="carol@example.com", via="browser")
DAN = Decider(subject="dan", email="dan@example.com", via="api")
EVE = Decider(subject="eve", email="eve@elsewhere.example", via="browser")
ADMIN = Decider(subject="root", email="root@example.com", via="browser", administers=True)


def group(needed: int, *names: str) -> ApprovalGroup:
    return ApprovalGroup(needed, frozenset(f"{name}@example.com" for name in names))


def rule(*groups: ApprovalGroup, **more: Any) -> ApprovalRule:
    """A rule of these groups, or of the person without any."""
    values = {"policy": "p", "policy_name": "Payments", "revision": "1", "by": "group" if groups else "person"}
    return ApprovalRule(**{**values, "groups": groups, **more})


def need(by: ApprovalRule, **more: Any) -> ApprovalNeed:
    """A call of Ada's that needs an approval."""
    values: dict[str, Any] = {
        "portal": "",
        "subject": "ada",
        "email": "ada@example.com",
        "client": "agent",
        "run": "exec_1",
        "call": 1,
        "server": "bank",
        "tool": "pay",
        "arguments": {"amount": 500, "to": "planted-secret-account"},
    }
    return ApprovalNeed(**{**values, "rule": by, **more})


class Time:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, **time: float) -> None:
        self.now += timedelta(**time)


class Noted:
    """Events that were written."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []

    def write(self, row: LogRow) -> None:
        self.rows.append(row)


class Desk:
    """Approvals over a store of their own."""

    def __init__(self, approvals: Approvals, store: Store, time: Time, events: Noted) -> None:
        self.approvals = approvals
        self.store = store
        self.time = time
        self.events = events


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    time, events = Time(), Noted()
    async with Store.open(new_state(folder), KeyRing.open(folder / "state.key"), clock=time) as store:
        async with Approvals(store, events, time) as approvals:
            yield Desk(approvals, store, time, events)
