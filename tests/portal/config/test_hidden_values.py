"""A document is shown without what may be secret, and with all else as it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.config import hide_values, is_reference, parse_document, shown_difference, with_member
from portal.config.hidden_values import HIDDEN

SECRET = "hunter2-hunter2"
SERVERS: dict[str, dict[str, Any]] = {
    "variable": {"command": "x", "env": {"PLAIN": SECRET}},
    "number": {"command": "x", "env": {"PIN": 73519284}},
    "opencode": {"command": ["x"], "environment": {"PLAIN": SECRET}},
    "header": {"url": "https://a.example", "headers": {"X-Any": SECRET}},
    "codex": {"url": "https://a.example", "http_headers": {"X-Any": f"Bearer {SECRET}"}},
    "query": {"url": f"https://a.example/mcp?key={SECRET}"},
    "password": {"url": f"https://me:{SECRET}@a.example/mcp"},
    "path": {"url": f"https://a.example/{SECRET}{SECRET}/mcp"},
    "option": {"command": "x", "args": ["--api-key", SECRET]},
    "same word": {"command": "x", "args": [f"--token={SECRET}"]},
    "bridge": {"command": "npx", "args": ["mcp-remote", "https://a.example", "--header", f"Authorization: {SECRET}"]},
    "container": {"command": "docker", "args": ["run", "-e", f"KEY={SECRET}", "image"]},
    "client": {"url": "https://a.example", "oauth": {"client_id": "me", "client_secret": SECRET}},
    "default": {"command": "x", "env": {"KEY": f"${{KEY:-{SECRET}}}"}},
    "in a list": {"providers": [{"clientSecret": SECRET}]},
}


@pytest.mark.parametrize("name", SERVERS)
def test_what_may_be_secret_is_not_shown(name: str) -> None:
    text = json.dumps({"mcpServers": {name: SERVERS[name]}}, indent=2)
    shown = hide_values(text, ".json")
    assert SECRET not in shown and "73519284" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize("value", ["${KEY}", "Bearer ${KEY}", "${env:KEY}", "{env:KEY}", "$KEY", "${A}${B}"])
def test_a_reference_is_shown(value: str) -> None:
    assert is_reference(value)
    text = json.dumps({"mcpServers": {"a": {"command": "x", "env": {"KEY": value}}}})
    assert hide_values(text, ".json") == text


@pytest.mark.parametrize("value", ["key", "${KEY:-key}", "Bearer key", "${KEY}key", "$key", ""])
def test_what_has_a_value_of_its_own_is_no_reference(value: str) -> None:
    assert not is_reference(value)


def test_a_toml_document_is_shown_in_the_same_way() -> None:
    text = (
        f'[mcp_servers.a]\ncommand = "x" # why\nenv = {{ KEY = "{SECRET}", B = "${{B}}" }}\n[x.env]\nA = \'{SECRET}\'\n'
    )
    shown = text.replace(f"'{SECRET}'", f'"{SECRET}"').replace(SECRET, HIDDEN)
    assert hide_values(text, ".toml") == shown


def test_a_value_in_a_comment_is_not_shown() -> None:
    text = f'{{"a": 1}} // "API_KEY": "{SECRET}", more\n'
    assert hide_values(text, ".json") == text.replace(SECRET, HIDDEN).replace("more", HIDDEN)
    assert SECRET not in hide_values(f"a = 1\n# token = '{SECRET}'\n", ".toml")


def test_a_text_that_cannot_be_read_has_no_strings() -> None:
    assert hide_values(f'{{"a": "{SECRET}",, }}', ".json") == f'{{"a": "{HIDDEN}",, }}'


@pytest.mark.parametrize("ends", ["\n", ""])
def test_the_lines_around_a_change_have_no_secrets_either(ends: str) -> None:
    text = json.dumps({"mcpServers": SERVERS}, indent=2) + ends
    for name in SERVERS:
        changed = with_member(text, ".json", ["mcpServers", name, "enabled"], False)
        assert SECRET not in shown_difference(text, changed, ".json", "f")


def test_a_change_of_nothing_but_secrets_is_not_seen() -> None:
    before = '{"mcpServers": {"a": {"command": "x", "env": {"A": "one"}}}}'
    assert shown_difference(before, before.replace("one", "two"), ".json", "f") == ""


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=12), max_size=4), st.booleans())
def test_a_shown_document_is_still_one_with_the_same_members(values: dict[str, str], ascii_only: bool) -> None:
    document = {"mcpServers": {"a": {"command": "x", "env": values, "url": "".join(values)}}}
    shown = parse_document(hide_values(json.dumps(document, ensure_ascii=ascii_only), ".json"), ".json", file="f")
    servers = shown["mcpServers"]
    assert isinstance(servers, dict)
    assert servers["a"]["env"].keys() == values.keys()
    assert all(one in (HIDDEN, "") or is_reference(one) for one in servers["a"]["env"].values())


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('{\n  // Authorization: Bearer Zq0-hunter2\n  "a": 1\n}', ".json"),
        ('{\n  /* the password\n     is Zq0-hunter2 */\n  "a": 1\n}', ".json"),
        ('# """\na = """\n# b\n"""\n# key Zq0-hunter2\n', ".toml"),
        ('{\n  // "url": "https://a.example/Zq0-hunter2"\n  "a": 1\n}', ".json"),
    ],
)
def test_a_comment_keeps_words_of_a_language_alone(text: str, suffix: str) -> None:
    assert "hunter2" not in hide_values(text, suffix)
    plain = "// what I use every day" if suffix == ".json" else "# what I use every day"
    assert plain in hide_values(f"{plain}\n{text}", suffix)
