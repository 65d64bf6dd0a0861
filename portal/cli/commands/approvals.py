"""`codemode approvals`: what waits for people, and decisions of the person whom the operator names.

They work on the database itself, with the operations of the admin API. The rule about who may approve holds all the
same: the operator says who they are, not what they may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.text import Text

from portal.admin import (
    ALL,
    Actions,
    Admin,
    AdminError,
    ApiCaller,
    ApprovalPageInfo,
    DecisionResult,
    ShownApproval,
    listing_of,
)
from portal.cli.commands.declared import open_admin
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import nearest
from portal.cli.show.approval_page import approval_lines, approvals_table, decision_line
from portal.cli.show.console import as_json as as_json_text
from portal.cli.show.console import consoles
from portal.config import read_duration
from portal.identity import Identity
from portal.login import People
from portal.state import Store

BY = "command line"
PATH = "/access/ai-controls/mcp/approvals"
ITEM = f"{PATH}/{{approval_id}}"
ANY = "any"
STATES = ("pending", "approved", "used", "denied", "expired", "withdrawn", ANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionOptions:
    """What is decided, and who decides (`who`, an address): about the approvals of these `ids`, or about all that a
    `run` waits for. `remember` is a duration, or None."""

    ids: Sequence[str]
    run: str | None
    who: str
    decision: Literal["approve", "deny"]
    comment: str = ""
    remember: str | None = None
    uses: int | None = None
    this_run: bool = False
    state: str | None = None
    config: Path | None = None
    as_json: bool = False


async def list_approvals(
    state: str, run: str | None, limit: int, database: str | None, config: Path | None, *, as_json: bool
) -> Exit:
    """Print the approvals in a state, newest first."""
    stdout, stderr = consoles()
    query = {"limit": str(limit), **({} if state == ANY else {"state": state}), **({} if run is None else {"run": run})}
    async with open_admin(database, config) as (admin, store):
        try:
            page = await acting(admin).keyed(ShownApproval, ApprovalPageInfo, PATH, query)
        except AdminError as error:
            raise CommandError(f"{error}.") from error
        names = {} if as_json else await names_of_service_tokens(store)
    if as_json:
        stdout.print_json(data=[one.model_dump(mode="json") for one in page.items])
        return Exit.OK
    if not page.items:
        stdout.print("No call waits for an approval." if state == "pending" else "There are none.")
        return Exit.OK
    stdout.print(approvals_table(page.items, names))
    if page.info.more:
        stderr.print(Text(f"There are more: --limit {2 * limit}", style="dim"))
    return Exit.OK


async def names_of_service_tokens(store: Store) -> Mapping[str, str]:
    """The name of each service token, by the key of its identity and by both ways to write its client."""
    from portal.oauth import SERVICE_TOKEN

    names: dict[str, str] = {}
    for token in await store.list(SERVICE_TOKEN):
        client = token.document.client_id
        keys = (f"service:{token.id}", client, f"token:{client}")
        names |= dict.fromkeys(keys, token.document.name)
    return names


async def show_approval(id: str, database: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Print one approval with the whole arguments of its call. That they were shown is a row of the log."""
    stdout, _ = consoles()
    async with open_admin(database, config, logged=True) as (admin, _):
        try:
            found = await acting(admin).show(ShownApproval, ITEM, {"arguments": "true"}, approval_id=id)
        except AdminError as error:
            raise await refused(admin, error, [id]) from error
    if as_json:
        stdout.print_json(as_json_text(found.model_dump(mode="json")))
        return Exit.OK
    for line in approval_lines(found):
        stdout.print(line, soft_wrap=True)
    return Exit.OK


async def decide(options: DecisionOptions) -> Exit:
    """Decide as the person with this address. The exit code is 1 unless all of it is decided so."""
    stdout, _ = consoles()
    body = decision_body(options)
    async with open_admin(options.state, options.config, logged=True) as (admin, store):
        person = await person_of(store, admin, options.who)
        try:
            made = await acting(admin, person).change("POST", f"{PATH}/decisions", body)
        except AdminError as error:
            raise await refused(admin, error, options.ids) from error
        results = [one for one in listing_of(made).items if isinstance(one, DecisionResult)]
    if options.as_json:
        stdout.print_json(data={"as": person.email, "decisions": [one.model_dump(mode="json") for one in results]})
    else:
        for one in results:
            stdout.print(decision_line(one), soft_wrap=True)
    return Exit.OK if all(one.status == 200 for one in results) else Exit.PROGRAM_FAILED


def decision_body(options: DecisionOptions) -> dict[str, object]:
    """The body of the request for these options.

    Raises:
        CommandError: they do not say about what, or for how long.
    """
    if bool(options.ids) is (options.run is not None):
        raise CommandError("Say which: the id of an approval, or --all RUN for all that a run waits for.")
    which: dict[str, object] = {"ids": list(options.ids)} if options.ids else {"run": options.run}
    body = {"decision": options.decision, "comment": options.comment, **which}
    if options.remember is None:
        if options.uses is not None or options.this_run:
            raise CommandError("--uses and --this-run are about what is remembered: say for how long with --remember.")
        return body
    try:
        seconds = int(read_duration(options.remember).total_seconds())
    except ValueError as error:
        raise CommandError(f"--remember {options.remember}: it {error}.") from error
    return body | {"remember": {"seconds": seconds, "uses": options.uses, "this_run": options.this_run}}


async def person_of(store: Store, admin: Admin, address: str) -> Identity:
    """Who has this address: the one with a role first, then the last who signed in.

    Raises:
        CommandError: nobody who has signed in has it.
    """
    wanted = address.strip().lower()
    people = [one.identity for one in await People(store).list()]
    found = [one for one in people if one.email.lower() == wanted]
    if not wanted or not found:
        near = nearest(wanted, sorted({one.email for one in people if one.email}))
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise CommandError(f"Nobody with the address {address!r} has an account or has signed in.{meant}")
    for one in found:
        if await admin.roles.of(one) is not None:
            return one
    return found[0]


def acting(admin: Admin, person: Identity | None = None) -> Actions:
    """What the operator does, or a person whom they name."""
    key = "" if person is None else person.key

    async def caller() -> ApiCaller:
        return ApiCaller(key or BY, ALL, name=BY, person=key, via="cli")

    return admin.actions().of(caller, "")


async def refused(admin: Admin, error: AdminError, ids: Sequence[str]) -> CommandError:
    """The error of the command, with the nearest ids where there is no approval of that id."""
    meant = ""
    if error.status == 404 and ids:
        page = await acting(admin).keyed(ShownApproval, ApprovalPageInfo, PATH, {"state": "pending", "limit": "200"})
        near = nearest(ids[0], [one.id for one in page.items])
        meant = f" Did you mean {' or '.join(near)}?" if near else " `codemode approvals list any` shows all."
    return CommandError(f"{str(error)[:1].upper()}{str(error)[1:]}.{meant}", Exit.PROGRAM_FAILED)
