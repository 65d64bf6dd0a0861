"""The commands of `codemode logs`, with their options and help."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from portal.cli.completion import (
    complete_outcome,
    complete_portal,
    complete_program,
    complete_row_kind,
    complete_server,
)
from portal.cli.exits import CommandError, Exit
from portal.cli.finish import finish
from portal.cli.help import CommandLine, ReadableGroup
from portal.cli.options import ConfigOption, JsonOption

MOST_ROWS = 1000
_SERVER = "server"
_OF_BOTH = {"limit", "follow", "config", "json"}

RowKindOption = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        autocompletion=complete_row_kind,
        help="tool, run, request, refusal, sign_in, consent, change, ...",
    ),
]
OutcomeOption = Annotated[
    str | None,
    typer.Option(
        "--outcome", metavar="OUTCOME", autocompletion=complete_outcome, help="ok, denied, error, timeout, ..."
    ),
]


class LogCommands(ReadableGroup):
    """The commands below `codemode logs`. A word that is none of them is the name of a server: `logs NAME` is
    `logs server NAME`."""

    def resolve_command(self, ctx: typer.Context, args: list[str]):  # type: ignore[no-untyped-def, override]
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = [_SERVER, *args]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: typer.Context, incomplete: str) -> list[object]:  # type: ignore[override]
        name = next(one for one in self.commands[_SERVER].params if one.name == "name")
        return [*super().shell_complete(ctx, incomplete), *name.shell_complete(ctx, incomplete)]


log_group = CommandLine(
    cls=LogCommands, rich_markup_mode=None, subcommand_metavar="[NAME | server NAME | show ID | verify]"
)


@log_group.callback(invoke_without_command=True)
def logs(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Option("--server", metavar="ID", autocompletion=complete_server, help="Calls of a server."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Calls of a tool, a prompt or a resource.")
    ] = None,
    kind: RowKindOption = None,
    identity: Annotated[str | None, typer.Option("--who", metavar="KEY", help="Calls of one caller.")] = None,
    client: Annotated[str | None, typer.Option("--client", metavar="NAME", help="Calls through a client.")] = None,
    portal: Annotated[
        str | None, typer.Option("--portal", metavar="ID", autocompletion=complete_portal, help="Calls at a portal.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="One run of a program and its calls.")] = None,
    outcome: OutcomeOption = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="NAME", help="What decided: quota:NAME, gateway:NAME, ...")
    ] = None,
    trace: Annotated[str | None, typer.Option("--trace", metavar="ID", help="One trace.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="What did not end well.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="So long ago (2h), or a date or time (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="As --since.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="ROWS", help="So many, 1 to 1000.")] = 50,
    before: Annotated[int | None, typer.Option("--before", metavar="ID", help="Rows older than this one.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with the rows that come.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show the log: who called what, and how it ended.

    Without a command, the newest rows are shown, the newest last.

    With NAME, a server that is a program: what it wrote, and how it ended.

    \b
    codemode logs tickets --follow
    codemode logs --failed --since 2h
    codemode logs --server tickets --follow
    codemode logs --run exec_35aff83a7dab5b49cb212de2
    codemode logs show 1796004860260680
    """
    if context.invoked_subcommand is not None:
        _refuse_filters(context)
        return
    from portal.cli.commands.logs import LogOptions, moment
    from portal.cli.commands.logs import show as command
    from portal.errors import Outcome
    from portal.logs import Filters, Kind

    async def show() -> Exit:
        if not 1 <= limit <= MOST_ROWS:
            raise CommandError(f"--limit is 1 to {MOST_ROWS}.")
        for option, word, words in (("--kind", kind, get_args(Kind)), ("--outcome", outcome, get_args(Outcome))):
            if word is not None and word not in words:
                from portal.cli.nearest import meant

                raise CommandError(f"{option} {word!r} is none of its words. {meant(word, words)}")
        filters = Filters(
            portal=portal,
            server=server,
            kind=kind,
            name=name,
            identity=identity,
            client=client,
            outcome=outcome,
            run=run,
            policy=policy,
            trace=trace,
            failed=failed,
            since=moment(since, "--since"),
            until=moment(until, "--until"),
        )
        return await command(LogOptions(config, filters, limit, before, follow, json))

    finish(show)


@log_group.command(_SERVER)
def show_server(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A server that is a program.", autocompletion=complete_program),
    ],
    limit: Annotated[int | None, typer.Option("--limit", "-n", metavar="ROWS", help="So many lines.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with the lines that come.")] = False,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what a server wrote besides messages; `codemode logs NAME` is the same.

    Standard error, lines on standard output that are no messages, and each
    start and end of its process, without secrets. Times are UTC. A running
    portal keeps it, and so does each command that starts servers.

    \b
    codemode logs server tickets
    codemode logs tickets --follow
    codemode logs tickets -n 1000 --json | jq -r .text
    """
    from portal.cli.commands.process_logs import ProcessLogOptions
    from portal.cli.commands.process_logs import show as command

    before = context.parent.params if context.parent is not None else {}
    lines = limit if limit is not None else before.get("limit", 50)
    options = ProcessLogOptions(
        config or before.get("config"),
        name,
        lines,
        follow or before.get("follow", False),
        json or before.get("json", False),
    )
    finish(lambda: command(options))


def _refuse_filters(context: typer.Context) -> None:
    """Refuse options about calls in front of the name of a server."""
    if context.invoked_subcommand != _SERVER:
        return
    given = [name for name, value in context.params.items() if name not in _OF_BOTH and value not in (None, False)]
    if given:
        option = {"identity": "who"}.get(given[0], given[0])
        text = f"--{option} is about calls, and NAME about what a program wrote. The calls of a server: --server NAME."
        raise typer.BadParameter(text)


@log_group.command("show")
def show_row(
    row: Annotated[int, typer.Argument(metavar="ID", help="The id of a row, as --json gives it.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show one row, and what is kept of its call.

    `portal.logs.contents` says whether anything is kept.

    Arguments and results are opened with the key of the portal's database.

    \b
    codemode logs show 1796004860260680
    """
    from portal.cli.commands.log_contents import show_content as command

    finish(lambda: command(config, row, as_json=json))


@log_group.command("verify")
def verify_log(
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="HEX", help="A public key that is trusted; default: that beside the log."),
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Verify that no row of the log was changed, added or removed.

    Ends with 1 if one was, and says which.

    \b
    codemode logs verify
    """
    from portal.cli.commands.logs import check as command

    finish(lambda: command(config, tuple(key or ()), as_json=json))
