"""A command on a terminal: what it shows, and how it ends. The terminal is a pseudo terminal of the system."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path
from types import MappingProxyType

from tests.patience import PATIENCE

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x07")


class Terminal:
    """A command whose standard error, and with `output` its standard output too, is a terminal."""

    def __init__(
        self,
        folder: Path,
        *command: str,
        environment: Mapping[str, str] = MappingProxyType({}),
        columns: int = 80,
        output: bool = True,
        program: str = sys.executable,
    ) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        # No TERM of the machine on which the tests run, and none of its NO_COLOR.
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
        self.process = subprocess.Popen(
            [program, *command],
            cwd=folder,
            stdin=slave,
            stdout=slave if output else subprocess.DEVNULL,
            stderr=slave,
            env={**kept, "HOME": str(folder), "TERM": "xterm-256color", **environment},
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),  # Shells want to control their terminal.
        )
        os.close(slave)
        self.shown = ""

    def until(self, words: str) -> str:
        """Read until these words were shown, or to the end."""
        while words not in self.shown and words not in self.words and self._read():
            pass
        return self.shown

    def rest(self) -> str:
        """Read to the end; everything that was shown."""
        while self._read():
            pass
        self.process.wait()
        return self.shown

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    @property
    def words(self) -> str:
        """What was shown, without control sequences."""
        return _ESCAPES.sub("", self.shown)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        assert ready, f"nothing more was shown than: {self.words!r}"
        try:
            found = os.read(self._master, 65536)
        except OSError:  # Linux: the other side is closed.
            return False
        self.shown += found.decode("utf-8", "replace")
        return bool(found)
