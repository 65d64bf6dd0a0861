"""A new server is written as the client of the document spells it, and the portal reads it as it was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from portal.config import (
    HttpServer,
    NewAddress,
    NewProgram,
    StdioServer,
    document_in,
    enabling,
    new_entry,
    parse_config,
    server_place,
    with_member,
)

PROGRAM = NewProgram("npx", ("-y", "some"), {"TZ": "UTC", "KEY": "${KEY}"}, "/srv")
ADDRESS = NewAddress("https://a.example/mcp", {"Authorization": "Bearer ${TOKEN}", "X-Team": "ops", "X-Key": "${KEY}"})
HEADERS = {"Authorization": "Bearer ${TOKEN}", "X-Team": "ops", "X-Key": "${KEY}"}
COMMON = {"command": "npx", "args": ["-y", "some"], "env": {"TZ": "UTC", "KEY": "${KEY}"}, "cwd": "/srv"}

# The name of a file and what is in it; the path of its servers; the entries of PROGRAM and ADDRESS there.
CLIENTS: Mapping[str, tuple[str, str, str, dict[str, Any], dict[str, Any]]] = {
    "our own": ("codemode.json", "{}", "mcpServers", COMMON, {"url": ADDRESS.url, "headers": HEADERS}),
    "Claude Code": (
        ".mcp.json",
        '{"mcpServers": {}}',
        "mcpServers",
        COMMON,
        {"type": "http", "url": ADDRESS.url, "headers": HEADERS},
    ),
    "Cursor": (
        ".cursor/mcp.json",
        '{\n  "mcpServers": {\n    "a": {"url": "https://b.example"} // mine\n  }\n}\n',
        "mcpServers",
        COMMON,
        {"url": ADDRESS.url, "headers": HEADERS},
    ),
    "Gemini": (
        ".gemini/settings.json",
        '{"theme": "x", "mcpServers": {}}',
        "mcpServers",
        COMMON,
        {"httpUrl": ADDRESS.url, "headers": HEADERS},
    ),
    "Windsurf": (
        "mcp_config.json",
        '{"mcpServers": {"a": {"serverUrl": "https://b.example"}}}',
        "mcpServers",
        COMMON,
        {"serverUrl": ADDRESS.url, "headers": HEADERS},
    ),
    "VS Code": (
        ".vscode/mcp.json",
        '{\n\t// ours\n\t"inputs": [],\n}',
        "servers",
        {"type": "stdio", **COMMON},
        {"type": "http", "url": ADDRESS.url, "headers": HEADERS},
    ),
    "settings of VS Code": (
        "settings.json",
        '{"editor.tabSize": 2, "mcp": {"servers": {}}}',
        "mcp.servers",
        {"type": "stdio", **COMMON},
        {"type": "http", "url": ADDRESS.url, "headers": HEADERS},
    ),
    "Codex": (
        ".codex/config.toml",
        'model = "x"\n\n[mcp_servers.a]\ncommand = "y"\n\n[tui]\n',
        "mcp_servers",
        {**COMMON, "env": {"TZ": "UTC"}, "env_vars": ["KEY"]},
        {
            "url": ADDRESS.url,
            "bearer_token_env_var": "TOKEN",
            "http_headers": {"X-Team": "ops"},
            "env_http_headers": {"X-Key": "KEY"},
        },
    ),
    "Zed": (
        ".zed/settings.json",
        '{\n  // mine\n  "theme": "One",\n}',
        "context_servers",
        COMMON,
        {"url": ADDRESS.url, "headers": HEADERS},
    ),
    "OpenCode": (
        "opencode.json",
        '{"$schema": "https://opencode.ai/config.json"}',
        "mcp",
        {
            "type": "local",
            "command": ["npx", "-y", "some"],
            "environment": {"TZ": "UTC", "KEY": "{env:KEY}"},
            "cwd": "/srv",
            "enabled": True,
        },
        {
            "type": "remote",
            "url": ADDRESS.url,
            "headers": {"Authorization": "Bearer {env:TOKEN}", "X-Team": "ops", "X-Key": "{env:KEY}"},
            "enabled": True,
        },
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_new_server_is_written_in_the_words_of_the_client_and_read_as_it_was_meant(client: str) -> None:
    name, text, section, program, address = CLIENTS[client]
    file = Path("/home/me") / name
    place = server_place(document_in(text, file.suffix, name), file)
    assert place.key == section
    for new, entry in ((PROGRAM, program), (ADDRESS, address)):
        written = new_entry(new, place)
        assert written == entry
        changed = with_member(text, file.suffix, (*place.path, "new"), written)
        config = parse_config(document_in(changed, file.suffix, name), env={"KEY": "k", "TOKEN": "t"})
        server = config.servers["new"]
        if isinstance(server, StdioServer):
            assert (server.command, server.args, str(server.cwd)) == ("npx", ("-y", "some"), "/srv")
            assert server.env == {"TZ": "UTC", "KEY": "k"}
        else:
            assert server.url == ADDRESS.url
            assert server.headers == {"Authorization": "Bearer t", "X-Team": "ops", "X-Key": "k"}


@pytest.mark.parametrize(
    ("url", "asked", "name", "entry"),
    [
        ("https://a.example/sse", None, "codemode.json", {}),
        ("https://a.example/mcp", "sse", "codemode.json", {"type": "sse"}),
        ("https://a.example/sse", None, ".mcp.json", {"type": "sse"}),
        ("https://a.example/sse", "http", ".mcp.json", {"type": "http"}),
    ],
)
def test_the_transport_is_written_where_it_was_asked_for_or_the_client_needs_it(
    url: str, asked: Any, name: str, entry: dict[str, str]
) -> None:
    place = server_place({"mcpServers": {}}, Path(name))
    assert new_entry(NewAddress(url, {}, asked), place) == {**entry, "url": url}


def test_gemini_has_a_key_of_its_own_for_the_older_transport() -> None:
    place = server_place({"mcpServers": {"a": {"httpUrl": "https://b.example"}}}, Path("settings.json"))
    assert new_entry(NewAddress("https://a.example/sse"), place) == {"url": "https://a.example/sse"}


def test_the_transport_has_the_word_that_the_document_uses() -> None:
    place = server_place({"mcpServers": {"a": {"type": "streamable-http", "url": "https://b.example"}}}, Path("x.json"))
    assert new_entry(NewAddress("https://a.example"), place) == {
        "type": "streamable-http",
        "url": "https://a.example",
    }


@pytest.mark.parametrize(
    ("entry", "on", "off"),
    [
        ({}, None, ("enabled", False)),
        ({"enabled": True}, None, ("enabled", False)),
        ({"enabled": False}, ("enabled", True), None),
        ({"disabled": True}, ("disabled", False), None),
        ({"disabled": False}, None, ("disabled", True)),
        ({"isActive": False}, ("isActive", True), None),
        ({"enabled": None}, None, ("enabled", False)),
        ({"disabled": "true"}, ("disabled", False), ("disabled", True)),
    ],
)
def test_a_server_is_turned_on_and_off_in_its_own_spelling(entry: dict[str, Any], on: Any, off: Any) -> None:
    before = json.dumps(entry)
    assert enabling(entry, enabled=True) == on
    assert enabling(entry, enabled=False) == off
    assert json.dumps(entry) == before
    for member, wanted in ((on, True), (off, False)):
        server = {"url": "https://a.example", **entry, **(dict([member]) if member else {})}
        read = parse_config({"mcpServers": {"a": server}}).servers["a"]
        assert isinstance(read, HttpServer)
        assert read.enabled is wanted


def test_a_server_is_found_by_its_name_and_by_its_id() -> None:
    place = server_place({"mcpServers": {"my_server": {}, "other": {}}}, Path("x.json"))
    assert (place.named("my_server"), place.named("my-server"), place.named("none")) == ("my_server", "my_server", None)
    assert (place.nearest("othr"), place.nearest("zzz")) == ("other", None)
