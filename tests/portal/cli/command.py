"""The `codemode` command for tests: in the test's own process, or as a process of its own where that is the subject.

A process costs a second of imports each time. Each command has one test that starts it as a process, as a shell does or
forked from one that has its imports; the others call the same entry in this process. That the command starts as a shell
starts it, imports and all, is tested with `--help`, `run` and `stdio`.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import structlog
from typer.testing import CliRunner

from portal.cli.app import app
from portal.logs.setup import OUR_LOGGERS
from tests.forked import finished
from tests.zygote import quick

SECONDS = 250
COLUMNS = 120


def in_process(
    folder: Path, *arguments: str, stdin: str = "", columns: int = COLUMNS, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The command in this folder, by a call: what it printed, and the code it would exit with. Without another `home`
    the folder is that too."""
    with chdir(folder), _logging_as_it_was():
        result = CliRunner(env={**_environment(home or folder), "COLUMNS": str(columns)}).invoke(
            app, arguments, input=stdin, prog_name="codemode"
        )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


def as_process(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same, as a shell starts it."""
    return _ended([sys.executable, "-m", "portal.cli", *arguments], folder, stdin)


def as_quick_process(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same, as a shell starts it, without the imports: those of a zygote."""
    return _ended(quick("portal.cli", *arguments), folder, stdin)


def _ended(command: list[str], folder: Path, stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, **_environment(folder)},
        check=False,
    )


def as_forked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same as a process that is forked from one which has its imports."""
    return finished(*arguments, folder=folder, environment=_environment(folder))


def _environment(folder: Path) -> dict[str, str]:
    """The folder is the home as well. The ordinary cache stays: the compiled guest is in it."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return {"HOME": str(folder), "XDG_CACHE_HOME": cache, "COLUMNS": str(COLUMNS)}


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """A command sets up the logging of its process, which is the tests' own here."""
    root, configured = logging.getLogger(), structlog.is_configured()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in ("root", *OUR_LOGGERS)}
    settings = structlog.get_config()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if configured:
            structlog.configure(**settings)
        else:
            structlog.reset_defaults()
