"""A terminal shows that something takes longer than a second. Pipes, quiet commands and quick ones show nothing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from portal.cli.exits import Exit
from tests.house.source import ROOT
from tests.portal.cli.command import as_quick_process
from tests.portal.cli.pseudo_terminal import Terminal

SLOW = """
import sys, time
sys.path.insert(0, {root!r})
from portal.demo.company import build_company
from portal.demo.shop import build_server
time.sleep({seconds})
build_server(build_company()).run("stdio")
"""
CLI = ("-m", "portal.cli")
Open = Callable[..., Terminal]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_terminal(*command: str, **settings: Any) -> Terminal:
        opened.append(Terminal(tmp_path, *command, **settings))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


def slow_server(folder: Path, seconds: float) -> None:
    """A configuration over a server that takes so long to begin."""
    program = SLOW.format(root=str(ROOT), seconds=seconds)
    document = {"mcpServers": {"slow": {"command": sys.executable, "args": ["-c", program]}}}
    (folder / "codemode.json").write_text(json.dumps(document))


def test_a_wait_of_more_than_a_second_is_said_on_standard_error_and_taken_away(tmp_path: Path, terminal: Open) -> None:
    slow_server(tmp_path, 2)
    shown = terminal(*CLI, "tools", output=False)
    assert "Connecting to 1 server ..." in shown.until("Connecting to 1 server ...")
    assert shown.rest().rstrip().endswith("\x1b[2K") or "\x1b[2K" in shown.shown
    assert shown.process.returncode == Exit.OK


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_a_terminal_that_cannot_take_a_line_away_shows_none(
    environment: dict[str, str], tmp_path: Path, terminal: Open
) -> None:
    slow_server(tmp_path, 1.5)
    shown = terminal(*CLI, "tools", environment=environment)
    assert "Connecting" not in shown.rest() and "Loading" not in shown.shown and "\x1b" not in shown.shown
    assert shown.process.returncode == Exit.OK


def test_a_quiet_command_shows_none(tmp_path: Path, terminal: Open) -> None:
    slow_server(tmp_path, 1.5)
    (tmp_path / "report.js").write_text("async () => 1")
    shown = terminal(*CLI, "run", "report.js", "--quiet", output=False)
    assert "Connecting" not in shown.rest()
    assert shown.process.returncode == Exit.OK


def test_a_pipe_shows_none(tmp_path: Path) -> None:
    slow_server(tmp_path, 1.5)
    done = as_quick_process(tmp_path, "tools")
    assert done.returncode == Exit.OK and "Connecting" not in done.stderr


LINES = """
import sys, time
from rich.console import Console
from portal.cli.show.progress import StepBar, WaitLine
console = Console(stderr=True)
with {block} as line:
    {what}
print("done")
"""


def lines(block: str, what: str) -> tuple[str, str]:
    return "-c", LINES.format(block=block, what=what)


def test_what_takes_no_second_shows_nothing(terminal: Open) -> None:
    shown = terminal(*lines("WaitLine(console, 'Waiting for it')", "pass"))
    assert shown.rest().split() == ["done"]


def test_a_line_is_shown_while_the_event_loop_stands_still_and_its_text_is_no_markup(terminal: Open) -> None:
    what = "line.say('Now [bold]that'); sys.stdin.readline()"
    shown = terminal(*lines("WaitLine(console, 'It', seconds=0.01)", what))
    assert "Now [bold]that" in shown.until("Now [bold]that")
    shown.type("\n")
    assert "done" in shown.rest()


def test_a_bar_shows_bytes_of_bytes(terminal: Open) -> None:
    what = "line.at(500_000, 2_000_000, 'access.log'); sys.stdin.readline()"
    shown = terminal(*lines("StepBar(console, 'Reading', in_bytes=True, seconds=0.01)", what))
    shown.until("MB")
    assert "access.log" in shown.words and re.search(r"0\.5/2\.0 MB", shown.words)
    shown.type("\n")
    assert "done" in shown.rest()


def test_a_large_log_has_a_bar_with_bytes(tmp_path: Path, terminal: Open) -> None:
    line = '10.0.0.1 - - [30/Nov/2026:08:00:00 +0000] "POST /mcp HTTP/1.1" 200 5 "-" "claude-code/1.0"\n'
    (tmp_path / "access.log").write_text(line * 60_000)
    shown = terminal(*CLI, "scan", "access.log", "--site", "mcp.example.com", output=False)
    assert "MB" in shown.until("MB")
    assert "access.log" in shown.words
    shown.rest()
    assert shown.process.returncode == Exit.PROGRAM_FAILED


def test_loading_is_said_where_it_takes_long_and_taken_away_again(terminal: Open) -> None:
    program = (
        "import sys; from portal.cli.loading import Loading; it = Loading(seconds=0.01); it.begin(); "
        "sys.stdin.readline(); it.done(); it.done(); print('done')"
    )
    shown = terminal("-c", program)
    assert "Loading ..." in shown.until("Loading ...")
    shown.type("\n")
    assert re.search(r"\r\x1b\[Kdone", shown.rest())


def test_progress_is_made_in_one_place() -> None:
    elsewhere = [
        f"{path.relative_to(ROOT)}: {found}"
        for path in sorted((ROOT / "portal" / "cli").rglob("*.py"))
        if path.name != "progress.py"
        for found in re.findall(
            r"\.status\(\s*(?:f?[\"']|text\b)|\bProgress\(|\bLive\(|rich\.status", path.read_text(encoding="utf-8")
        )
    ]
    assert elsewhere == [], "portal/cli/show/progress.py has it, and shows it after a second"


@pytest.mark.parametrize("columns", [40, 80])
def test_colours_are_left_out_where_they_are_not_wanted(columns: int, tmp_path: Path, terminal: Open) -> None:
    slow_server(tmp_path, 0)
    shown = terminal(*CLI, "tools", environment={"NO_COLOR": "1", "LANG": "C", "LC_ALL": "C"}, columns=columns)
    assert "slow" in shown.rest() and not re.search(r"\x1b\[(?:\d+;)*3[0-7]", shown.shown)
    assert shown.process.returncode == Exit.OK and "Traceback" not in shown.shown
