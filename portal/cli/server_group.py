"""The commands about single servers, with their options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from portal.cli.completion import complete_entry, complete_server
from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import ConfigOption, CreateOption, JsonOption, ServerArgument, StateOption

server_group = CommandLine(rich_markup_mode=None)


DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")]
WrittenConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration document to change.")
]
EntryArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A server of the document.", autocompletion=complete_entry)
]


@server_group.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the server is to be called.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL | -- COMMAND ARG...]", help="Where it is, or how it is started.", show_default=False
        ),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="KEY=VALUE", help="A variable for a program; repeatable.")
    ] = None,
    cwd: Annotated[str, typer.Option(metavar="DIR", help="The folder in which a program is started.")] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="A header for a URL; repeatable."),
    ] = None,
    transport: Annotated[
        Literal["http", "sse"] | None, typer.Option(help="How a URL is spoken to; default: HTTP, then the older SSE.")
    ] = None,
    openapi: Annotated[
        str,
        typer.Option(metavar="FILE|URL", help="The OpenAPI document of an HTTP API, whose operations become tools."),
    ] = "",
    url: Annotated[str, typer.Option(metavar="URL", help="The base address of an API; default: its document's.")] = "",
    credential: Annotated[
        list[str] | None,
        typer.Option(metavar="SCHEME=VALUE", help="A value for a security scheme of an API; repeatable."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of a server of this name.")] = False,
    check: Annotated[bool, typer.Option(help="Connect to it once it is written.")] = True,
    dry_run: DryRunOption = False,
    config: WrittenConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Add a server to the configuration document.

    Writes it where the document has its servers, in the words of the client
    that the document is of, and leaves the rest of the file as it is. Without
    a document it makes codemode.json. Then it connects: the exit code is 3 if
    the server does not answer, and its entry stays. Write ${NAME} for a value
    from the environment.

    \b
    codemode add files -- npx -y @modelcontextprotocol/server-filesystem ~/notes
    codemode add time --env TZ=UTC -- uvx mcp-server-time
    codemode add tickets https://tickets.example.com/mcp
    codemode add wiki https://wiki.example/mcp --header 'Authorization: Bearer ${WIKI_TOKEN}'
    codemode add billing --openapi billing.yaml --credential 'apiKey=${BILLING_KEY}'
    """
    from portal.cli.commands.add import AddOptions
    from portal.cli.commands.add import add as command
    from portal.cli.document_change import ChangeOptions

    options = AddOptions(
        name=name,
        words=tuple(words or ()),
        env=tuple(env or ()),
        cwd=cwd,
        headers=tuple(header or ()),
        transport=transport,
        replace=replace,
        check=check,
        change=ChangeOptions(config, dry_run, json),
        openapi=openapi,
        url=url,
        credentials=tuple(credential or ()),
    )
    finish(lambda: command(options))


@server_group.command()
def remove(
    name: EntryArgument, dry_run: DryRunOption = False, config: WrittenConfigOption = None, json: JsonOption = False
) -> None:
    """Take a server out of the configuration document.

    The rest of the file stays as it is. A login at the server stays too;
    `codemode logout NAME` ends it before.

    \b
    codemode remove files
    codemode remove files --dry-run
    """
    from portal.cli.commands.entries import change_entry
    from portal.cli.document_change import ChangeOptions

    finish(lambda: change_entry("remove", name, ChangeOptions(config, dry_run, json)))


@server_group.command()
def enable(
    name: EntryArgument, dry_run: DryRunOption = False, config: WrittenConfigOption = None, json: JsonOption = False
) -> None:
    """Serve a server of the document again.

    \b
    codemode enable files
    """
    from portal.cli.commands.entries import change_entry
    from portal.cli.document_change import ChangeOptions

    finish(lambda: change_entry("enable", name, ChangeOptions(config, dry_run, json)))


@server_group.command()
def disable(
    name: EntryArgument, dry_run: DryRunOption = False, config: WrittenConfigOption = None, json: JsonOption = False
) -> None:
    """Keep a server in the document without serving it.

    \b
    codemode disable files
    """
    from portal.cli.commands.entries import change_entry
    from portal.cli.document_change import ChangeOptions

    finish(lambda: change_entry("disable", name, ChangeOptions(config, dry_run, json)))


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
