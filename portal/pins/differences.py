"""What waits for approval, in words for whoever decides. Pure. It quotes the server: show it to people only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from portal.pins.judging import Withheld
from portal.pins.schema_changes import Side, differences

LONGEST = 300
MOST = 50
_SCHEMAS: Mapping[str, Side] = {"inputSchema": "input", "outputSchema": "output"}


def in_words(withheld: Withheld) -> list[str]:
    """A clause for each difference, at most `MOST`; of something new what it says of itself."""
    found = list(_differences(withheld))
    return found if len(found) <= MOST else [*found[: MOST - 1], f"and {len(found) - MOST + 1} more"]


def _differences(withheld: Withheld) -> Iterator[str]:
    new = json.loads(withheld.now)
    if withheld.before is None:
        yield "is new"
        for member in ("title", "description"):
            if member in new:
                yield f"{member}: {_shown(new[member])}"
        return
    old = json.loads(withheld.before)
    for member in withheld.changed:
        before, after = old.get(member), new.get(member)
        side = _SCHEMAS.get(member)
        if side is not None and before is not None and after is not None:
            found = differences(before, after, side)
            yield from (one.what for one in found)
            if not found:
                yield f"what is said of its {side} changed"
        elif member == "annotations" and isinstance(before, dict) and isinstance(after, dict):
            for name in sorted({*before, *after}):
                if name not in before or name not in after or _said(before[name]) != _said(after[name]):
                    yield f"{name}: {_change(before.get(name), after.get(name))}"
        else:
            yield f"{member}: {_change(before, after)}"


def _change(before: Any, after: Any) -> str:
    if isinstance(before, str) and isinstance(after, str) and not _plainly_other(before, after):
        # Spelled out from where they differ: what looks the same, or is far into a long text, would not be seen.
        place = len(os.path.commonprefix([before, after]))
        old, new = (ascii(one[max(0, place - 40) : place + 200]) for one in (before, after))
        return f"from character {place + 1} on, {old} became {new}"
    return f"{_shown(before)} became {_shown(after)}"


def _plainly_other(before: str, after: str) -> bool:
    short, ascii_only = max(len(before), len(after)) <= LONGEST, (before + after).isascii()
    return short and ascii_only and before.split() != after.split()


def _said(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
