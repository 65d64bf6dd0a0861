"""The commands about single servers, with their options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from portal.cli.completion import complete_server
from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import ConfigOption, CreateOption, JsonOption, ServerArgument, StateOption

server_group = CommandLine(rich_markup_mode=None)


@server_group.command()
def login(
    server: ServerArgument,
    config: ConfigOption = None,
    state: StateOption = None,
    scope: Annotated[str, typer.Option(metavar="SCOPES", help="Permissions beside those that the server wants.")] = "",
    browser: Annotated[bool, typer.Option(help="Open the browser, or only print the address.")] = True,
    create: CreateOption = False,
) -> None:
    """Log in to a server behind OAuth, for all callers of the portal.

    The login is kept encrypted in the database, and renewed by itself. A
    running portal uses it at once. The address to open goes to standard
    output.
    """
    from portal.cli.commands.login import LoginOptions, log_in

    finish(lambda: log_in(LoginOptions(server, config, state, scope, browser, create)))


@server_group.command()
def logout(
    server: ServerArgument,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """End the login at a server, there and here."""
    from portal.cli.commands.login import log_out_of

    finish(lambda: log_out_of(server, config, state))


@server_group.command()
def credentials(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Show the logins at servers, and their states."""
    from portal.cli.commands.login import list_credentials

    finish(lambda: list_credentials(config, state, as_json=json))


@server_group.command()
def doctor(
    server: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this server.", autocompletion=complete_server)
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Find what does not work here, and what mends it.

    Looks at the configuration, starts each program, asks each server by URL,
    and looks at certificates, logins, clocks, proxies, the port, the database
    and its keys, the engine, and the MCP clients of this machine. Changes
    nothing, and takes 20 seconds at most. Ends with 1 if something does not
    work.

    \b
    codemode doctor
    codemode doctor tickets
    codemode doctor --json | jq '.findings[] | select(.level == "trouble")'
    """
    from portal.cli.commands.doctor import DoctorOptions
    from portal.cli.commands.doctor import doctor as command

    finish(lambda: command(DoctorOptions(server, config, json)))
