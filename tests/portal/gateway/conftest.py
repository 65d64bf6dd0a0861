"""A detector for the tests of this folder. What it is made of is compiled once for all of pytest's workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.dlp import Detector, Profile
from tests.once import once
from tests.portal.dlp.conftest import KEY
from tests.portal.gateway.searching import Searching


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled catalog."""

    def compiled() -> str:
        made = tmp_path_factory.mktemp("rules")
        Detector([Profile("credentials")], key=KEY, folder=made)
        return str(made)

    return Path(once(tmp_path_factory, "dlp-rules", compiled))


@pytest.fixture(scope="session")
def made(folder: Path) -> Searching:
    return Searching(folder)


@pytest.fixture
def searching(made: Searching) -> Searching:
    """The detector, which was asked nothing yet."""
    made.asked.clear()
    made.away = False
    return made


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
