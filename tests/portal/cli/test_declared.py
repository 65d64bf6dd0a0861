"""`codemode plan`, `apply`, `export` and `admin`, on a database of their own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from portal.cli.app import app
from tests.portal.state.databases import new_state

FILE = """
servers:
  docs: {name: Docs, hostname: "https://docs.example/mcp", auth_type: bearer, auth_credentials: "${DOCS_TOKEN}"}
groups:
  Engineers: {include: [{email_domain: {domain: acme.example}}]}
policies:
  Engineers may: {decision: allow, include: [{group: {id: Engineers}}]}
"""

Command = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "portal.yaml"
    written.write_text(FILE)
    return written


@pytest.fixture
def command(tmp_path: Path) -> Command:
    environment = {"CODEMODE_STATE": new_state(tmp_path), "DOCS_TOKEN": "docs-secret"}
    return lambda *words, **changed: CliRunner(env={**environment, **changed}).invoke(
        app, [str(word) for word in words]
    )


def test_a_plan_shows_what_apply_then_does(command: Command, file: Path) -> None:
    planned = command("plan", file)
    assert planned.exit_code == 1
    assert planned.stdout.splitlines() == ["+ groups.Engineers", "+ policies.Engineers may", "+ servers.docs"]
    assert command("apply", file, "--yes").stdout.endswith("Done: 3 changes.\n")
    again = command("plan", file)
    assert (again.exit_code, again.stdout) == (0, "Everything is as the file says.\n")


def test_nothing_is_applied_without_a_yes(command: Command, file: Path) -> None:
    refused = command("apply", file)
    assert refused.exit_code == 2
    assert "Nothing was changed. Say --yes" in refused.stderr
    assert command("plan", file).exit_code == 1


def test_what_is_exported_changes_nothing_and_holds_no_secret(command: Command, file: Path, tmp_path: Path) -> None:
    command("apply", file, "--yes")
    copy = tmp_path / "copy.yaml"
    assert command("export", "-o", copy).exit_code == 0
    assert "docs-secret" not in copy.read_text()
    assert list(yaml.safe_load(copy.read_text())) == ["groups", "policies", "servers"]
    assert command("plan", copy).exit_code == 0


def test_texts_that_look_like_numbers_are_exported_as_texts(command: Command, tmp_path: Path) -> None:
    file, copy = tmp_path / "portal.json", tmp_path / "copy.yaml"
    file.write_text(json.dumps({"custom_pages": {"1e3": {"type": "forbidden", "custom_html": "08"}}}))
    command("apply", file, "--yes")
    assert command("export", "-o", copy).exit_code == 0
    assert (again := command("plan", copy)).exit_code == 0, again.output


def test_a_secret_that_changed_is_named_and_not_shown(command: Command, file: Path) -> None:
    command("apply", file, "--yes")
    planned = command("plan", file, DOCS_TOKEN="another-secret")
    assert planned.stdout == "~ servers.docs: auth_credentials\n"
    assert "another-secret" not in planned.output
    missing = command("plan", file, DOCS_TOKEN=None)
    assert missing.exit_code == 2
    assert "servers.docs.auth_credentials: needs the environment variable DOCS_TOKEN" in missing.stderr


def test_pruning_is_said_before_it_is_done(command: Command, file: Path, tmp_path: Path) -> None:
    command("apply", file, "--yes")
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps({"servers": {}}))
    assert (
        command("plan", fewer).stdout.splitlines()[0]
        == "  servers.docs: not in the file, and kept (--prune removes it)"
    )
    planned = json.loads(command("plan", fewer, "--prune", "--json").stdout)
    assert planned["changes"] == [{"action": "remove", "section": "servers", "called": "docs", "fields": []}]
    made = json.loads(command("apply", fewer, "--prune", "--yes", "--json").stdout)["made"]
    assert [change["called"] for change in made] == ["docs"]
    assert json.loads(command("admin", "list", "servers", "--json").stdout) == []


def test_a_change_that_is_refused_says_which_and_how_far_it_came(command: Command, file: Path, tmp_path: Path) -> None:
    command("apply", file, "--yes")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("custom_pages: {Sorry: {type: forbidden, custom_html: sorry}}\ngroups: {}\n")
    refused = command("apply", wrong, "--prune", "--yes")
    assert refused.exit_code == 2
    assert "groups.Engineers:" in refused.stderr
    assert "(1 of 2 changes were made before it)" in refused.stderr
    assert "Engineers" in command("admin", "list", "groups").stdout
    assert "Sorry" in command("admin", "list", "custom-pages").stdout


def test_what_is_stored_can_be_looked_at_removed_and_accounted_for(command: Command, file: Path) -> None:
    command("apply", file, "--yes")
    assert "docs" in command("admin", "list", "servers").stdout
    shown = json.loads(command("admin", "show", "servers", "docs").stdout)
    assert shown["hostname"] == "https://docs.example/mcp"
    assert "docs-secret" not in json.dumps(shown)
    assert command("admin", "remove", "servers", "docs").exit_code == 0
    gone = command("admin", "show", "servers", "docs")
    assert gone.exit_code == 1
    assert "MCP server not found" in gone.stderr
    trail = command("admin", "audit").stdout
    assert "codemode apply" in trail and "codemode admin" in trail and "delete" in trail


def test_what_cannot_be_read_is_named_stops_a_plan_and_can_be_removed(
    command: Command, file: Path, tmp_path: Path
) -> None:
    command("apply", file, "--yes")
    with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
        database.execute("UPDATE objects SET document = '{\"name\": 3}' WHERE kind = 'server'")
    listed = command("admin", "list", "servers")
    assert listed.exit_code == 0 and "There are no servers." in listed.stdout
    assert "the stored server 'docs' cannot be read (name: must be text)" in listed.stderr
    shown = command("admin", "show", "servers", "docs")
    assert shown.exit_code == 1 and "replace or delete it" in shown.stderr
    planned = command("plan", file)
    assert planned.exit_code == 2 and "server 'docs' cannot be read" in planned.stderr
    assert command("admin", "remove", "servers", "docs").exit_code == 0
    assert command("plan", file).stdout == "+ servers.docs\n"


@pytest.mark.parametrize(
    "words, message",
    [
        (("admin", "list", "cows"), "'cows' is no kind"),
        (("plan", "nowhere.yaml"), "There is no file nowhere.yaml."),
        (("admin", "list", "servers", "--state", "mysql://x"), "mysql"),
    ],
)
def test_a_mistake_is_one_line(command: Command, words: tuple[str, ...], message: str) -> None:
    failed = command(*words)
    assert failed.exit_code == 2
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1
