"""Tools and prompts on pages: rows of what a server offers, and settings with some of them changed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar
from urllib.parse import urlencode

from portal.admin import AdminError, PageInfo
from portal.console.visit import PER_PAGE, Visit

CapabilityKind = Literal["tool", "prompt"]
KINDS: tuple[CapabilityKind, ...] = ("tool", "prompt")
MAX_NAME = 256
MEMBERS = ("enabled", "alias", "description", "labels")
T = TypeVar("T")
Members = Mapping[str, object]
Entries = Sequence[Members]
"""Settings of tools or prompts, as the API takes them."""


class CapabilityOffer(Protocol):
    """A tool or prompt as the API shows it."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def alias(self) -> str | None: ...
    @property
    def description(self) -> str: ...
    @property
    def approval(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CapabilityRow:
    """A tool or prompt on a page. `own` are the settings of its server or portal; one that is not `listed` has settings
    and is not offered now."""

    name: str
    description: str
    enabled: bool
    alias: str
    approval: str
    own: Members
    listed: bool = True


def rows_of(offered: Iterable[CapabilityOffer], kind: str, own: Entries) -> list[CapabilityRow]:
    """The tools or prompts in the order of the server, then those that only settings name."""
    settings = {str(one["name"]): one for one in own}
    rows = [
        CapabilityRow(one.name, one.description, one.enabled, one.alias or "", one.approval, settings.pop(one.name, {}))
        for one in offered
        if one.kind == kind
    ]
    rows += [
        CapabilityRow(name, str(one.get("description") or ""), one.get("enabled") is not False, "", "", one, False)
        for name, one in settings.items()
    ]
    return rows


def found_in(rows: Iterable[CapabilityRow], search: str) -> list[CapabilityRow]:
    """The rows that have this text in a name or the description."""
    wanted = search.lower()
    return [one for one in rows if any(wanted in text.lower() for text in (one.name, one.alias, one.description))]


def list_values(visit: Visit, kind: CapabilityKind, rows: Sequence[CapabilityRow]) -> dict[str, object]:
    """What a list shows of these rows: the page that the URL asks for, of those that its search finds."""
    search = visit.query("search")[:256]
    shown, info = paged(found_in(rows, search), visit.query("page"))
    return {"kind": kind, "rows": shown, "info": info, "search": search, "total": len(rows)}


def names_found(visit: Visit, rows: Iterable[CapabilityRow]) -> list[str]:
    """The names of those that a button for all is about: what the search finds, and is listed now."""
    return [one.name for one in found_in(rows, visit.sent("search")[:256]) if one.listed]


def sent_setting(visit: Visit) -> dict[str, object]:
    """The members of a setting that a form has, None for what is empty."""
    members: dict[str, object] = {
        "alias": visit.sent("alias") or None,
        "description": visit.sent("description") or None,
    }
    if "labels" in visit.fields:
        members["labels"] = words_of(visit.sent("labels")) or None
    return members


async def remember_settings(visit: Visit, kind: str, name: str, path: str, **names: str) -> None:
    """Note the state of the settings of one tool or prompt, before its page is made: those of others may change while
    it is open. `path` is that of the operation that changes them."""
    if 0 < len(name) <= MAX_NAME:
        await visit.api.remember("PATCH", path, {f"updated_{kind}s": [{"name": name}]}, **names)


def words_of(text: str) -> list[str]:
    """The words of a field, with commas, spaces or line ends between them."""
    return text.replace(",", " ").split()


def about_one(error: AdminError) -> AdminError:
    """The error of a list of settings as one about the fields of a form that changes one of them."""
    problems = []
    for problem in error.problems:
        parts = problem.pointer.strip("/").split("/")
        named = [part for part in parts if part in MEMBERS]
        # Two with the same alias are a problem of the list.
        field = named[-1] if named else "alias" if parts[-1] in ("updated_tools", "updated_prompts") else ""
        problems.append(replace(problem, pointer=f"/{field}" if field else ""))
    return AdminError(error.status, problems, error.headers)


def paged(items: Sequence[T], page: str, per_page: int = PER_PAGE) -> tuple[Sequence[T], PageInfo]:
    """The items of a page, the nearest one that there is."""
    total = max(1, -(-len(items) // per_page))
    number = min(max(1, int(page)), total) if page.isascii() and page.isdigit() and len(page) < 9 else 1
    shown = items[(number - 1) * per_page : number * per_page]
    info = PageInfo(page=number, per_page=per_page, count=len(shown), total_count=len(items), total_pages=total)
    return shown, info


def back_to(path: str, visit: Visit, fragment: str = "") -> str:
    """The path of a list, at the search and page from which a form was sent."""
    asked = {name: value for name in ("search", "page") if (value := visit.sent(name)[:256])}
    return path + (f"?{urlencode(asked)}" if asked else "") + fragment


def toggled(visit: Visit, change: Callable[[bool], list[Members]]) -> tuple[list[Members], str]:
    """What a button to enable or disable makes of settings, and what the page says then."""
    enabled = visit.sent("enabled") == "yes"
    return change(enabled), "enabled" if enabled else "disabled"
