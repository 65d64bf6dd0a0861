"""Example upstream over stdio: shipments of the shop's orders. Run as `python -m portal.demo.shipping`.

Unlike its neighbours it answers in plain text and JSON text without output schemas, as many servers do.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from portal.demo.company import CARRIERS, Company, Shipment, ShipmentStatus, build_company

READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)

CarrierName = Literal["Albatross", "Bluebird", "Condor"]
OrderId = Annotated[str, Field(description="The shop's order id, such as O00042")]


def build_server(company: Company) -> MCPServer:
    """The parcel desk's MCP server over this company; writes change the company in memory only."""
    server = MCPServer(
        "shipping",
        title="Parcel desk",
        version="1.0.0",
        instructions="Where the shop's parcels are. Order ids are the shop's.",
        log_level="WARNING",
    )
    shipments = {shipment.order_id: shipment for shipment in company.shipments}
    _reading_tools(server, company, shipments)
    _desk_tools(server, shipments)
    return server


def _brief(shipment: Shipment) -> dict[str, object]:
    return {key: value for key, value in asdict(shipment).items() if key != "events"}


def _get(shipments: dict[str, Shipment], order_id: str) -> Shipment:
    if order_id not in shipments:
        raise ToolError(f"There is no shipment for order {order_id}: not shipped yet, cancelled, or no such order.")
    return shipments[order_id]


def _reading_tools(server: MCPServer, company: Company, shipments: dict[str, Shipment]) -> None:
    @server.tool(title="Track a parcel", annotations=READ, structured_output=False)
    def track(order_id: OrderId) -> str:
        """Track the parcel of an order: carrier, status, promised day, days late, and every event."""
        return json.dumps(asdict(_get(shipments, order_id)))

    @server.tool(title="List shipments", annotations=READ, structured_output=False)
    def list_shipments(
        status: ShipmentStatus | None = None,
        carrier: CarrierName | None = None,
        customer_id: Annotated[str | None, Field(description="The shop's customer id, such as C042")] = None,
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> str:
        """List shipments by status, carrier or customer, latest promise first."""
        found = [
            _brief(shipment)
            for shipment in sorted(company.shipments, key=lambda shipment: shipment.promised_on, reverse=True)
            if (status is None or shipment.status == status)
            and (carrier is None or shipment.carrier == carrier)
            and (customer_id is None or shipment.customer_id == customer_id)
        ]
        return json.dumps({"total": len(found), "shipments": found[:limit]})

    @server.tool(title="Carrier performance", annotations=READ, structured_output=False)
    def carrier_performance() -> str:
        """For each carrier: how many shipments, what share arrived late, and the average delay in days."""
        report = []
        for carrier in CARRIERS:
            handled = [shipment for shipment in company.shipments if shipment.carrier == carrier]
            late = [shipment.days_late for shipment in handled if shipment.days_late]
            report.append(
                {
                    "carrier": carrier,
                    "shipments": len(handled),
                    "late_share": round(len(late) / len(handled), 3) if handled else None,
                    "average_delay_days": round(sum(late) / len(late), 1) if late else 0.0,
                }
            )
        return json.dumps(report)


def _desk_tools(server: MCPServer, shipments: dict[str, Shipment]) -> None:
    @server.tool(title="Quote postage", annotations=READ, structured_output=False)
    def quote(
        country: Annotated[str, Field(pattern="^[A-Z]{2}$", description="Two-letter country code, such as DE")],
        weight_kg: Annotated[float, Field(gt=0, le=30)],
        express: bool = False,
    ) -> str:
        """What it costs to send a parcel, in euros."""
        base = 4.9 if country == "DE" else 11.9
        return json.dumps({"currency": "EUR", "price": round(base + 0.8 * weight_kg + (9.0 if express else 0.0), 2)})

    @server.tool(title="Hold a parcel", annotations=WRITE, structured_output=False)
    def hold_parcel(order_id: OrderId, days: Annotated[int, Field(ge=1, le=14)] = 3) -> str:
        """Ask the carrier to hold a parcel for some days."""
        shipment = _get(shipments, order_id)
        if shipment.delivered_on is not None:
            raise ToolError(f"The parcel of order {order_id} was delivered on {shipment.delivered_on}.")
        return f"{shipment.carrier} holds parcel {shipment.tracking} for {days} days."

    @server.tool(title="Report a parcel lost", annotations=WRITE, structured_output=False)
    def report_lost(order_id: OrderId, note: Annotated[str, Field(max_length=500)] = "") -> str:
        """Report the parcel of an order as lost; the carrier starts a search."""
        shipment = _get(shipments, order_id)
        shipment.status = "lost"
        return f"{shipment.carrier} is looking for parcel {shipment.tracking}.{' Note: ' + note if note else ''}"


if __name__ == "__main__":
    build_server(build_company()).run("stdio")
