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
    '{"hooks": [{"type": "command", "command": "curl -H SECRET https://a.example"}], "mcpServers": {}}',
    '{"hooks": [{"type": "command", "command": "/bin/login -p SECRET"}], "mcpServers": {}}',
    '{"hooks": [{"type": "command", "command": "TOKEN=SECRET"}], "mcpServers": {}}',
    '{"accounts": [{"id": "SECRET"}], "mcpServers": {}}',
    '{\n  // token: SECRET\n  "a": 1\n}',
    '{\n  /* old password: SECRET\n     API_KEY=SECRET\n     Bearer SECRET */ "a": 1\n}',
]
TOML_SECRETS = [
    'key = "SECRET"\n',
    "key = 'SECRET'\n",
    'key = """\nSECRET\n"""\n',
    "key = '''\nSECRET'''\n",
    '[mcp_servers.a]\ncommand = "a"\n[mcp_servers.a.env]\nKEY = "SECRET"\n',
    '# key = "SECRET"\n',
    "# token: SECRET\n# Authorization: Bearer SECRET\n",
    '# """\nkey = """SECRET\n"""\n',
    "a = 'b' # don't\nkey = '''\nSECRET'''\n",
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


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("01-tools-list-of-the-server.py", True),
        ("mcp-server-fetch==2025.4.7", True),
        ("postgres-mcp-server-v2-beta", True),
        ("@modelcontextprotocol/server-github@2025.4.8", True),
        ("/srv/data/of/the/year/2026", True),
        ("--port=8080", False),
        ("sk-ant-api03-Zq0x1v8b7n6m5k4j3h2g1f", False),
        ("2c1f0a3b-1f3d-4b5e-8a7c-0d9e8f7a6b5c", False),
        ("ghp_0123456789abcdefghij0123456789abcd", False),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", False),
        ("TOKEN=abc", False),
    ],
)
def test_names_in_a_command_are_shown_and_keys_are_not(word: str, shown: bool) -> None:
    text = json.dumps({"mcpServers": {"a": {"command": "x", "args": [word]}}})
    assert (word in masked(text, ".json")) is shown


def test_what_is_a_secret_at_one_place_is_hidden_at_every_other() -> None:
    servers = {"a": {"command": "x", "args": ["--port", "8080x"]}, "b": {"command": "x", "args": ["--pin", "8080x"]}}
    for order in (servers, dict(reversed(servers.items()))):
        assert "8080x" not in masked(json.dumps({"mcpServers": order}), ".json")


@pytest.mark.parametrize(
    "word", ["x" * 100_000, "https://" + "a" * 100_000, "a=" * 50_000, "a-" * 50_000, "\0", "http"]
)
def test_words_that_no_command_has_are_shown_without_an_error(word: str) -> None:
    text = json.dumps({"mcpServers": {"a": {"command": "x", "args": [word, "--key", "SECRET"], "url": word}}})
    assert "SECRET" not in "".join(shown_diff("{}", text, ".json"))


def test_a_short_secret_is_one_too() -> None:
    text = json.dumps({"mcpServers": {"a": {"command": "x", "args": ["--pin", "1234", "--pass", "abc", "--in", "b"]}}})
    assert masked(text, ".json") == text.replace('"1234"', '"***"').replace('"abc"', '"***"')


def test_a_program_is_shown_also_where_its_path_has_blanks() -> None:
    for command in ("npx", "/Applications/My App.app/Contents/run", "C:\\\\Program Files\\\\node-22\\\\npx.cmd"):
        text = f'{{"mcpServers": {{"a": {{"command": "{command}"}}}}}}'
        assert masked(text, ".json") == text


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


def test_a_change_far_behind_on_a_long_line_is_shown() -> None:
    before = json.dumps({"history": [1] * 80, "mcpServers": {}})
    after = with_member(before, ".json", ("mcpServers", "codemode"), {"url": URL})
    assert MAX_LINE < len(before) < 1000
    assert f'+      "url": "{URL}"' in shown_diff(before, after, ".json")


def test_two_changes_of_a_large_document_are_shown_and_not_what_is_between_them() -> None:
    history = ['    {"display": "SECRET"},'] * 40_000
    top, end = ["{", '  "mcpServers": {"a": {"command": "x"}},', '  "history": ['], ["    1", "  ],"]
    before = [*top, *history, *end, '  "projects": {"b": {"command": "y"}}', "}"]
    after = [*top[:1], '  "mcpServers": {},', *top[2:], *history, *end, '  "projects": {}', "}"]
    shown = shown_diff("\n".join(before), "\n".join(after), ".json")
    assert [line for line in shown if line[0] in "+-"] == [
        '-  "mcpServers": {"a": {"command": "x"}},',
        '+  "mcpServers": {},',
        '-  "projects": {"b": {"command": "y"}}',
        '+  "projects": {}',
    ]
    assert len(shown) < 20


def test_words_of_a_comment_stay_readable() -> None:
    comment = "// what I use every day, and /* the rest */"
    assert masked(f"{{\n  {comment}\n}}", ".json") == f"{{\n  {comment}\n}}"
    assert masked("# the handbook\n[a] # second\n", ".toml") == "# the handbook\n[a] # second\n"


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
