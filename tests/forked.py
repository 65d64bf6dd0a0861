"""The `codemode` command as a process of its own that is forked from one which has its imports.

Importing takes a command more than a second each time. That it starts as a shell starts it is tested apart
(`as_process` in tests/portal/cli/command.py, `codemode serve` in tests/end_to_end/test_endings.py).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from portal.cli import main
from tests.patience import PATIENCE

# What `codemode serve` has imported once it serves a portal with identity.
IMPORTED = [
    "portal.cli.commands.serve",
    "portal.cli.commands.state",
    "portal.admin.api.application",
    "portal.app.identity",
    "portal.login.routes",
    "portal.oauth.routes",
    "uvloop",
]


class Forked:
    """A running command: its process id, and what it prints."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["portal.cli", __name__, *IMPORTED])
        self.stdout, printed = _pipe()
        self.stderr, said = _pipe()
        words = {**os.environ, **environment}
        self._process = context.Process(target=_command, args=(arguments, folder, words, printed, said))
        self._process.start()
        printed.close()
        said.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def stop(self) -> int:
        """End it as a service manager would, if it has not ended; its exit code."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        self._process.join(PATIENCE)
        assert self._process.exitcode is not None, "it did not end"
        return self._process.exitcode

    def close(self) -> None:
        """Kill it if it runs, and free what it takes here."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.stdout.close()
        self.stderr.close()


@contextmanager
def forked(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Forked]:
    """A command in this folder, with these variables besides those of the test, until the block ends."""
    command = Forked(arguments, folder or Path.cwd(), environment)
    try:
        yield command
    finally:
        command.close()


def finished(
    *arguments: str, folder: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """A command that has ended, and what it printed."""
    with forked(*arguments, folder=folder, environment=environment) as command:
        said: list[str] = []
        reading = threading.Thread(target=lambda: said.append(command.stderr.read()))
        reading.start()
        printed = command.stdout.read()
        reading.join()
        code = command.wait()
    return subprocess.CompletedProcess(arguments, code, printed, said[0])


def _pipe() -> tuple[TextIO, Connection]:
    read, write = os.pipe()
    return open(read, encoding="utf-8"), Connection(write, readable=False)


def _command(
    arguments: tuple[str, ...], folder: Path, environment: dict[str, str], stdout: Connection, stderr: Connection
) -> None:
    """In the new process."""
    # A suite that runs in the background of a script hands down that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for pipe, number in ((stdout, 1), (stderr, 2)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["codemode", *arguments]
    main(list(arguments))
