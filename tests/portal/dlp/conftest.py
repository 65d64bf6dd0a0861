"""Detectors for the tests of this folder. The catalog is compiled once for all of pytest's workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from portal.dlp import PREDEFINED, Detector, Profile
from tests.once import once

KEY = b"a key of thirty-two bytes, or so"

Make = Callable[..., Detector]


@pytest.fixture(scope="session")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compiled catalog."""

    def compiled() -> str:
        folder = tmp_path_factory.mktemp("rules")
        Detector([Profile("credentials")], key=KEY, folder=folder)
        return str(folder)

    return Path(once(tmp_path_factory, "dlp-rules", compiled))


@pytest.fixture(scope="session")
def make(rules: Path) -> Make:
    """Makes a detector of profiles, each an id or whole."""

    def made(*profiles: str | Profile) -> Detector:
        chosen = [Profile(profile) if isinstance(profile, str) else profile for profile in profiles]
        return Detector(chosen, key=KEY, folder=rules)

    return made


@pytest.fixture(scope="session")
def everything(make: Make) -> Detector:
    """A detector of all predefined profiles."""
    return make(*PREDEFINED)
