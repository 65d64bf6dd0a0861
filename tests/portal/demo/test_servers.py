"""The example upstreams are real MCP servers over one company: stdio and HTTP, with and without output schemas."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.mcpserver import MCPServer

from portal.demo import helpdesk, shipping, shop
from portal.demo.company import TODAY, Company, build_company
from portal.demo.upstreams import document
from tests.patience import PATIENCE
from tests.portal.cli.command import in_process

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def company() -> Company:
    return build_company()


@pytest.fixture(scope="module")
def helpdesk_url() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-m", "portal.demo.helpdesk"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


async def answer(server: MCPServer, tool: str, **arguments: Any) -> Any:
    async with Client(server) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


def text_of(result: mcp_types.CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, mcp_types.TextContent))


def test_the_company_is_the_same_in_every_process(company: Company) -> None:
    assert build_company() == company
    assert build_company(seed=1) != company


def test_every_id_a_server_knows_is_known_to_the_shop(company: Company) -> None:
    customers = {customer.id for customer in company.customers}
    orders = {order.id: order.customer_id for order in company.orders}
    assert len(customers) == len(company.customers) and len(orders) == len(company.orders)
    assert {order.customer_id for order in company.orders} <= customers
    assert all(orders[shipment.order_id] == shipment.customer_id for shipment in company.shipments)
    assert all(ticket.order_id is None or orders[ticket.order_id] == ticket.customer_id for ticket in company.tickets)
    assert all(order.placed_on <= TODAY.isoformat() for order in company.orders)


def test_the_data_is_worth_querying(company: Company) -> None:
    assert {shipment.status for shipment in company.shipments} == {"in_transit", "delivered", "late", "lost"}
    late = {shipment.order_id for shipment in company.shipments if shipment.days_late and not shipment.delivered_on}
    asked = [ticket for ticket in company.tickets if ticket.order_id in late and ticket.status != "closed"]
    assert len(asked) >= 10


@pytest.mark.anyio
async def test_orders_are_filtered_and_paged(company: Company) -> None:
    server = shop.build_server(company)
    page = await answer(server, "list_orders", status="returned", since="2026-01-01", limit=2, offset=1)
    everything = await answer(server, "list_orders", status="returned", since="2026-01-01", limit=1000)
    assert page["total"] == everything["total"] == len(everything["orders"])
    assert page["orders"] == everything["orders"][1:3]


@pytest.mark.anyio
async def test_monthly_revenue_adds_up_to_the_orders(company: Company) -> None:
    report = await answer(shop.build_server(company), "revenue_by_month", since="2025-07-01", until="2026-06-30")
    sold = sum(order.total for order in company.orders if order.status != "cancelled")
    assert sum(month["revenue"] for month in report["months"]) == pytest.approx(sold)


@pytest.mark.anyio
async def test_a_refund_happens_once() -> None:
    company = build_company()
    server = shop.build_server(company)
    order = next(order for order in company.orders if order.status == "delivered")
    assert (await answer(server, "refund_order", order_id=order.id, reason="broken"))["amount"] == order.total
    async with Client(server) as client:
        again = await client.call_tool("refund_order", {"order_id": order.id, "reason": "broken"})
    assert again.is_error and "already refunded" in text_of(again)


@pytest.mark.anyio
async def test_tickets_are_opened_commented_assigned_and_closed() -> None:
    server = helpdesk.build_server(build_company())
    ticket = await answer(server, "create_ticket", customer_id="C001", subject="A new matter", priority="high")
    await answer(server, "add_comment", ticket_id=ticket["id"], text="Hello")
    await answer(server, "assign_ticket", ticket_id=ticket["id"], agent="Dagny")
    await answer(server, "close_ticket", ticket_id=ticket["id"])
    closed = await answer(server, "get_ticket", ticket_id=ticket["id"])
    assert (closed["status"], closed["agent"], len(closed["comments"])) == ("closed", "Dagny", 1)


@pytest.mark.anyio
async def test_the_parcel_desk_answers_json_as_text_without_schemas(company: Company) -> None:
    async with Client(shipping.build_server(company)) as client:
        tools = (await client.list_tools()).tools
        result = await client.call_tool("list_shipments", {"status": "late", "limit": 3})
    assert all(tool.output_schema is None for tool in tools)
    assert result.structured_content is None
    assert len(json.loads(text_of(result))["shipments"]) == 3


@pytest.mark.anyio
@pytest.mark.parametrize("module", [shop, helpdesk, shipping])
async def test_every_tool_says_what_it_does_and_whether_it_writes(module: Any, company: Company) -> None:
    async with Client(module.build_server(company)) as client:
        for tool in (await client.list_tools()).tools:
            assert tool.description and tool.title
            assert tool.annotations is not None and tool.annotations.read_only_hint is not None


@pytest.mark.anyio
@pytest.mark.parametrize(("module", "tools"), [("shop", 11), ("shipping", 6)])
async def test_it_runs_as_a_program_over_stdio(module: str, tools: int) -> None:
    parameters = StdioServerParameters(command=sys.executable, args=["-m", f"portal.demo.{module}"])
    async with asyncio.timeout(PATIENCE), Client(parameters) as client:
        assert len((await client.list_tools()).tools) == tools


@pytest.mark.anyio
async def test_the_helpdesk_runs_as_a_program_over_http(helpdesk_url: str) -> None:
    async with asyncio.timeout(PATIENCE), Client(helpdesk_url) as client:
        found = await client.call_tool("search_tickets", {"status": "open", "limit": 1})
    assert found.structured_content is not None and found.structured_content["total"] > 10


def test_the_program_in_the_readme_runs_against_them(helpdesk_url: str, tmp_path: Path) -> None:
    program, _ = re.findall(r"^```js\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    config = tmp_path / "codemode.json"
    config.write_text(json.dumps(document(helpdesk_url)))
    done = in_process(tmp_path, "run", "-", "--json", "--config", str(config), stdin=program)
    answer = json.loads(done.stdout)
    assert answer["status"] == "completed", answer
    assert answer["result"] and all(re.fullmatch(r"[A-Z]{2}\d{5}", tracking) for tracking in answer["result"])


def test_the_program_that_waits_in_the_readme_pays_each_bill(tmp_path: Path) -> None:
    _, program = re.findall(r"^```js\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    bills, mocks = [{"to": "ann", "amount": 1}, {"to": "bob", "amount": 2}], tmp_path / "mocks.js"
    paid = "(bill) => `${bill.to} ${bill.amount}`"
    mocks.write_text(f'export default {{"bank.due": () => ({json.dumps(bills)}), "bank.pay": {paid}}}')
    done = in_process(tmp_path, "run", "-", "--json", "--mock", str(mocks), stdin=program)
    assert json.loads(done.stdout)["result"] == ["ann 1", "bob 2"]
