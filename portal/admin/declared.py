"""What a file says there should be, beside what there is: the changes from one to the other. Pure.

A file has a section for each kind of object, by id (servers, portals) or by name (all others). Objects refer to each
other by what they are called in the file, so that it means the same for every database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ValidationError

from portal.admin.apps import AppBody
from portal.admin.lists import ListBody
from portal.admin.login_settings import SettableSettings
from portal.admin.organization import PageBody, ProviderBody
from portal.admin.policies import GroupBody, PolicyBody
from portal.admin.portals import PortalBody, code_mode_of
from portal.admin.servers import ServerBody
from portal.errors import PortalError
from portal.login import LOGIN_SETTINGS, LOGIN_SETTINGS_ID

Document = Mapping[str, object]
MAX_OBJECTS = 5000


class DeclaredError(PortalError):
    """The file cannot be used. The message says where, and quotes no value: it may be a secret."""


@dataclass(frozen=True, slots=True)
class DeclaredSection:
    """One kind. `partly`: what an entry leaves out stays as it is, because replacing works that way. `secrets` are
    written and never shown. `only` is the id of the one object of a section that has no further ones: the section
    itself is its entry."""

    name: str
    kind: str
    body: type[BaseModel]
    key: Literal["id", "name"] = "name"
    partly: bool = False
    secrets: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    only: str = ""


SECTIONS: tuple[DeclaredSection, ...] = (
    DeclaredSection("identity_providers", "identity_provider", ProviderBody, secrets=("client_secret",)),
    DeclaredSection("custom_pages", "custom_page", PageBody),
    DeclaredSection("lists", "list", ListBody, fixed=("type",)),
    DeclaredSection("groups", "group", GroupBody),
    DeclaredSection("policies", "policy", PolicyBody),
    DeclaredSection(
        "servers",
        "server",
        ServerBody,
        key="id",
        partly=True,
        secrets=("auth_credentials", "client_secret"),
        fixed=("auth_type", "hostname"),
    ),
    DeclaredSection("portals", "portal", PortalBody, key="id", partly=True),
    DeclaredSection("apps", "app", AppBody),
    DeclaredSection("organization", LOGIN_SETTINGS.name, SettableSettings, key="id", only=LOGIN_SETTINGS_ID),
)
"""In the order in which they can be made: what others refer to comes first."""

BY_NAME = {section.name: section for section in SECTIONS}
# Where a rule, or a member of an application, names another object.
_IN_RULES = {
    "group": "groups",
    "login_method": "identity_providers",
    "email_list": "lists",
    "ip_list": "lists",
}
_IN_MEMBERS = {"allowed_idps": "identity_providers", "custom_pages": "custom_pages", "policies": "policies"}

Ids = Mapping[str, Mapping[str, str]]
"""By section: what an object is called in the file -> its id in the database."""


@dataclass(frozen=True, slots=True)
class Existing:
    """One stored object. `document` refers to others by their ids; `secrets` are in the clear."""

    section: DeclaredSection
    id: str
    document: Document
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def called(self) -> str:
        return self.id if self.section.key == "id" else str(self.document.get("name", ""))


@dataclass(frozen=True, slots=True)
class Change:
    """One step. `fields` are the members that differ; `entry` is what the file says, `id` that of what there is."""

    action: Literal["make", "change", "remove"]
    section: DeclaredSection
    called: str
    fields: tuple[str, ...] = ()
    entry: Document = field(default_factory=dict, repr=False)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes` in the order to be made. `unmentioned`: what the file's sections do not name, and is kept."""

    changes: Sequence[Change]
    unmentioned: Sequence[Existing] = ()


