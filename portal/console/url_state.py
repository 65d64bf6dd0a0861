"""The filters and the time of a page, as they stand in its URL; and parts of a page that fail alone."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from portal.admin import AdminError
from portal.console.visit import Problems, Visit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UrlState:
    """The parameters of a page that are not empty. `path` is the path that its links begin with, the prefix of the
    portal included."""

    path: str
    values: Mapping[str, str]

    @classmethod
    def of(cls, visit: Visit, path: str, names: Sequence[str]) -> UrlState:
        """What the URL of this request says of these names."""
        values = {name: value for name in names if (value := visit.query(name).strip())}
        return cls(visit.visitor.address.path(path), values)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def href(self, changes: Mapping[str, str] | None = None) -> str:
        """The link to the page with these changes; "" takes a parameter off."""
        return link_to(self.path, {**self.values, **(changes or {})})

    def without(self, *names: str) -> UrlState:
        return UrlState(self.path, {name: value for name, value in self.values.items() if name not in names})


def link_to(path: str, query: Mapping[str, str]) -> str:
    """A link with those parameters that are not empty."""
    text = urlencode({name: value for name, value in query.items() if value})
    return f"{path}?{text}" if text else path


@dataclass(frozen=True, slots=True)
class PagePart(Generic[T]):
    """What a part of a page shows, or the sentence that says why it cannot."""

    value: T | None
    problem: str = ""


async def tried(work: Awaitable[T]) -> PagePart[T]:
    """What comes of it; where the API refuses, its words. The rest of the page is there all the same."""
    try:
        return PagePart(await work)
    except AdminError as error:
        problems = Problems.of(error)
        return PagePart(None, " ".join((*problems.loose, *(f"{one}" for one in problems.fields.values()))))
