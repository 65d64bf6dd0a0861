"""Real MCP clients that only start programs: `codemode stdio` in process, and as a bridge to a portal elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import node_tools
from tests.clients.serving import serving
from tests.clients.test_clients import (
    ARGUMENTS,
    INSPECTOR,
    LEGACY,
    MODERN,
    TYPESCRIPT_V1,
    TYPESCRIPT_V2,
    check_answer,
    run_node,
)

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SERVERS = {
    name: {"command": sys.executable, "args": ["-m", f"portal.demo.{name}"], "cwd": str(ROOT)}
    for name in ("shop", "shipping")
}
Server = Mapping[str, Any]
# Each client once, both ways with both eras; the rest is deep.
IN_PROCESS, BRIDGE = "in process", "bridge"


def program(folder: Path, *options: str) -> Server:
    """The command as a client's document has it. Clients pass on only a part of their environment."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return {
        "command": sys.executable,
        "args": ["-m", "portal.cli", "stdio", *options],
        "env": {"HOME": str(folder), "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": cache, "CODEMODE_SEMANTIC": "off"},
    }


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("stdio")
    document = {"mcpServers": SERVERS}
    if request.param == BRIDGE:
        with serving(document, folder) as served:
            yield program(folder, "--url", served.url)
        return
    file = folder / "codemode.json"
    file.write_text(json.dumps(document))
    yield program(folder, "--config", str(file))


def run_typescript(package: str, script: str, server: Server, *more: str) -> dict[str, Any]:
    folder = node_tools.needs(node_tools.install, package)
    words = ("--input-type=module", "-", json.dumps(server), "code", ARGUMENTS, *more)
    seen: dict[str, Any] = json.loads(run_node(folder, *words, script=Path(__file__).with_name(script)))
    return seen


@pytest.mark.parametrize("server", [IN_PROCESS, pytest.param(BRIDGE, marks=pytest.mark.deep)], indirect=True)
def test_typescript_sdk_version_1(server: Server) -> None:
    seen = run_typescript(TYPESCRIPT_V1, "stdio_v1.mjs", server)
    assert seen["tools"] == ["code"]
    check_answer(seen["result"])


@pytest.mark.parametrize(
    ("server", "era", "protocol"),
    [
        (IN_PROCESS, "auto", MODERN),
        (BRIDGE, "legacy", LEGACY),
        pytest.param(IN_PROCESS, "legacy", LEGACY, marks=pytest.mark.deep),
        pytest.param(BRIDGE, "auto", MODERN, marks=pytest.mark.deep),
    ],
    indirect=["server"],
)
def test_typescript_sdk_version_2(server: Server, era: str, protocol: str) -> None:
    seen = run_typescript(TYPESCRIPT_V2, "stdio_v2.mjs", server, era)
    assert (seen["protocol"], seen["tools"]) == (protocol, ["code"])
    check_answer(seen["result"])


@pytest.mark.parametrize(
    ("server", "era"),
    [
        (BRIDGE, "auto"),
        pytest.param(IN_PROCESS, "auto", marks=pytest.mark.deep),
        pytest.param(IN_PROCESS, "legacy", marks=pytest.mark.deep),
        pytest.param(BRIDGE, "legacy", marks=pytest.mark.deep),
    ],
    indirect=["server"],
)
def test_inspector(server: Server, era: str, tmp_path: Path) -> None:
    folder = node_tools.needs(node_tools.install, INSPECTOR)
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"codemode": {"type": "stdio", **server}}}))
    words = ("--cli", "--config", str(config), "--server", "codemode", "--protocol-era", era, "--format", "json")
    tool = str(node_tools.executable(folder, "mcp-inspector").resolve())

    def inspect(*more: str) -> dict[str, Any]:
        output: dict[str, dict[str, Any]] = json.loads(run_node(folder, tool, *words, *more))
        return output.get("result", output)

    assert [one["name"] for one in inspect("--method", "tools/list")["tools"]] == ["code"]
    check_answer(inspect("--method", "tools/call", "--tool-name", "code", "--tool-args-json", ARGUMENTS))
