"""Ours, parked in PostgreSQL: `parked` with a server of its own, which waits for the disk, over a unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from benchmarks.cases import Case, Reading, Unavailable
from benchmarks.subjects.parked import reading
from portal.state import KeyRing, Store
from tests.portal.state.postgresql import PostgresServer, postgres_server


def cases() -> Mapping[str, Case | Reading]:
    return {"both": reading(opened, "both")}


@contextmanager
def server_of_this_run() -> Iterator[PostgresServer]:
    """A server that waits for the disk. Raises `Unavailable` where it is not installed."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(postgres_server(waits_for_disk=True))
        except (pytest.skip.Exception, pytest.fail.Exception) as absent:
            raise Unavailable(str(absent)) from None
        yield server


@asynccontextmanager
async def opened() -> AsyncIterator[Store]:
    with ExitStack() as stack:
        keys = stack.enter_context(TemporaryDirectory(prefix="codemode-bench-"))
        server = await asyncio.to_thread(stack.enter_context, server_of_this_run())
        url = f"postgresql://postgres@/postgres?host={server.folder}"
        async with Store.open(url, KeyRing.open(Path(keys) / "state.key")) as store:
            yield store