def plan(declared: object, existing: Sequence[Existing], *, prune: bool = False) -> Plan:
    """What to do so that everything is as declared. Sections that are not in the file are left alone altogether.

    `prune`: what a section of the file does not name is removed.

    Raises:
        DeclaredError: the file cannot be used, or asks for what cannot be changed.
    """
    entries = read(declared)
    ids = ids_of(existing)
    _require_references(entries, ids)
    names = {section: {id: called for called, id in known.items()} for section, known in ids.items()}
    steps: list[Change] = []
    surplus: list[Existing] = []
    for section in SECTIONS:
        if section.name not in entries:
            continue
        wanted = entries[section.name]
        there = {one.called: one for one in existing if one.section is section}
        for called, entry in wanted.items():
            step = _step(section, called, entry, there.get(called), names)
            steps += [step] if step is not None else []
        surplus += [one for called, one in there.items() if called not in wanted]
    if not prune:
        return Plan(steps, surplus)
    # Whatever refers to something goes before it does.
    removed = [Change("remove", one.section, one.called, id=one.id) for one in reversed(surplus)]
    return Plan([*steps, *removed])


def read(declared: object) -> dict[str, dict[str, Document]]:
    """The entries of each section, checked one by one.

    Raises:
        DeclaredError: names the place.
    """
    if not isinstance(declared, Mapping):
        raise DeclaredError("The file must be an object with sections: " + ", ".join(BY_NAME) + ".")
    read: dict[str, dict[str, Document]] = {}
    for name, entries in declared.items():
        section = BY_NAME.get(name)
        if section is None:
            raise DeclaredError(f"{str(name)[:60]!r} is no section. There are: {', '.join(BY_NAME)}.")
        if section.only:
            read[name] = {section.only: _checked(section, section.only, entries)}
            continue
        if not isinstance(entries, Mapping) or len(entries) > MAX_OBJECTS:
            raise DeclaredError(f"{name}: must be an object of at most {MAX_OBJECTS} entries, by {section.key}.")
        read[name] = {str(called): _checked(section, str(called), entry) for called, entry in entries.items()}
    return read


def ids_of(existing: Iterable[Existing]) -> dict[str, dict[str, str]]:
    """What everything is called.

    Raises:
        DeclaredError: two of a kind have the same name, and a file could not tell them apart.
    """
    ids: dict[str, dict[str, str]] = {section.name: {} for section in SECTIONS}
    for one in existing:
        if one.called in ids[one.section.name]:
            raise DeclaredError(f"{one.section.name}: two are called {one.called!r}. Give one of them another name.")
        ids[one.section.name][one.called] = one.id
    return ids


def referring(entry: Document, table: Ids) -> dict[str, object]:
    """The same entry with every reference translated; one that the table does not know stays as it is."""
    return _members({name: _rules_of(name, value, table) for name, value in entry.items()}, table)


def declared_form(one: Existing, names: Ids) -> dict[str, object]:
    """A stored object as a file would have it, without its secrets and without what is so anyway."""
    fields = one.section.body.model_fields
    said = {name: value for name, value in one.document.items() if name in fields and name != one.section.key}
    if one.section.kind == "list":
        # When something came into a list is for the database to know.
        items = said["items"] if isinstance(said["items"], list) else []
        said["items"] = [{name: item[name] for name in ("value", "description") if item.get(name)} for item in items]
    return {
        name: value
        for name, value in referring(said, names).items()
        if value != _plain(fields[name].get_default(call_default_factory=True)) and value not in _ANYWAY
    }


_ANYWAY: tuple[object, ...] = (None, False, [], {})
"""What is so of anything that a file does not say."""


