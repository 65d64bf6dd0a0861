"""The changes between two listings of a server: tools and prompts that were added, removed or changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import orjson
from pydantic import BaseModel

from portal.exact import encode

MAX_NAMED = 100


class NameChanges(BaseModel):
    """Names of tools or prompts, at most `MAX_NAMED` in each tuple.

    `changed` names those whose title, description, schema or annotations changed.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class ListingChange(BaseModel):
    """One change of a server's tools and prompts. `at` is the time the portal read it."""

    at: datetime
    tools: NameChanges
    prompts: NameChanges


def name_changes(before: Iterable[Mapping[str, object]], after: Iterable[Mapping[str, object]]) -> NameChanges:
    """The changes from `before` to `after`, both raw MCP tools or prompts."""
    old = {str(item["name"]): _canonical(item) for item in before}
    new = {str(item["name"]): _canonical(item) for item in after}
    return NameChanges(
        added=_bounded(name for name in new if name not in old),
        removed=_bounded(name for name in old if name not in new),
        changed=_bounded(name for name in new if name in old and new[name] != old[name]),
    )


def _canonical(item: Mapping[str, object]) -> bytes:
    return encode(item, orjson.OPT_SORT_KEYS)


def _bounded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))[:MAX_NAMED]
