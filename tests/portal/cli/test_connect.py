"""`codemode connect`: a client's document is shown, changed, and given back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from portal.cli.exits import Exit
from portal.cli.this_portal import command_words
from portal.clients import CLIENTS, Machine, find_clients
from tests.portal.cli.command import as_process, in_process
from tests.portal.cli.test_stdio import environment
from tests.portal.clients.machines import CURSOR_JSON, machine_in, three_clients, written

URL = "http://127.0.0.1:8787/mcp?codemode=search_and_execute"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without anything of the one that runs the tests."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", *(name for one in CLIENTS for name, _ in one.overrides)):
        monkeypatch.delenv(variable, raising=False)
    return machine_in(tmp_path)


def run(machine: Machine, *words: str, columns: int = 160) -> subprocess.CompletedProcess[str]:
    return in_process(machine.folder, *words, home=machine.home, columns=columns)


def answer(machine: Machine, *words: str) -> Any:
    done = run(machine, *words, "--json")
    assert done.returncode == Exit.OK, done.stderr
    return json.loads(done.stdout)


def test_a_client_is_connected_once(machine: Machine) -> None:
    file = written(machine, "cursor", CURSOR_JSON)
    first = run(machine, "connect", "cursor", "--yes")
    assert first.returncode == Exit.OK
    assert f'+      "url": "{URL}"' in first.stdout
    assert "Cursor is connected, as `codemode` in ~/.cursor/mcp.json." in first.stderr
    assert "`codemode connect cursor --undo` gives it back." in first.stderr
    text = file.path.read_text()
    again = run(machine, "connect", "cursor")
    assert again.returncode == Exit.OK and again.stdout == ""
    assert "Cursor is connected already, as `codemode` in ~/.cursor/mcp.json." in again.stderr
    assert file.path.read_text() == text


def test_without_a_terminal_nothing_is_written_unless_it_is_asked_for(machine: Machine) -> None:
    file = written(machine, "cursor", CURSOR_JSON)
    before = file.path.read_bytes()
    done = run(machine, "connect", "cursor")
    assert done.returncode == Exit.USAGE
    assert "Nothing was written: there is no terminal to ask at. Give --yes to write what is shown." in done.stderr
    assert URL in done.stdout
    assert file.path.read_bytes() == before
    assert not (machine.home / ".local").exists()


def test_without_a_configuration_a_person_is_told_what_writes_one(machine: Machine) -> None:
    told = "`codemode init` writes the portal's configuration, which is not there yet."
    assert told in run(machine, "connect", "cursor", "--yes").stderr
    (machine.folder / "codemode.json").write_text('{"mcpServers": {}}')
    done = run(machine, "connect", "vscode", "--yes")
    assert told not in done.stderr and "It reaches the portal while `codemode serve` runs." in done.stderr


def test_a_portal_that_is_not_taken_out_is_not_said_to_be_gone(machine: Machine) -> None:
    file = written(machine, "cursor", "{}")
    run(machine, "connect", "cursor", "--yes")
    file.path.write_text('{"mcpServers": {"codemode": {"command": "mine"}}}')
    done = run(machine, "connect", "cursor", "--undo", "--yes")
    assert "~/.cursor/mcp.json keeps the entry `codemode`, which somebody has changed." in done.stderr


def test_a_dry_run_writes_nothing(machine: Machine) -> None:
    done = run(machine, "connect", "gemini", "--dry-run")
    assert done.returncode == Exit.OK and "this was a dry run" in done.stderr
    assert not (machine.home / ".gemini").exists()
    assert answer(machine, "connect", "gemini", "--dry-run")["written"] is False


def test_the_clients_of_the_machine_are_listed_with_where_they_are_connected(machine: Machine) -> None:
    three_clients(machine)
    assert run(machine, "connect", "codex", "--yes").returncode == Exit.OK
    listed = run(machine, "connect").stdout.splitlines()
    assert [line.split()[:3] for line in listed[1:]] == [
        ["claude-code", "no", "3"],
        ["cursor", "no", "3"],
        ["codex", "as", "codemode"],
    ]
    found = {one["client"]: one for one in answer(machine, "connect")["clients"]}
    assert found["codex"]["connected"] == "codemode" and found["cursor"]["connected"] is None
    assert found["cursor"]["file"] == str(machine.home / ".cursor/mcp.json")
    assert found["cursor"]["servers"] == ["github", "files", "notes"]


def test_a_document_that_cannot_be_read_is_listed_as_that_and_not_written(machine: Machine) -> None:
    file = written(machine, "cursor", "{oops")
    listed = run(machine, "connect")
    assert listed.returncode == Exit.OK and "cannot be read" in listed.stdout and "is not JSON" in listed.stderr
    done = run(machine, "connect", "cursor", "--yes")
    assert done.returncode == Exit.USAGE and "is not JSON" in done.stderr
    assert file.path.read_text() == "{oops"


def test_without_a_client_on_the_machine_those_that_are_known_are_named(machine: Machine) -> None:
    done = run(machine, "connect")
    assert done.returncode == Exit.OK and all(client.title in done.stderr for client in CLIENTS)


def test_secrets_of_the_document_are_nowhere_in_what_is_printed(machine: Machine) -> None:
    three_clients(machine)
    for words in (["connect", "claude-code", "--move", "--yes"], ["connect", "claude-code", "--undo", "--yes"]):
        done = run(machine, *words)
        assert done.returncode == Exit.OK
        for secret in ("ghp_0123456789", "hunter2", "ada@example.com", "AAAAbbbb", "2c1f-not"):
            assert secret not in done.stdout + done.stderr
    printed = run(machine, "connect", "claude-code", "--move", "--yes", "--json").stdout
    assert "ghp_0123456789" not in printed and "hunter2" not in printed


def test_three_clients_are_taken_over_and_given_back_byte_for_byte(machine: Machine) -> None:
    files = three_clients(machine)
    before = {id: file.path.read_bytes() for id, file in files.items()}
    for id in files:
        done = run(machine, "connect", id, "--move", "--yes")
        assert done.returncode == Exit.OK, done.stderr
    ours = json.loads((machine.folder / "codemode.json").read_text())["mcpServers"]
    assert list(ours) == ["github", "files", "db", "files-cursor", "notes", "docs", "time"]
    assert all(len(one.servers) == 1 for one in find_clients(machine))
    for id in reversed(files):
        done = run(machine, "connect", id, "--undo", "--yes")
        assert (
            done.returncode == Exit.OK and "is as it was before codemode first changed it, byte for byte" in done.stderr
        )
    assert {id: file.path.read_bytes() for id, file in files.items()} == before
    assert list(machine.folder.iterdir()) == []
    assert run(machine, "connect", "cursor", "--undo", "--yes").returncode == Exit.USAGE


def test_a_client_that_only_starts_programs_starts_this_command_with_this_configuration(machine: Machine) -> None:
    refused = run(machine, "connect", "claude-desktop", "--yes")
    assert refused.returncode == Exit.USAGE and "codemode init" in refused.stderr
    (machine.folder / "codemode.json").write_text('{"mcpServers": {"a": {"command": "a"}}}')
    entry = answer(machine, "connect", "claude-desktop", "--yes")["entry"]
    assert entry["args"][-3:] == ["stdio", "--config", str(machine.folder / "codemode.json")]
    assert Path(entry["command"]).is_absolute()
    again = run(machine, "connect", "claude-desktop")
    assert "connected already" in again.stderr
    tools = answer(machine, "connect", "claude-desktop", "--mode", "tools", "--yes")["entry"]
    assert tools["args"][-5:-2] == ["stdio", "--mode", "tools"]


@pytest.mark.anyio
@pytest.mark.parametrize(("mode", "tool"), [("code", "code"), ("tools", "shop_get_order")])
async def test_the_program_that_a_client_is_given_starts_and_lists_its_tools(
    tmp_path: Path, mode: str, tool: str
) -> None:
    shop = {"command": sys.executable, "args": ["-m", "portal.demo.shop"]}
    (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": {"shop": shop}}))
    words = ("connect", "claude-desktop", "--mode", mode, "--yes", "--json")
    done = await asyncio.to_thread(as_process, tmp_path, *words)
    started = StdioServerParameters(**json.loads(done.stdout)["entry"], cwd="/", env=dict(environment(tmp_path)))
    async with stdio_client(started) as streams, ClientSession(*streams) as session:
        await session.initialize()
        assert tool in {one.name for one in (await session.list_tools()).tools}


def test_another_configuration_that_a_client_starts_is_another_portal(machine: Machine) -> None:
    for name in ("codemode.json", "other.json"):
        (machine.folder / name).write_text('{"mcpServers": {"a": {"command": "a"}}}')
    assert run(machine, "connect", "claude-desktop", "--yes").returncode == Exit.OK
    taken = run(machine, "connect", "claude-desktop", "--config", "other.json", "--yes")
    assert taken.returncode == Exit.USAGE and "--name NAME" in taken.stderr
    named = run(machine, "connect", "claude-desktop", "--config", "other.json", "--name", "other", "--yes")
    assert named.returncode == Exit.OK


def test_where_people_sign_in_a_client_that_starts_programs_gets_a_bridge(machine: Machine) -> None:
    identity = {"publicUrl": "https://tools.example.com", "pin": True}
    document = {"mcpServers": {"a": {"command": "a"}}, "portal": {"identity": identity}}
    (machine.folder / "codemode.json").write_text(json.dumps(document))
    entry = answer(machine, "connect", "claude-desktop", "--yes")["entry"]
    url = "https://tools.example.com/mcp?codemode=search_and_execute"
    assert entry["args"][-3:] == ["stdio", "--url", url]
    assert answer(machine, "connect", "cursor", "--yes")["entry"] == {"url": url}


def test_a_configuration_that_cannot_be_read_does_not_hide_the_clients(machine: Machine) -> None:
    three_clients(machine)
    (machine.folder / "codemode.json").write_text("{oops")
    done = run(machine, "connect")
    assert done.returncode == Exit.OK and "codex" in done.stdout and "is not JSON" in done.stderr


def test_the_address_is_that_of_the_configuration(machine: Machine) -> None:
    config = machine.folder / "codemode.json"
    document: dict[str, Any] = {
        "mcpServers": {"a": {"command": "a"}},
        "portal": {"host": "0.0.0.0", "port": 9000, "path": "/tools"},
        "portals": {"docs": {"servers": ["a"]}},
    }
    config.write_text(json.dumps({**document, "portal": {"port": 9000, "path": "/tools"}}))
    entry = answer(machine, "connect", "cursor", "--yes")["entry"]
    assert entry == {"url": "http://127.0.0.1:9000/tools?codemode=search_and_execute"}
    entry = answer(machine, "connect", "vscode", "--portal", "docs", "--mode", "tools", "--yes")["entry"]
    assert entry == {"type": "http", "url": "http://127.0.0.1:9000/docs/tools"}
    wrong = run(machine, "connect", "cursor", "--portal", "nowhere", "--yes")
    assert wrong.returncode == Exit.USAGE and "There are: docs." in wrong.stderr
    config.write_text(json.dumps({**document, "portal": {"port": 0}}))
    unknown = run(machine, "connect", "cursor", "--yes")
    assert unknown.returncode == Exit.USAGE and "portal.port" in unknown.stderr


def test_another_portal_is_named_by_its_url(machine: Machine) -> None:
    url = "https://tools.example.com/mcp"
    entry = answer(machine, "connect", "codex", "--url", url, "--yes")["entry"]
    assert entry == {"url": f"{url}?codemode=search_and_execute"}
    entry = answer(
        machine, "connect", "gemini", "--stdio", "--url", "http://a.example/mcp", "--mode", "tools", "--dry-run"
    )
    assert entry["entry"]["args"][-6:] == ["stdio", "--mode", "tools", "--allow-http", "--url", "http://a.example/mcp"]
    entry = answer(machine, "connect", "claude-desktop", "--url", f"{url}?codemode=off", "--yes")["entry"]
    assert entry["args"][-3:] == ["stdio", "--url", f"{url}?codemode=off"]
    assert "connected already" in run(machine, "connect", "codex", "--url", url).stderr
    taken = run(machine, "connect", "codex", "--yes")
    assert taken.returncode == Exit.USAGE and "--name NAME" in taken.stderr
    assert run(machine, "connect", "codex", "--name", "here", "--yes").returncode == Exit.OK
    for wrong in ("tools.example.com", "ftp://a.example", "http://", "https://a.example/ mcp", "http://a:b:c"):
        assert run(machine, "connect", "codex", "--url", wrong, "--yes").returncode == Exit.USAGE


def test_the_document_of_the_folder_is_another_one(machine: Machine) -> None:
    assert answer(machine, "connect", "vscode", "--project", "--yes")["scope"] == "project"
    assert (machine.folder / ".vscode" / "mcp.json").is_file()
    assert not (machine.home / ".config").exists()
    done = run(machine, "connect", "windsurf", "--project", "--yes")
    assert done.returncode == Exit.USAGE and "has no document for a folder" in done.stderr
    assert run(machine, "connect", "vscode", "--project", "--undo", "--yes").returncode == Exit.OK
    assert not (machine.folder / ".vscode" / "mcp.json").exists()


@pytest.mark.parametrize(
    "words",
    [["emacs"], ["cursor", "--name", "a b"], ["--undo"], ["--move"], ["cursor", "--config", "nowhere.json"]],
)
def test_what_cannot_be_meant_is_said_and_nothing_is_written(machine: Machine, words: list[str]) -> None:
    done = run(machine, "connect", *words, "--yes")
    assert done.returncode == Exit.USAGE and done.stderr.startswith("codemode: ")
    assert list(machine.home.iterdir()) == [machine.folder]


def test_servers_do_not_move_into_the_document_they_come_from(machine: Machine) -> None:
    (machine.folder / ".mcp.json").write_text('{"mcpServers": {"a": {"command": "a"}}}')
    done = run(machine, "connect", "claude-code", "--project", "--move", "--config", ".mcp.json", "--yes")
    assert done.returncode == Exit.USAGE and "Name another file" in done.stderr
    moved = run(machine, "connect", "claude-code", "--project", "--move", "--yes")
    assert moved.returncode == Exit.OK
    assert json.loads((machine.folder / "codemode.json").read_text()) == {
        "mcpServers": {"a": {"command": "a", "cwd": str(machine.folder)}}
    }


def test_the_command_that_runs_is_started_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "bin" / "codemode"
    command.parent.mkdir()
    command.write_text("")
    command.chmod(0o755)
    assert command_words([str(command)], "/usr/bin/python3") == (str(command),)
    monkeypatch.setenv("PATH", str(command.parent))
    assert command_words(["codemode"], "/usr/bin/python3") == (str(command),)
    monkeypatch.chdir(tmp_path)
    assert command_words([f"bin{os.sep}codemode"], "/usr/bin/python3") == (str(command),)
    module = "/site-packages/portal/cli/__main__.py"
    assert command_words([module], "/usr/bin/python3") == ("/usr/bin/python3", "-m", "portal.cli")


def test_as_a_process_it_connects_and_gives_back(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    file = tmp_path / ".codex" / "config.toml"
    file.write_text("# mine\n")
    done = as_process(tmp_path, "connect", "codex", "--stdio", "--url", "https://a.example/mcp", "--yes")
    assert done.returncode == Exit.OK, done.stderr
    assert f'command = "{sys.executable}"' in file.read_text() and file.read_text().startswith("# mine\n")
    assert as_process(tmp_path, "connect", "codex", "--undo", "--yes").returncode == Exit.OK
    assert file.read_text() == "# mine\n"
