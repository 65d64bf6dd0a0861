"""The commands about MCP clients of this machine, with their options and help."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from portal.cli.completion import complete_portal
from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import ConfigOption

client_group = CommandLine(rich_markup_mode=None)


@client_group.command()
def stdio(
    config: ConfigOption = None,
    mode: Annotated[
        Literal["code", "tools"] | None,
        typer.Option(help="The tool `code` alone, or the servers' own tools.", show_default="code"),
    ] = None,
    portal: Annotated[
        str, typer.Option(metavar="ID", help="A further portal of the document.", autocompletion=complete_portal)
    ] = "",
    url: Annotated[str, typer.Option(metavar="URL", help="Connect to the portal at this MCP URL instead.")] = "",
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="With --url: a header to send; ${VAR} comes from the environment."),
    ] = None,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="With --url: also http beyond this machine.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the browser to sign in, or only print the address.")] = True,
) -> None:
    """Serve an MCP client that only starts programs, over its pipes.

    A client starts this command itself, and speaks MCP over standard input
    and output. Without --url the portal runs within it, for as long as the
    client does, and listens nowhere. With --url it leads to a portal
    elsewhere, and signs in there through the browser if that wants it.

    \b
    {"mcpServers": {"codemode": {"command": "codemode", "args": ["stdio"]}}}
    codemode stdio --config ~/codemode.json --mode tools
    codemode stdio --url https://tools.example.com/mcp
    codemode stdio --url https://tools.example.com/mcp --header 'Authorization: Bearer ${TOKEN}'
    """
    from portal.cli.commands.stdio import StdioOptions
    from portal.cli.commands.stdio import stdio as command

    options = StdioOptions(config, mode, portal, url, tuple(header or ()), allow_http, browser)
    finish(lambda: command(options), serving=True)
