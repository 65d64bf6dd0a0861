"""One entry of a document costs only itself: what is left out alone, what null means, and what refuses the document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.config import Config, HttpServer, StdioServer, load_config, parse_config
from portal.errors import ConfigError

SOUND = {"command": "sound"}


def parse(entry: object, folder: Path | None = None, /, **env: str) -> Config:
    """The configuration with this entry and, next to it, a sound one."""
    return parse_config({"mcpServers": {"a": entry, "b": SOUND}}, env=env, folder=folder)


def served(entry: object, folder: Path | None = None, /, **env: str) -> StdioServer | HttpServer:
    config = parse(entry, folder, **env)
    assert config.notes == () == config.omissions
    return config.servers["a"]


def why_left_out(entry: object, folder: Path | None = None, /, **env: str) -> str:
    config = parse(entry, folder, **env)
    assert list(config.servers) == ["b"]
    [one] = config.omissions
    assert one.id == "a" and one.why.startswith("mcpServers.a is left out: ") and one.why[-1] in ".?"
    assert config.notes == (one.why,)
    return one.why


@pytest.mark.parametrize(
    "member",
    """args env cwd envFile timeout enabled disabled headers url httpUrl serverUrl type transport description maxTimeout
    connectTimeout resync maxResultBytes maxItems sessions learnOutput codeModeUpstream pin prefix bearer_token_env_var
    env_http_headers http_headers env_vars startup_timeout_ms tool_timeout_sec tools comand""".split(),
)
def test_a_member_that_is_null_is_one_that_is_not_written(member: str) -> None:
    assert served({"command": "x", member: None}) == served({"command": "x"})


@pytest.mark.parametrize("member", ["command", "args", "env", "headers", "timeout", "enabled", "type", "envFile"])
def test_so_it_is_in_the_entry_of_a_remote_server(member: str) -> None:
    assert served({"url": "https://a.example/mcp", member: None}) == served({"url": "https://a.example/mcp"})


def test_two_spellings_of_which_one_is_null_are_one() -> None:
    server = served({"url": None, "httpUrl": "https://a.example/mcp", "headers": {"X": None, "Y": "y"}})
    assert isinstance(server, HttpServer)
    assert (server.url, server.headers) == ("https://a.example/mcp", {"Y": "y"})


@pytest.mark.parametrize("section", ["mcpServers", "servers", "mcp_servers"])
def test_sections_that_are_null_are_not_there(section: str) -> None:
    config = parse_config({section: None, "portal": None, "portals": None, "inputs": None}, env={})
    assert config == parse_config({section: {}}, env={})
    both = parse_config({"mcpServers": {"b": SOUND}, "servers": None}, env={})
    assert list(both.servers) == ["b"]


def test_null_in_our_own_sections_is_not_written_either() -> None:
    section = {"name": None, "port": None, "limits": {"calls": None}, "identity": {"pin": None, "smtp": None}}
    config = parse_config(
        {"portal": section, "portals": {"docs": {"servers": None, "codeMode": None}, "x": None}}, env={}
    )
    assert config == parse_config({"portal": {"identity": {}}, "portals": {"docs": {}}}, env={})
    assert parse_config({"portal": {"limits": None, "allowedHosts": None}}, env={}) == parse_config(
        {"portal": {}}, env={}
    )


def test_a_server_whose_policies_are_null_is_not_open() -> None:
    with pytest.raises(ConfigError, match="must be a list, found null"):
        parse_config({"portal": {"identity": {"serverPolicies": {"b": None}}}}, env={})
    with pytest.raises(ConfigError, match="must be an object, found null"):
        parse_config({"portal": {"identity": {"policies": [None]}}}, env={})


def test_values_of_an_environment_are_the_text_that_other_clients_make_of_them() -> None:
    written = {"A": True, "B": False, "C": 3000, "D": 1.5, "E": 2.0, "F": -1, "G": None, "H": "", "I": 1e300}
    server = served({"command": "x", "env": written})
    assert isinstance(server, StdioServer)
    values = {"A": "true", "B": "false", "C": "3000", "D": "1.5", "E": "2", "F": "-1", "H": "", "I": "1e+300"}
    assert server.env == values
    remote = served({"url": "https://a.example/mcp", "headers": {"X-Debug": True, "X-Version": 2}})
    assert isinstance(remote, HttpServer) and remote.headers == {"X-Debug": "true", "X-Version": "2"}


@pytest.mark.parametrize(
    ("disabled", "enabled"),
    [(True, False), ("true", False), ("True", False), (False, True), ("false", True), (None, True)],
)
def test_a_server_that_is_disabled_in_any_spelling_is_not_enabled(disabled: object, enabled: bool) -> None:
    assert served({"command": "x", "disabled": disabled}).enabled is enabled
    words: tuple[object, ...] = ("yes", "${NOPE}", [], {}, 2)
    for word in words:
        assert "its `disabled` must be a boolean" in why_left_out({"command": "x", "disabled": word})


@pytest.mark.parametrize("kind", ["ws", "WS", "websocket", "sdk", "claudeai-proxy", "", "carrier-pigeon"])
def test_a_type_of_server_that_the_portal_does_not_serve_costs_that_entry(kind: str) -> None:
    for members in ({"command": "x"}, {"url": "wss://a.example"}, {"name": "a", "id": "uuid"}):
        why = why_left_out({"type": kind, **members})
        assert "its `type` is" in why and "write stdio, http or sse" in why and "pigeon" not in why


@pytest.mark.parametrize(
    "reference",
    """${config:mcp.key} ${command:extension.pick} ${workspaceFolder:other} ${workspaceFolder} ${cwd} ${file}
    ${fileBasename} ${relativeFile} ${selectedText} ${execPath} ${userHome} ${extensionInstallFolder:x.y}
    ${user_config.api_key} ${secret:key} ${env:NOPE} ${vscode.workspace}""".split(),
)
@pytest.mark.parametrize("member", ["command", "args", "env", "cwd"])
def test_a_variable_that_only_another_client_can_fill_in_costs_that_entry(reference: str, member: str) -> None:
    written = {"command": reference, "args": ["-x", reference], "env": {"K": f"<{reference}>"}, "cwd": reference}
    why = why_left_out({"command": "x", member: written[member]})
    assert reference.strip("${}").removeprefix("env:") in why and ("set " in why)


def test_a_variable_of_an_editor_has_its_value_where_there_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "project" / ".vscode"
    words = ["${userHome}", "a${pathSeparator}b", "${/}", "${workspaceFolder:project}", "${workspaceFolder}"]
    server = served({"command": "x", "args": words}, folder, HOME="/users/ada")
    project = str(tmp_path / "project")
    assert isinstance(server, StdioServer) and server.args == ("/users/ada", "a/b", "/", project, project)
    without = served({"command": "x", "args": words[:3]}, HOME="/users/ada")
    assert isinstance(without, StdioServer) and without.args == ("/users/ada", "a/b", "/")
    assert "${workspaceFolder:other}" in why_left_out({"command": "${workspaceFolder:other}"}, folder)
    set_here = served({"command": "${file}"}, file="set")
    assert isinstance(set_here, StdioServer) and set_here.command == "set"


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "https://a.example/mcp", "bearer_token_env_var": "NOPE"},
        {"url": "https://a.example/mcp", "env_http_headers": {"X-Key": "NOPE", "X-Other": None}},
        {"url": "https://a.example/mcp", "headers": {"X": "${env:NOPE}"}},
        {"command": "x", "args": ["${NOPE}"]},
    ],
)
def test_a_variable_that_is_not_set_costs_that_entry(entry: dict[str, Any]) -> None:
    assert "needs the environment variable NOPE, which is not set" in why_left_out(entry)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("npx", "it must be an object, found a string."),
        (None, "it is null"),
        ([], "it must be an object, found a list."),
        ({}, "it has neither `command` nor `url`. A local server needs"),
        ({"command": "x", "url": "https://a.example/mcp"}, "it has both `command` and `url`."),
        ({"command": 5}, "its `command` must be text, found a number."),
        ({"command": "x", "args": "-y"}, "its `args` must be a list, found a string."),
        ({"command": "x", "args": ["y", 1]}, "its `args[1]` must be text, found a number."),
        ({"command": "x", "env": {"P": []}}, "its `env.P` must be text, found a list."),
        ({"command": "x", "env": ["A=1"]}, "its `env` must be an object, found a list."),
        ({"command": "x", "timeout": "soon"}, "its `timeout` must be a number, found a string."),
        ({"command": "x", "enabled": "perhaps"}, "its `enabled` must be a boolean"),
        ({"command": "x", "headers": {}}, "its `headers` is only for servers reached by `url`."),
        ({"command": "x", "type": "sse"}, "its `type` is `sse`, but the server has `command`."),
        ({"command": "x", "type": 5}, "its `type` is not a transport. Use stdio, http or sse."),
        ({"comand": "x"}, "its `comand` is not a known key. Did you mean `command`?"),
        ({"url": "ftp://a.example"}, "its `url` must be an http:// or https:// URL with a host"),
        ({"url": "https://["}, "its `url` must be an http:// or https:// URL with a host"),
        ({"url": "https://a.example", "headers": {"A B": "c"}}, "must be the name of an HTTP header"),
        ({"url": "https://a.example", "serverUrl": "https://b.example"}, "it has both `serverUrl` and `url`."),
        ({"url": "https://a.example", "bearer_token_env_var": "${X}"}, "must be the name of an environment variable."),
        ({"command": "${"}, "its `command` has `${`, which is not a variable. Write ${NAME}"),
        ({"command": "${input:key}"}, "its `command` has `${input:key}`, which is not a variable."),
        ({"command": "x", "envFile": 7}, "its `envFile` must name a file, found a number."),
        ({"command": "x", "startup_timeout_sec": "x"}, "its `connectTimeout` must be a number, found a string."),
    ],
)
def test_a_mistake_that_any_client_could_read_costs_that_entry(entry: object, words: str) -> None:
    assert words in why_left_out(entry)


def test_an_entry_that_is_nested_too_deeply_costs_itself() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"x": deep}
    assert why_left_out({"command": "x", "env": deep}).endswith("it is nested too deeply.")
    with pytest.raises(ConfigError, match="is nested too deeply"):
        parse_config({"portal": deep}, env={})


def test_a_name_that_makes_no_id_costs_that_entry() -> None:
    config = parse_config({"mcpServers": {"\u6587\u4ef6": SOUND, "b": SOUND}}, env={})
    assert list(config.servers) == ["b"]
    assert config.omissions[0].id == "" and "is no name for a server" in config.omissions[0].why


@pytest.mark.parametrize(
    "members",
    [
        {"pin": "always"},
        {"pin": "${NOPE}"},
        {"pinn": True},
        {"sessions": "each"},
        {"maxTimeout": -1},
        {"max_items": 0},
        {"codeModeUpstream": "on"},
        {"connectTimeout": "x"},
        {"id": "other"},
        {"policies": []},
        {"codeMode": "off"},
    ],
)
def test_a_mistake_in_what_only_this_portal_reads_refuses_the_document(members: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"command": "x", **members})
    assert caught.value.key == f"mcpServers.a.{next(iter(members))}"


@pytest.mark.parametrize(
    "document",
    [
        {"portal": {"limits": {"calls": "many"}}},
        {"portal": {"codMode": "off"}},
        {"portal": {"state": "${config:x}"}},
        {"portal": {"state": "${env:NOPE}"}},
        {"portals": {"docs": {"name": "${command:x}"}}},
        {"portals": {"docs": "b"}},
        {"portals": {"docs": {"servers": ["nobody"]}}},
        {"portal": {"identity": {"policies": "none"}}},
        {"mcpServers": {"a_b": SOUND, "a-b": SOUND}},
    ],
)
def test_so_does_a_mistake_outside_of_the_entries(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse_config({"mcpServers": {"b": SOUND}, **document}, env={})


def test_a_document_whose_mistakes_leave_no_server_is_refused_with_the_first() -> None:
    with pytest.raises(ConfigError, match="found a number") as caught:
        parse_config({"mcpServers": {"a": {"command": 5}, "c": {"url": "x"}, "d": {"type": "ws"}}}, env={})
    assert caught.value.key == "mcpServers.a.command"
    config = parse_config({"mcpServers": {"d": {"type": "ws"}}}, env={})
    assert config.servers == {} and len(config.omissions) == 1


def test_of_an_entry_that_is_left_out_nothing_else_is_said() -> None:
    assert "Passed over" not in why_left_out({"command": 5, "tools": ["*"], "x-vendor": 1})


def test_a_portal_may_name_a_server_that_is_left_out() -> None:
    document = {"mcpServers": {"a": {"command": 5}, "b": SOUND}, "portals": {"docs": {"servers": ["a", "b"]}}}
    assert list(parse_config(document, env={}).portals) == ["docs"]


def test_no_line_shows_a_value() -> None:
    secret = "hunter2-hunter2"
    for members in ({"timeout": secret}, {"env": secret}, {"type": secret}, {"envFile": [secret]}, {"headers": secret}):
        assert secret not in why_left_out({"command": "x", **members})


def test_toml_has_the_same_rule(tmp_path: Path) -> None:
    file = tmp_path / "codemode.toml"
    file.write_text(
        '[mcp_servers.a]\nurl = "https://a.example"\nbearer_token_env_var = "NOPE"\n[mcp_servers.b]\ncommand = "b"\n'
    )
    config = load_config(file, {})
    assert list(config.servers) == ["b"] and "mcp_servers.a is left out" in config.omissions[0].why
