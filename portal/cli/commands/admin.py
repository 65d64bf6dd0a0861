"""`codemode admin`: shows and removes stored objects, with the operations of the admin API."""

from __future__ import annotations

from pathlib import Path

import orjson
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from portal.admin import ALL, Admin, AdminError, ApiCaller, ApiRequest, Operation, broken_message, listing_of
from portal.cli.commands.declared import open_admin
from portal.cli.exits import CommandError, Exit
from portal.cli.nearest import nearest
from portal.cli.show.console import consoles
from portal.state import DocumentBroken

BY = "codemode admin"
PATHS = {
    "administrators": "/members",
    "servers": "/access/ai-controls/mcp/servers",
    "portals": "/access/ai-controls/mcp/portals",
    "policies": "/access/policies",
    "groups": "/access/groups",
    "apps": "/access/apps",
    "identity-providers": "/access/identity_providers",
    "service-tokens": "/access/service_tokens",
    "custom-pages": "/access/custom_pages",
    "lists": "/gateway/lists",
    "gateway-rules": "/gateway/rules",
    "quotas": "/access/ai-controls/mcp/quotas",
    "data-flow-rules": "/access/ai-controls/mcp/data-flow/rules",
    "data-flow-reads": "/access/ai-controls/mcp/data-flow/reads",
    "tokens": "/tokens",
}


async def list_objects(kind: str, state: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Print all objects of one kind, and to standard error those that cannot be read."""
    stdout, stderr = consoles()
    async with open_admin(state, config) as (admin, _):
        listing = listing_of(await _perform(admin, "GET", _path(kind), {}))
    rows = [_plain(item) for item in listing.items]
    for broken in listing.broken:
        stderr.print(f"{broken_message(broken)}.", highlight=False, markup=False)
    if as_json:
        stdout.print_json(orjson.dumps(rows).decode())
        return Exit.OK
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "more"):
        table.add_column(heading)
    for row in rows:
        members = ("type", "decision", "hostname", "domain", "code_mode", "status", "expires_at")
        more = [str(row[key]) for key in members if row.get(key)]
        if isinstance(labels := row.get("labels"), list):
            more += [str(label) for label in labels]
        if isinstance(roles := row.get("roles"), list):
            more = [str(role["key"]) for role in roles] + more
        name = str(row.get("name") or row.get("email") or "")
        table.add_row(Text(str(row.get("id") or row.get("uid"))), Text(name), Text(" ".join(more)))
    stdout.print(table if rows else f"There are no {kind}.")
    return Exit.OK


async def show_object(kind: str, id: str, state: str | None, config: Path | None) -> Exit:
    """Print one object as the API returns it."""
    stdout, _ = consoles()
    async with open_admin(state, config) as (admin, _):
        item = await _perform(admin, "GET", _path(kind), {"id": id})
    stdout.print_json(orjson.dumps(_plain(item)).decode())
    return Exit.OK


async def remove_object(kind: str, id: str, state: str | None, config: Path | None) -> Exit:
    """Remove one object. The API refuses while others use it."""
    _, stderr = consoles()
    async with open_admin(state, config) as (admin, _):
        await _perform(admin, "DELETE", _path(kind), {"id": id})
    stderr.print(f"Removed from {kind}: {id}", highlight=False)
    return Exit.OK


async def audit(limit: int, state: str | None, config: Path | None, *, as_json: bool) -> Exit:
    """Print who changed what, newest first."""
    stdout, _ = consoles()
    async with open_admin(state, config) as (_, store):
        entries = await store.audit(limit=limit)
    if as_json:
        shown = [
            {"at": one.at.isoformat(), "by": one.by, "action": one.action, "kind": one.kind, "id": one.id}
            for one in entries
        ]
        stdout.print_json(data={"entries": shown})
        return Exit.OK
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
        near = f" Did you mean {' or '.join(found)}?" if (found := nearest(kind, PATHS)) else ""
        raise CommandError(f"{kind!r} is no kind.{near} There are: {', '.join(PATHS)}.")
    return PATHS[kind]


async def _perform(admin: Admin, method: str, path: str, names: dict[str, str]) -> object:
    operation = _operation(admin, method, path, one=bool(names))
    parameters = dict.fromkeys(_names(operation.path), names.get("id", ""))
    try:
        return await operation.handler(ApiRequest(ApiCaller(BY, ALL), admin.account_id, parameters))
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


def _plain(item: object) -> dict[str, object]:
    """The JSON object of an answer of the API."""
    assert isinstance(item, BaseModel)
    return item.model_dump(mode="json", by_alias=True)
