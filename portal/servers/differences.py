"""What a server offers otherwise than before: tools and prompts that came, went, or say something else now. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import orjson
from pydantic import BaseModel

MAX_NAMED = 100


class Difference(BaseModel):
    """Names, at most `MAX_NAMED` of each. `changed`: title, description, schema or annotations are other ones."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Change(BaseModel):
    """One change of what a server offers."""

    at: datetime
    tools: Difference
    prompts: Difference


def difference(before: Iterable[Mapping[str, object]], after: Iterable[Mapping[str, object]]) -> Difference:
    old = {str(one["name"]): _said(one) for one in before}
    new = {str(one["name"]): _said(one) for one in after}
    return Difference(
        added=_named(name for name in new if name not in old),
        removed=_named(name for name in old if name not in new),
        changed=_named(name for name in new if name in old and new[name] != old[name]),
    )


def _said(item: Mapping[str, object]) -> bytes:
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


def _named(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))[:MAX_NAMED]
