"""`codemode demo`: a guided tour with a portal over the example servers and three programs of an MCP client.

It prices each program next to the same calls made one by one, and says beforehand how long it will take.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path

from mcp.client import Client
from mcp_types import CallToolResult, TextContent, Tool
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from codemode import ToolCall, ToolReturned
from portal.app import Instance, Parts, serving
from portal.bench.ui import Cost, FinishedCall, listing_cost, run_cost
from portal.calls import Call
from portal.cli.commands.serve import Address, serve_document
from portal.cli.exits import Exit
from portal.cli.show.announce import portal_lines, print_client_setups
from portal.cli.show.console import consoles
from portal.cli.show.listing import servers_table
from portal.cli.show.progress import WaitLine
from portal.cli.show.report import program_frame, run_report
from portal.cli.show.token_count import count_tokens
from portal.config import parse_config
from portal.demo import CPU_SECONDS, example_upstreams
from portal.home import CODE_MODE
from portal.identity import Identity
from portal.learning import Learning
from portal.logs import Discard, configure_logging
from portal.servers import Snapshot
from sandbox import user_cache

PROGRAMS = (
    ("discover.js", "find tools by what they do, and read their types"),
    ("join.js", "join three servers in one round trip"),
    ("limit.js", f"run into a limit ({CPU_SECONDS:g} s of CPU time; 10 s unless configured)"),
)


# The CPU seconds that loading this command takes, times this, are about the seconds of the tour: 6 to 11, measured.
TOUR_PER_LOADING = 7.0


class PricedCalls(Learning):
    """Keeps the calls of a program with their results, to price them. It learns nothing."""

    def __init__(self) -> None:
        super().__init__(None)
        self._finished: list[FinishedCall] = []

    def observe(
        self, call: Call, result: Mapping[str, object], snapshot: Snapshot, caller: Identity | None = None
    ) -> None:
        number = len(self._finished) + 1
        made = ToolCall("", number, call.server, call.name, dict(call.params.get("arguments") or {}))
        self._finished.append(FinishedCall(made, f"{call.server}.{call.name}", ToolReturned(dict(result))))

    def take(self) -> list[FinishedCall]:
        """The calls since the last time."""
        taken, self._finished = self._finished, []
        return taken


async def demo(*, port: int, stay: bool) -> Exit:
    """Show the tour. With `stay`, serve the example portal on `port` instead, until it is interrupted."""
    loading = time.process_time()
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
        last = _last_tour()
        stdout.print(_expectation(last, loading), highlight=False, style="dim")
        began = time.perf_counter()
        priced = PricedCalls()
        async with priced, _portals(document, priced, stdout, stderr) as (url, curated):
            await _tour(url, curated, priced, stdout)
        _keep_tour(time.perf_counter() - began)
    stdout.print(Rule(Text("Connect your own client", style="bold")))
    stdout.print("\n`make serve` or `codemode demo --serve` leaves this portal running. Then:\n", highlight=False)
    print_client_setups(stdout, f"http://127.0.0.1:{port}/mcp")
    return Exit.OK


@asynccontextmanager
async def _portals(
    document: dict[str, object], priced: PricedCalls, stdout: Console, stderr: Console
) -> AsyncIterator[tuple[str, str]]:
    """Start the instance and show its start. Yields the MCP URLs of its two portals."""
    config = parse_config(document, file="the demo's configuration")
    async with AsyncExitStack() as stack:
        with WaitLine(stderr, "Preparing the isolates (the first start compiles the guest) ..."):
            opened = Instance.open(config, Discard(), parts=Parts(learning=priced))
            instance = await stack.enter_async_context(opened)
        assert instance.programs is not None
        stdout.print(f"Isolates ready in {instance.programs.prepared_in:.1f} s", highlight=False)
        with WaitLine(stderr, "Connecting to the example servers ..."):
            snapshot = await instance.servers.settled()
        stdout.print(servers_table(snapshot.servers.values()))
        base = await stack.enter_async_context(serving(instance))
        own, *others = instance.urls(base)
        stdout.print(Text.assemble("Portal at ", (own.urls[0], "bold cyan")))
        stdout.print("and a second one over the same servers, curated:")
        stdout.print(portal_lines({portal.name: portal.urls for portal in others}))
        yield own.urls[0], others[0].urls[0]


async def _tour(url: str, curated: str, priced: PricedCalls, stdout: Console) -> None:
    async with Client(url) as client:
        plain = (await client.list_tools()).tools
    async with Client(curated) as client:
        few = (await client.list_tools()).tools
    async with Client(url + CODE_MODE) as client:
        listed = (await client.list_tools()).tools
        _show_listing(plain, few, listed, stdout)
        for number, (name, purpose) in enumerate(PROGRAMS, start=1):
            stdout.print(Rule(Text(f"Program {number}: {purpose}", style="bold")))
            answer = await _run(client, name, stdout)
            made = priced.take()
            if made and not answer.is_error:
                blocks = [block.model_dump(mode="json", by_alias=True) for block in answer.content]
                definitions = listing_cost(_definition(listed[0]), map(_definition, plain), count_tokens)
                stdout.print(price_table(run_cost(_source(name), blocks, made, definitions, count_tokens)))


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


async def _run(client: Client, name: str, stdout: Console) -> CallToolResult:
    """Run a program as an agent does, and show it."""
    source = _source(name)
    stdout.print(program_frame(source, name))
    started = time.perf_counter()
    result = await client.call_tool("code", {"code": source})
    elapsed = (time.perf_counter() - started) * 1000
    stdout.print(run_report(result.structured_content or {}, elapsed, stdout))
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    stdout.print(f"one request, one answer: the model reads {count_tokens(text)}\n", highlight=False, style="dim")
    return result


def price_table(cost: Cost) -> RenderableType:
    """The tokens of a run, next to those of the same calls made one by one."""
    directly = cost.definitions + cost.arguments + cost.results
    program = cost.description + cost.program + cost.answer
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("tokens of this task" if cost.exact else "tokens, estimated")
    table.add_column("in this program", justify="right")
    table.add_column(f"in {cost.calls} plain calls", justify="right")
    for what, ours, theirs in (
        ("definitions of tools", cost.description, cost.definitions),
        ("program; arguments", cost.program, cost.arguments),
        ("answer; results", cost.answer, cost.results),
    ):
        table.add_row(what, f"{ours:,}", f"{theirs:,}")
    table.add_row("together", f"{program:,}", f"{directly:,}", style="bold")
    return Group(table, Text(f"{directly / max(1, program):.0f} times fewer with the program.\n", style="green"))


def _source(name: str) -> str:
    return files("portal.demo").joinpath("programs", name).read_text(encoding="utf-8")


def _definition(tool: Tool) -> dict[str, object]:
    """A tool as its server defines it: without the portal's prefix in its name."""
    definition = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**definition, "name": tool.name.partition("_")[2] or tool.name}


# How long it takes


def _expectation(last: float | None, loading: float) -> str:
    """What to say beforehand: how long the tour took here last time, else what loading the command lets expect."""
    if last is not None:
        return f"It takes about {last:.0f} s: that long it took here last time.\n"
    seconds = max(5.0, loading * TOUR_PER_LOADING)
    return f"It takes about {seconds:.0f} s, to judge by how long this machine took to load it.\n"


def _tour_file() -> Path:
    return user_cache() / "tour.json"


def _last_tour() -> float | None:
    try:
        seconds = json.loads(_tour_file().read_text(encoding="utf-8"))["seconds"]
        return float(seconds) if 0 < seconds < 3600 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep_tour(seconds: float) -> None:
    # Without a place to keep it the next tour estimates again.
    with suppress(OSError):
        _tour_file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _tour_file().write_text(json.dumps({"seconds": round(seconds, 1)}), encoding="utf-8")
