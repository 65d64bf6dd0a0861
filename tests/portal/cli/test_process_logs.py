"""`codemode logs NAME`, as an operator runs it, over what the programs of servers have written."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from portal.app import process_logs_folder
from portal.cli.exits import Exit
from portal.config import load_config
from portal.upstream import ProcessLogs
from tests.patience import PATIENCE
from tests.portal.cli.command import as_forked, as_process, in_process

pytestmark = pytest.mark.anyio

BROKEN = {"command": "sh", "args": ["-c", r"printf '\033[31mno key \302\233given\n' >&2; echo $KEY >&2; exit 3"]}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, and nothing of the user's own."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    servers = {
        "tickets": {**BROKEN, "env": {"KEY": "hunter2-hunter2"}},
        "show": BROKEN,
        "web": {"url": "http://127.0.0.1:9/mcp"},
    }
    (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": servers}))
    return tmp_path


def test_what_a_program_wrote_is_shown_after_a_command_has_started_it(folder: Path) -> None:
    assert in_process(folder, "tools").returncode == Exit.UPSTREAM
    done = as_forked(folder, "logs", "tickets")
    assert done.returncode == Exit.OK, done.stderr
    shown = done.stdout.splitlines()
    assert shown[0].endswith("started sh")
    assert shown[1].endswith("no key \N{REPLACEMENT CHARACTER}given") and shown[2].endswith("[redacted]")
    assert "exited with status 3" in done.stdout
    assert "hunter2" not in done.stdout and "\x1b" not in done.stdout and "\x9b" not in done.stdout
    (file,) = folder.glob(".local/state/codemode-portal/servers/*/tickets.log")
    assert file.stat().st_mode & 0o077 == 0


def test_as_json_each_line_is_a_document(folder: Path) -> None:
    in_process(folder, "tools")
    for arguments in (["logs", "tickets", "-n", "2", "--json"], ["logs", "-n", "2", "--json", "tickets"]):
        lines = [json.loads(line) for line in in_process(folder, *arguments).stdout.splitlines()]
        assert len(lines) == 2
        assert lines[-1]["kind"] == "end" and lines[-1]["text"].startswith("exited with status 3")
        assert lines[-1]["time"].endswith("Z") and isinstance(lines[-1]["pid"], int)


def test_as_json_a_line_is_escaped_for_a_stream_without_its_letters(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process(folder, "tools")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = as_process(folder, "logs", "tickets", "--json")
    assert done.returncode == Exit.OK, done.stderr
    assert any("\N{REPLACEMENT CHARACTER}" in json.loads(line)["text"] for line in done.stdout.splitlines())


def test_a_server_that_is_called_like_a_command_is_shown_by_the_command_for_servers(folder: Path) -> None:
    in_process(folder, "tools")
    assert "started sh" in in_process(folder, "logs", "server", "show").stdout
    assert in_process(folder, "logs", "show").returncode == Exit.USAGE, "without an id of a row"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tickts"], "Did you mean tickets?"),
        (["xyz"], "Programs there: tickets, show."),
        (["web"], "web is reached by a URL and is no program of this machine"),
        (["--failed", "tickets"], "--failed is about calls"),
        (["--who", "ada", "tickets"], "--who is about calls"),
        (["tickets", "-n", "0"], "--limit is 1 to 10,000"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(folder: Path, arguments: list[str], words: str) -> None:
    done = in_process(folder, "logs", *arguments)
    assert done.returncode == Exit.USAGE and words in done.stderr


def test_a_program_that_has_written_nothing_is_said_to_have(folder: Path) -> None:
    done = in_process(folder, "logs", "tickets")
    assert done.returncode == Exit.OK and done.stdout == ""
    assert "tickets has written nothing yet" in done.stderr


def test_beside_a_database_the_files_are_beside_it(folder: Path) -> None:
    (folder / "codemode.json").write_text(
        json.dumps({"mcpServers": {"tickets": BROKEN}, "portal": {"state": "sqlite:///data/portal.db"}})
    )
    assert process_logs_folder(load_config(folder / "codemode.json")) == folder / "data" / "portal-servers"
    in_process(folder, "tools")
    assert "no key" in in_process(folder, "logs", "tickets").stdout


def test_two_configurations_have_files_of_their_own(folder: Path) -> None:
    other = folder / "other" / "codemode.json"
    other.parent.mkdir()
    other.write_text((folder / "codemode.json").read_text())
    in_process(folder, "tools")
    assert in_process(folder, "logs", "tickets", "--config", str(other)).stdout == ""


async def test_following_shows_lines_as_they_come(folder: Path) -> None:
    place = process_logs_folder(load_config(folder / "codemode.json"))
    async with ProcessLogs(place) as logs:
        logs.of("tickets").failed("first")
    command = ["-u", "-m", "portal.cli", "logs", "tickets", "--follow", "--json", "-n", "1"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=folder, stdout=asyncio.subprocess.PIPE, env={**os.environ, "HOME": str(folder)}
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert json.loads(await process.stdout.readline())["text"] == "first"
            async with ProcessLogs(place) as logs:
                logs.of("tickets").started(7, "again")
                assert json.loads(await process.stdout.readline())["text"] == "again"
    finally:
        process.terminate()
        await process.wait()
