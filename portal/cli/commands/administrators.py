"""`codemode admin invite`, `remove EMAIL` and `reset-password`: the local administrators of a portal.

They work on the database itself, so they also help somebody who cannot sign in any more. A portal that runs on it takes
the changes up at once, sessions that end included.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from portal.app import command_delivery
from portal.cli.database import open_database
from portal.cli.exits import CommandError, Exit
from portal.cli.show.console import consoles
from portal.config import Config
from portal.login import (
    RESET_PATH,
    AccountError,
    Administrators,
    Delivery,
    Invitation,
    Invitations,
    Passwords,
    Role,
    link_path,
    why_unfit,
)
from portal.notices import normal_email
from portal.state import Store

BY = "codemode admin"
MAX_LINE = 4096


async def invite_administrator(
    email: str, state: str | None, config: Path | None, *, create: bool, role: Role | None, as_json: bool
) -> Exit:
    """Make an invitation, or another link for the one that there is. The link goes to standard output, this once.

    Without a role a new invitation is for an `admin`, and one that there is keeps its own.
    """
    stdout, stderr = consoles()
    async with open_database(state, config, stderr, create=create) as (store, document):
        delivery = await _delivery(store, document)
        invitations = Invitations(store, Passwords())
        there = await _invitation_of(invitations, email)
        try:
            if there is None:
                made = await invitations.invite(email, by=BY, role=role or "admin")
            else:
                if role is not None:
                    await invitations.change_role(there.id, role, by=BY)
                made = await invitations.renew(there.id, by=BY)
        except AccountError as error:
            raise CommandError(f"{email}: {error}.") from error
        mailed = await delivery.send(made)
    until = f"{made.invitation.expires_at:%Y-%m-%d %H:%M} UTC"
    again = "Another link; the earlier one is dead. " if there is not None else ""
    sent = "It was mailed. " if mailed else ""
    becomes = f"{again}{sent}The link makes its holder {made.invitation.role or 'an administrator'}"
    stderr.print(f"{becomes}, once, until {until}:", highlight=False)
    if as_json:
        facts = {"email": made.invitation.email, "role": made.invitation.role, "mailed": mailed}
        _print_link(stdout, delivery, made.path, {**facts, "expiresAt": made.invitation.expires_at.isoformat()})
    else:
        _show_link(stdout, stderr, delivery, made.path)
    return Exit.OK


async def remove_administrator(email: str, state: str | None, config: Path | None) -> Exit:
    """Remove the administrator with this address, or the invitation for it."""
    _, stderr = consoles()
    async with open_database(state, config, stderr) as (store, _):
        administrators, invitations = Administrators(store, Passwords()), Invitations(store, Passwords())
        administrator, invitation = await administrators.find(email), await _invitation_of(invitations, email)
        if administrator is None and invitation is None:
            raise CommandError(f"{email}: neither an administrator nor invited.", Exit.PROGRAM_FAILED)
        try:
            if administrator is not None:
                await administrators.remove(administrator.id, by=BY)
        except AccountError as error:
            raise CommandError(f"{email}: {error}.", Exit.PROGRAM_FAILED) from error
        if invitation is not None:
            await invitations.revoke(invitation.id, by=BY)
    done = "The invitation is revoked" if administrator is None else "Removed, with every session"
    stderr.print(f"{done}: {email}", highlight=False)
    return Exit.OK


async def reset_administrator(email: str, state: str | None, config: Path | None, *, ask: bool, as_json: bool) -> Exit:
    """A new password: read from a prompt or standard input with `ask`, else chosen with a one-time link, which goes to
    standard output. Every session of the administrator ends."""
    stdout, stderr = consoles()
    password = _read_password() if ask else ""
    async with open_database(state, config, stderr) as (store, document):
        administrators = Administrators(store, Passwords())
        administrator = await administrators.find(email)
        if administrator is None:
            raise CommandError(f"{email}: no administrator has this address.", Exit.PROGRAM_FAILED)
        if ask:
            await administrators.set_password(administrator.id, password, by=BY)
            stderr.print(f"The password is changed, every session has ended: {administrator.email}", highlight=False)
            if as_json:
                stdout.print_json(data={"email": administrator.email, "changed": True})
            return Exit.OK
        delivery = await _delivery(store, document)
        link = await administrators.offer_reset(administrator.id, by=BY)
    stderr.print(
        f"{administrator.email} has no password and no session now. With this link a new one is chosen, once, until "
        f"{link.expires_at:%Y-%m-%d %H:%M} UTC:",
        highlight=False,
    )
    path = link_path(RESET_PATH, link.token)
    if as_json:
        facts = {"email": administrator.email, "changed": False, "expiresAt": link.expires_at.isoformat()}
        _print_link(stdout, delivery, path, facts)
    else:
        _show_link(stdout, stderr, delivery, path)
    return Exit.OK


async def _delivery(store: Store, config: Config | None) -> Delivery:
    return Delivery() if config is None else await command_delivery(config, store)


async def _invitation_of(invitations: Invitations, email: str) -> Invitation | None:
    address = normal_email(email)
    return next((one for one in await invitations.list() if one.email == address), None)


def _show_link(stdout: Console, stderr: Console, delivery: Delivery, path: str) -> None:
    stdout.print(delivery.url(path), highlight=False, soft_wrap=True)
    if not delivery.origin:
        stderr.print("Put the portal's address before it; with --config FILE it is there.")


def _print_link(stdout: Console, delivery: Delivery, path: str, facts: Mapping[str, object]) -> None:
    """Print a link with what it is for. Without a portal's address (`url` is null) only its path is known."""
    url = delivery.url(path) if delivery.origin else None
    stdout.print_json(data={**facts, "url": url, "path": path})


def _read_password() -> str:
    """Raises `CommandError` if it will not do. It is never an argument: others see these in the list of processes."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if password and getpass.getpass("Again: ") != password:
            raise CommandError("The two are not the same. Nothing was changed.")
    else:
        password = sys.stdin.readline(MAX_LINE).rstrip("\r\n")
    if problem := why_unfit(password):
        raise CommandError(f"{problem} Nothing was changed.")
    return password
