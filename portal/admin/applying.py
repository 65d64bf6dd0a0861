"""Carries out what a file asks for, by the operations of the API, and writes what there is as such a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from portal.admin.api.operations import ApiCaller, ApiRequest, Operation
from portal.admin.api.permissions import ALL
from portal.admin.build import Admin
from portal.admin.declared import SECTIONS, Change, DeclaredSection, Existing, declared_form, ids_of, referring
from portal.admin.login_settings import usable_settings
from portal.login import LOGIN_SETTINGS, LOGIN_SETTINGS_ID
from portal.objects import APP, CUSTOM_PAGE, GROUP, IDENTITY_PROVIDER, LIST, POLICY, PORTAL, SERVER
from portal.servers import open_secret
from portal.state import Kind, Store

D = TypeVar("D")
BY = "codemode apply"
_PATHS = {
    "servers": "/access/ai-controls/mcp/servers",
    "portals": "/access/ai-controls/mcp/portals",
    **{section.name: f"/access/{section.name}" for section in SECTIONS if section.key == "name"},
    "lists": "/gateway/lists",
    "organization": "/access/organizations",
}


async def read_existing(store: Store) -> list[Existing]:
    """Everything a file can speak of, by section, in the order in which it was made.

    Raises:
        DocumentBroken: an object cannot be read, so nobody can tell what to change.
    """
    found = [await _existing(store, IDENTITY_PROVIDER), await _existing(store, CUSTOM_PAGE)]
    found += [await _existing(store, LIST), await _existing(store, GROUP), await _existing(store, POLICY)]
    found += [await _existing(store, SERVER), await _existing(store, PORTAL), await _existing(store, APP)]
    found += [await _login_settings(store)]
    return [one for of_kind in found for one in of_kind]


async def _existing(store: Store, kind: Kind[D]) -> list[Existing]:
    section = next(one for one in SECTIONS if one.kind == kind.name)
    found = await store.scan(kind)
    if found.broken:
        raise found.broken[0].error
    return [
        Existing(section, one.id, kind.members(one.document), _opened(section, await store.secret(kind, one.id)))
        for one in found.stored
    ]


async def _login_settings(store: Store) -> list[Existing]:
    section = next(one for one in SECTIONS if one.only == LOGIN_SETTINGS_ID)
    stored = await store.get(LOGIN_SETTINGS, LOGIN_SETTINGS_ID)
    if stored is None:
        return []
    return [Existing(section, stored.id, usable_settings(LOGIN_SETTINGS.members(stored.document)))]


async def carry_out(admin: Admin, changes: Sequence[Change], existing: Sequence[Existing]) -> AsyncIterator[Change]:
    """Make the changes one after the other, each of them whole; each is given back once it is made.

    Raises:
        AdminError: one is refused. Those before it are made.
    """
    ids = ids_of(existing)
    for change in changes:
        section = change.section
        entry = referring(change.entry, ids)
        if section.only:
            # All members: one that the file leaves out goes back to its default.
            members = section.body.model_validate(entry).model_dump(mode="json")
            await _perform(admin, "PUT", section, {}, members)
            yield change
            continue
        match change.action:
            case "make":
                made = await _perform(admin, "POST", section, {}, {**entry, section.key: change.called})
                ids[section.name][change.called] = str(getattr(made, "uid" if section.kind == "custom_page" else "id"))
            case "change":
                await _perform(admin, "PUT", section, {"id": change.id}, {**entry, section.key: change.called})
            case "remove":
                await _perform(admin, "DELETE", section, {"id": change.id})
        yield change


def exported(existing: Sequence[Existing]) -> dict[str, dict[str, object]]:
    """What there is as a file would say it. Secrets are left out: applied as it is, the file changes nothing."""
    names = {section: {id: called for called, id in known.items()} for section, known in ids_of(existing).items()}
    document: dict[str, dict[str, object]] = {}
    for one in existing:
        form = declared_form(one, names)
        if one.section.only:
            document[one.section.name] = form
        else:
            document.setdefault(one.section.name, {})[one.called] = form
    return document


async def _perform(
    admin: Admin, method: str, section: DeclaredSection, path: dict[str, str], given: object = None
) -> object:
    operation = _operation(admin, method, _PATHS[section.name] + ("/{id}" if path else ""))
    body = None if operation.body is None else operation.body.model_validate(given)
    return await operation.handler(ApiRequest(ApiCaller(BY, ALL), admin.account_id, path, body))


def _operation(admin: Admin, method: str, path: str) -> Operation:
    return next(one for one in admin.operations if (one.method, one.path) == (method, path))


def _opened(section: DeclaredSection, secret: bytes | None) -> dict[str, str]:
    if secret is None or not section.secrets:
        return {}
    if section.kind == "server":
        return dict(open_secret(secret))
    return {section.secrets[0]: secret.decode()}
