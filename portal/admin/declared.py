"""Compares a declarative file with the stored objects and plans the changes from these to the file. Pure.

A file has a section for each kind of object, by id (servers, portals) or by name (all others). Objects refer to each
other by these ids and names, so that a file means the same for every database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ValidationError

from portal.admin.apps import AppBody
from portal.admin.exports import ExportJobBody
from portal.admin.flows import FlowRuleBody
from portal.admin.gateway import RuleBody
from portal.admin.lists import ListBody
from portal.admin.login_settings import SettableSettings
from portal.admin.organization import PageBody, ProviderBody
from portal.admin.policies import GroupBody, PolicyBody
from portal.admin.portals import PortalBody, code_mode_of
from portal.admin.quotas import QuotaBody
from portal.admin.servers import ServerBody
from portal.errors import PortalError
from portal.export import EXPORT_JOB
from portal.login import LOGIN_SETTINGS, LOGIN_SETTINGS_ID
from portal.misfits import fitted, misfits

Document = Mapping[str, object]
MAX_OBJECTS = 5000


class DeclaredError(PortalError):
    """The file cannot be used. The message names the place and quotes no value: it may be a secret."""


@dataclass(frozen=True, slots=True)
class DeclaredSection:
    """A section of the file, for one kind of object.

    `partial`: members that an entry omits stay as they are, because PUT works that way for this kind. `secrets` are
    written and never shown. `fixed` members cannot be changed. `only` is the id of a kind's single object: the section
    itself is then its entry.
    """

    name: str
    kind: str
    body: type[BaseModel]
    key: Literal["id", "name"] = "name"
    partial: bool = False
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
        partial=True,
        secrets=("auth_credentials", "client_secret"),
        fixed=("auth_type", "hostname"),
    ),
    DeclaredSection("portals", "portal", PortalBody, key="id", partial=True),
    DeclaredSection("data_flow_rules", "data_flow_rule", FlowRuleBody),
    DeclaredSection("apps", "app", AppBody),
    DeclaredSection("quotas", "quota", QuotaBody),
    DeclaredSection("gateway_rules", "gateway_rule", RuleBody),
    DeclaredSection(
        "logpush_jobs",
        EXPORT_JOB.name,
        ExportJobBody,
        partial=True,
        secrets=("destination_conf",),
        fixed=("start_at",),
    ),
    DeclaredSection("organization", LOGIN_SETTINGS.name, SettableSettings, key="id", only=LOGIN_SETTINGS_ID),
)
"""In the order of creation: an object comes before those that refer to it."""

BY_NAME = {section.name: section for section in SECTIONS}
# The rules, and the members of an application, that refer to another object, with its section.
_IN_RULES = {
    "group": "groups",
    "login_method": "identity_providers",
    "email_list": "lists",
    "ip_list": "lists",
}
_IN_MEMBERS = {"allowed_idps": "identity_providers", "custom_pages": "custom_pages", "policies": "policies"}

Ids = Mapping[str, Mapping[str, str]]
"""By section: the name of an object in the file, and its id in the database."""


@dataclass(frozen=True, slots=True)
class Existing:
    """One stored object. `document` refers to others by their ids; `secrets` are in the clear."""

    section: DeclaredSection
    id: str
    document: Document
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        return self.id if self.section.key == "id" else str(self.document.get("name", ""))


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `fields` are the members that differ, `entry` is in the file, `id` is of the stored object."""

    action: Literal["make", "change", "remove"]
    section: DeclaredSection
    name: str
    fields: tuple[str, ...] = ()
    entry: Document = field(default_factory=dict, repr=False)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes` are in the order to apply. `unmentioned` are stored objects not in the file; they stay."""

    changes: Sequence[Change]
    unmentioned: Sequence[Existing] = ()


def plan(declared: object, existing: Sequence[Existing], *, prune: bool = False) -> Plan:
    """The changes that make the stored objects match the file. Sections that the file omits stay as they are.

    With `prune`, objects that a section of the file does not name are removed.

    Raises:
        DeclaredError: the file cannot be used, or changes a member that is fixed.
    """
    entries = read(declared)
    ids = ids_of(existing)
    _require_references(entries, ids)
    names = {section: {id: name for name, id in of_section.items()} for section, of_section in ids.items()}
    steps: list[Change] = []
    surplus: list[Existing] = []
    for section in SECTIONS:
        if section.name not in entries:
            continue
        declared_entries = entries[section.name]
        stored = {item.name: item for item in existing if item.section is section}
        for name, entry in declared_entries.items():
            step = _step(section, name, entry, stored.get(name), names)
            steps += [step] if step is not None else []
        surplus += [item for name, item in stored.items() if name not in declared_entries]
    if not prune:
        return Plan(steps, surplus)
    # An object is removed after those that refer to it.
    removals = [Change("remove", item.section, item.name, id=item.id) for item in reversed(surplus)]
    return Plan([*steps, *removals])


def read(declared: object) -> dict[str, dict[str, Document]]:
    """The entries of each section, validated one by one.

    Raises:
        DeclaredError: the file is not valid. The message names the place.
    """
    if not isinstance(declared, Mapping):
        raise DeclaredError("The file must be an object with sections: " + ", ".join(BY_NAME) + ".")
    read: dict[str, dict[str, Document]] = {}
    for name, entries in declared.items():
        section = BY_NAME.get(name)
        if section is None:
            raise DeclaredError(f"{str(name)[:60]!r} is no section. The sections are: {', '.join(BY_NAME)}.")
        if entries is None:
            # In YAML, a section whose entries were taken out.
            continue
        if section.only:
            read[name] = {section.only: _checked(section, section.only, entries)}
            continue
        if not isinstance(entries, Mapping) or len(entries) > MAX_OBJECTS:
            raise DeclaredError(f"{name}: must be an object of at most {MAX_OBJECTS} entries, by {section.key}.")
        read[name] = {str(key): _checked(section, str(key), entry) for key, entry in entries.items()}
    return read


def ids_of(existing: Iterable[Existing]) -> dict[str, dict[str, str]]:
    """The ids of the objects, by section and by name in a file.

    Raises:
        DeclaredError: two objects of a section have the same name, so a file cannot tell them apart.
    """
    ids: dict[str, dict[str, str]] = {section.name: {} for section in SECTIONS}
    for item in existing:
        if item.name in ids[item.section.name]:
            raise DeclaredError(f"{item.section.name}: two are called {item.name!r}. Give one of them another name.")
        ids[item.section.name][item.name] = item.id
    return ids


def translated_references(entry: Document, table: Ids) -> dict[str, object]:
    """The entry with every reference translated by `table`. A reference that is not in the table stays as it is."""
    return _members({name: _rules_of(name, value, table) for name, value in entry.items()}, table)


def entry_of(existing: Existing, names: Ids) -> dict[str, object]:
    """The entry of a stored object in a file, without its secrets and without members that have their default."""
    fields = existing.section.body.model_fields
    members = {
        name: value for name, value in existing.document.items() if name in fields and name != existing.section.key
    }
    if existing.section.kind == "list":
        # A file does not declare when an item was added to a list.
        items = members["items"] if isinstance(members["items"], list) else []
        members["items"] = [{name: item[name] for name in ("value", "description") if item.get(name)} for item in items]
    return {
        name: value
        for name, value in translated_references(members, names).items()
        if value != _plain(fields[name].get_default(call_default_factory=True)) and value not in _DEFAULTS
    }


_DEFAULTS: tuple[object, ...] = (None, False, [], {})
"""The values that a member has if a file omits it."""


def _plain(default: object) -> object:
    return list(default) if isinstance(default, tuple) else default


def _checked(section: DeclaredSection, key: str, entry: object) -> Document:
    where = section.name if section.only else f"{section.name}.{key[:80]}"
    if not isinstance(entry, Mapping):
        raise DeclaredError(f"{where}: must be an object.")
    unknown = [str(name) for name in entry if name not in section.body.model_fields]
    if unknown:
        raise DeclaredError(f"{where}: has no member {unknown[0][:60]!r}.")
    members = {**entry, section.key: entry.get(section.key, key)}
    try:
        fitted(section.body, members)
    except ValidationError as error:
        first = misfits(error, members)[0]
        place = ".".join([where, *(str(part) for part in first.place)])
        raise DeclaredError(f"{place}: {first.problem}.") from None
    if not section.only and entry.get(section.key, key) != key:
        raise DeclaredError(f"{where}: its {section.key} is {key!r}, by the key it is under.")
    return entry


def _step(section: DeclaredSection, key: str, entry: Document, stored: Existing | None, names: Ids) -> Change | None:
    if stored is None:
        return Change("make", section, key, tuple(sorted(entry)), entry)
    declared = _normal(section, fitted(section.body, {**entry, section.key: key}))
    current = _normal(
        section, fitted(section.body, translated_references({**stored.document, section.key: key}, names))
    )
    compared = _declared_names(section, entry) if section.partial else set(declared)
    fields = sorted(name for name in compared & set(declared) if declared[name] != current.get(name))
    if unchangeable := [name for name in section.fixed if name in fields]:
        raise DeclaredError(f"{section.name}.{key}: {unchangeable[0]} cannot be changed. Use another {section.key}.")
    secrets = {name: _secret(section, entry, name) for name in section.secrets}
    fields += [name for name, value in secrets.items() if value is not None and value != stored.secrets.get(name)]
    return Change("change", section, key, tuple(fields), entry, stored.id) if fields else None


def _declared_names(section: DeclaredSection, entry: Document) -> set[str]:
    # Null is not sent, but for the description, which null removes.
    sent = {name for name, value in entry.items() if value is not None or name == "description"}
    return {"code_mode" if name == "allow_code_mode" else name for name in sent} - set(section.secrets)


def _secret(section: DeclaredSection, entry: Document, name: str) -> object:
    holder = entry.get("config", {}) if section.name == "identity_providers" else entry
    return holder.get(name) if isinstance(holder, Mapping) else None


def _normal(section: DeclaredSection, body: BaseModel) -> dict[str, object]:
    """The body in normal form: two bodies with the same meaning are equal."""
    form = body.model_dump(mode="json", by_alias=True, exclude=set(section.secrets))
    match section.name:
        case "identity_providers":
            form["config"] = {name: value for name, value in form["config"].items() if name not in section.secrets}
        case "portals":
            form["hostname"] = form["hostname"].lower()
            form["code_mode"] = code_mode_of(form["code_mode"], form.pop("allow_code_mode"), None)
        case "gateway_rules" if form["precedence"] is None:
            # A rule keeps its place if the file does not give it one.
            del form["precedence"]
        case "logpush_jobs":
            # They have one value, and are not stored.
            for name in ("dataset", "kind", "filter_attack_traffic"):
                del form[name]
        case "apps":
            form["policies"] = [_numbered(policy, index) for index, policy in enumerate(form["policies"])]
    return form


def _numbered(policy: Document, index: int) -> dict[str, object]:
    own = {name: value for name, value in policy.items() if name != "id" or "decision" not in policy}
    return own if own["precedence"] is not None else {**own, "precedence": index + 1}


def _rules(value: object, table: Ids) -> object:
    if isinstance(value, list | tuple):
        return [_rules(entry, table) for entry in value]
    if not isinstance(value, Mapping):
        return value
    return {name: _rules_of(name, inner, table) for name, inner in value.items()}


def _rules_of(name: str, inner: object, table: Ids) -> object:
    if name in _IN_RULES and isinstance(inner, Mapping) and isinstance(inner.get("id"), str):
        return {**inner, "id": table[_IN_RULES[name]].get(inner["id"], inner["id"])}
    return _rules(inner, table)


def _members(entry: Document, table: Ids) -> dict[str, object]:
    def translated(name: str, reference: object) -> object:
        known = table[_IN_MEMBERS[name]]
        if isinstance(reference, str):
            return known.get(reference, reference)
        if isinstance(reference, Mapping) and "decision" not in reference and isinstance(reference.get("id"), str):
            return {**reference, "id": known.get(reference["id"], reference["id"])}
        return reference

    return {
        name: [translated(name, reference) for reference in value]
        if name in _IN_MEMBERS and isinstance(value, list | tuple)
        else value
        for name, value in entry.items()
    }


def _require_references(entries: Mapping[str, Mapping[str, Document]], ids: Ids) -> None:
    """Require that every reference leads to an object in the file or in the database.

    Raises:
        DeclaredError: the message names the first reference that does not.
    """
    known = {name: set(ids[name]) | set(ids[name].values()) | set(entries.get(name, ())) for name in BY_NAME}
    for section, section_entries in entries.items():
        for name, entry in section_entries.items():
            for kind, target in _references(entry):
                if target not in known[kind]:
                    raise DeclaredError(f"{section}.{name}: refers to {target[:80]!r}, which is not in {kind}.")


def _references(entry: Document) -> list[tuple[str, str]]:
    references: list[tuple[str, str]] = []

    class RecordingTable(dict[str, str]):
        """An empty table that records every key it is asked for."""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

        def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
            references.append((self.kind, key))
            return default

    translated_references(entry, {name: RecordingTable(name) for name in BY_NAME})
    # The built-in ways to sign in are no objects.
    return [(kind, target) for kind, target in references if (kind, target) not in _BUILT_IN]


_BUILT_IN = {("identity_providers", name) for name in ("local", "onetimepin")}
