"""The databases that tests of the state run on: SQLite in a file, and a PostgreSQL server of their own.

The server is started from the system's binaries on a unix socket in a temporary folder. Where there are none, its
tests are skipped with the reason, or fail when `CODEMODE_REQUIRE_POSTGRES=1`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from portal.state import KeyRing, Store
from portal.state.clock import Clock, utc_now
from tests.patience import PATIENCE
from tests.portal.state.databases import migrated, new_state

NewUrl = Callable[[], str]
Opener = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _binary(name: str) -> str | None:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(newest[-1]) if newest else shutil.which(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """A running server with a migrated database `tables`; what is given is the folder of its socket, user and database
    are `postgres`.
    """
    initdb, server = _binary("initdb"), _binary("postgres")
    if initdb is None or server is None:
        if os.environ.get("CODEMODE_REQUIRE_POSTGRES") == "1":
            pytest.fail("PostgreSQL's initdb and postgres are not on this machine (Debian: apt install postgresql)")
        pytest.skip("PostgreSQL's initdb and postgres are not on this machine")
    # Not under pytest's folder: a socket's path must be short, and an unprivileged user must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    unprivileged: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        unprivileged = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
    data = folder / "data"
    subprocess.run(
        [*unprivileged, initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
    )
    settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "full_page_writes=off"]
    options = [word for setting in settings for word in ("-c", setting)]
    process = subprocess.Popen([*unprivileged, server, "-D", str(data), *options], stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_answers(folder, process))
        asyncio.run(_run_sql(folder, "CREATE DATABASE tables"))
        asyncio.run(migrated(f"postgresql://postgres@/tables?host={folder}"))
        yield folder
    finally:
        # Fast shutdown: it does not wait for connections.
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


async def _answers(folder: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "the PostgreSQL server ended"
        try:
            await _run_sql(folder, "SELECT 1")
        except (SQLAlchemyError, OSError):
            await asyncio.sleep(0.05)
        else:
            return
    raise TimeoutError("the PostgreSQL server does not answer")


async def _run_sql(folder: Path, statement: str) -> None:
    url = f"postgresql+asyncpg://postgres@/postgres?host={folder}"
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


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
    asyncio.run(_run_sql(folder, f"CREATE DATABASE {name} TEMPLATE {template}"))
    return f"postgresql://postgres@/{name}?host={folder}"


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing.open(tmp_path / "state.key")


@pytest.fixture
def opened(url: str, keys: KeyRing) -> Opener:
    """Opens the test's database: once more each time it is called, as another process would."""

    def open_store(clock: Clock = utc_now) -> AbstractAsyncContextManager[Store]:
        return Store.open(url, keys, clock=clock)

    return open_store
