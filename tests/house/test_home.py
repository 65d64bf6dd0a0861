"""No test reads or changes what is in the home directory of whoever runs it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from portal.app import state_home
from tests.home import REAL, HomeWatch, move_back, move_out


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder that stands for a home directory from now on. Nothing outside it is watched."""
    folder = tmp_path / "home"
    (folder / "src").mkdir(parents=True)
    (folder / "kept").write_text("x")
    return folder


@pytest.fixture
def watch(real: Path) -> HomeWatch:
    made = HomeWatch(real, (real / "src",))
    made.start()
    return made


def test_tests_and_the_processes_that_they_start_have_a_home_directory_of_their_own() -> None:
    homes = {Path.home(), Path(subprocess.check_output([sys.executable, "-c", SAYS_HOME], text=True).strip())}
    assert homes == {Path(os.environ["HOME"])} and Path(os.environ[REAL]) not in homes
    assert state_home().is_relative_to(Path.home())


def test_whatever_a_test_would_leave_in_the_real_home_directory_is_refused(real: Path, watch: HomeWatch) -> None:
    for leave in (
        lambda: (real / "file").write_text("x"),
        lambda: os.open(real / "file", os.O_CREAT | os.O_WRONLY),
        lambda: (real / "folder").mkdir(),
        lambda: sqlite3.connect(real / "state.db"),
        lambda: subprocess.run([sys.executable, "-c", ""], env={"HOME": str(real)}, check=True),
    ):
        with pytest.raises(RuntimeError, match="keeps to its own home directory"):
            leave()
    assert len(watch.found) == 5 and {path.name for path in real.iterdir()} == {"kept", "src"}


def test_reading_there_and_writing_where_it_is_allowed_are_not(real: Path, watch: HomeWatch) -> None:
    assert (real / "kept").read_text() == "x"
    (real / "src" / "file").write_text("x")
    assert watch.found == []


def test_programs_that_are_found_by_the_home_directory_are_found_in_the_real_one(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(real))
    (real / ".npmrc").touch()
    variables = {"HOME": str(real), "XDG_STATE_HOME": "/elsewhere"}
    made = move_out(variables)
    assert made is not None and made.is_dir() and move_out(variables) is None
    assert variables == {
        "HOME": str(made),
        REAL: str(real),
        "XDG_CACHE_HOME": f"{real}/.cache",
        "NPM_CONFIG_USERCONFIG": f"{real}/.npmrc",
    }
    move_back(made, variables)
    assert variables["HOME"] == str(real) and REAL not in variables and not made.exists()


SAYS_HOME = "from pathlib import Path; print(Path.home())"
