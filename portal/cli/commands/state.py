"""`codemode keys rotate` and `codemode api-token`: an operator's work on the database itself."""

from __future__ import annotations

from portal.admin import create_admin
from portal.app import open_store
from portal.cli.exits import CommandError, Exit
from portal.cli.show.console import consoles
from portal.state import StateError

OPERATOR = "command line"


async def rotate(url: str | None, *, forget: bool) -> Exit:
    """Encrypt stored secrets with a new key. With `forget`, remove the former keys from the key file."""
    stdout, _ = consoles()
    try:
        async with open_store(url) as store:
            rotation = await store.rotate_keys(forget=forget)
    except StateError as error:
        raise CommandError(str(error)) from None
    resumed = "An interrupted rotation is complete: " if rotation.resumed else ""
    stdout.print(f"{resumed}{rotation.rewrapped} secrets are under key {rotation.kid} now.", highlight=False)
    if rotation.forgotten:
        stdout.print(f"Forgotten: {', '.join(rotation.forgotten)}", highlight=False)
    return Exit.OK


async def make_token(url: str | None, name: str) -> Exit:
    """Make an API token with every permission. Its value goes to standard output, this once."""
    stdout, stderr = consoles()
    try:
        async with open_store(url) as store:
            admin = await create_admin(store)
            token = await admin.tokens.create_with_all(name, OPERATOR)
    except StateError as error:
        raise CommandError(str(error)) from None
    stderr.print(f"API token {token.id} of account {admin.account_id}; it may do everything. Its value, shown once:")
    stdout.print(token.value, highlight=False, soft_wrap=True)
    return Exit.OK
