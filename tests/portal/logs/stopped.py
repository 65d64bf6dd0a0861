"""A log whose database does not answer for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from portal.logs import LogDatabase, LogUnavailable

T = TypeVar("T")


@asynccontextmanager
async def stopped(database: LogDatabase) -> AsyncIterator[asyncio.Event]:
    """Questions wait until the event is set, and then fail."""
    gone = asyncio.Event()

    async def read(work: Callable[[Connection], T], seconds: float = 0) -> T:
        await gone.wait()
        raise LogUnavailable("the disk is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "read", read)
        yield gone
