"""One request of an administrator, and what a page answers to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.requests import Request

from portal.admin import Actions, AdminError, Area
from portal.identity import Identity
from portal.pages import Visitor

MAX_FIELD = 100_000
"""Characters of one field of a form."""
PER_PAGE = 50
"""Rows of a page of a list."""
BUTTON = "button"
"""The name of a form that is a button only (`parts.button`)."""
OWN_PORTAL_NAME = "The portal of the configuration"


@dataclass(frozen=True, slots=True)
class ConsoleRole:
    """What somebody may do in the console: the name of their role, and its permissions in the admin API."""

    name: str
    permissions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Somebody else has changed the object of a form since its page was shown: `by` their key, "" where that is not
    known. `path` is the page of what stands there now."""

    noun: str
    by: str
    at: datetime | None
    path: str


@dataclass(frozen=True, slots=True)
class Problems:
    """What is wrong with a form: by the name of its field, and what belongs to no field; or that it was overtaken."""

    fields: Mapping[str, str] = field(default_factory=dict)
    loose: Sequence[str] = ()
    overtaken: Overtaken | None = None

    def __bool__(self) -> bool:
        return bool(self.fields or self.loose or self.overtaken)

    @classmethod
    def of(cls, error: AdminError, names: Mapping[str, str] | None = None) -> Problems:
        """The problems of an error of the API. The first part of a pointer is the field, unless `names` says which
        field makes that member of the body. No sentence is said twice of a field."""
        fields: dict[str, str] = {}
        loose: list[str] = []
        said: set[tuple[str, str]] = set()
        for problem in error.problems:
            words = _sentence(problem.message)
            member = problem.pointer.strip("/").split("/")[0]
            name = (names or {}).get(member, member)
            if (name, words) in said:
                continue
            said.add((name, words))
            if name and name not in fields:
                fields[name] = words
            else:
                loose.append(words)
        return cls(fields, loose)

    def of_no_field(self) -> Problems:
        """The same where there is no form to show them in: a button was pressed."""
        return Problems(loose=[*self.fields.values(), *self.loose])


NO_PROBLEMS = Problems()


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of an administrator. `api` does what they may do; `fields` are those of the form that they sent, and
    `problems` what is wrong with it, when its page is shown once more."""

    request: Request
    visitor: Visitor
    identity: Identity
    role: ConsoleRole
    api: Actions
    fields: Mapping[str, str] = field(default_factory=dict)
    problems: Problems = NO_PROBLEMS

    def id(self, name: str = "id") -> str:
        """A parameter of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str, otherwise: str = "") -> str:
        """A parameter of the URL."""
        return self.request.query_params.get(name, otherwise)

    def page_query(self, per_page: int = PER_PAGE) -> Mapping[str, str]:
        """The query of the API for the page of a list that the URL asks for, among those that its search finds."""
        return {"search": self.query("search"), "page": self.query("page", "1"), "per_page": str(per_page)}

    def sent(self, name: str) -> str:
        """A field of the form, without white space around it."""
        return self.fields.get(name, "")[:MAX_FIELD].strip()

    def ticked(self, name: str) -> bool:
        """Whether a box of the form is ticked."""
        return name in self.fields

    def lines(self, name: str) -> list[str]:
        """The lines of a field of the form that have something in them."""
        return [line.strip() for line in self.sent(name).splitlines() if line.strip()]

    def may(self, area: Area, *, writing: bool = True) -> bool:
        """Whether the administrator may change (or read) what belongs to this area."""
        return area.allows(self.role.permissions, writing=writing)


@dataclass(frozen=True, slots=True)
class Crumb:
    """The page above a page."""

    title: str
    path: str


@dataclass(frozen=True, slots=True)
class NamedKey:
    """What a page calls the person or API token of a key, and where their page is, "" for none."""

    words: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: the name of its template, its title, and the values of the template. With `refill` its form has what was
    sent, though nothing is wrong with it. `keys` are those of people and API tokens whom the page names with
    `parts.who(key)`."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    crumbs: Sequence[Crumb] = ()
    status: int = 200
    keys: Sequence[str] = ()
    refill: bool = False


@dataclass(frozen=True, slots=True)
class Went:
    """On to the page at this path, below the prefix of the portal, which says `said`: a key of `notices.NOTICES`."""

    path: str
    said: str = ""


Answer = Shown | Went


def portal_said(id: str) -> str:
    """What a page calls a portal: its id. That of the operator's document has none, or "_" in paths, and gets words."""
    return OWN_PORTAL_NAME if id in ("", "_") else id


def _sentence(words: str) -> str:
    text = words[:1].upper() + words[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
