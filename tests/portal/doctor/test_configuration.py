"""What `codemode doctor` finds in a configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.doctor import Diagnosis
from portal.doctor.configuration import config_facts, config_findings, literal_secrets
from tests.portal.doctor.finding import checks, found

TIME = {"command": "uvx", "args": ["mcp-server-time"]}


def looked_at(folder: Path, document: object, mode: int = 0o600) -> list[Diagnosis]:
    file = folder / "codemode.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    file.chmod(mode)
    return list(config_findings(config_facts(file, "")))


def servers(**entries: Any) -> dict[str, Any]:
    return {"mcpServers": entries}


def test_a_good_configuration_has_nothing_to_mend(tmp_path: Path) -> None:
    findings = looked_at(tmp_path, servers(time=TIME))
    assert {one.level for one in findings} == {"ok"}
    assert "is valid: 1 server." in found(findings, "config.valid").text


def test_without_a_configuration_the_command_that_makes_one_is_named() -> None:
    one = found(config_findings(config_facts(None, "No configuration found.")), "config.valid")
    assert (one.level, one.fix) == ("trouble", "codemode init")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "codemode.json"),
        (servers(a={"command": "x", "pin": "yes"}), "mcpServers.a.pin"),
        (servers(a=TIME, **{"a.": TIME}), "would both be called"),
        ({"mcpServers": {}, "portals": {"mcp": {}}}, "portals.mcp"),
    ],
    ids=["no JSON", "a wrong value", "two ids that collide", "a reserved id"],
)
def test_a_configuration_that_cannot_be_used_is_said_with_its_key(tmp_path: Path, document: object, words: str) -> None:
    one = found(looked_at(tmp_path, document), "config.valid")
    assert one.level == "trouble" and words in one.text and one.fix


def test_a_configuration_that_cannot_be_read_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "codemode.json").mkdir()
    findings = list(config_findings(config_facts(tmp_path / "codemode.json", "")))
    assert found(findings, "config.valid").level == "trouble"


def test_a_variable_that_is_not_set_is_named_with_the_command_that_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {**TIME, "env": {"TOKEN": "${DOCTOR_TOKEN}"}}
    monkeypatch.delenv("DOCTOR_TOKEN", raising=False)
    one = found(looked_at(tmp_path, servers(time=TIME, other=entry)), "config.variables")
    assert (one.about, one.level, one.fix) == ("other", "trouble", "export DOCTOR_TOKEN=...")
    document = {**servers(time=TIME), "portal": {"state": "sqlite:///${DOCTOR_TOKEN}"}}
    assert found(looked_at(tmp_path, document), "config.variables").fix == "export DOCTOR_TOKEN=..."
    monkeypatch.setenv("DOCTOR_TOKEN", "set")
    assert "config.variables" not in checks(looked_at(tmp_path, servers(time=TIME, other=entry)))


def test_a_server_that_is_left_out_is_named(tmp_path: Path) -> None:
    one = found(looked_at(tmp_path, servers(time=TIME, ws={"type": "ws", "url": "ws://x"})), "config.servers")
    assert (one.about, one.level) == ("ws", "trouble")


def test_an_entry_that_leads_back_to_the_portal_is_named_and_no_trouble(tmp_path: Path) -> None:
    findings = looked_at(tmp_path, servers(time=TIME, me={"url": "http://127.0.0.1:8787/mcp"}))
    assert found(findings, "config.itself").about == "me"
    assert not checks(findings)


def test_keys_that_are_passed_over_are_named(tmp_path: Path) -> None:
    one = found(looked_at(tmp_path, servers(time={**TIME, "colour": "red"})), "config.keys")
    assert one.level == "notice" and "colour" in one.text


def test_a_name_that_is_another_one_here_or_in_programs_is_said(tmp_path: Path) -> None:
    findings = looked_at(tmp_path, servers(my_server=TIME, Time=TIME, time=TIME, delete=TIME))
    texts = [one.text for one in findings if one.check == "config.names"]
    assert any("`my_server` is called `my-server`" in text for text in texts)
    assert any("capital letters" in text for text in texts)
    assert any("codemode.delete_" in text for text in texts)
    assert len(texts) == 3


@pytest.mark.parametrize(("mode", "level"), [(0o600, "ok"), (0o640, "trouble"), (0o644, "trouble")])
def test_a_file_with_secrets_is_for_its_owner_alone(tmp_path: Path, mode: int, level: str) -> None:
    entry = {**TIME, "env": {"API_KEY": "hunter2-hunter2"}}
    one = found(looked_at(tmp_path, servers(time=entry), mode), "config.permissions")
    assert one.level == level and "hunter2" not in one.text
    assert one.fix == (f"chmod 600 {tmp_path}/codemode.json" if level == "trouble" else "")


def test_a_file_whose_secrets_are_variables_may_be_read_by_all(tmp_path: Path) -> None:
    findings = looked_at(tmp_path, servers(time={**TIME, "env": {"API_KEY": "${HOME}"}}), 0o644)
    assert "config.permissions" not in {one.check for one in findings}


@given(st.recursive(st.text() | st.none() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_looking_for_secrets_never_shows_a_value(document: object) -> None:
    for key in literal_secrets({"token": "a-secret-value", "more": document}):
        assert "a-secret-value" not in key
