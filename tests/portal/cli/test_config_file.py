"""The configuration that is used when none is named, and the message when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.cli.config_file import IN_FOLDER, find_config
from portal.cli.exits import CommandError, Exit


def test_a_named_file_wins(tmp_path: Path) -> None:
    (tmp_path / "codemode.json").write_text("{}")
    named = tmp_path / "other.json"
    named.write_text("{}")
    assert find_config(named, tmp_path, {"HOME": str(tmp_path)}) == named


def test_a_named_file_that_is_missing_is_a_usage_error_naming_it(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere.json") as raised:
        find_config(tmp_path / "nowhere.json", tmp_path, {})
    assert raised.value.code is Exit.USAGE


def test_the_first_known_name_in_the_folder_is_used(tmp_path: Path) -> None:
    for name in reversed(IN_FOLDER):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
        assert find_config(None, tmp_path, {"HOME": str(tmp_path)}) == file


@pytest.mark.parametrize("environment", [{"HOME": "{}"}, {"HOME": "/nowhere", "XDG_CONFIG_HOME": "{}/.config"}])
def test_the_users_own_document_comes_last(tmp_path: Path, environment: dict[str, str]) -> None:
    own = tmp_path / ".config" / "codemode" / "config.json"
    own.parent.mkdir(parents=True)
    own.write_text("{}")
    folder = tmp_path / "project"
    folder.mkdir()
    found = find_config(None, folder, {key: value.format(tmp_path) for key, value in environment.items()})
    assert found == own


def test_without_any_the_error_says_what_was_looked_for_and_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as raised:
        find_config(None, tmp_path, {"HOME": str(tmp_path)})
    for part in ("codemode.json", ".mcp.json", "~/.config/codemode/config.json", "mcpServers", "--config"):
        assert part in raised.value.message
