"""The commands of `codemode pins`, with their options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from portal.cli.completion import complete_pinned
from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import ConfigOption, JsonOption, ServerArgument

pin_group = CommandLine(rich_markup_mode=None)


@pin_group.callback(invoke_without_command=True)
def pins(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show and approve changed tools of pinned servers.

    Without a command, what is new or changed and waits for approval is shown.
    Ends with 1 if any wait, so that scripts can check for them.

    \b
    codemode pins
    codemode pins approve tickets
    """
    if context.invoked_subcommand is not None:
        return
    from portal.cli.commands.pins import list_pending as command

    finish(lambda: command(config, as_json=json))


@pin_group.command("approve")
def approve(
    server: ServerArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOOL",
            help="Tools or prompts; NAME@DIGEST for one definition; default: all.",
            autocompletion=complete_pinned,
        ),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Approve tools and prompts of a pinned server as they are now.

    A running portal shows them at once. An approval is for one definition:
    if the server changes it again, it waits again.

    \b
    codemode pins approve tickets
    codemode pins approve tickets create_ticket@3f9a1c20
    """
    from portal.cli.commands.pins import approve as command

    finish(lambda: command(server, tuple(names or ()), config, as_json=json))
