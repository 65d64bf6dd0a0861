"""Detectors for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from portal.dlp import PREDEFINED, Detector, Profile

KEY = b"a key of thirty-two bytes, or so"

Make = Callable[..., Detector]


@pytest.fixture(scope="session")
def rules(detection_rules: Path) -> Path:
    """A folder with the compiled catalog."""
    return detection_rules


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
