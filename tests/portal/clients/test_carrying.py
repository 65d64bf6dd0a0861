"""The entry of a client becomes one of ours, and what does not is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from portal.clients import CarriedServer, Machine, carry, read_client_file, servers_elsewhere, servers_in
from portal.clients.known import project_file
from portal.config import StdioServer
from tests.portal.clients.machines import CLAUDE_JSON, machine_in, named, written

CASE = """{
  // .vscode/mcp.json as VS Code reads and writes it
  "servers": {
    "local": {"type": "stdio", "command": "python3", "args": ["server.py"], "envFile": "${workspaceFolder}/.env"},
  },
}"""


def carried(machine: Machine, id: str, document: Any) -> dict[str, CarriedServer]:
    file = written(machine, id, document if isinstance(document, str) else json.dumps(document))
    return {one.name: carry(one, machine) for one in servers_in(file, read_client_file(file, machine), machine)}


def one(machine: Machine, id: str, entry: dict[str, Any], **top: Any) -> CarriedServer:
    return carried(machine, id, {named(id).section: {"a": entry}, **top})["a"]


def in_folder(machine: Machine, id: str, text: str) -> CarriedServer:
    file = project_file(named(id), machine)
    assert file is not None
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_text(text)
    (server,) = servers_in(file, read_client_file(file, machine), machine)
    return carry(server, machine)


def test_a_document_of_vs_code_keeps_its_env_file_and_its_folder(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    found = in_folder(machine, "vscode", CASE)
    folder = str(machine.folder)
    assert found.entry == {
        "command": "python3",
        "args": ["server.py"],
        "envFile": f"{folder}/.env",
        "cwd": folder,
    }
    assert found.sentences == (f"reads {folder}/.env when it starts, which is not there now",)
    (machine.folder / ".env").write_text("TOKEN=from-the-file\n")
    found = in_folder(machine, "vscode", CASE)
    assert found.sentences == (f"reads {folder}/.env when it starts",)
    assert isinstance(found.config, StdioServer) and found.config.env == {"TOKEN": "from-the-file"}


def test_a_question_of_vs_code_becomes_a_variable(tmp_path: Path) -> None:
    inputs = [{"id": "api-key", "type": "promptString"}, {"id": "level", "type": "pickString", "default": "low"}]
    entry = {"command": "a", "env": {"KEY": "${input:api-key}", "LEVEL": "${input:level}"}}
    found = one(machine_in(tmp_path), "vscode", entry, inputs=inputs)
    assert found.entry == {"command": "a", "env": {"KEY": "${env:API_KEY}", "LEVEL": "${env:LEVEL:-low}"}}
    assert "asks for the input `api-key`: set API_KEY in its place" in found.sentences
    assert "needs API_KEY in the environment of the portal, which is not set now" in found.sentences


def test_the_folder_that_an_editor_has_open_is_the_one_of_the_command_from_then_on(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    found = one(machine, "cursor", {"command": "${workspaceFolder}/run", "args": ["${userHome}/x"]})
    assert found.entry == {"command": f"{machine.folder}/run", "args": [f"{tmp_path}/x"]}
    assert found.sentences == (f"has ${{workspaceFolder}}, which is {machine.folder} from now on",)


@pytest.mark.parametrize("id", ["claude-desktop"])
def test_what_looks_like_a_variable_to_us_stays_text_for_a_client_that_has_none(tmp_path: Path, id: str) -> None:
    found = one(machine_in(tmp_path), id, {"command": "sh", "args": ["-c", "echo ${X}"]})
    assert found.entry == {"command": "sh", "args": ["-c", "echo $${X}"]}
    assert isinstance(found.config, StdioServer) and found.config.args == ("-c", "echo ${X}")


def test_other_spellings_become_ours(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    assert one(machine, "gemini", {"httpUrl": "https://a.example/mcp", "timeout": 5000}).entry == {
        "url": "https://a.example/mcp",
        "timeout": 5.0,
    }
    assert one(machine, "windsurf", {"serverUrl": "https://a.example/mcp", "disabled": True}).entry == {
        "url": "https://a.example/mcp",
        "enabled": False,
    }
    docs = '[mcp_servers.docs]\nurl = "https://a.example/mcp"\nbearer_token_env_var = "T"\nstartup_timeout_sec = 9\n'
    assert carried(machine, "codex", docs)["docs"].entry == {
        "url": "https://a.example/mcp",
        "headers": {"Authorization": "Bearer ${env:T}"},
        "connectTimeout": 9,
    }


def test_what_is_left_behind_is_said(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    found = one(machine, "gemini", {"command": "a", "includeTools": ["x"], "oauth": {"enabled": True}})
    assert found.entry == {"command": "a"}
    assert found.sentences == (
        "loses what only its client understands: `includeTools`, `oauth.enabled`",
    ) or found.sentences == ("loses what only its client understands: `oauth.enabled`, `includeTools`",)
    slow = one(machine, "gemini", {"httpUrl": "https://a.example/mcp", "timeout": 5000})
    assert slow.sentences == ("has a `timeout` that is read as milliseconds: 5 s",)
    off = one(machine, "windsurf", {"command": "a", "disabled": True})
    assert off.sentences == ("is switched off there, and stays so here",)
    remote = one(machine, "vscode", {"url": "https://a.example/mcp", "envFile": ".env"})
    assert remote.sentences == ("loses its `envFile`, which is for programs only",)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"type": "ws", "url": "wss://a.example"}, "which the portal does not serve"),
        ({"command": "a", "url": "https://a.example"}, "has both `command` and `url`"),
        ({"comand": "a"}, "is not a known key"),
        ({}, "has neither `command` nor `url`"),
        ({"url": "ftp://a.example"}, "http"),
        ({"command": "${config:x.y}"}, "only another client can fill in"),
        ({"url": "unix:///run/a.sock"}, "socket"),
        ("text", "is no object"),
        (None, "is no object"),
    ],
)
def test_what_the_portal_cannot_serve_is_not_taken_over(tmp_path: Path, entry: Any, why: str) -> None:
    found = one(machine_in(tmp_path), "cursor", entry)
    assert found.entry is None and found.config is None
    assert why in found.why and not found.why.endswith(".")


@pytest.mark.parametrize("entry", [{"url": "${BASE}/mcp"}, {"url": "https://${HOST_OF_IT}/mcp"}, {"command": "${CMD}"}])
def test_a_server_whose_variable_is_not_set_is_taken_over_and_said(tmp_path: Path, entry: dict[str, str]) -> None:
    found = one(machine_in(tmp_path), "claude-code", entry)
    assert found.entry == {name: text.replace("${", "${env:") for name, text in entry.items()}
    assert len(found.sentences) == 1 and found.sentences[0].startswith("needs ")


def test_whether_a_secret_stands_in_the_entry_is_known(tmp_path: Path) -> None:
    machine = machine_in(tmp_path, TOKEN="0123456789abcdef")
    literal: list[dict[str, Any]] = [
        {"command": "a", "env": {"KEY": "0123456789"}},
        {"command": "a", "args": ["--api-key", "0123456789"]},
        {"url": "https://a.example/mcp?key=0123456789"},
        {"url": "https://a.example/mcp", "headers": {"X-Key": "0123456789"}},
    ]
    assert [one(machine, "claude-code", entry).has_literal_secrets for entry in literal] == [True] * 4
    named: list[dict[str, Any]] = [
        {"command": "a", "args": ["plain", "words"]},
        {"command": "a", "env": {"KEY": "${TOKEN}"}},
        {"url": "https://a.example/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}},
    ]
    assert [one(machine, "claude-code", entry).has_literal_secrets for entry in named] == [False] * 3


def test_of_the_projects_of_claude_code_those_of_the_folder_are_offered(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)
    found = carried(machine, "claude-code", CLAUDE_JSON % {"work": machine.folder})
    assert sorted(found) == ["db", "files", "github"]
    assert found["db"].entry == {
        "command": "./db",
        "args": ["--password", "hunter2-and-more"],
        "cwd": str(machine.folder),
    }
    file = found["db"].server.file
    assert servers_elsewhere(read_client_file(file, machine), machine) == ("/elsewhere",)
