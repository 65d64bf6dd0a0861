"""Configurations with every kind of mistake, through the command line: one sentence, exit code 2, no value shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portal.cli.app import app
from portal.cli.exits import Exit

SECRET = "hunter2-hunter2"
ENTRY = {"command": "true"}
MISTAKES: list[tuple[str, str]] = [
    ("", "JSON"),
    ("{", "line 1"),
    ("[]", "object"),
    ("null", "object"),
    ('{"mcpServers": []}', "mcpServers"),
    ('{"mcpServers": {"a": "b"}}', "mcpServers.a"),
    ('{"mcpServers": {"a": {}}}', "mcpServers.a"),
    ('{"mcpServers": {"a": {"command": 1}}}', "mcpServers.a.command"),
    ('{"mcpServers": {"a": {"command": ""}}}', "mcpServers.a.command"),
    ('{"mcpServers": {"a": {"comand": "x"}}}', "command"),
    ('{"mcpServers": {"a": {"command": "x", "args": "y"}}}', "mcpServers.a.args"),
    ('{"mcpServers": {"a": {"command": "x", "env": {"K": ["hunter2-hunter2"]}}}}', "mcpServers.a.env"),
    ('{"mcpServers": {"a": {"command": "x", "url": "http://b"}}}', "mcpServers.a"),
    ('{"mcpServers": {"a": {"url": "ftp://hunter2-hunter2@b"}}}', "mcpServers.a.url"),
    ('{"mcpServers": {"a": {"url": "hunter2-hunter2"}}}', "mcpServers.a.url"),
    ('{"mcpServers": {"a": {"url": "http://b", "headers": {"X": "hunter2-hunter2\\r\\nY: z"}}}}', "a.headers"),
    ('{"mcpServers": {"a": {"url": "http://b", "headers": {"a b": "hunter2-hunter2"}}}}', "mcpServers.a.headers"),
    ('{"mcpServers": {"a": {"url": "http://b", "type": 7}}}', "mcpServers.a.type"),
    ('{"mcpServers": {"a": {"url": "http://b", "timeout": -1}}}', "mcpServers.a.timeout"),
    ('{"mcpServers": {"a": {"url": "http://b", "timeout": "hunter2-hunter2"}}}', "mcpServers.a.timeout"),
    ('{"mcpServers": {"a": {"url": "http://${NO_SUCH_VARIABLE_HERE}"}}}', "NO_SUCH_VARIABLE_HERE"),
    ('{"mcpServers": {"a": {"url": "http://${broken"}}}', "mcpServers.a.url"),
    ('{"mcpServers": {"my_a": {"command": "x"}, "my-a": {"command": "x"}}}', "my-a"),
    ('{"mcpServers": {"": {"command": "x"}}}', "mcpServers"),
    ('{"mcpServers": {"a": {"command": "x"}}, "mcpservers": {}}', "mcpservers"),
    ('{"mcpServers": {}, "portal": {"port": 70000}}', "portal.port"),
    ('{"mcpServers": {}, "portal": {"path": "mcp"}}', "portal.path"),
    ('{"mcpServers": {}, "portal": {"codeMode": "maybe"}}', "portal.codeMode"),
    ('{"mcpServers": {}, "portal": {"limits": {"cpuTime": "hunter2-hunter2"}}}', "cpuTime"),
    ('{"mcpServers": {}, "portal": {"limits": {"cpuTime": 1e99}}}', "cpuTime"),
    ('{"mcpServers": {}, "portal": {"limits": {"memory": 1}}}', "memory"),
    ('{"mcpServers": {}, "portal": {"limits": {"cpu": 1}}}', "cpu"),
    ('{"mcpServers": {}, "portal": {"limits": {"words": 1}}}', "words"),
    ('{"mcpServers": {}, "portal": {"limits": {"calls": 10.5}}}', "portal.limits.calls"),
    ('{"mcpServers": {}, "portal": {"limits": {"depth": 5000}}}', "must lie between"),
    ('{"mcpServers": {}, "portal": {"logLevel": "loud"}}', "portal.logLevel"),
    ('{"mcpServers": {}, "portal": {"host": 5}}', "portal.host"),
    ('{"mcpServers": {}, "portal": {"prot": 5}}', "port"),
    ("{" + '"a":{' * 5000 + "}" * 5000 + "}", ""),
]


@pytest.mark.parametrize(("document", "says"), MISTAKES, ids=[str(number) for number in range(len(MISTAKES))])
def test_a_mistake_is_one_sentence_that_names_its_place(document: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "codemode.json"
    file.write_text(document)
    result = CliRunner().invoke(app, ["tools", "--config", str(file)])  # `serve` reads it the same way, below
    said = result.stderr
    assert result.exit_code == Exit.USAGE, (result.exit_code, said, result.exception)
    assert says in said, said
    assert SECRET not in said + result.stdout and "Traceback" not in said
    assert result.stdout == "" and len(said.strip().splitlines()) <= 3, said


def test_an_address_others_can_reach_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "codemode.json"
    file.write_text(json.dumps({"mcpServers": {"a": ENTRY}, "portal": {"host": "0.0.0.0"}}))
    result = CliRunner().invoke(app, ["serve", "--config", str(file)])
    assert result.exit_code == Exit.USAGE and "identity" in result.stderr


@pytest.mark.parametrize("command", ["tools", "search x", "describe a.b", "call a.b", "run -", "serve"])
def test_every_command_reads_the_configuration_as_strictly(command: str, tmp_path: Path) -> None:
    file = tmp_path / "codemode.json"
    file.write_text(json.dumps({"mcpServers": {"a": {**ENTRY, "timeuot": SECRET}}}))
    result = CliRunner().invoke(app, [*command.split(), "--config", str(file)], input="return 1")
    assert result.exit_code == Exit.USAGE
    assert "mcpServers.a.timeuot" in result.stderr and SECRET not in result.stderr
