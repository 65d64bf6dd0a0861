"""The commands about MCP clients of this machine, with their options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from portal.cli.completion import complete_client, complete_portal
from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import ConfigOption, JsonOption

client_group = CommandLine(rich_markup_mode=None)

ClientArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="CLIENT",
        help="claude-code, claude-desktop, cursor, vscode, codex, gemini, windsurf.",
        autocompletion=complete_client,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be written.")]
ProjectOption = Annotated[bool, typer.Option("--project", help="The client's document in this folder.")]


@client_group.command()
def init(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The document to write; default codemode.json."),
    ] = None,
    move: Annotated[
        bool | None,
        typer.Option(
            "--move/--keep", help="Leave only the portal in the clients, or also their servers.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take the defaults: all servers, all clients.")] = False,
    json: JsonOption = False,
) -> None:
    """Start here: write codemode.json and connect your clients.

    Finds the MCP clients of this machine and the servers they have, asks
    which servers the portal takes over and which clients are connected to
    it, and shows every change before it is written. Clients keep their
    servers unless you say otherwise. Running it again is safe.

    \b
    codemode init
    codemode init --yes --move
    """
    from portal.cli.commands.init import InitOptions
    from portal.cli.commands.init import init as command

    finish(lambda: command(InitOptions(config, move, yes, json)))


@client_group.command()
def connect(
    client: ClientArgument = None,
    config: ConfigOption = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another portal; default: that of the configuration.")
    ] = None,
    portal: Annotated[
        str | None,
        typer.Option(metavar="ID", help="A further portal of the configuration.", autocompletion=complete_portal),
    ] = None,
    mode: Annotated[
        Literal["code", "tools"],
        typer.Option(metavar="code|tools", help="One tool for programs, or the servers' own tools."),
    ] = "code",
    stdio: Annotated[bool, typer.Option("--stdio", help="Let the client start the portal as a program.")] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the client calls the portal; default codemode.")
    ] = None,
    project: ProjectOption = False,
    move: Annotated[
        bool, typer.Option("--move", help="Take over the client's servers, and leave only the portal.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Give the client's document back as it was.")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Connect an MCP client of this machine to the portal.

    Writes one entry into the client's own document, after showing it and
    asking, and keeps the former file. Without CLIENT it lists the clients
    that are found, and which are connected. With --move the client's servers
    go to codemode.json (or --config) and the portal is in their place.

    \b
    codemode connect
    codemode connect claude-code
    codemode connect cursor --project --mode tools
    codemode connect codex --move --yes; codemode connect codex --undo
    """
    from portal.cli.commands.connect import ConnectOptions
    from portal.cli.commands.connect import connect as command
    from portal.cli.this_portal import PortalChoice

    options = ConnectOptions(
        client=client,
        config=config,
        choice=PortalChoice(url, portal, mode),
        name=name,
        stdio=stdio,
        project=project,
        move=move,
        undo=undo,
        yes=yes,
        dry_run=dry_run,
        as_json=json,
    )
    finish(lambda: command(options))


@client_group.command("import")
def import_(
    client: ClientArgument = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", "--config", "-c", metavar="FILE", help="The document that takes them; default codemode.json."
        ),
    ] = None,
    project: ProjectOption = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Take over the servers of MCP clients into codemode.json.

    Of one client, or of all that are found. The same server of several
    clients is there once; what cannot be taken over is said. The clients
    keep their servers (see connect --move).

    \b
    codemode import
    codemode import vscode --project
    codemode import claude-desktop --to tools.json --dry-run
    """
    from portal.cli.commands.importing import ImportOptions, import_servers

    finish(lambda: import_servers(ImportOptions(client, to, project, yes, dry_run, json)))


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
