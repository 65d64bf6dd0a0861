"""Which of the waiting definitions somebody means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from portal.pins.judging import Withheld

_WITH_DIGEST = re.compile(r"(?s)(.+)@([0-9a-f]{8,64})")


class NotWaiting(ValueError):
    """Nothing of that name, or not that definition, waits."""


def chosen(withheld: Iterable[Withheld], names: Sequence[str]) -> tuple[Withheld, ...]:
    """Those of these names, each `NAME` or `NAME@DIGEST` with a digest's beginning; no names: all.

    Raises:
        NotWaiting: one of them is not there, or is another by now.
    """
    waiting = tuple(withheld)
    if not names:
        return waiting
    found: dict[tuple[str, str], Withheld] = {}
    for name in names:
        for waits in _meant(waiting, name):
            found[waits.kind, waits.name] = waits
    return tuple(found.values())


def _meant(waiting: tuple[Withheld, ...], written: str) -> list[Withheld]:
    named = [waits for waits in waiting if waits.name == written]
    if named:
        return named
    parts = _WITH_DIGEST.fullmatch(written)
    named = [waits for waits in waiting if parts is not None and waits.name == parts[1]]
    meant = [waits for waits in named if parts is not None and waits.digest.startswith(parts[2])]
    if meant:
        return meant
    if named:
        raise NotWaiting(f"{named[0].name[:100]!r} is another definition by now: {named[0].digest[:12]}")
    raise NotWaiting(f"nothing called {written[:100]!r} waits for approval")
