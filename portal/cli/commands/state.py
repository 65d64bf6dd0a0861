"""`codemode keys rotate` and `codemode api-token`: an operator's work on the database itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.text import Text

from portal.admin import create_admin
from portal.app import config_of_state, rewrap_kept
from portal.cli.commands.approvals import person_of
from portal.cli.database import open_database
from portal.cli.exits import Exit
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine

OPERATOR = "command line"


async def rotate(state: str | None, config: Path | None, *, forget: bool, as_json: bool) -> Exit:
    """Encrypt stored secrets with a new key. With `forget`, remove the former keys from the key file."""
    stdout, stderr = consoles()
    async with open_database(state, config, stderr) as (store, found):
        elsewhere = partial(rewrap_kept, found or config_of_state(state))
        with WaitLine(stderr, "Encrypting the secrets under a new key ..."):
            rotation = await store.rotate_keys(forget=forget, elsewhere=elsewhere)
    if as_json:
        stdout.print_json(
            data={
                "kid": rotation.kid,
                "rewrapped": rotation.rewrapped,
                "resumed": rotation.resumed,
                "forgotten": list(rotation.forgotten),
            }
        )
        return Exit.OK
    resumed = "An interrupted rotation is complete: " if rotation.resumed else ""
    stdout.print(f"{resumed}{rotation.rewrapped} secrets are under key {rotation.kid} now.", highlight=False)
    if rotation.forgotten:
        stdout.print(f"Forgotten: {', '.join(rotation.forgotten)}", highlight=False)
    return Exit.OK


async def make_token(
    name: str, whom: str | None, state: str | None, config: Path | None, *, create: bool, as_json: bool
) -> Exit:
    """Make an API token: with every permission, or one that stands for the person with the address `whom` and decides
    approvals. Its value goes to standard output, this once."""
    stdout, stderr = consoles()
    async with open_database(state, config, stderr, create=create) as (store, found):
        admin, may = await create_admin(store), "it may do everything"
        if whom is None:
            token = await admin.tokens.create_with_all(name, OPERATOR)
        else:
            person = await person_of(store, admin, whom)
            token = await admin.tokens.create_for(name, person.key, OPERATOR)
            may = f"it stands for {person.label}, and decides approvals"
    stderr.print(Text(f"API token {token.id} of account {admin.account_id}; {may}. Its value, shown once:"))
    if as_json:
        stdout.print_json(data={"id": token.id, "accountId": admin.account_id, "value": token.value})
    else:
        stdout.print(token.value, highlight=False, soft_wrap=True)
    if found is not None and found.portal.identity is None:
        stderr.print("The configuration has no `identity` in `portal`: without it `codemode serve` has no admin API.")
    return Exit.OK
