"""The commands about pinned servers: their options and help. What they do is in `pins`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

Finish = Callable[[Callable[[], Coroutine[Any, Any, int]]], None]

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration document to use.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs to read.")]


def add_to(app: typer.Typer, finish: Finish) -> None:
    """Add the commands to the whole."""
    pins = typer.Typer(rich_markup_mode=None, help="What pinned servers offer otherwise than approved.")
    app.add_typer(pins, name="pins")

    @pins.callback(invoke_without_command=True)
    def waiting(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
        """What pinned servers offer otherwise than approved, and that is therefore withheld.

        Ends with 1 when anything waits, so that a check can ask for it.
        """
        if context.invoked_subcommand is not None:
            return
        from portal.cli.pins import waiting as command

        finish(lambda: command(config, as_json=json))

    @pins.command("approve")
    def approve(
        server: Annotated[str, typer.Argument(metavar="SERVER", help="The server, by its id.")],
        names: Annotated[
            list[str] | None,
            typer.Argument(metavar="[TOOL...]", help="Tools or prompts; NAME@DIGEST approves no other; none: all."),
        ] = None,
        config: ConfigOption = None,
        json: JsonOption = False,
    ) -> None:
        """Let a pinned server offer what waits, as it is now.

        A portal that runs shows it at once. Approved is one definition: when
        the server changes it again, that waits again.

        \b
        codemode pins approve tickets
        codemode pins approve tickets create_ticket@3f9a1c20
        """
        from portal.cli.pins import approve as command

        finish(lambda: command(server, tuple(names or ()), config, as_json=json))
