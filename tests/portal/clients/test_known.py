"""Where the documents of clients are, on each platform and with the variables that clients honour."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal.clients import CLIENTS, Machine, client_named, find_clients, project_file, user_file
from tests.portal.clients.machines import machine_in, named, written

HOME = Path("/users/ada")
WORK = Path("/work")
LINUX = {
    "claude-code": ".claude.json",
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
}
MACOS = LINUX | {
    "claude-desktop": "Library/Application Support/Claude/claude_desktop_config.json",
    "vscode": "Library/Application Support/Code/User/mcp.json",
}
WINDOWS = LINUX | {
    "claude-desktop": "AppData/Roaming/Claude/claude_desktop_config.json",
    "vscode": "AppData/Roaming/Code/User/mcp.json",
}
PROJECT = {
    "claude-code": ".mcp.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
}
MOVED = [
    ("claude-code", "CLAUDE_CONFIG_DIR", ".claude.json"),
    ("claude-desktop", "XDG_CONFIG_HOME", "Claude/claude_desktop_config.json"),
    ("vscode", "XDG_CONFIG_HOME", "Code/User/mcp.json"),
    ("vscode", "VSCODE_PORTABLE", "user-data/User/mcp.json"),
    ("vscode", "VSCODE_APPDATA", "Code/User/mcp.json"),
    ("codex", "CODEX_HOME", "config.toml"),
    ("gemini", "GEMINI_CLI_HOME", ".gemini/settings.json"),
]


@pytest.mark.parametrize(("platform", "places"), [("linux", LINUX), ("darwin", MACOS), ("win32", WINDOWS)])
def test_each_client_has_its_document_where_the_platform_has_it(platform: str, places: dict[str, str]) -> None:
    machine = Machine(platform, HOME, WORK, {})
    assert {client.id: user_file(client, machine).path for client in CLIENTS} == {
        id: HOME / place for id, place in places.items()
    }


def test_the_document_of_a_folder_is_in_it() -> None:
    machine = Machine("linux", HOME, WORK, {})
    found = {client.id: file.path for client in CLIENTS if (file := project_file(client, machine)) is not None}
    assert found == {id: WORK / place for id, place in PROJECT.items()}


@pytest.mark.parametrize(("id", "variable", "place"), MOVED)
def test_a_variable_moves_the_document_as_it_does_for_the_client(id: str, variable: str, place: str) -> None:
    for written_as, folder in (("/moved", Path("/moved")), ("~/moved", HOME / "moved"), ("moved", WORK / "moved")):
        machine = Machine("linux", HOME, WORK, {variable: written_as})
        assert user_file(named(id), machine).path == folder / place


def test_a_variable_that_is_empty_moves_nothing() -> None:
    machine = Machine("linux", HOME, WORK, {variable: "" for _, variable, _ in MOVED})
    assert user_file(named("codex"), machine).path == HOME / ".codex/config.toml"
    assert user_file(named("vscode"), machine).path == HOME / ".config/Code/User/mcp.json"


def test_macos_has_no_folder_of_xdg_and_windows_has_one_of_its_own() -> None:
    environment = {"XDG_CONFIG_HOME": "/xdg", "APPDATA": "/roaming"}
    assert Machine("darwin", HOME, WORK, environment).settings == HOME / "Library/Application Support"
    assert Machine("win32", HOME, WORK, environment).settings == Path("/roaming")
    assert Machine("linux", HOME, WORK, environment).settings == Path("/xdg")


@pytest.mark.parametrize("spelled", ["claude-code", "Claude Code", "CLAUDE_CODE", " claude-code "])
def test_a_client_is_found_in_every_spelling(spelled: str) -> None:
    assert client_named(spelled) is named("claude-code")
    assert client_named("emacs") is None


def test_a_client_is_found_by_what_it_leaves_on_the_machine(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    assert find_clients(machine) == ()
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".codeium" / "windsurf").mkdir(parents=True)
    (tmp_path / ".cursor").mkdir()
    (machine.folder / ".vscode").mkdir()
    (machine.folder / ".vscode" / "mcp.json").write_text('{"servers": {"a": {"command": "a"}}}')
    found = {one.client.id: (one.file.scope, one.there, len(one.servers)) for one in find_clients(machine)}
    assert found == {
        "claude-code": ("user", False, 0),
        "cursor": ("user", False, 0),
        "vscode": ("project", True, 1),
        "windsurf": ("user", False, 0),
    }


def test_in_the_home_the_documents_of_the_user_are_not_those_of_a_folder_too(tmp_path: Path) -> None:
    machine = Machine("linux", tmp_path, tmp_path, {})
    written(machine, "cursor", '{"mcpServers": {}}')
    assert [one.file.scope for one in find_clients(machine)] == ["user"]
