"""A database with people, runs that are kept and calls that wait for approvals, for commands that work on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from portal.app import open_store
from portal.approvals import Approval, Approvals
from portal.identity import Identity
from portal.login import Administrators, Passwords, People
from portal.state import Store
from tests.portal.approvals.people import group, need, rule
from tests.portal.login.guarded import PASSWORD, QUICK
from tests.portal.state.run_parts import parking

ADA, BOB, ROOT = "ada@example.com", "bob@example.com", "root@example.com"
TEAM = rule(group(1, "bob", "carol"))
BIDI = 'to "alice"\u202e\x1b[2K\u200b\x9b'
T = TypeVar("T")


def state_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'state.db'}"


def in_store(folder: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    """What is done with the store of this folder."""

    async def done() -> T:
        async with open_store(state_in(folder)) as store:
            return await work(store)

    return asyncio.run(done())


def with_people(folder: Path) -> None:
    """Ada and Bob have signed in, and there is an administrator."""

    async def made(store: Store) -> None:
        for address in (ADA, BOB):
            name = address.partition("@")[0]
            await People(store).note(Identity(id=f"okta:{name}", email=address, idp_id="okta", idp_type="okta"))
        await Administrators(store, Passwords(QUICK)).create(ROOT, "Root", PASSWORD, by="test", role="admin")

    in_store(folder, made)


def asked(folder: Path, by: Any = TEAM, **more: Any) -> Approval:
    """The approval that a call of Ada's asks for."""

    async def requested(store: Store) -> Approval:
        return await Approvals(store).request(need(by, **{"subject": "okta:ada", "email": ADA, **more}))

    return in_store(folder, requested)


def approval(folder: Path, id: str) -> Approval:
    async def read(store: Store) -> Approval:
        return await Approvals(store).get(id)

    return in_store(folder, read)


def parked(folder: Path, id: str, **more: Any) -> None:
    """A run of Ada's that is parked."""

    async def parked_so(store: Store) -> None:
        await store.runs.park(parking(id, datetime.now(UTC), subject="okta:ada", **more), b"checkpoint")

    in_store(folder, parked_so)
