"""Real MCP clients, in the protocol generations they speak, see one tool and get a program's answer from it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from portal.demo.company import build_company
from tests import node_tools
from tests.clients.serving import Served, serving
from tests.zygote import quick_entry

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

MCP_REMOTE = "mcp-remote@0.15.1"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
TYPESCRIPT_V1 = "@modelcontextprotocol/sdk@1.32.2"
TYPESCRIPT_V2 = "@modelcontextprotocol/client@2.4.0"

LEGACY, MODERN = "2025-11-25", "2026-07-28"
CLIENT_SECONDS = 120

# Both servers answer, and what one says is asked of the other.
PROGRAM = """
const { customers } = await codemode.shop.list_customers({ tier: "gold", limit: 3 });
const parcels = await Promise.all(
  customers.map((customer) => codemode.shipping.list_shipments({ customer_id: customer.id })),
);
console.log("asked", parcels.length);
return customers.map((customer, index) => [customer.id, parcels[index].total]);
"""
ARGUMENTS = json.dumps({"code": PROGRAM})


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    servers = {name: quick_entry(f"portal.demo.{name}") for name in ("shop", "shipping")}
    with serving({"mcpServers": servers}, tmp_path_factory.mktemp("portal")) as served:
        yield served


def expected() -> list[list[Any]]:
    company = build_company()
    gold = [customer.id for customer in company.customers if customer.tier == "gold"][:3]
    return [[who, sum(shipment.customer_id == who for shipment in company.shipments)] for who in gold]


def check_answer(result: Mapping[str, Any]) -> None:
    """The whole answer as a client received it: text for the model, structured content for programs."""
    assert not result.get("isError")
    answer = result["structuredContent"]
    assert answer["status"] == "completed"
    assert answer["result"] == expected()
    assert [log["text"] for log in answer["logs"]] == ["asked 3"]
    assert [call["status"] for call in answer["calls"]] == ["ok"] * 4
    assert json.loads(result["content"][0]["text"]) == expected()


def run_node(folder: Path, *arguments: str, script: Path | None = None, environment: Mapping[str, str] = {}) -> str:
    """Run node in a folder of installed packages; a script comes on standard input, so that it finds them."""
    done = subprocess.run(
        [str(node_tools.needs(node_tools.node)), *arguments],
        cwd=folder,
        input=script.read_text() if script else "",
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def run_typescript(package: str, script: str, url: str, *more: str) -> dict[str, Any]:
    folder = node_tools.needs(node_tools.install, package)
    path = Path(__file__).with_name(script)
    seen: dict[str, Any] = json.loads(
        run_node(folder, "--input-type=module", "-", url, "code", ARGUMENTS, *more, script=path)
    )
    return seen


def test_typescript_sdk_version_1(portal: Served) -> None:
    seen = run_typescript(TYPESCRIPT_V1, "typescript_v1.mjs", portal.code_url)
    assert (seen["protocol"], seen["tools"]) == (LEGACY, ["code"])
    check_answer(seen["result"])


@pytest.mark.parametrize(("era", "protocol"), [("legacy", LEGACY), ("auto", MODERN)])
def test_typescript_sdk_version_2(portal: Served, era: str, protocol: str) -> None:
    seen = run_typescript(TYPESCRIPT_V2, "typescript_v2.mjs", portal.code_url, era)
    assert (seen["protocol"], seen["tools"]) == (protocol, ["code"])
    check_answer(seen["result"])


@pytest.mark.anyio
@pytest.mark.parametrize(("mode", "protocol"), [("legacy", LEGACY), ("auto", MODERN), (MODERN, MODERN)])
async def test_python_sdk(portal: Served, mode: str, protocol: str) -> None:
    async with asyncio.timeout(CLIENT_SECONDS), Client(portal.code_url, mode=mode) as client:
        assert client.session.protocol_version == protocol
        await use(client)


@pytest.mark.anyio
@pytest.mark.parametrize(("mode", "protocol"), [("legacy", LEGACY), ("auto", MODERN)])
async def test_mcp_remote(portal: Served, mode: str, protocol: str, tmp_path: Path) -> None:
    folder = node_tools.needs(node_tools.install, MCP_REMOTE)
    bridge = StdioServerParameters(
        command=str(node_tools.needs(node_tools.node)),
        args=[str(node_tools.executable(folder, "mcp-remote").resolve()), portal.code_url, "--allow-http"],
        env={"MCP_REMOTE_CONFIG_DIR": str(tmp_path)},
    )
    async with asyncio.timeout(CLIENT_SECONDS), Client(bridge, mode=mode) as client:
        assert client.session.protocol_version == protocol
        await use(client)


async def use(client: Client) -> None:
    assert [tool.name for tool in (await client.list_tools()).tools] == ["code"]
    result = await client.call_tool("code", {"code": PROGRAM})
    check_answer(result.model_dump(mode="json", by_alias=True))


@pytest.mark.parametrize("era", ["legacy", "auto", pytest.param("modern", marks=pytest.mark.deep)])
def test_inspector(portal: Served, era: str) -> None:
    listed = inspect(portal, era, "--method", "tools/list")
    assert [tool["name"] for tool in listed["tools"]] == ["code"]
    called = inspect(portal, era, "--method", "tools/call", "--tool-name", "code", "--tool-args-json", ARGUMENTS)
    check_answer(called)


def inspect(portal: Served, era: str, *arguments: str) -> dict[str, Any]:
    folder = node_tools.needs(node_tools.install, INSPECTOR)
    command: Sequence[str] = (
        str(node_tools.executable(folder, "mcp-inspector").resolve()),
        *("--cli", portal.code_url, "--transport", "http", "--protocol-era", era, "--format", "json"),
        *arguments,
    )
    output: dict[str, dict[str, Any]] = json.loads(run_node(folder, *command))
    return output.get("result", output)


def test_a_plain_url_shows_the_servers_tools_instead(portal: Served) -> None:
    folder = node_tools.needs(node_tools.install, TYPESCRIPT_V1)
    arguments = ("--input-type=module", "-", portal.url, "shop_get_customer", '{"customer_id": "C001"}')
    seen = json.loads(run_node(folder, *arguments, script=Path(__file__).with_name("typescript_v1.mjs")))
    assert {"shop_list_orders", "shipping_track"} <= set(seen["tools"])
    assert seen["result"]["structuredContent"]["id"] == "C001"
