"""Documents of other MCP clients: taken as they are, with one line about what only those clients understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.config.clients import read_env_file
from portal.config.config import Config, HttpServer, StdioServer, load_config, parse_config
from portal.errors import ConfigError

SERVER = {"command": "server"}


def parse(document: dict[str, Any], folder: Path | None = None, **env: str) -> Config:
    return parse_config(document, file="mcp.json", env=env, folder=folder)


def one(entry: dict[str, Any], **env: str) -> Any:
    return parse({"mcpServers": {"a": entry}}, None, **env).servers["a"]


def stdio(config: Config, id: str) -> StdioServer:
    server = config.servers[id]
    assert isinstance(server, StdioServer)
    return server


def http(config: Config, id: str) -> HttpServer:
    server = config.servers[id]
    assert isinstance(server, HttpServer)
    return server


def test_the_document_of_vs_code_with_comments_env_file_and_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "project" / ".vscode"
    folder.mkdir(parents=True)
    (tmp_path / "project" / ".env").write_text("# keys\nexport TOKEN='from the file'\nLEVEL=info # loud\n")
    (folder / "mcp.json").write_text("""{
      // what VS Code asks for
      "inputs": [
        {"type": "promptString", "id": "api-key", "description": "Key", "password": true},
        {"type": "pickString", "id": "level", "options": ["a", "b"], "default": "b"},
      ],
      "servers": {
        "local": {
          "type": "stdio", "command": "${workspaceFolder}/server", "args": ["${input:level}", "${userHome}${/}x"],
          "env": {"LEVEL": "debug", "PORT": 3000}, "envFile": "${workspaceFolder}/.env",
          "dev": {"watch": "src/**"}, "sandboxEnabled": true,
        },
        "remote": {"type": "http", "url": "https://example.com/mcp", "headers": {"X-Key": "${input:api-key}"}},
        "socket": {"type": "http", "url": "unix:///run/server.sock"},
      },
    }""")
    config = load_config(folder / "mcp.json", {"HOME": "/users/ada", "API_KEY": "0123456789"})
    local, remote = stdio(config, "local"), http(config, "remote")
    assert local.command == f"{tmp_path}/project/server"
    assert local.args == ("b", "/users/ada/x")
    assert local.env == {"TOKEN": "from the file", "LEVEL": "debug", "PORT": "3000"}
    assert "from the file" in local.secrets
    assert remote.headers == {"X-Key": "0123456789"} and "0123456789" in remote.secrets
    omissions, foreign = config.notes
    assert omissions.startswith("servers.socket is left out: ")
    assert "`servers.local.sandboxEnabled`" in foreign


def test_a_server_whose_input_nobody_gave_is_left_out_alone() -> None:
    document = {
        "inputs": [{"id": "api-key", "type": "promptString"}],
        "servers": {"a": {"url": "https://a.example/mcp", "headers": {"X": "${input:api-key}"}}, "b": SERVER},
        "portals": {"docs": {"servers": ["a", "b"]}},
    }
    config = parse(document)
    assert list(config.servers) == ["b"] and list(config.portals) == ["docs"]
    [note] = config.notes
    assert "servers.a is left out" in note and "API_KEY" in note


def test_an_input_that_is_not_declared_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="is not a variable"):
        parse({"inputs": [], "servers": {"a": {"command": "${input:key}"}}})


def test_an_env_file_that_is_not_there_costs_one_line(tmp_path: Path) -> None:
    config = parse({"mcpServers": {"a": {**SERVER, "envFile": "no.env"}}}, tmp_path)
    assert stdio(config, "a").env == {}
    assert "mcpServers.a.envFile cannot be read" in config.notes[0]


@pytest.mark.parametrize("written", [7, "", None, ["x"]])
def test_an_env_file_that_is_no_file_name_is_a_mistake(written: object) -> None:
    if written is None:
        assert one({**SERVER, "envFile": None}).env == {}
        return
    with pytest.raises(ConfigError, match="must name a file"):
        one({**SERVER, "envFile": written})


def test_the_lines_of_an_env_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(
        b"\xef\xbb\xbfA=1\r\n  B = two words  # no\nexport C=\"x\\ny # z\"\nD='$E'\nF=\n# G=1\nH=a#b\nno line\n"
        b'I="one\ntwo"\nJ=http://x/?a=b\n'
    )
    assert read_env_file(file) == {
        "A": "1",
        "B": "two words",
        "C": "x\ny # z",
        "D": "$E",
        "F": "",
        "H": "a#b",
        "I": "one\ntwo",
        "J": "http://x/?a=b",
    }


def test_the_document_of_codex() -> None:
    document = {
        "model": "gpt",
        "approval_policy": "never",
        "projects": {"/x": {"trust_level": "trusted"}},
        "mcp_servers": {
            "local": {**SERVER, "env_vars": ["LANG", {"name": "MISSING"}], "startup_timeout_sec": 20},
            "slow": {**SERVER, "startup_timeout_ms": 15000, "tool_timeout_sec": 90, "enabled_tools": ["a"]},
            "remote": {
                "url": "https://example.com/mcp",
                "bearer_token_env_var": "TOKEN",
                "http_headers": {"X-Region": "eu"},
                "env_http_headers": {"X-Key": "KEY"},
                "enabled": False,
            },
        },
    }
    config = parse(document, LANG="C.UTF-8", TOKEN="t0ken-t0ken", KEY="k3y-k3y-k3y")
    assert stdio(config, "local").env == {"LANG": "C.UTF-8"} and config.servers["local"].connect_timeout == 20
    assert (config.servers["slow"].connect_timeout, config.servers["slow"].timeout) == (15, 90)
    remote = http(config, "remote")
    expected = {"X-Region": "eu", "Authorization": "Bearer t0ken-t0ken", "X-Key": "k3y-k3y-k3y"}
    assert remote.headers == expected and not remote.enabled
    assert {"t0ken-t0ken", "k3y-k3y-k3y"} <= set(remote.secrets)
    [note] = config.notes
    for key in ("`model`", "`projects`", "`mcp_servers.slow.enabled_tools`", "offers all tools"):
        assert key in note


def test_the_document_of_gemini() -> None:
    document = {
        "theme": "Default",
        "security": {"auth": {}},
        "mcp": {"allowed": ["a"]},
        "mcpServers": {
            "a": {"httpUrl": "https://a.example/mcp", "timeout": 30000, "trust": True, "excludeTools": ["rm"]},
            "b": {**SERVER, "env": {"KEY": "$MY_KEY", "PLAIN": "$5"}, "timeout": 600000},
            "c": {"tcp": "ws://c.example"},
        },
    }
    config = parse(document, MY_KEY="k3y-k3y-k3y")
    assert (config.servers["a"].timeout, config.servers["b"].timeout) == (30, 600)
    assert stdio(config, "b").env == {"KEY": "k3y-k3y-k3y", "PLAIN": "$5"}
    assert list(config.servers) == ["a", "b"]
    first, second, third, foreign = config.notes
    assert "mcpServers.a.timeout is read as milliseconds: 30 s" in first and "mcpServers.b.timeout" in second
    assert "mcpServers.c is left out" in third
    for key in ("`theme`", "`security`", "`mcp`", "`mcpServers.a.excludeTools`"):
        assert key in foreign


def test_the_documents_of_claude() -> None:
    desktop = {"globalShortcut": "Alt+C", "preferences": {"x": 1}, "mcpServers": {"a": SERVER}}
    assert "`globalShortcut`, `preferences`" in parse(desktop).notes[0]
    entry = {"type": "http", "url": "https://a.example/mcp", "headersHelper": "/bin/x", "oauth": {"clientId": "c"}}
    config = parse({"mcpServers": {"a": entry}, "numStartups": 3})
    assert http(config, "a").transport == "http"
    [note] = config.notes
    assert "`numStartups`, `mcpServers.a.headersHelper`" in note


CLAUDE_JSON: dict[str, Any] = {
    "numStartups": 12,
    "installMethod": "native",
    "autoUpdates": False,
    "userID": "0123456789abcdef",
    "oauthAccount": {"emailAddress": "ada@example.com"},
    "hasCompletedOnboarding": True,
    "projects": {
        "/users/ada": {"allowedTools": [], "mcpContextUris": [], "mcpServers": {}, "enabledMcpjsonServers": []},
        "/users/ada/site": {"allowedTools": [], "mcpServers": {"files": {"type": "stdio", "command": "files"}}},
        "/users/ada/shop": {"mcpServers": {"a": {"type": "http", "url": "https://example.com/mcp"}}},
    },
}


@pytest.mark.parametrize("top", [{}, {"mcpServers": {}}, {"mcpServers": None}])
def test_servers_of_single_projects_of_claude_code_are_found_and_it_is_said_what_to_do(top: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        parse({**CLAUDE_JSON, **top})
    assert str(refused.value) == (
        "mcp.json: projects./users/ada/site.mcpServers: has the servers `files`, which Claude Code uses in that folder "
        "only (one of 2 such folders). Write those that this portal is to serve into a section `mcpServers` "
        "at the top, here or in a file of its own; `claude mcp add --scope user` adds one there."
    )


def test_servers_of_single_projects_are_passed_over_next_to_those_for_everywhere() -> None:
    config = parse({**CLAUDE_JSON, "mcpServers": {"everywhere": SERVER}})
    assert list(config.servers) == ["everywhere"]
    assert config.notes[0].startswith(
        "Passed over, because Claude Code uses them in one folder only: the servers under `/users/ada/site`, "
        "`/users/ada/shop` of `projects`."
    )
    config = parse({"projects": {"/users/ada": {"mcpServers": {}}}, "mcpServers": {"everywhere": SERVER}})
    assert "one folder only" not in " ".join(config.notes)


def test_the_document_of_windsurf(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret-s3cret\n")
    entry = {
        "serverUrl": "https://a.example/mcp",
        "headers": {"X-Key": "${file:key}", "X-Env": "${env:NAME}"},
        "disabledTools": ["rm"],
        "disabled": False,
    }
    absent = {**SERVER, "env": {"KEY": "${file:/no/such/file}"}}
    config = parse({"mcpServers": {"a": entry, "b": absent}}, tmp_path, NAME="value-value")
    server = http(config, "a")
    assert server.headers == {"X-Key": "s3cret-s3cret", "X-Env": "value-value"}
    assert "s3cret-s3cret" in server.secrets
    assert "mcpServers.b is left out" in config.notes[0] and "disabledTools" in config.notes[1]


def test_the_document_of_cursor_and_older_spellings() -> None:
    config = parse(
        {
            "mcpServers": {
                "a": {"transportType": "sse", "url": "https://a.example/sse", "autoApprove": ["x"]},
                "b": {"type": "local", "command": "b", "tools": ["*"]},
                "c": {"type": "remote", "url": "https://c.example/mcp"},
            }
        }
    )
    assert http(config, "a").transport == "sse"
    assert config.servers["b"].transport_name == "stdio"
    assert http(config, "c").transport == "auto"


def test_the_document_of_opencode() -> None:
    local = {"type": "local", "command": ["npx", "-y", "x"], "environment": {"KEY": "{env:MY_KEY}"}, "enabled": True}
    remote = {"type": "remote", "url": "https://r.example/mcp", "headers": {"X-Key": "Key {env:MY_KEY}"}, "oauth": {}}
    document = {"$schema": "https://opencode.ai/config.json", "model": "m", "mcp": {"local": local, "remote": remote}}
    config = parse(document, MY_KEY="k3y-k3y-k3y")
    assert (stdio(config, "local").command, stdio(config, "local").args) == ("npx", ("-y", "x"))
    assert stdio(config, "local").env == {"KEY": "k3y-k3y-k3y"} and "k3y-k3y-k3y" in config.servers["local"].secrets
    assert http(config, "remote").headers == {"X-Key": "Key k3y-k3y-k3y"}
    [note] = config.notes
    assert "`model`" in note


def test_the_document_of_zed() -> None:
    older = {"command": {"path": "npx", "args": ["x"], "env": {"A": "b"}}, "settings": {}}
    config = parse({"theme": "One Dark", "context_servers": {"new": {"source": "custom", **SERVER}, "older": older}})
    assert list(config.servers) == ["new", "older"] and config.section == "context_servers"
    found = stdio(config, "older")
    assert (found.command, found.args, found.env) == ("npx", ("x",), {"A": "b"})


def test_an_address_that_is_empty_next_to_another_was_not_written() -> None:
    """As programs with a form for both write it."""
    config = parse(
        {
            "mcpServers": {
                "a": {"command": "npx", "url": "", "baseUrl": "", "isActive": True},
                "b": {"command": "", "baseUrl": "https://b.example/mcp", "isActive": False},
            }
        }
    )
    assert stdio(config, "a").command == "npx"
    assert http(config, "b").url == "https://b.example/mcp" and not config.servers["b"].enabled
    with pytest.raises(ConfigError):
        parse({"mcpServers": {"a": {"command": ""}}})


def test_a_timeout_of_many_hours_is_one_in_milliseconds() -> None:
    """Amazon Q, Kiro and Gemini write it so, also in entries that show no other sign of them."""
    config = parse({"mcpServers": {"a": {**SERVER, "timeout": 15000}, "b": {**SERVER, "timeout": 3600}}})
    assert (config.servers["a"].timeout, config.servers["b"].timeout) == (15, 3600)
    assert "mcpServers.a.timeout is read as milliseconds: 15 s" in config.notes[0]
    ours = parse({"mcpServers": {"a": {**SERVER, "timeout": 15000, "maxTimeout": 20000}}})
    assert ours.servers["a"].timeout == 15000


def test_a_server_outside_a_section_is_told_where_it_belongs() -> None:
    with pytest.raises(ConfigError, match='Write the servers into a section: {"mcpServers": {...}}'):
        parse({"files": SERVER})


@pytest.mark.parametrize(
    "key",
    """headersHelper alwaysLoad oauth tools includeTools excludeTools extension authProviderType targetAudience
    targetServiceAccount enabled_tools disabled_tools enabledTools disabledTools scopes required oauth_resource
    supports_parallel_tool_calls default_tools_approval_mode experimental_environment sandbox sandboxEnabled
    networkTimeout initTimeout watchPaths name comment tags""".split(),
)
@pytest.mark.parametrize("entry", [SERVER, {"url": "https://a.example/mcp"}])
def test_keys_that_clients_document_refuse_no_document(entry: dict[str, Any], key: str) -> None:
    [note] = parse({"mcpServers": {"a": {**entry, key: ["x"]}}}).notes
    assert f"`mcpServers.a.{key}`" in note


@pytest.mark.parametrize(
    "key",
    """theme general ui privacy model tools mcp security telemetry context hooks selectedAuthType checkpointing
    approval_policy model_providers profiles projects features tui sandbox_mode instructions history notify
    globalShortcut scale locale preferences numStartups autoUpdates permissions env enabledPlugins""".split(),
)
def test_nor_do_the_other_settings_in_the_same_file(key: str) -> None:
    [note] = parse({"mcpServers": {}, key: {"x": 1}}).notes
    assert f"`{key}`" in note


def test_comments_in_the_form_of_keys_are_nobodys_business() -> None:
    document = {
        "//": "mine",
        "_comment": 1,
        "mcpServers": {"a": {**SERVER, "_comment": "x", "#": 1, "autoApprove": []}},
    }
    assert parse(document).notes == ()


def test_the_settings_of_vs_code_have_their_servers_one_level_down() -> None:
    document = {"editor.fontSize": 12, "mcp": {"inputs": [{"id": "k", "default": "v"}], "servers": {"a": SERVER}}}
    config = parse(document)
    assert list(config.servers) == ["a"] and config.section == "servers"


def test_a_key_nobody_documents_is_passed_over_with_one_line() -> None:
    config = parse({"mcpServers": {"a": {**SERVER, "x-vendor": 1}, "b": {**SERVER, "zzz": {"${": 1}}}})
    assert config.notes == (
        "Passed over, because only other clients understand it: `mcpServers.a.x-vendor`, `mcpServers.b.zzz`.",
    )


def test_many_keys_are_one_short_line() -> None:
    [note] = parse({"mcpServers": {}, **{f"zz{number}": 1 for number in range(40)}}).notes
    assert "and 28 more" in note and len(note) < 300


@pytest.mark.parametrize("key", ["identity", "policies", "server_policies", "codeMode", "allowed_hosts", "limits"])
def test_a_setting_of_the_portal_at_the_wrong_place_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="section `portal`"):
        parse({"mcpServers": {}, key: {}})
    if key != "limits":
        with pytest.raises(ConfigError, match="is not a known key"):
            one({**SERVER, key: {}})


@pytest.mark.parametrize("name", ["portl", "portal_", "Portal", "mcpserver", "serverss", "input"])
def test_a_key_that_is_nearly_ours_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean"):
        parse({"mcpServers": {}, name: {}})


def test_a_document_with_nothing_of_ours_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not a known key"):
        parse({"theme": "dark"})