def _plain(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default


def _checked(section: DeclaredSection, called: str, entry: object) -> Document:
    where = section.name if section.only else f"{section.name}.{called[:80]}"
    if not isinstance(entry, Mapping):
        raise DeclaredError(f"{where}: must be an object.")
    unknown = [str(name) for name in entry if name not in section.body.model_fields]
    if unknown:
        raise DeclaredError(f"{where}: has no member {unknown[0][:60]!r}.")
    try:
        section.body.model_validate({**entry, section.key: entry.get(section.key, called)})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        raise DeclaredError(f"{place}: {first['msg'].removeprefix('Value error, ')}.") from None
    if not section.only and entry.get(section.key, called) != called:
        raise DeclaredError(f"{where}: its {section.key} is {called!r}, by the key it is under.")
    return entry


def _step(section: DeclaredSection, called: str, entry: Document, there: Existing | None, names: Ids) -> Change | None:
    if there is None:
        return Change("make", section, called, tuple(sorted(entry)), entry)
    wanted = _normal(section, section.body.model_validate({**entry, section.key: called}))
    actual = _normal(section, section.body.model_validate(referring({**there.document, section.key: called}, names)))
    compared = _said(section, entry) if section.partly else set(wanted)
    fields = sorted(name for name in compared & set(wanted) if wanted[name] != actual.get(name))
    if stuck := [name for name in section.fixed if name in fields]:
        raise DeclaredError(f"{section.name}.{called}: {stuck[0]} cannot be changed. Use another {section.key}.")
    given = {name: _secret(section, entry, name) for name in section.secrets}
    fields += [name for name, value in given.items() if value is not None and value != there.secrets.get(name)]
    return Change("change", section, called, tuple(fields), entry, there.id) if fields else None


def _said(section: DeclaredSection, entry: Document) -> set[str]:
    return {"code_mode" if name == "allow_code_mode" else name for name in entry} - set(section.secrets)


def _secret(section: DeclaredSection, entry: Document, name: str) -> object:
    holder = entry.get("config", {}) if section.name == "identity_providers" else entry
    return holder.get(name) if isinstance(holder, Mapping) else None


def _normal(section: DeclaredSection, body: BaseModel) -> dict[str, object]:
    """Two bodies that mean the same are equal in this form."""
    form = body.model_dump(mode="json", by_alias=True, exclude=set(section.secrets))
    match section.name:
        case "identity_providers":
            form["config"] = {name: value for name, value in form["config"].items() if name not in section.secrets}
        case "portals":
            form["hostname"] = form["hostname"].lower()
            form["code_mode"] = code_mode_of(form["code_mode"], form.pop("allow_code_mode"), None)
        case "apps":
            form["policies"] = [_numbered(policy, index) for index, policy in enumerate(form["policies"])]
    return form


def _numbered(policy: Document, index: int) -> dict[str, object]:
    own = {name: value for name, value in policy.items() if name != "id" or "decision" not in policy}
    return own if own["precedence"] is not None else {**own, "precedence": index + 1}


def _rules(value: object, table: Ids) -> object:
    if isinstance(value, list | tuple):
        return [_rules(one, table) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {name: _rules_of(name, inner, table) for name, inner in value.items()}


def _rules_of(name: str, inner: object, table: Ids) -> object:
    if name in _IN_RULES and isinstance(inner, Mapping) and isinstance(inner.get("id"), str):
        return {**inner, "id": table[_IN_RULES[name]].get(inner["id"], inner["id"])}
    return _rules(inner, table)


def _members(entry: Document, table: Ids) -> dict[str, object]:
    def translated(name: str, one: object) -> object:
        known = table[_IN_MEMBERS[name]]
        if isinstance(one, str):
            return known.get(one, one)
        if isinstance(one, Mapping) and "decision" not in one and isinstance(one.get("id"), str):
            return {**one, "id": known.get(one["id"], one["id"])}
        return one

    return {
        name: [translated(name, one) for one in value]
        if name in _IN_MEMBERS and isinstance(value, list | tuple)
        else value
        for name, value in entry.items()
    }


def _require_references(entries: Mapping[str, Mapping[str, Document]], ids: Ids) -> None:
    """Everything that is referred to is in the file or in the database.

    Raises:
        DeclaredError: names the first that is not.
    """
    known = {name: set(ids[name]) | set(ids[name].values()) | set(entries.get(name, ())) for name in BY_NAME}
    for section, of_section in entries.items():
        for called, entry in of_section.items():
            for kind, named in _references(entry):
                if named not in known[kind]:
                    raise DeclaredError(f"{section}.{called}: refers to {named[:80]!r}, which is not in {kind}.")


def _references(entry: Document) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    class Noting(dict[str, str]):
        """A table that knows nothing and remembers what it was asked."""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            found.append((self.kind, key))
            return default

    referring(entry, {name: Noting(name) for name in BY_NAME})
    # The local administrator's way to sign in is no object.
    return [(kind, named) for kind, named in found if (kind, named) not in _BUILT_IN]


_BUILT_IN = {("identity_providers", name) for name in ("local", "onetimepin")}
