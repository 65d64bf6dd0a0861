"""The changes of a pending definition in words, for the person who decides. Pure.

The words quote the server, so they are for people only and never for a model.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping

from portal.pins.definitions import PendingDefinition
from portal.pins.schema_changes import Side, schema_changes

MAX_QUOTE = 300
MAX_CHANGES = 50
_SCHEMAS: Mapping[str, Side] = {"inputSchema": "input", "outputSchema": "output"}


def describe_changes(definition: PendingDefinition) -> list[str]:
    """A clause for each change, at most `MAX_CHANGES`. For a new definition, its title and description."""
    clauses = list(_clauses(definition))
    if len(clauses) <= MAX_CHANGES:
        return clauses
    return [*clauses[: MAX_CHANGES - 1], f"and {len(clauses) - MAX_CHANGES + 1} more"]


def _clauses(definition: PendingDefinition) -> Iterator[str]:
    new = json.loads(definition.now)
    if definition.before is None:
        yield "is new"
        for member in ("title", "description"):
            if member in new:
                yield f"{member}: {_quote(new[member])}"
        return
    old = json.loads(definition.before)
    for member in definition.changed:
        before, after = old.get(member), new.get(member)
        side = _SCHEMAS.get(member)
        if side is not None and before is not None and after is not None:
            changes = schema_changes(before, after, side)
            yield from (change.what for change in changes)
            if not changes:
                yield f"the descriptions in its {side} schema changed"
        elif member == "annotations" and isinstance(before, dict) and isinstance(after, dict):
            for name in sorted({*before, *after}):
                if name not in before or name not in after or _canonical(before[name]) != _canonical(after[name]):
                    yield f"{name}: {_replacement(before.get(name), after.get(name))}"
        else:
            yield f"{member}: {_replacement(before, after)}"


def _replacement(before: object, after: object) -> str:
    if isinstance(before, str) and isinstance(after, str) and not _visibly_different(before, after):
        # Quote from the first difference on, escaped: a reader would not see a look-alike character, or a change far
        # into a long text.
        place = len(os.path.commonprefix([before, after]))
        old, new = (ascii(text[max(0, place - 40) : place + 200]) for text in (before, after))
        return f"from character {place + 1} on, {old} became {new}"
    return f"{_quote(before)} became {_quote(after)}"


def _visibly_different(before: str, after: str) -> bool:
    short, ascii_only = max(len(before), len(after)) <= MAX_QUOTE, (before + after).isascii()
    return short and ascii_only and before.split() != after.split()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _quote(value: object) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 3] + "..."
