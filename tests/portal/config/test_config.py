"""The configuration document: the forms that are read, and errors that say where, what and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.config.config import Config, HttpServer, StdioServer, load_config, parse_config, server_id
from portal.config.expand import Expansion
from portal.errors import ConfigError
from tests.strategies import SHORT, json_values


def parse(document: dict[str, Any], **env: str) -> Config:
    return parse_config(document, file="mcp.json", env=env)


def one(entry: dict[str, Any], **env: str) -> Any:
    return parse({"mcpServers": {"up": entry}}, **env).servers["up"]


def error_of(document: dict[str, Any], **env: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(document, **env)
    assert str(caught.value).startswith("mcp.json")
    return caught.value


def test_the_document_of_other_clients_works_as_it_is() -> None:
    found = parse(
        {
            "$schema": "https://example.com/schema.json",
            "mcpServers": {
                "filesystem": {
                    "command": "npx",
                    "args": ["-y", "@modelcontextprotocol/server-filesystem", "/tmp"],
                    "env": {"LEVEL": "debug"},
                    "disabled": True,
                    "autoApprove": ["read_file"],
                },
                "remote": {"type": "http", "url": "https://example.com/mcp", "headers": {"X-Key": "k"}},
            },
        }
    )
    local, remote = found.servers["filesystem"], found.servers["remote"]
    assert isinstance(local, StdioServer) and isinstance(remote, HttpServer)
    assert (local.command, local.args[-1], local.env["LEVEL"], local.enabled) == ("npx", "/tmp", "debug", False)
    assert (remote.url, remote.headers["X-Key"], remote.transport) == ("https://example.com/mcp", "k", "http")


def test_the_document_of_vs_code_works_as_it_is() -> None:
    found = parse({"inputs": [], "servers": {"a": {"type": "stdio", "command": "a", "dev": {"watch": "x"}}}})
    assert found.servers["a"].transport_name == "stdio"


@pytest.mark.parametrize(
    ("entry", "transport"),
    [
        ({"url": "http://x"}, "auto"),
        ({"url": "http://x", "type": "http"}, "http"),
        ({"url": "http://x", "type": "streamable-http"}, "http"),
        ({"url": "http://x", "transport": "streamableHttp"}, "http"),
        ({"url": "http://x", "transport": "SSE"}, "sse"),
        ({"httpUrl": "http://x"}, "auto"),
        ({"serverUrl": "http://x"}, "auto"),
    ],
)
def test_every_spelling_of_a_transport_is_known(entry: dict[str, Any], transport: str) -> None:
    assert one(entry).transport == transport


def test_settings_may_be_written_in_either_case() -> None:
    for spelled in ({"maxTimeout": 700, "maxResultBytes": 2048}, {"max_timeout": 700, "max_result_bytes": 2048}):
        found = one({"command": "x", **spelled})
        assert (found.max_timeout, found.max_result_bytes) == (700, 2048)
    found = parse({"portal": {"codeMode": "enforced", "limits": {"cpuTime": 2, "calls_in_flight": 3}}})
    assert (found.portal.code_mode, found.portal.limits) == ("enforced", {"cpu_time": 2, "calls_in_flight": 3})


def test_the_maximum_is_never_below_the_timeout() -> None:
    assert one({"command": "x", "timeout": 900}).max_timeout == 900


# Variables


def test_variables_are_expanded_everywhere_in_a_server() -> None:
    entry = {"url": "https://${HOST:-example.com}/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}}
    found = one(entry, TOKEN="t0ken!")
    assert (found.url, found.headers["Authorization"]) == ("https://example.com/mcp", "Bearer t0ken!")
    assert one({"command": "x", "args": ["$HOME", "$${A}", "${A}"]}, A="1").args == ("$HOME", "${A}", "1")
    assert one({"command": "x", "timeout": "${SECONDS}"}, SECONDS="5").timeout == 5


def test_a_default_stands_for_an_empty_variable_too_and_may_be_empty() -> None:
    assert one({"command": "x", "args": ["${A:-b}", "<${C:-}>", "<${D}>"]}, A="", D="").args == ("b", "<>", "<>")


def test_a_missing_variable_is_named_with_its_key() -> None:
    error = error_of({"mcpServers": {"up": {"command": "x", "args": ["a", "${TOKEN}"]}}})
    assert error.key == "mcpServers.up.args[1]"
    assert "TOKEN" in error.problem and "${TOKEN:-default}" in error.fix


@pytest.mark.parametrize("text", ["${input:token}", "${", "${A", "${}", "${1}", "${A:-${B}}", "${a b}"])
def test_what_is_no_variable_is_refused(text: str) -> None:
    error = error_of({"mcpServers": {"up": {"command": text}}}, A="a", B="b")
    assert "is not a variable" in error.problem


@given(st.text().filter(lambda text: "${" not in text))
def test_text_without_variables_is_left_alone(text: str) -> None:
    assert Expansion({}, file="f").expand(text, "k") == text


# Errors


@pytest.mark.parametrize(
    ("document", "key", "problem"),
    [
        ({"mcpServer": {}}, "mcpServer", "is not a known key. Did you mean `mcpServers`?"),
        ({"mcpServers": {}, "servers": {}}, "", "has both `mcpServers` and `servers`."),
        ({"mcpServers": []}, "mcpServers", "must be an object, found a list."),
        ({"mcpServers": {"a": "npx"}}, "mcpServers.a", "must be an object, found a string."),
        ({"mcpServers": {"a": {}}}, "mcpServers.a", "has neither `command` nor `url`."),
        ({"mcpServers": {"a": {"command": "x", "url": "y"}}}, "mcpServers.a", "has both `command` and `url`."),
        ({"mcpServers": {"a": {"comand": "x"}}}, "mcpServers.a.comand", "Did you mean `command`?"),
        ({"mcpServers": {"a": {"command": "x", "type": "sse"}}}, "mcpServers.a.type", "but the server has `command`"),
        ({"mcpServers": {"a": {"url": "http://x", "type": 5}}}, "mcpServers.a.type", "Use stdio, http or sse."),
        ({"mcpServers": {"a": {"command": "x", "headers": {}}}}, "mcpServers.a.headers", "only for servers reached by"),
        ({"mcpServers": {"a": {"url": "ftp://x"}}}, "mcpServers.a.url", "must be an http:// or https:// URL"),
        (
            {"mcpServers": {"a": {"url": "http://x", "headers": {"A": "b\r\nC: d"}}}},
            "mcpServers.a.headers.A",
            "line breaks",
        ),
        (
            {"mcpServers": {"a": {"url": "http://x", "headers": {"A B": "c"}}}},
            "mcpServers.a.headers",
            "name of an HTTP",
        ),
        ({"mcpServers": {"a": {"command": "x", "args": ["y", 1]}}}, "mcpServers.a.args[1]", "found a number."),
        ({"mcpServers": {"a": {"command": "x", "env": {"P": []}}}}, "mcpServers.a.env.P", "found a list."),
        ({"mcpServers": {"a": {"command": "x", "timeout": 0}}}, "mcpServers.a.timeout", "greater than 0"),
        ({"mcpServers": {"a": {"command": "x", "sessions": "each"}}}, "mcpServers.a.sessions", "'auto', 'shared'"),
        ({"mcpServers": {"a": {"command": ""}}}, "mcpServers.a.command", "found an empty string."),
        ({"mcpServers": {"a": {"url": "http://x", "httpUrl": "http://y"}}}, "mcpServers.a", "has both"),
        ({"mcpServers": {"___": {"command": "x"}}}, "mcpServers.___", "is no name for a server."),
        ({"mcpServers": {"a": {"command": "x", "id": "b"}}}, "mcpServers.a.id", "is not a known key."),
        ({"portal": {"port": 70000}}, "portal.port", "less than or equal to 65535"),
        ({"portal": {"codemode": "off"}}, "portal.codemode", "Did you mean `codeMode`?"),
        ({"portal": {"codeMode": "on"}}, "portal.codeMode", "must be 'off'"),
        ({"portal": {"limits": {"cpu": 1}}}, "portal.limits.cpu", "is not a known key."),
        ({"portal": {"limits": {"calls": True}}}, "portal.limits.calls", "must be a number above 0, found true."),
        ({"portal": []}, "portal", "must be an object, found a list."),
    ],
)
def test_an_error_names_the_key_the_problem_and_the_way_out(document: dict[str, Any], key: str, problem: str) -> None:
    error = error_of(document)
    assert error.key.startswith(key)
    assert problem in str(error)


def test_no_error_and_no_repr_shows_a_value() -> None:
    secret = "hunter2-hunter2"
    entries: list[dict[str, Any]] = [
        {"command": "x", "args": ["--token", secret], "env": {"TOKEN": secret}},
        {"url": f"https://user:{secret}@example.com/mcp?key={secret}", "headers": {"A": f"Bearer {secret}"}},
        {"url": f"https://example.com/s/{secret}/mcp"},
    ]
    for entry in entries:
        found = parse({"mcpServers": {"up": entry}})
        assert secret not in repr(found)
        assert secret not in str(found)
        for broken in (
            {"timeout": secret},
            {"env": secret},
            {"headers": secret},
            {"enabled": secret},
            {"prefix": [secret]},
        ):
            with pytest.raises(ConfigError) as caught:
                one({**entry, **broken})
            assert secret not in str(caught.value)
    assert secret in one(entries[1]).secrets
    assert secret in one({"command": "x", "args": ["${T}"]}, T=secret).secrets
    assert one({"command": "x", "args": ["${HOME}/notes"]}, HOME="/home/somebody").secrets == ()


# Names


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("git", "git"),
        ("my_server", "my-server"),
        ("My Server!", "My-Server"),
        ("a.b/c", "a-b-c"),
        ("__x__", "x"),
        ("é", ""),
    ],
)
def test_ids_have_no_underscore_because_tool_names_are_split_at_the_first(name: str, identifier: str) -> None:
    assert server_id(name) == identifier


def test_a_mapped_id_keeps_the_name_as_written() -> None:
    found = parse({"mcpServers": {"my_server": {"command": "x"}}}).servers["my-server"]
    assert (found.id, found.name) == ("my-server", "my_server")


def test_two_names_that_become_one_id_are_refused() -> None:
    error = error_of({"mcpServers": {"a_b": {"command": "x"}, "a-b": {"command": "y"}}})
    assert "`a-b` and `a_b` would both be called `a-b`" in error.problem


# Files


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps({"mcpServers": {"x": {"command": "y", "cwd": "sub"}}}), encoding="utf-8"
    )
    (tmp_path / "a.toml").write_text('[mcpServers.x]\ncommand = "y"\ncwd = "sub"\n', encoding="utf-8")
    first, second = load_config(tmp_path / "a.json", {}), load_config(tmp_path / "a.toml", {})
    assert (first.file, second.file) == (tmp_path / "a.json", tmp_path / "a.toml")
    assert first.model_copy(update={"file": second.file}) == second
    server = first.servers["x"]
    assert isinstance(server, StdioServer) and server.cwd == tmp_path / "sub"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b"{", "is not JSON"),
        ("a.json", b'{"a": 1,\n no\n}', "line 2"),
        ("a.json", b"\xff\xfe", "is not UTF-8 text"),
        ("a.json", b"[1]", "must be an object, found a list"),
        ("a.json", b"[" * 100_000, "is nested too deeply"),
        ("a.json", b'{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "a: is written twice."),
        ("a.toml", b"a = ", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    assert problem in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_a_file_that_is_not_there_or_too_large_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.json", {})
    (tmp_path / "big.json").write_bytes(b" " * 5_000_000)
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        load_config(tmp_path / "big.json", {})


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"mcpServers": {}}')
    assert load_config(tmp_path / "a.json", {}).servers == {}


keys = st.sampled_from(
    ["mcpServers", "servers", "portal", "command", "url", "args", "env", "type", "limits", "timeout", "x_y", "cwd"]
)
documents = json_values(st.integers(), st.floats(), SHORT, keys=keys)


@given(st.dictionaries(keys, documents, max_size=3), st.dictionaries(keys, documents, max_size=4))
def test_any_document_is_a_configuration_or_a_configuration_error(
    document: dict[str, Any], entry: dict[str, Any]
) -> None:
    for tried in (document, {"mcpServers": {"up": entry}}, {"portal": entry}):
        try:
            parse_config(tried, env={})
        except ConfigError as error:
            assert str(error)


@pytest.mark.parametrize("args", [[], ["--api-key"], ["notes"]])
def test_a_command_with_few_or_no_arguments_has_no_secrets(args: list[str]) -> None:
    assert one({"command": "x", "args": args}).secrets == ()


HOOK = {"webhook": "https://hooks.example.com/x", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}


def test_notices_of_logins_are_sent_to_a_webhook_and_signed() -> None:
    notices = parse_config({"mcpServers": {}, "portal": {"credentialNotices": HOOK}}, env={}).portal.credential_notices
    assert (notices.lead, notices.webhook, len(notices.key)) == (604_800, HOOK["webhook"], 24)
    assert "whsec" not in repr(notices) and "hooks.example.com" not in repr(notices)


@pytest.mark.parametrize(
    ("notices", "key", "problem"),
    [
        ({**HOOK, "webhook": "http://hooks.example.com/"}, "webhook", "must be an https:// URL"),
        ({**HOOK, "webhook": "hooks"}, "webhook", "must be an http:// or https:// URL"),
        ({**HOOK, "webhook": "https://u:p@hooks.example.com/"}, "webhook", "must be a URL without user"),
        ({**HOOK, "secret": "short"}, "", "needs a `secret` of at least 24 characters"),
        ({**HOOK, "secret": "whsec_" + "?" * 32}, "", "does not go on in base64"),
        ({"lead": -1}, "lead", "must be"),
        ({"leed": 1}, "leed", "is not known here"),
    ],
)
def test_notices_that_cannot_be_sent_are_refused(notices: dict[str, Any], key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"mcpServers": {}, "portal": {"credentialNotices": notices}}, env={})
    assert refused.value.key == f"portal.credentialNotices.{key}".rstrip(".")
    assert problem in str(refused.value) and "short" not in str(refused.value)


def test_mails_about_approvals_need_a_mail_server_and_their_webhook_is_one_as_any() -> None:
    smtp = {"host": "smtp.example.com", "sender": "portal@example.com", "password": "${SMTP_PASSWORD}"}
    section = {"identity": {"smtp": smtp}, "approvalNotices": {**HOOK, "mail": True, "mailsAnHour": 3}}
    notices = parse_config({"portal": section}, env={"SMTP_PASSWORD": "planted"}).portal.approval_notices
    assert (notices.mail, notices.to_person, notices.mails_an_hour, len(notices.key)) == (True, False, 3, 24)
    assert "whsec" not in repr(notices)
    for key, problem in (("mail", "needs a mail server"), ("toPerson", "needs a mail server")):
        with pytest.raises(ConfigError, match=problem) as refused:
            parse_config({"portal": {"identity": {}, "approvalNotices": {key: True}}}, env={})
        assert refused.value.key == f"portal.approvalNotices.{key}" and "portal.identity.smtp" in str(refused.value)
    with pytest.raises(ConfigError, match="at least 24 characters"):
        parse_config({"portal": {"approvalNotices": {**HOOK, "secret": "short"}}}, env={})
