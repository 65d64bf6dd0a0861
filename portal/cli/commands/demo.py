"""`codemode demo`: a guided tour with a portal over the example servers and three programs of an MCP client."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files

from mcp.client import Client
from mcp_types import TextContent, Tool
from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from portal.app import Instance, serving
from portal.cli.commands.serve import Address, serve_document
from portal.cli.exits import Exit
from portal.cli.show.announce import portal_lines, print_client_setups
from portal.cli.show.connect import CODE_MODE
from portal.cli.show.console import consoles
from portal.cli.show.listing import servers_table
from portal.cli.show.report import program_frame, run_report
from portal.cli.show.token_count import count_tokens
from portal.config import parse_config
from portal.demo import CPU_SECONDS, example_upstreams
from portal.logs import Discard, configure_logging

PROGRAMS = (
    ("discover.js", "find tools by what they do, and read their types"),
    ("join.js", "join three servers in one round trip"),
    ("limit.js", f"run into a limit ({CPU_SECONDS:g} s of CPU time; 10 s unless configured)"),
)


async def demo(*, port: int, stay: bool) -> Exit:
    """Show the tour. With `stay`, serve the example portal on `port` instead, until it is interrupted."""
    stdout, stderr = consoles()
    async with example_upstreams() as document:
        config = parse_config(document, file="the demo's configuration")
        if stay:
            return await serve_document(config, Address("127.0.0.1", port), stderr)
        configure_logging(level="warning", terminal=stderr.is_terminal)
        stdout.print(Rule(Text("Codemode Portal: a tour", style="bold")))
        stdout.print(
            "\nThree MCP servers of an outdoor shop stand behind one URL. An agent connected to it sees one tool, "
            "`code`; the program it writes runs in a fresh WebAssembly isolate and calls the servers' tools.\n",
            highlight=False,
        )
        async with _portals(document, stdout) as (url, curated):
            await _tour(url, curated, stdout)
    stdout.print(Rule(Text("Connect your own client", style="bold")))
    stdout.print("\n`make serve` or `codemode demo --serve` leaves this portal running. Then:\n", highlight=False)
    print_client_setups(stdout, f"http://127.0.0.1:{port}/mcp")
    return Exit.OK


@asynccontextmanager
async def _portals(document: dict[str, object], stdout: Console) -> AsyncIterator[tuple[str, str]]:
    """Start the instance and show its start. Yields the MCP URLs of its two portals."""
    config = parse_config(document, file="the demo's configuration")
    with stdout.status("Preparing the isolates (the first start compiles the guest) ...") as status:
        async with Instance.open(config, Discard()) as instance:
            assert instance.programs is not None
            stdout.print(f"Isolates ready in {instance.programs.prepared_in:.1f} s", highlight=False)
            status.update("Connecting to the example servers ...")
            snapshot = await instance.servers.settled()
            stdout.print(servers_table(snapshot.servers.values()))
            async with serving(instance) as base:
                status.stop()
                own, *others = instance.urls(base)
                stdout.print(Text.assemble("Portal at ", (own.urls[0], "bold cyan")))
                stdout.print("and a second one over the same servers, curated:")
                stdout.print(portal_lines({portal.name: portal.urls for portal in others}))
                yield own.urls[0], others[0].urls[0]


async def _tour(url: str, curated: str, stdout: Console) -> None:
    async with Client(url) as client:
        plain = (await client.list_tools()).tools
    async with Client(curated) as client:
        few = (await client.list_tools()).tools
    async with Client(url + CODE_MODE) as client:
        listed = (await client.list_tools()).tools
        _show_listing(plain, few, listed, stdout)
        for number, (name, purpose) in enumerate(PROGRAMS, start=1):
            stdout.print(Rule(Text(f"Program {number}: {purpose}", style="bold")))
            await _run(client, name, stdout)


def _show_listing(plain: Sequence[Tool], few: Sequence[Tool], listed: Sequence[Tool], stdout: Console) -> None:
    """Print the tools that the model gets with and without code mode."""
    stdout.print(Rule(Text("What the agent is given", style="bold")))
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column("tools", justify="right")
    table.add_column("size", justify="right")
    for label, tools, url in (
        ("without code mode", plain, "/mcp"),
        ("in code mode", listed, f"/mcp{CODE_MODE}"),
        ("the curated portal", few, "/support/mcp"),
    ):
        table.add_row(Text.assemble(label, (f"  {url}", "dim")), str(len(tools)), str(count_tokens(_listing(tools))))
    stdout.print(table)
    for tool in listed:
        description = Text((tool.description or "").strip())
        title = Text(f"the description of `{tool.name}`", style="bold")
        stdout.print(Panel(description, title=title, title_align="left", border_style="dim"))


def _listing(tools: Sequence[Tool]) -> str:
    return json.dumps([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])


async def _run(client: Client, name: str, stdout: Console) -> None:
    source = files("portal.demo").joinpath("programs", name).read_text(encoding="utf-8")
    stdout.print(program_frame(source, name))
    started = time.perf_counter()
    result = await client.call_tool("code", {"code": source})
    elapsed = (time.perf_counter() - started) * 1000
    stdout.print(run_report(result.structured_content or {}, elapsed, stdout))
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    stdout.print(f"one request, one answer: the model reads {count_tokens(text)}\n", highlight=False, style="dim")
