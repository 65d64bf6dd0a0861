"""Applies a declarative file through the operations of the API, and exports the stored objects as such a file."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from portal.admin.api.changes import change_row
from portal.admin.api.errors import AdminError
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation
from portal.admin.api.permissions import ALL
from portal.admin.build import Admin
from portal.admin.declared import SECTIONS, Change, DeclaredSection, Existing, entry_of, ids_of, translated_references
from portal.admin.login_settings import usable_settings
from portal.admin.quotas import PATH as QUOTAS_PATH
from portal.credentials import open_secret
from portal.export import EXPORT_JOB
from portal.login import LOGIN_SETTINGS, LOGIN_SETTINGS_ID
from portal.logs import LogRow
from portal.misfits import fitted
from portal.objects import (
    APP,
    CUSTOM_PAGE,
    FLOW_RULE,
    GATEWAY_RULE,
    GROUP,
    IDENTITY_PROVIDER,
    LIST,
    POLICY,
    PORTAL,
    QUOTA,
    SERVER,
    unpacked,
)
from portal.state import Kind, Store

D = TypeVar("D")
BY = "codemode apply"
_PATHS = {
    "servers": "/access/ai-controls/mcp/servers",
    "portals": "/access/ai-controls/mcp/portals",
    **{section.name: f"/access/{section.name}" for section in SECTIONS if section.key == "name"},
    "lists": "/gateway/lists",
    "quotas": QUOTAS_PATH,
    "gateway_rules": "/gateway/rules",
    "data_flow_rules": "/access/ai-controls/mcp/data-flow/rules",
    "logpush_jobs": "/logpush/jobs",
    "organization": "/access/organizations",
}


async def read_existing(store: Store) -> list[Existing]:
    """Every stored object that a file can declare, by section, in the order of creation.

    Raises:
        DocumentBroken: an object cannot be read, so its changes are unknown.
    """
    sections = [await _existing(store, IDENTITY_PROVIDER), await _existing(store, CUSTOM_PAGE)]
    sections += [await _existing(store, LIST), await _existing(store, GROUP), await _existing(store, POLICY)]
    sections += [await _existing(store, SERVER), await _existing(store, PORTAL), await _existing(store, FLOW_RULE)]
    sections += [await _existing(store, APP), await _existing(store, QUOTA), await _existing(store, GATEWAY_RULE)]
    sections += [await _existing(store, EXPORT_JOB), await _login_settings(store)]
    return [existing for section in sections for existing in section]


async def _existing(store: Store, kind: Kind[D]) -> list[Existing]:
    section = next(one for one in SECTIONS if one.kind == kind.name)
    scan = await store.scan(kind)
    if scan.broken:
        raise scan.broken[0].error
    return [
        Existing(
            section,
            one.id,
            _declared(section, kind.members(one.document)),
            _opened(section, await store.secret(kind, one.id)),
        )
        for one in scan.stored
    ]


def _declared(section: DeclaredSection, members: dict[str, object]) -> dict[str, object]:
    """The members of an object as a file has them: of a server that is an API its document is a text."""
    if section.kind != "server" or not isinstance(stored := members.get("openapi_packed"), str):
        return members
    return {**members, "openapi_document": unpacked(stored)}


async def _login_settings(store: Store) -> list[Existing]:
    section = next(one for one in SECTIONS if one.only == LOGIN_SETTINGS_ID)
    stored = await store.get(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
    if stored is None:
        return []
    return [Existing(section, stored.id, usable_settings(LOGIN_SETTINGS.members(stored.document)))]


async def apply_changes(admin: Admin, changes: Sequence[Change], existing: Sequence[Existing]) -> AsyncIterator[Change]:
    """Apply the changes in order, each in its own transaction, and yield each one when it is stored.

    Raises:
        AdminError: a change is refused. The changes before it stay.
    """
    ids = ids_of(existing)
    for change in changes:
        section = change.section
        entry = translated_references(change.entry, ids)
        if section.only:
            # All members are sent: a member that the file omits returns to its default.
            members = fitted(section.body, entry).model_dump(mode="json")
            await _perform(admin, "PUT", section, {}, members)
            yield change
            continue
        match change.action:
            case "make":
                created = await _perform(admin, "POST", section, {}, {**entry, section.key: change.name})
                ids[section.name][change.name] = str(getattr(created, "uid" if section.kind == "custom_page" else "id"))
            case "change":
                await _perform(admin, "PUT", section, {"id": change.id}, {**entry, section.key: change.name})
            case "remove":
                await _perform(admin, "DELETE", section, {"id": change.id})
        yield change


def export_objects(existing: Sequence[Existing]) -> dict[str, dict[str, object]]:
    """The stored objects as the content of a file, without secrets. Applied unchanged, the file changes nothing."""
    names = {section: {id: name for name, id in of_section.items()} for section, of_section in ids_of(existing).items()}
    document: dict[str, dict[str, object]] = {}
    for item in existing:
        form = entry_of(item, names)
        if item.section.only:
            document[item.section.name] = form
        else:
            document.setdefault(item.section.name, {})[item.name] = form
    return document


async def _perform(
    admin: Admin, method: str, section: DeclaredSection, path: dict[str, str], members: object = None
) -> object:
    operation = _operation(admin, method, _PATHS[section.name] + ("/{id}" if path else ""))
    body = None if operation.body is None else fitted(operation.body, members)
    caller, at = ApiCaller(BY, ALL), time.time_ns() // 1000
    try:
        result = await operation.handler(ApiRequest(caller, admin.account_id, path, body))
    except AdminError as error:
        _note(admin, change_row(operation, path, caller, at=at, error=error))
        raise
    _note(admin, change_row(operation, path, caller, at=at, result=result))
    return result


def _note(admin: Admin, row: LogRow | None) -> None:
    if row is not None:
        admin.settings.events.write(row)


def _operation(admin: Admin, method: str, path: str) -> Operation:
    return next(one for one in admin.operations if (one.method, one.path) == (method, path))


def _opened(section: DeclaredSection, secret: bytes | None) -> dict[str, str]:
    if secret is None or not section.secrets:
        return {}
    if section.kind == "server":
        return dict(open_secret(secret))
    return {section.secrets[0]: secret.decode()}
