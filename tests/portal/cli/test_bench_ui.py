"""`codemode bench-ui` before the page opens: its address, and how the browser gets the key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portal.cli.app import app
from portal.cli.commands.bench_ui import browser_window
from portal.cli.exits import Exit


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.com", "::"])
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    result = CliRunner().invoke(app, ["bench-ui", "--demo", "--host", host])
    assert result.exit_code == Exit.USAGE
    assert "The bench is for this machine only." in result.output and host in result.output


def test_a_program_that_is_not_there_is_one_clear_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench-ui", str(tmp_path / "none.js"), "--demo"])
    assert result.exit_code == Exit.USAGE and "There is no program" in result.output


def test_the_browser_gets_the_key_through_a_file_and_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", shown.append)
    with browser_window("http://127.0.0.1:7/#the-key", "http://127.0.0.1:7"):
        [opened] = shown
        assert opened.startswith("file://") and "the-key" not in opened
        file = Path(opened.removeprefix("file://"))
        assert "url=http://127.0.0.1:7/#the-key" in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not file.exists()
