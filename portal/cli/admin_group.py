"""The commands of `codemode admin`, with their options and help."""

from __future__ import annotations

from typing import Annotated

import typer

from portal.cli.finish import finish
from portal.cli.help import CommandLine
from portal.cli.options import (
    CreateOption,
    EmailArgument,
    IdArgument,
    JsonOption,
    KindArgument,
    RemovedArgument,
    RoleOption,
    StateOption,
    StoreConfigOption,
)

admin_group = CommandLine(no_args_is_help=True, rich_markup_mode=None)


@admin_group.callback()
def admin() -> None:
    """Manage administrators and other stored objects.

    These commands work on the database itself, also while a portal runs.

    \b
    codemode admin invite grace@example.com
    codemode admin list servers
    """


@admin_group.command("list")
def list_(
    kind: KindArgument = "administrators",
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List all objects of one kind.

    Without one these are the administrators, with the invitations.

    \b
    codemode admin list
    codemode admin list servers --json
    """
    from portal.cli.commands.admin import list_objects

    finish(lambda: list_objects(kind, state, config, as_json=json))


@admin_group.command()
def show(
    kind: KindArgument,
    id: IdArgument,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Accepted, and nothing else is printed anyway.")] = False,
) -> None:
    """Show one object as the admin API does, as JSON.

    \b
    codemode admin show servers docs
    codemode admin show servers docs | jq .tools
    """
    from portal.cli.commands.admin import show_object

    finish(lambda: show_object(kind, id, state, config))


@admin_group.command()
def remove(
    kind: RemovedArgument,
    id: Annotated[str | None, typer.Argument(metavar="ID", help="The object's id.")] = None,
    state: StateOption = None,
    config: StoreConfigOption = None,
) -> None:
    """Remove one object, or an administrator with every session.

    Refused while others use the object, and for the last administrator.

    \b
    codemode admin remove servers docs
    codemode admin remove grace@example.com
    """
    from portal.cli.commands.admin import remove_object
    from portal.cli.commands.administrators import remove_administrator

    finish(
        lambda: remove_object(kind, id, state, config) if id is not None else remove_administrator(kind, state, config)
    )


@admin_group.command()
def invite(
    email: EmailArgument,
    role: RoleOption = None,
    state: StateOption = None,
    config: StoreConfigOption = None,
    create: CreateOption = False,
    json: JsonOption = False,
) -> None:
    """Invite an administrator by a link that works once.

    It works within three days, and goes to standard output.

    An owner may do everything; an admin (unless --role says otherwise) all but
    change administrators, API tokens and account settings; an auditor reads.

    The link is mailed too if the configuration names a mail server. For an
    address that is invited already, a new link replaces the earlier one.

    \b
    codemode admin invite grace@example.com
    codemode admin invite grace@example.com --role auditor --create
    """
    from portal.cli.commands.administrators import invite_administrator

    finish(lambda: invite_administrator(email, state, config, create=create, role=role, as_json=json))


@admin_group.command("reset-password")
def reset_password(
    email: EmailArgument,
    ask: Annotated[bool, typer.Option("--ask", help="Read the password: from a prompt, or standard input.")] = False,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Give an administrator a new password, and end every session.

    Prints a link that works once, within an hour, to choose the new password.
    The present one ends now. With --ask the new password is read here.

    \b
    codemode admin reset-password grace@example.com
    """
    from portal.cli.commands.administrators import reset_administrator

    finish(lambda: reset_administrator(email, state, config, ask=ask, as_json=json))


@admin_group.command()
def audit(
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="How many entries.")] = 50,
    state: StateOption = None,
    config: StoreConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show who changed what, newest first.

    \b
    codemode admin audit --limit 5
    """
    from portal.cli.commands.admin import audit as command

    finish(lambda: command(limit, state, config, as_json=json))
