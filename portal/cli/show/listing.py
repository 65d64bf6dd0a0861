"""Tables of servers, tools, pending definitions and search results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from portal.cli.show.report import THEME
from portal.servers import ServerSnapshot

STATE_STYLE = {"ready": "green", "stale": "yellow", "waiting": "yellow", "error": "red"}


def servers_table(servers: Iterable[ServerSnapshot]) -> Table:
    """A row for each server: name, state, number of tools, transport, protocol, and why it does not answer."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("server", "state", "tools", "transport", "protocol"):
        table.add_column(column, justify="right" if column == "tools" else "left", no_wrap=True)
    table.add_column("", overflow="fold")
    for server in servers:
        table.add_row(
            Text(server.id, style="bold"),
            Text(server.state, style=STATE_STYLE.get(server.state, "")),
            str(len(server.tools)) if server.tools else "-",
            server.transport,
            server.listing.protocol or "-",
            _remark(server),
        )
    return table


def _remark(server: ServerSnapshot) -> Text:
    if not server.reason and server.pending:
        return Text(f"{len(server.pending)} wait for approval: codemode pins", style="yellow")
    if not server.reason and server.own_code_mode:
        return Text(server.own_code_mode, style="yellow")
    return Text(server.reason or "", style="red" if server.state == "error" else "dim")


def tools_table(tools: Sequence[Mapping[str, object]], heading: str) -> RenderableType:
    """The tools of one server, with the paths that programs use."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False, expand=True)
    table.add_column(no_wrap=True, width=max((len(str(tool["path"])) for tool in tools), default=0))
    table.add_column(overflow="ellipsis", no_wrap=True, style="dim", ratio=1)
    for tool in tools:
        table.add_row(str(tool["path"]), first_line(tool.get("description")))
    return Group(Text(f"\n{heading}", style="bold"), table)


def pending_table(server: ServerSnapshot) -> RenderableType:
    """The pending definitions of a pinned server, with the members that changed."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for item in server.pending:
        table.add_row(item.name, f"{item.kind}: {', '.join(item.changed) if item.changed else 'new'}")
    return Group(Text(f"\n{server.id}, withheld until `codemode pins approve {server.id}`", style="yellow"), table)


def skipped_lines(server: ServerSnapshot) -> RenderableType:
    """What is left out of a server's lists, in a line each."""
    skipped, count = server.listing.skipped, server.listing.skipped_count
    items = "1 item that cannot be used as it is" if count == 1 else f"{count} items that cannot be used as they are"
    lines = [Text(f"\n{server.id} lists {items}. What is wrong is left out, and the rest works:", style="yellow")]
    lines.extend(Text(f"  {line}", style="dim") for line in skipped)
    if count > len(skipped):
        lines.append(Text(f"  and {count - len(skipped)} more", style="dim"))
    return Group(*lines)


def search_results(results: Sequence[Mapping[str, object]]) -> RenderableType:
    """Ranked tools with their signatures, or servers if the query was empty."""
    parts: list[RenderableType] = []
    for result in results:
        name = str(result.get("path") or result.get("server"))
        about = result.get("description") or result.get("unavailable")
        parts.append(Text.assemble((name, "bold"), "  ", (first_line(about), "dim")))
        parts.append(typescript(f"  {result['signature']}") if "signature" in result else _how_many(result))
    return Group(*parts)


def _how_many(result: Mapping[str, object]) -> Text:
    return Text(f"  {result.get('tools', 0)} tools", style="dim")


def typescript(text: str) -> Syntax:
    return Syntax(text, "typescript", theme=THEME, word_wrap=True, background_color="default")


def first_line(text: object) -> str:
    return str(text or "").strip().split("\n")[0]
