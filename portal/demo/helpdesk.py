"""Example upstream over streamable HTTP: the shop's support tickets. Run as `python -m portal.demo.helpdesk [PORT]`.

It prints its URL as the first line of standard output; port 0 (the default) takes a free one.
"""

from __future__ import annotations

import socket
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Literal

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from portal.demo.company import AGENTS, TODAY, Comment, Company, Priority, Ticket, TicketStatus, build_company

READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)

Limit = Annotated[int, Field(ge=1, le=1000, description="How many to return at most")]
TicketId = Annotated[str, Field(description="Ticket id, such as T0042")]


@dataclass
class TicketPage:
    total: int
    tickets: list[Ticket]


@dataclass
class Agent:
    name: str
    open_tickets: int


@dataclass
class AgentList:
    agents: list[Agent]


@dataclass
class Count:
    key: str
    tickets: int


@dataclass
class CountReport:
    by: str
    counts: list[Count]


@dataclass
class SatisfactionReport:
    answers: int
    average: float | None
    by_agent: dict[str, float]


def build_server(company: Company) -> MCPServer:
    """The helpdesk's MCP server over this company; writes change the company in memory only."""
    server = MCPServer(
        "helpdesk",
        title="Helpdesk",
        version="1.0.0",
        instructions="Support tickets of the shop's customers. Customer and order ids are the shop's.",
        log_level="WARNING",
    )
    _reading_tools(server, company)
    _reporting_tools(server, company)
    _writing_tools(server, company)
    return server


def _find(company: Company, ticket_id: str) -> Ticket:
    for ticket in company.tickets:
        if ticket.id == ticket_id:
            return ticket
    raise ToolError(f"There is no ticket {ticket_id}. Ids look like T0042; search_tickets shows them.")


def _reading_tools(server: MCPServer, company: Company) -> None:
    @server.tool(title="Search tickets", annotations=READ)
    def search_tickets(
        text: Annotated[str, Field(description="Words of the subject; empty for all")] = "",
        status: TicketStatus | None = None,
        priority: Priority | None = None,
        customer_id: Annotated[str | None, Field(description="The shop's customer id, such as C042")] = None,
        order_id: Annotated[str | None, Field(description="The shop's order id, such as O00042")] = None,
        limit: Limit = 100,
    ) -> TicketPage:
        """Find support tickets by subject, status, priority, customer or order, newest first."""
        words = text.lower().split()
        found = [
            ticket
            for ticket in sorted(company.tickets, key=lambda ticket: ticket.opened_on, reverse=True)
            if all(word in ticket.subject.lower() for word in words)
            and (status is None or ticket.status == status)
            and (priority is None or ticket.priority == priority)
            and (customer_id is None or ticket.customer_id == customer_id)
            and (order_id is None or ticket.order_id == order_id)
        ]
        return TicketPage(len(found), found[:limit])

    @server.tool(title="Get a ticket", annotations=READ)
    def get_ticket(ticket_id: TicketId) -> Ticket:
        """Get one ticket with its comments."""
        return _find(company, ticket_id)

    @server.tool(title="List agents", annotations=READ)
    def list_agents() -> AgentList:
        """The support agents and how many unfinished tickets each has."""
        load = Counter(ticket.agent for ticket in company.tickets if ticket.status != "closed")
        return AgentList([Agent(name, load[name]) for name in AGENTS])


def _reporting_tools(server: MCPServer, company: Company) -> None:
    @server.tool(title="Count tickets", annotations=READ)
    def count_tickets(by: Literal["status", "priority", "subject", "agent"] = "status") -> CountReport:
        """Count tickets grouped by status, priority, subject or agent."""
        counts = Counter(str(getattr(ticket, by) or "unassigned") for ticket in company.tickets)
        return CountReport(by, [Count(key, number) for key, number in counts.most_common()])

    @server.tool(title="Satisfaction", annotations=READ)
    def satisfaction(
        since: Annotated[str | None, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="A day, YYYY-MM-DD")] = None,
    ) -> SatisfactionReport:
        """Average customer satisfaction (1 to 5) of closed tickets, overall and by agent."""
        rated = [
            (ticket.agent or "unassigned", ticket.satisfaction)
            for ticket in company.tickets
            if ticket.satisfaction is not None and (since is None or ticket.opened_on >= since)
        ]
        by_agent = {
            agent: round(sum(score for name, score in rated if name == agent) / count, 2)
            for agent, count in sorted(Counter(name for name, _ in rated).items())
        }
        average = round(sum(score for _, score in rated) / len(rated), 2) if rated else None
        return SatisfactionReport(len(rated), average, by_agent)


def _writing_tools(server: MCPServer, company: Company) -> None:
    @server.tool(title="Open a ticket", annotations=WRITE)
    def create_ticket(
        customer_id: Annotated[str, Field(description="The shop's customer id, such as C042")],
        subject: Annotated[str, Field(min_length=3, max_length=200)],
        priority: Priority = "normal",
        order_id: str | None = None,
    ) -> Ticket:
        """Open a ticket for a customer, optionally about one order."""
        ticket = Ticket(
            id=f"T{len(company.tickets) + 1:04d}",
            customer_id=customer_id,
            order_id=order_id,
            subject=subject,
            status="open",
            priority=priority,
            opened_on=TODAY.isoformat(),
            agent=None,
            first_reply_minutes=None,
            satisfaction=None,
        )
        company.tickets.append(ticket)
        return ticket

    @server.tool(title="Comment on a ticket", annotations=WRITE)
    def add_comment(ticket_id: TicketId, text: Annotated[str, Field(min_length=1, max_length=4000)]) -> Ticket:
        """Add an agent's comment to a ticket."""
        ticket = _find(company, ticket_id)
        ticket.comments.append(Comment("agent", TODAY.isoformat(), text))
        return ticket

    @server.tool(title="Assign a ticket", annotations=WRITE)
    def assign_ticket(ticket_id: TicketId, agent: Annotated[str, Field(description="Name, see list_agents")]) -> Ticket:
        """Give a ticket to an agent."""
        if agent not in AGENTS:
            raise ToolError(f"There is no agent {agent}. The agents are {', '.join(AGENTS)}.")
        ticket = _find(company, ticket_id)
        ticket.agent = agent
        return ticket

    @server.tool(title="Close a ticket", annotations=WRITE)
    def close_ticket(ticket_id: TicketId) -> Ticket:
        """Close a ticket."""
        ticket = _find(company, ticket_id)
        if ticket.status == "closed":
            raise ToolError(f"Ticket {ticket_id} is closed already.")
        ticket.status = "closed"
        return ticket


def main(port: int = 0) -> None:
    """Serve on loopback until interrupted, after printing the URL."""
    # The protocol is named so that asyncio switches Nagle's algorithm off on accepted connections.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)  # Before the URL is printed, so that no reader of it is refused.
    app = build_server(build_company()).streamable_http_app(host="127.0.0.1")
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
