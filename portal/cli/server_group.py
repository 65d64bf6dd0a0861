"""The commands about single servers, with their options and help."""

from __future__ import annotations

from typing import Annotated

import typer

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
    """Log in to a server behind OAuth, for all callers.

    The login is kept encrypted in the database, and renewed by itself. A
    running portal uses it at once. The address to open goes to standard
    output.

    \b
    codemode login tickets
    codemode login tickets --no-browser
    """
    from portal.cli.commands.login import LoginOptions, log_in

    finish(lambda: log_in(LoginOptions(server, config, state, scope, browser, create)))


@server_group.command()
def logout(
    server: ServerArgument,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """End the login at a server, there and here.

    \b
    codemode logout tickets
    """
    from portal.cli.commands.login import log_out_of

    finish(lambda: log_out_of(server, config, state))


@server_group.command()
def credentials(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Show the logins at servers, and their states.

    \b
    codemode credentials
    codemode credentials --json
    """
    from portal.cli.commands.login import list_credentials

    finish(lambda: list_credentials(config, state, as_json=json))
