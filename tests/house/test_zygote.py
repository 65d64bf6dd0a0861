"""A program that a zygote runs is one as anybody starts it: its pipes, arguments, signals, exit code and end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.zygote import quick

SAYS = "tests.house.says"


def started(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        quick(SAYS, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
        # A suite that runs in the background of a script hands down that these are ignored.
        preexec_fn=_heeds_signals,
    )


def _heeds_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_a_program_has_its_pipes_arguments_folder_and_environment_alone(tmp_path: Path) -> None:
    with started("one", "two", folder=tmp_path, GIVEN="value", LANG="C.UTF-8") as program:
        said, complaint = program.communicate("from the test", timeout=PATIENCE)
    assert said == f"['one', 'two'] {tmp_path} ['GIVEN', 'LANG'] __main__ from the test"
    assert (complaint, program.returncode) == ("to stderr", 0)


@pytest.mark.parametrize("code", [0, 3, 255])
def test_its_exit_code_is_that_of_what_was_started(code: int) -> None:
    with started("exit", str(code)) as program:
        program.communicate("", timeout=PATIENCE)
    assert program.returncode == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_what_was_started_ends_the_program(number: signal.Signals) -> None:
    with started("wait") as program:
        assert program.stdout is not None
        pid = int(program.stdout.readline())
        assert pid != program.pid
        program.send_signal(number)
        # It ends only with the last process that has the pipe open.
        assert program.stdout.read() == ""
        assert program.wait(PATIENCE) == -number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_program_is_the_end_of_what_was_started(number: signal.Signals) -> None:
    with started("wait") as program:
        assert program.stdout is not None
        os.kill(int(program.stdout.readline()), number)
        assert program.wait(PATIENCE) == -number


def test_a_program_that_takes_a_signal_goes_on() -> None:
    with started("take") as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGTERM)
        assert program.stdout.readline() == "taken\n"
        assert program.wait(PATIENCE) == 0
