"""A portal that finds itself among its servers leaves that entry out, however the entry leads back to it."""

from __future__ import annotations

from typing import Any

import pytest

from portal.app.itself import OwnAddress, without_itself
from portal.config import Config, parse_config

PORTAL: dict[str, Any] = {
    "identity": {"publicUrl": "https://portal.example.com"},
}
PORTALS = {"docs": {"hostname": "docs.example.com", "servers": []}}


def config_of(entry: dict[str, Any], **portal: Any) -> Config:
    document = {"mcpServers": {"codemode": entry, "other": {"command": "x"}}, "portal": portal, "portals": PORTALS}
    return parse_config(document, env={})


def is_itself(entry: dict[str, Any], host: str | None = None, port: int | None = None, **portal: Any) -> bool:
    config = config_of(entry, **portal)
    found = without_itself(config, OwnAddress.of(config, host, port, ("workstation",)))
    assert "other" in found.servers
    return "codemode" not in found.servers


def bridge(*words: str) -> dict[str, Any]:
    return {"command": words[0], "args": list(words[1:])}


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://127.0.0.1:8787/mcp?codemode=search_and_execute"},
        {"url": "http://localhost:8787/mcp"},
        {"url": "http://LOCALHOST.:8787/mcp/", "type": "http"},
        {"url": "http://[::1]:8787/mcp"},
        {"url": "http://0.0.0.0:8787/mcp"},
        {"url": "http://127.1:8787/mcp"},
        {"url": "http://2130706433:8787/mcp"},
        {"url": "http://[::ffff:127.0.0.1]:8787/mcp"},
        {"url": "http://me:secret@portal.localhost:8787/sse", "type": "sse"},
        {"url": "http://127.0.0.1:8787/docs/mcp"},
        {"serverUrl": "http://host.docker.internal:8787/mcp"},
        {"httpUrl": "http://127.0.0.1:8787"},
        bridge("npx", "-y", "mcp-remote", "http://127.0.0.1:8787/mcp?codemode=search_and_execute", "--allow-http"),
        bridge("/usr/bin/npx", "-y", "mcp-remote@latest", "http://localhost:8787/docs/mcp"),
        bridge("npx", "-y", "supergateway", "--streamableHttp=http://127.0.0.1:8787/mcp"),
        bridge("sh", "-c", "exec npx mcp-remote 'http://127.0.0.1:8787/mcp'"),
        {"command": "mcp-proxy", "env": {"SERVER": "http://127.0.0.1:8787/mcp"}},
        bridge("codemode", "serve"),
        bridge("/users/ada/.codemode/bin/codemode", "serve", "--config", ".mcp.json"),
        bridge("uvx", "codemode-portal", "serve"),
        bridge("uvx", "--from", "codemode-portal[tokens]==0.1.0", "codemode"),
        bridge("pipx", "run", "codemode-portal@1"),
        bridge("python3.12", "-m", "portal.cli", "serve"),
    ],
)
def test_an_entry_that_leads_back_is_left_out(entry: dict[str, Any]) -> None:
    assert is_itself(entry)


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "https://portal.example.com/mcp"},
        {"url": "https://PORTAL.example.com:443/mcp?codemode=off"},
        {"url": "https://portal.example.com/docs/mcp/"},
        {"url": "https://docs.example.com/mcp"},
        bridge("npx", "mcp-remote", "https://portal.example.com/mcp"),
    ],
)
def test_so_is_one_that_leads_back_by_the_public_name(entry: dict[str, Any]) -> None:
    assert is_itself(entry, **PORTAL)


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://127.0.0.1:8788/mcp"},
        {"url": "https://example.com:8787/mcp"},
        {"url": "http://192.168.1.7:8787/mcp"},
        {"url": "https://portal.example.com/other/mcp"},
        {"url": "https://portal.example.com:8443/mcp"},
        {"url": "https://portal.example.com.evil.test/mcp"},
        {"url": "http://[::1]:99999/mcp"},
        bridge("npx", "mcp-remote", "https://example.com/mcp"),
        bridge("watcher", "--health", "http://127.0.0.1:8787/healthz"),
        bridge("python3", "-m", "portal.demo.shop"),
        bridge("npx", "codemode"),
        bridge("uvx", "mcp-server-time"),
        bridge("my-codemode", "serve"),
    ],
)
def test_another_server_stays(entry: dict[str, Any]) -> None:
    assert not is_itself(entry, **PORTAL)


def test_where_it_listens_decides_not_where_the_document_says() -> None:
    entry = {"url": "http://127.0.0.1:9000/mcp"}
    assert not is_itself(entry)
    assert is_itself(entry, port=9000)
    assert not is_itself({"url": "http://127.0.0.1:8787/mcp"}, port=9000)
    assert not is_itself({"url": "http://127.0.0.1:8787/mcp"}, port=0)


def test_a_portal_on_every_address_knows_its_machine_by_name() -> None:
    for name in ("workstation", "127.0.0.1", "localhost"):
        assert is_itself({"url": f"http://{name}:8787/mcp"}, host="0.0.0.0")
    assert is_itself({"url": "http://192.168.1.7:8787/mcp"}, host="192.168.1.7")
    assert not is_itself({"url": "http://127.0.0.1:8787/mcp"}, host="192.168.1.7")
    assert not is_itself({"url": "http://workstation:8787/mcp"})


def test_another_path_of_the_endpoint_is_known() -> None:
    assert is_itself(bridge("npx", "mcp-remote", "http://127.0.0.1:8787/tools"), path="/tools")


def test_the_operator_is_told_which_entry() -> None:
    config = config_of({"url": "http://127.0.0.1:8787/mcp"})
    found = without_itself(config, OwnAddress.of(config))
    assert found.notes == ("mcpServers.codemode is left out: it is this portal itself.",)
    assert without_itself(found, OwnAddress.of(found)) is found
