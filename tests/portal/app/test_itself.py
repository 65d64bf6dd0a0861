"""A portal that finds itself among its servers leaves that entry out, however the entry leads back to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.app.itself import OwnAddress, leads_to, without_itself
from portal.config import Config, HttpServer, parse_config

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
        bridge("bunx", "mcp-remote", "http://127.0.0.1:8787/mcp", "--header", "X: http://other.example"),
        bridge("cmd", "/c", "npx", "-y", "mcp-remote", "http://127.0.0.1:8787/mcp"),
        bridge("node", "/opt/node_modules/mcp-remote/dist/proxy.js", "http://127.0.0.1:8787/mcp"),
        bridge("npm", "exec", "--yes", "--", "mcp-remote@0.1", "http://127.0.0.1:8787/mcp"),
        bridge("sh", "-c", "cd /srv && TOKEN=x npx mcp-remote 'http://127.0.0.1:8787/mcp?a=1&b=2' --debug"),
        bridge("npx", "-y", "supergateway", "--cors", "--sse", "http://127.0.0.1:8787/sse"),
        bridge("npx", "-y", "supergateway", "--stdio", "npx mcp-remote http://127.0.0.1:8787/mcp"),
        bridge("uvx", "mcp-proxy", "--transport", "streamablehttp", "http://127.0.0.1:8787/mcp"),
        bridge("uv", "tool", "run", "mcp-proxy", "-H", "Authorization", "Bearer x", "http://127.0.0.1:8787/mcp"),
        bridge("mcp-proxy", "--port", "9", "--", "npx", "mcp-remote", "http://127.0.0.1:8787/mcp"),
        bridge("python3", "-m", "mcp_proxy", "http://127.0.0.1:8787/mcp"),
        bridge(
            "docker", "run", "-i", "--rm", "-e", "A=b", "ghcr.io/x/mcp-proxy:1", "http://host.docker.internal:8787/mcp"
        ),
        bridge("docker", "run", "-i", "node:22", "npx", "mcp-remote", "http://host.docker.internal:8787/mcp"),
        bridge("fastmcp", "run", "http://127.0.0.1:8787/mcp", "--transport", "stdio"),
        bridge("uv", "run", "--with", "fastmcp", "fastmcp", "run", "--no-banner", "http://127.0.0.1:8787/mcp"),
        {
            "command": "npx",
            "args": ["@pyroprompts/mcp-stdio-to-streamable-http-adapter"],
            "env": {"URI": "http://127.0.0.1:8787/mcp", "MCP_NAME": "x"},
        },
        {"command": "sh", "args": ["-c", "npx mcp-remote $URL"], "env": {"URL": "http://127.0.0.1:8787/mcp"}},
        bridge("sh", "-c", "exec codemode serve"),
        bridge("env", "A=1", "codemode", "serve"),
        bridge("codemode", "serve"),
        bridge("/users/ada/.codemode/bin/codemode", "serve", "--config", ".mcp.json"),
        bridge("uvx", "codemode-portal", "serve"),
        bridge("uvx", "--from", "codemode-portal[tokens]==0.1.0", "codemode"),
        bridge("pipx", "run", "codemode-portal@1"),
        bridge("python3.12", "-m", "portal.cli", "serve"),
        bridge("codemode", "stdio"),
        bridge("/users/ada/.codemode/bin/codemode", "stdio", "--mode", "tools"),
        bridge("codemode.exe", "stdio"),
        bridge("python3", "-m", "portal.cli", "stdio", "--portal", "docs"),
        bridge("uvx", "codemode-portal", "stdio"),
        bridge("uvx", "--from", "codemode-portal==0.1.0", "codemode", "stdio"),
        bridge("uv", "tool", "run", "codemode-portal", "stdio"),
        bridge("pipx", "run", "--spec", "codemode-portal", "codemode", "stdio"),
        bridge("sh", "-c", "cd /srv && exec codemode stdio"),
        bridge("bash", "-lc", "codemode stdio --mode=code"),
        bridge("env", "-u", "HOME", "A=1", "codemode", "stdio"),
        bridge("nice", "-n", "5", "codemode", "stdio"),
        bridge("supergateway", "--stdio", "codemode stdio"),
        bridge("mcp-proxy", "--", "codemode", "stdio"),
        bridge("codemode", "stdio", "--url", "http://127.0.0.1:8787/mcp"),
        bridge("codemode", "stdio", "--url=http://[0:0:0:0:0:0:0:1]:8787/docs/mcp", "--header", "A: b"),
        bridge("uvx", "codemode-portal", "stdio", "--url", "http://[::ffff:7f00:1]:8787/mcp?codemode=off"),
        bridge("sh", "-c", "codemode stdio --url 'http://localhost:8787/mcp'"),
        {"url": "http://[0000::0001]:8787/mcp"},
        {"url": "http://[::]:8787/mcp"},
        {"url": "http://[::ffff:127.9.9.9]:8787/mcp"},
        {"url": "http://0x7f.1:8787/mcp"},
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
        bridge("mytool", "--report-to", "http://localhost:8787/mcp"),
        bridge("mytool", "http://localhost:8787/mcp"),
        bridge("npx", "mytool", "--proxy-through", "mcp-remote", "http://localhost:8787/mcp"),
        bridge("npx", "mytool", "http://localhost:8787/mcp"),
        bridge("sh", "-c", "mytool --report-to http://localhost:8787/mcp"),
        bridge("sh", "-c", "npx mcp-remote http://localhost:8787/mcp --check; exec mytool"),
        bridge("npx", "mcp-remote", "https://example.com/mcp", "--header", "Referer: http://localhost:8787/mcp"),
        bridge("npx", "mcp-remote", "https://example.com/mcp", "--resource", "http://localhost:8787/mcp"),
        bridge("npx", "supergateway", "--stdio", "mytool --report-to http://localhost:8787/mcp"),
        bridge("npx", "supergateway", "--sse", "https://example.com/sse", "--header", "http://localhost:8787/mcp"),
        bridge("mcp-proxy", "mytool", "--report-to", "http://localhost:8787/mcp"),
        bridge("fastmcp", "run", "server.py", "--", "http://localhost:8787/mcp"),
        bridge("docker", "run", "-e", "REPORT=http://host.docker.internal:8787/mcp", "mytool"),
        {"command": "mytool", "env": {"REPORT_TO": "http://localhost:8787/mcp"}},
        {
            "command": "npx",
            "args": ["mcp-remote", "https://example.com/mcp"],
            "env": {"X": "http://localhost:8787/mcp"},
        },
        bridge("uvx", "mytool", "codemode"),
        bridge("python3", "tool.py", "--like", "portal.cli"),
        bridge("watcher", "--health", "http://127.0.0.1:8787/healthz"),
        bridge("python3", "-m", "portal.demo.shop"),
        bridge("npx", "codemode"),
        bridge("uvx", "mcp-server-time"),
        bridge("my-codemode", "serve"),
        bridge("codemode", "stdio", "--url", "https://tools.example.com/mcp"),
        bridge("uvx", "codemode-portal", "stdio", "--url=https://tools.example.com/mcp"),
        bridge("codemode", "stdio", "--config", "/srv/other.json"),
        bridge("npx", "codemode", "stdio"),
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


@pytest.mark.parametrize(
    ("words", "cwd", "same"),
    [
        (["--config", "{folder}/codemode.json"], None, True),
        (["-c", "{folder}/../{name}/codemode.json"], None, True),
        (["--config=codemode.json"], "{folder}", True),
        (["--config", "{folder}/link.json"], None, True),
        (["--config", "{folder}/other.json"], None, False),
        (["-c{folder}/other.json"], None, False),
        (["-c{folder}/codemode.json"], None, True),
        (["--config=codemode.json"], "/", False),
    ],
)
def test_a_document_that_names_itself_is_left_out_and_another_one_stays(
    tmp_path: Path, words: list[str], cwd: str | None, same: bool
) -> None:
    (tmp_path / "codemode.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "codemode.json")
    places = {"folder": str(tmp_path), "name": tmp_path.name}
    entry = bridge("codemode", "stdio", *(word.format(**places) for word in words))
    if cwd is not None:
        entry["cwd"] = cwd.format(**places)
    config = config_of(entry)
    own = OwnAddress.of(config, document=tmp_path / "codemode.json")
    assert leads_to(config.servers["codemode"], own) is same


def test_the_operator_is_told_which_entry() -> None:
    config = config_of({"url": "http://127.0.0.1:8787/mcp"})
    found = without_itself(config, OwnAddress.of(config))
    assert found.notes == ("mcpServers.codemode is left out: it is this portal itself.",)
    assert without_itself(found, OwnAddress.of(found)) is found


def test_a_program_among_whose_words_is_anything_is_no_bridge() -> None:
    for words in ([], ["-c"], ["-m"], ["--"], ["run"], ["-c", "'"], ["-c", ";;"], ["/c"], ["=", "@", ":"]):
        for command in (
            "sh",
            "cmd",
            "npx",
            "python",
            "docker",
            "mcp-remote",
            "supergateway",
            "fastmcp",
            "env",
            "=",
            "@x",
        ):
            assert not is_itself(bridge(command, *words))


def test_the_portals_of_the_database_are_this_portal_as_well() -> None:
    config = config_of({"command": "x"}, identity={"publicUrl": "https://portal.example.com:8443"})
    own = OwnAddress.of(config, stored={"wiki": "wiki.example.com", "plain": ""})

    def leads(url: str) -> bool:
        return leads_to(HttpServer(id="a", name="a", url=url), own)

    for url in (
        "https://wiki.example.com/mcp",
        "https://wiki.example.com:8443/mcp",
        "https://portal.example.com:8443/plain/mcp",
    ):
        assert leads(url), url
    for url in ("https://wiki.example.com/other", "https://plain/mcp", "https://portal.example.com:8443/else/mcp"):
        assert not leads(url), url
