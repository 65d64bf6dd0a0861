"""The home directory of tests: a temporary folder, for the tests and for every process that they start.

The portal keeps its state, logs and keys below the home directory of whoever runs it, and commands write there what
clients read. None of that may be a developer's. Caches stay where they are: what is in them takes minutes to make, and
is the same for everybody. Programs of others that find themselves by the home directory are told where they are.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

REAL = "CODEMODE_TESTS_REAL_HOME"
"""The variable that says to pytest's workers which home directory is the real one."""
_DERIVED = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
# Where programs of others are, or their settings, when nothing says otherwise.
_FOUND_BY_HOME = {
    "PYENV_ROOT": ".pyenv",
    "NVM_DIR": ".nvm",
    "VOLTA_HOME": ".volta",
    "ASDF_DATA_DIR": ".asdf",
    "CARGO_HOME": ".cargo",
    "RUSTUP_HOME": ".rustup",
    "NPM_CONFIG_USERCONFIG": ".npmrc",
    "NPM_CONFIG_CACHE": ".npm",
    "PIP_CONFIG_FILE": ".config/pip/pip.conf",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def move_out(environment: MutableMapping[str, str]) -> Path | None:
    """Give the variables a new home directory, which is returned; None if they have one already: a worker of pytest
    has that of the session."""
    if REAL in environment:
        return None
    real, made = Path.home(), Path(tempfile.mkdtemp(prefix="codemode-home-"))
    environment.setdefault("XDG_CACHE_HOME", str(real / ".cache"))
    for name, place in _FOUND_BY_HOME.items():
        if (real / place).exists():
            environment.setdefault(name, str(real / place))
    for name in _DERIVED:
        environment.pop(name, None)
    environment.update({"HOME": str(made), REAL: str(real)})
    return made


def move_back(made: Path, environment: MutableMapping[str, str]) -> None:
    """The real home directory is that of the variables again, and the temporary one is gone."""
    environment["HOME"] = environment.pop(REAL)
    shutil.rmtree(made, ignore_errors=True)


class HomeWatch:
    """Notes what this process would leave in the real home directory, and refuses it. `found` has it as sentences."""

    def __init__(self, real: Path, allowed: tuple[Path, ...]) -> None:
        self.found: list[str] = []
        self._real = f"{real}/"
        self._allowed = tuple(f"{folder}/" for folder in allowed)

    @classmethod
    def of(cls, environment: Mapping[str, str], root: Path) -> HomeWatch:
        """A watch over the real home directory, but for caches, this repository, and Python itself."""
        real = Path(environment[REAL])
        named = [environment[name] for name in ("XDG_CACHE_HOME", *_FOUND_BY_HOME) if name in environment]
        own = [tempfile.gettempdir(), sys.prefix, sys.base_prefix, *named]
        return cls(real, (root, *map(Path, own)))

    def start(self) -> None:
        """Watch from now on, for as long as this process lives."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(flags, int) and flags & _WRITES and self._is_home(path):
                self._refuse(f"{path!r} is opened to be written")
        elif event == "os.mkdir" and self._is_home(arguments[0]):
            self._refuse(f"the folder {arguments[0]!r} is made")
        elif event == "sqlite3.connect" and self._is_home(arguments[0]):
            self._refuse(f"the database {arguments[0]!r} is opened")
        elif event == "subprocess.Popen":
            variables = arguments[3]
            given = variables if isinstance(variables, Mapping) else os.environ
            home = given.get("HOME")
            if home is not None and f"{home}/" == self._real:
                self._refuse(f"{arguments[1]!r} is started in it")

    def _is_home(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        written = os.fsdecode(path)
        return written.startswith(self._real) and not written.startswith(self._allowed)

    def _refuse(self, what: str) -> None:
        text = f"A test keeps to its own home directory, and not to {self._real}: {what}."
        self.found.append(text)
        raise RuntimeError(text)
