"""The databases that tests of the state run on: SQLite in a file, and a PostgreSQL server of their own.

The server is started from the system's binaries on a unix socket in a temporary folder. Where there are none, its
tests are skipped with the reason, or fail when `CODEMODE_REQUIRE_POSTGRES=1`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from portal.state import KeyRing, Store
from portal.state.clock import Clock, utc_now
from tests.portal.state.databases import migrated, new_state
from tests.portal.state.postgresql import postgres_server, run_on_server

NewUrl = Callable[[], str]
Opener = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """A running server with a migrated database `tables`; what is given is the folder of its socket, user and database
    are `postgres`.
    """
    with postgres_server() as server:
        asyncio.run(run_on_server(server.folder, "CREATE DATABASE tables"))
        asyncio.run(migrated(f"postgresql://postgres@/tables?host={server.folder}"))
        yield server.folder


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database; the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return new_state(tmp_path)
    folder: Path = request.getfixturevalue("postgres")
    return new_postgres_database(folder)


def new_postgres_database(folder: Path, template: str = "tables") -> str:
    """The URL of a new database, with the tables of a portal unless the template is another."""
    name = f"state_{uuid.uuid4().hex}"
    asyncio.run(run_on_server(folder, f"CREATE DATABASE {name} TEMPLATE {template}"))
    return f"postgresql://postgres@/{name}?host={folder}"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For a socket, whose path must be short."""
    with TemporaryDirectory(prefix="pg") as folder:
        yield Path(folder)


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "state.key")


@pytest.fixture
def opened(url: str, keys: KeyRing) -> Opener:
    """Opens the test's database: once more each time it is called, as another process would."""

    def open_store(clock: Clock = utc_now) -> AbstractAsyncContextManager[Store]:
        return Store.open(url, keys, clock=clock)

    return open_store
