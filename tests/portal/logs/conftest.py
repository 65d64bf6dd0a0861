"""The databases that tests of the log run on: SQLite in a file, and a PostgreSQL server of their own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.logs import LogPlace
from tests.portal.state.postgresql import postgres_server, run_on_server


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The folder of the socket of a running server."""
    with postgres_server() as server:
        yield server.folder


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> LogPlace:
    """A place for a new log; the test runs on SQLite and on PostgreSQL."""
    url = f"sqlite:///{tmp_path}/logs.db"
    if request.param == "postgresql":
        folder: Path = request.getfixturevalue("postgres")
        name = f"logs_{uuid.uuid4().hex}"
        asyncio.run(run_on_server(folder, f"CREATE DATABASE {name}"))
        url = f"postgresql://postgres@/{name}?host={folder}"
    return LogPlace(url=url, folder=tmp_path)
