"""A PostgreSQL server of the tests' own, from the system's binaries, on a unix socket in a temporary folder."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.patience import PATIENCE


def _binary(name: str) -> str | None:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(newest[-1]) if newest else shutil.which(name)


class PostgresServer:
    """One that can be stopped and started again. `folder` is that of its socket; user and database are `postgres`."""

    def __init__(self, folder: Path, server: str, unprivileged: list[str], waits_for_disk: bool) -> None:
        self.folder = folder
        self._waits_for_disk = waits_for_disk
        self._server = server
        self._unprivileged = unprivileged
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
            *(() if self._waits_for_disk else ("fsync=off", "full_page_writes=off")),
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        command = [*self._unprivileged, self._server, "-D", str(self.folder / "data"), *options]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        asyncio.run(_answers(self.folder, self._process))

    def stop(self) -> None:
        """Fast shutdown: it does not wait for connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE)
            self._process = None


@contextmanager
def postgres_server(*, waits_for_disk: bool = False) -> Iterator[PostgresServer]:
    """A running server. One that does not wait for the disk is faster, and loses commits when the machine crashes.

    Where there are no binaries, the test is skipped with the reason, or fails when `CODEMODE_REQUIRE_POSTGRES=1`."""
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
    subprocess.run(
        [*unprivileged, initdb, "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
    )
    started = PostgresServer(folder, server, unprivileged, waits_for_disk)
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _answers(folder: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "the PostgreSQL server ended"
        try:
            await run_on_server(folder, "SELECT 1")
        except (SQLAlchemyError, OSError):
            await asyncio.sleep(0.05)
        else:
            return
    raise TimeoutError("the PostgreSQL server does not answer")


async def run_on_server(folder: Path, *statements: str) -> None:
    """On its database `postgres`."""
    url = f"postgresql+asyncpg://postgres@/postgres?host={folder}"
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()
