"""`codemode admin`: look at what is stored, and remove of it, by the operations of the admin API."""

from __future__ import annotations

from pathlib import Path

import orjson
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from portal.admin import ALL, Admin, AdminError, Asked, Asker, Operation, broken_message, listing_of
from portal.cli.commands.declared import administered
from portal.cli.exits import CommandError, Exit
from portal.cli.show.console import consoles
from portal.state import DocumentBroken

BY = "codemode admin"
PATHS = {
    "servers": "/access/ai-controls/mcp/servers",
    "portals": "/access/ai-controls/mcp/portals",
    "policies": "/access/policies",
    "groups": "/access/groups",
    "apps": "/access/apps",
    "identity-providers": "/access/identity_providers",
    "service-tokens": "/access/service_tokens",
    "custom-pages": "/access/custom_pages",
    "lists": "/gateway/lists",
    "tokens": "/tokens",
}


async def listed(kind: str, state: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """All objects of one kind."""
    stdout, stderr = consoles()
    async with administered(state, config) as (admin, _):
        listing = listing_of(await _perform(admin, "GET", _path(kind), {}))
    found = [_plain(one) for one in listing.items]
    for broken in listing.broken:
        stderr.print(f"{broken_message(broken)}.", highlight=False, markup=False)
    if as_json:
        stdout.print_json(orjson.dumps(found).decode())
        return Exit.OK
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "more"):
        table.add_column(heading)
    for one in found:
        more = [str(one[key]) for key in ("type", "decision", "hostname", "domain", "code_mode") if one.get(key)]
        table.add_row(Text(str(one.get("id") or one.get("uid"))), Text(str(one.get("name", ""))), Text(" ".join(more)))
    stdout.print(table if found else f"There are no {kind}.")
    return Exit.OK


async def shown(kind: str, id: str, state: str | None, config: Path | None) -> Exit:
    """One object, as the API shows it."""
    stdout, _ = consoles()
    async with administered(state, config) as (admin, _):
        found = await _perform(admin, "GET", _path(kind), {"id": id})
    stdout.print_json(orjson.dumps(_plain(found)).decode())
    return Exit.OK


async def removed(kind: str, id: str, state: str | None, config: Path | None) -> Exit:
    """Remove one object; refused while others use it."""
    _, stderr = consoles()
    async with administered(state, config) as (admin, _):
        await _perform(admin, "DELETE", _path(kind), {"id": id})
    stderr.print(f"Removed from {kind}: {id}", highlight=False)
    return Exit.OK


async def audit(limit: int, state: str | None, config: Path | None) -> Exit:
    """Who changed what, newest first."""
    stdout, _ = consoles()
    async with administered(state, config) as (_, store):
        entries = await store.audit(limit=limit)
    table = Table(box=None, pad_edge=False)
    for heading in ("when", "who", "did", "what"):
        table.add_column(heading)
    for entry in entries:
        at = entry.at.isoformat(sep=" ", timespec="seconds")
        table.add_row(Text(at), Text(entry.by), Text(entry.action), Text(f"{entry.kind} {entry.id}"))
    stdout.print(table)
    return Exit.OK


def _path(kind: str) -> str:
    if kind not in PATHS:
        raise CommandError(f"{kind!r} is no kind. There are: {', '.join(PATHS)}.")
    return PATHS[kind]


async def _perform(admin: Admin, method: str, path: str, names: dict[str, str]) -> object:
    operation = _operation(admin, method, path, one=bool(names))
    given = dict.fromkeys(_names(operation.path), names.get("id", ""))
    try:
        return await operation.handler(Asked(Asker(BY, ALL), admin.account_id, given))
    except AdminError as error:
        raise CommandError(f"{error}.", Exit.PROGRAM_FAILED) from error
    except DocumentBroken as error:
        raise CommandError(f"{error} ({error.reason}).", Exit.PROGRAM_FAILED) from error


def _operation(admin: Admin, method: str, path: str, *, one: bool) -> Operation:
    return next(
        operation
        for operation in admin.operations
        if operation.method == method and (operation.path.rpartition("/{")[0] if one else operation.path) == path
    )


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _plain(found: object) -> dict[str, object]:
    """What the API would answer."""
    assert isinstance(found, BaseModel)
    return found.model_dump(mode="json", by_alias=True)
