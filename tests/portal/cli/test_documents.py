"""The documentation of the command line is true: addresses, examples, options, exit codes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portal.cli.app import app
from portal.cli.config_file import IN_FOLDER
from portal.cli.exits import Exit
from portal.clients import CLIENTS
from portal.config.config import PortalSettings, parse_config
from portal.home import CODE_MODE, client_setups
from tests.portal.cli.command import in_process
from tests.portal.clients.machines import machine_in, three_clients

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAPTER = (ROOT / "portal" / "README.md").read_text(encoding="utf-8")
OF_CLIENTS = (ROOT / "portal" / "clients" / "README.md").read_text(encoding="utf-8")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def test_the_chapter_of_clients_connects_them_by_hand_as_the_command_does() -> None:
    settings = PortalSettings()
    url = f"http://{settings.host}:{settings.port}{settings.path}{CODE_MODE}"
    named = [way for way in client_setups(url) if way.brief and way.client != "Every other client"]
    assert len(named) == 3
    for way in named:
        assert f"`{way.text}`" in OF_CLIENTS, way.client


def test_the_chapter_of_clients_has_each_of_them_with_its_document_and_section() -> None:
    rows = {row[1]: row[0] for row in re.findall(r"^(\| `([a-z-]+)` \|.*)$", OF_CLIENTS, re.M)}
    assert list(rows) == [client.id for client in CLIENTS]
    for client in CLIENTS:
        named = (client.file, client.project, client.section, *(variable for variable, _ in client.overrides))
        assert [one for one in named if one not in rows[client.id]] == []


def test_the_commands_of_the_chapter_of_clients_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", *(name for one in CLIENTS for name, _ in one.overrides)):
        monkeypatch.delenv(variable, raising=False)
    machine = machine_in(tmp_path)
    files = three_clients(machine)
    before = {id: file.path.read_bytes() for id, file in files.items()}
    (block,) = fenced(OF_CLIENTS, "sh")
    for line in block.splitlines():
        done = in_process(machine.folder, *shlex.split(line, comments=True)[1:], home=machine.home)
        assert done.returncode == Exit.OK, (line, done.stderr)
        if line.startswith("codemode connect cursor --undo"):
            # What `init` had written is undone with it.
            assert files["cursor"].path.read_bytes() == before["cursor"]
    assert files["codex"].path.read_bytes() == before["codex"]


@pytest.mark.parametrize("document", fenced(CHAPTER, "json"))
def test_configuration_examples_are_accepted(document: str) -> None:
    environment = {"HOME": "/home", "TICKETS_TOKEN": "secret", "METRICS_TOKEN": "of-the-scraper-and-nobody-else"}
    environment["SHOP_KEY"] = "secret"
    config = parse_config(json.loads(document), env=environment)
    assert config.servers


def test_settings_that_are_named_exist() -> None:
    [section] = re.findall(r"^`portal` takes (.*?)\. The limits", CHAPTER, re.S | re.M)
    known = {field.alias for field in PortalSettings.model_fields.values()}
    assert set(re.findall(r"`(\w+)`", section)) == known


@pytest.mark.parametrize("command", re.findall(r"^\| `codemode ([a-z-]+(?: [a-z-]+)*)", CHAPTER, re.M))
def test_every_command_of_the_table_exists_with_its_options(command: str) -> None:
    rows = re.findall(rf"^\| `codemode {command}\b.*$", CHAPTER, re.M)
    help_text = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    assert help_text.startswith("Usage: ")
    assert [option for row in rows for option in re.findall(r"--\w+", row) if option not in help_text] == []


def test_help_chapter_and_code_agree_on_exit_codes_and_configuration_files() -> None:
    help_text = CliRunner().invoke(app, ["--help"]).stdout
    for text in (help_text, CHAPTER):
        flat = " ".join(text.split())
        assert [name for name in IN_FOLDER if name not in flat] == []
        assert [code for code in Exit if not re.search(rf"\b{code.value} \w", flat)] == []


def test_make_has_the_words_the_readme_uses() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for text in (README, CHAPTER, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        for word in re.findall(r"\bmake ([a-z-]+)(?=\s+#|`)", text):
            assert re.search(rf"^{word}:", makefile, re.M), word
