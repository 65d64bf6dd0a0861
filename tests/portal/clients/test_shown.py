"""A diff of a client's document shows what changes, and nothing that may be a secret."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.clients.shown import HIDDEN, MAX_LINE, MOST_LINES, masked, shown_diff
from portal.config import with_member
from tests.deep import examples
from tests.portal.clients.machines import CLAUDE_JSON, CODEX_TOML, URL

SECRETS = [
    '{"oauthAccount": {"accessToken": "SECRET"}}',
    '{"customApiKeyResponses": {"approved": ["SECRET"]}}',
    '{"mcpServers": {"a": {"command": "x", "env": {"KEY": "SECRET"}}}}',
    '{"mcpServers": {"a": {"command": "x", "args": ["--api-key", "SECRET"]}}}',
    '{"mcpServers": {"a": {"command": "x", "args": ["--api-key=SECRET"]}}}',
    '{"mcpServers": {"a": {"command": "x", "args": ["-e", "TOKEN=SECRET"]}}}',
    '{"mcpServers": {"a": {"command": "x", "args": ["--header", "Authorization: Bearer SECRET"]}}}',
    '{"mcpServers": {"a": {"command": "x", "args": ["https://user:SECRET@a.example/mcp?key=SECRET"]}}}',
    '{"mcpServers": {"a": {"url": "https://a.example/mcp?key=SECRET"}}}',
    '{"mcpServers": {"a": {"url": "https://user:SECRET@a.example/mcp"}}}',
    '{"mcpServers": {"a": {"url": "https://a.example/SECRET-of-a-tenant/mcp"}}}',
    '{"mcpServers": {"a": {"url": "https://a.example", "headers": {"X-Key": "SECRET"}}}}',
    '{"mcpServers": {"a": {"url": "https://a.example", "oauth": {"clientSecret": "SECRET"}}}}',
    '{\n  // "API_KEY": "SECRET"\n  "mcpServers": {}\n}',
    '{\n  /* "SECRET" */ "mcpServers": {}\n}',
    '{"pin": "SECRET", "mcpServers": {}}',
]
TOML_SECRETS = [
    'key = "SECRET"\n',
    "key = 'SECRET'\n",
    'key = """\nSECRET\n"""\n',
    "key = '''\nSECRET'''\n",
    '[mcp_servers.a]\ncommand = "a"\n[mcp_servers.a.env]\nKEY = "SECRET"\n',
    '# key = "SECRET"\n',
]
SECRET = "Zq0-hunter2-SECRET"


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_of_a_json_document_is_in_the_lines_around_a_change(text: str) -> None:
    before = text.replace("SECRET", SECRET)
    after = with_member(before, ".json", ("mcpServers", "codemode"), {"url": URL})
    assert SECRET not in "\n".join(shown_diff(before, after, ".json"))
    assert SECRET not in "\n".join(shown_diff(before, "{}", ".json"))


@pytest.mark.parametrize("text", TOML_SECRETS)
def test_no_secret_of_a_toml_document_is_in_the_lines_around_a_change(text: str) -> None:
    before = text.replace("SECRET", SECRET)
    after = with_member(before, ".toml", ("mcp_servers", "codemode"), {"url": URL})
    assert SECRET not in "\n".join(shown_diff(before, after, ".toml"))
    assert SECRET not in "\n".join(shown_diff(before, "", ".toml"))


def test_a_secret_is_hidden_in_every_way_in_which_it_can_be_written() -> None:
    assert "SECRET" not in masked(r'{"a": "\u0053ECRET"}', ".json")
    assert "ECRET" not in masked(r'{"a": "S\u0045CRET and more"}', ".json")
    assert "ECRET" not in masked('{"a": "never ends SECRET', ".json")
    assert "1234567" not in masked('{"pin": 1234567, "b": [12345678]}', ".json")
    assert "1234567" not in masked("pin = 1234567\n", ".toml")
    assert "ECRET" not in masked('{"a": "one\u2028SECRET"}', ".json")


def test_what_a_person_has_to_see_is_shown() -> None:
    before = CLAUDE_JSON % {"work": "/work"}
    after = with_member(before, ".json", ("mcpServers", "codemode"), {"type": "http", "url": URL})
    shown = "\n".join(shown_diff(before, after, ".json"))
    assert f'+      "url": "{URL}"' in shown
    assert '"args": ["-y", "files-server", "/data"]' in shown
    assert '"https://mcp.example.com/github/"' in shown and f'"Authorization": "{HIDDEN}"' in shown
    removed = "\n".join(shown_diff(CODEX_TOML, "", ".toml"))
    assert '-url = "https://docs.example.com/mcp"' in removed and '-bearer_token_env_var = "DOCS_TOKEN"' in removed


def test_a_secret_that_changes_is_a_change_though_it_looks_the_same() -> None:
    before, after = '{\n  "key": "one"\n}\n', '{\n  "key": "two"\n}\n'
    assert shown_diff(before, after, ".json") == [
        "@@ -1,3 +1,3 @@",
        " {",
        f'-  "key": "{HIDDEN}"',
        f'+  "key": "{HIDDEN}"',
        " }",
    ]


def test_a_new_file_and_one_that_goes_are_shown_whole() -> None:
    assert shown_diff("", '{\n  "a": 1\n}\n', ".json") == ["@@ -0,0 +1,3 @@", "+{", '+  "a": 1', "+}"]
    assert shown_diff("{}\n", "", ".json") == ["@@ -1,1 +0,0 @@", "-{}"]
    assert shown_diff("{}", "{}", ".json") == []


def test_long_lines_and_long_diffs_are_cut() -> None:
    long = json.dumps({"x" * 1000: {}})
    assert all(len(line) <= MAX_LINE + 10 for line in shown_diff("{}", long, ".json"))
    assert all(len(line) <= MAX_LINE + 10 for line in shown_diff("{" + "x" * 5000, long + " {", ".json"))
    many = json.dumps({f"member{number}": {} for number in range(30_000)}, indent=1)
    assert len(shown_diff("{}", many, ".json")) == MOST_LINES + 1
    other = many.replace("{}", "[]")
    assert len(shown_diff(many, other, ".json")) == MOST_LINES + 1


def test_of_a_document_on_one_line_the_change_is_shown() -> None:
    before = json.dumps({"history": ["SECRET"] * 500, "mcpServers": {}, "pin": "SECRET"})
    after = with_member(before, ".json", ("mcpServers", "codemode"), {"url": URL})
    shown = shown_diff(before, after, ".json")
    assert len(shown) < 15 and f'+      "url": "{URL}"' in shown and "SECRET" not in "".join(shown)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "env", "url", "args"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@examples(300)
@given(st.dictionaries(st.sampled_from(["mcpServers", "env", "x"]), values, max_size=3), st.sampled_from([None, 1]))
def test_a_masked_document_has_the_lines_of_the_document(document: dict[str, object], indent: int | None) -> None:
    text = json.dumps(document, indent=indent)
    assert masked(text, ".json").count("\n") == text.count("\n")


@examples(300)
@given(st.text(max_size=80), st.sampled_from([".json", ".toml"]))
def test_any_text_is_masked_and_shown_without_an_error(text: str, suffix: str) -> None:
    assert masked(text, suffix).count("\n") == text.count("\n")
    lines = shown_diff(text, text + "\nx", suffix)
    assert lines and re.fullmatch(r"@@ -\d+,\d+ \+\d+,\d+ @@", lines[0])
