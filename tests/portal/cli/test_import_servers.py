"""`codemode import`: the servers of clients come into our document."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from portal.cli.exits import Exit
from portal.clients import CLIENTS, Machine
from portal.config import load_config
from tests.portal.cli.command import as_forked, in_process
from tests.portal.clients.machines import machine_in, three_clients, written
from tests.portal.clients.test_carrying import CASE


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without anything of the one that runs the tests."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", *(name for one in CLIENTS for name, _ in one.overrides)):
        monkeypatch.delenv(variable, raising=False)
    return machine_in(tmp_path)


def run(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    return in_process(machine.folder, "import", *words, home=machine.home, columns=160)


def servers(machine: Machine, name: str = "codemode.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((machine.folder / name).read_text())["mcpServers"]
    return found


def test_the_servers_of_all_clients_come_into_one_document(machine: Machine) -> None:
    files = three_clients(machine)
    before = {id: file.path.read_bytes() for id, file in files.items()}
    done = run(machine, "--yes")
    assert done.returncode == Exit.OK
    assert list(servers(machine)) == ["github", "files", "db", "files-cursor", "notes", "docs", "time"]
    assert "7 servers taken over into ./codemode.json." in done.stderr
    assert "`docs` of Codex loses what only its client understands: `enabled_tools`." in done.stderr
    assert "Claude Code has servers of their own for /elsewhere: import there takes those over." in done.stderr
    assert {id: file.path.read_bytes() for id, file in files.items()} == before
    file = machine.folder / "codemode.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(load_config(file, {"NOTES_TOKEN": "x", "DOCS_TOKEN": "y"}).servers) == 7
    again = run(machine, "--yes")
    assert again.returncode == Exit.OK and again.stdout == ""
    assert "Nothing to do: ./codemode.json has them all already" in again.stderr


def test_a_document_that_is_there_is_changed_in_place_and_kept(machine: Machine) -> None:
    file = machine.folder / "codemode.json"
    text = '{\n  // ours\n  "portal": {"port": 9000},\n  "mcpServers": {"mine": {"command": "mine"}}\n}\n'
    file.write_text(text)
    file.chmod(0o644)
    written(machine, "cursor", json.dumps({"mcpServers": {"a": {"command": "a", "env": {"KEY": "0123456789"}}}}))
    done = run(machine, "cursor", "--yes")
    assert done.returncode == Exit.OK and "0123456789" not in done.stdout
    assert "// ours" in file.read_text() and "0123456789" in file.read_text()
    # A secret came into it.
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (machine.folder / "codemode.json.bak").read_text() == text


def test_a_document_without_secrets_keeps_its_mode(machine: Machine) -> None:
    file = machine.folder / "tools.toml"
    file.write_text('[mcpServers.mine]\ncommand = "mine"\n')
    file.chmod(0o644)
    written(machine, "cursor", '{"mcpServers": {"a": {"command": "a"}}}')
    assert run(machine, "--to", "tools.toml", "--yes").returncode == Exit.OK
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert set(load_config(file, {}).servers) == {"mine", "a"}


def test_the_document_of_vs_code_in_the_folder_is_taken_over_with_its_env_file(machine: Machine) -> None:
    folder = machine.folder / ".vscode"
    folder.mkdir()
    (folder / "mcp.json").write_text(CASE)
    untouched = run(machine, "--yes")
    assert "./.vscode/mcp.json has one server of this folder: --project takes them over." in untouched.stderr
    done = run(machine, "vscode", "--project", "--yes")
    assert done.returncode == Exit.OK
    assert f"`local` of VS Code reads {machine.folder}/.env when it starts, which is not there now." in done.stderr
    assert servers(machine)["local"]["envFile"] == f"{machine.folder}/.env"


def test_without_a_terminal_and_in_a_dry_run_nothing_is_written(machine: Machine) -> None:
    written(machine, "cursor", '{"mcpServers": {"a": {"command": "a"}}}')
    done = run(machine)
    assert done.returncode == Exit.USAGE and "Give --yes" in done.stderr
    dry = run(machine, "--dry-run")
    assert dry.returncode == Exit.OK and '+    "a": {' in dry.stdout and "dry run" in dry.stderr
    assert list(machine.folder.iterdir()) == []


def test_for_a_program_it_says_what_became_of_each_server(machine: Machine) -> None:
    entries = {
        "a": {"command": "a", "env": {"KEY": "0123456789"}},
        "codemode": {"url": "http://localhost:8787/mcp"},
        "bridge": {"command": "npx", "args": ["-y", "mcp-remote", "http://127.0.0.1:8787/mcp"]},
        "socket": {"type": "ws", "url": "wss://a.example"},
    }
    written(machine, "cursor", json.dumps({"mcpServers": entries}))
    done = run(machine, "--yes", "--json")
    found = json.loads(done.stdout)
    assert found["written"] is True and found["added"] == ["a"] and "0123456789" not in done.stdout
    assert [one["server"] for one in found["itself"]] == ["codemode", "bridge"]
    assert [one["server"] for one in found["left"]] == ["socket"]
    assert found["servers"] == [{"client": "cursor", "server": "a", "name": "a"}]


def test_what_cannot_be_read_stops_the_import_of_one_client_and_is_said_of_many(machine: Machine) -> None:
    written(machine, "cursor", "{oops")
    written(machine, "codex", '[mcp_servers.a]\ncommand = "a"\n')
    assert run(machine, "cursor", "--yes").returncode == Exit.USAGE
    done = run(machine, "--yes")
    assert done.returncode == Exit.OK and "is not JSON" in done.stderr
    assert list(servers(machine)) == ["a"]


@pytest.mark.parametrize("words", [["emacs"], ["windsurf"], ["windsurf", "--project"]])
def test_a_client_that_is_not_there_is_said(machine: Machine, words: list[str]) -> None:
    done = run(machine, *words, "--yes")
    assert done.returncode == Exit.USAGE and done.stderr.startswith("codemode: ")


def test_our_document_that_cannot_be_read_is_not_written(machine: Machine) -> None:
    written(machine, "cursor", '{"mcpServers": {"a": {"command": "a"}}}')
    file = machine.folder / "codemode.json"
    for text in ("{oops", '["a"]', '{"mcpServers": ["a"]}', '{"portal": {"prot": 1}}'):
        file.write_text(text)
        assert run(machine, "--yes").returncode == Exit.USAGE
        assert file.read_text() == text


def test_as_a_process_it_takes_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text('{"mcpServers": {"a": {"command": "a"}}}')
    done = as_forked(tmp_path, "import", "cursor", "--yes")
    assert done.returncode == Exit.OK, done.stderr
    assert "a" in json.loads((tmp_path / "codemode.json").read_text())["mcpServers"]
