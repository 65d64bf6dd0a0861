"""The documentation of the command line is true: addresses, examples, options, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portal.cli.app import app
from portal.cli.config_file import IN_FOLDER
from portal.cli.exits import Exit
from portal.config.config import PortalSettings, parse_config
from portal.home import CODE_MODE, client_setups

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAPTER = (ROOT / "portal" / "README.md").read_text(encoding="utf-8")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def test_the_readme_connects_clients_as_the_command_does() -> None:
    settings = PortalSettings()
    url = f"http://{settings.host}:{settings.port}{settings.path}{CODE_MODE}"
    named = [way for way in client_setups(url) if way.brief and way.client != "Every other client"]
    assert len(named) == 3
    for way in named:
        assert f"`{way.text}`" in README, way.client


@pytest.mark.parametrize("document", fenced(CHAPTER, "json"))
def test_configuration_examples_are_accepted(document: str) -> None:
    environment = {"HOME": "/home", "TICKETS_TOKEN": "secret", "METRICS_TOKEN": "of-the-scraper-and-nobody-else"}
    config = parse_config(json.loads(document), env=environment)
    assert config.servers


def test_settings_that_are_named_exist() -> None:
    [section] = re.findall(r"^`portal` takes (.*?)\. The limits", CHAPTER, re.S | re.M)
    known = {field.alias for field in PortalSettings.model_fields.values()}
    assert set(re.findall(r"`(\w+)`", section)) == known


@pytest.mark.parametrize("command", re.findall(r"^\| `codemode ([a-z-]+(?: [a-z-]+)*)", CHAPTER, re.M))
def test_every_command_of_the_table_exists_with_its_options(command: str) -> None:
    [row] = re.findall(rf"^\| `codemode {command}\b.*$", CHAPTER, re.M)
    help_text = CliRunner().invoke(app, [*command.split(), "--help"]).stdout
    assert help_text.startswith("Usage: ")
    assert [option for option in re.findall(r"--\w+", row) if option not in help_text] == []


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
