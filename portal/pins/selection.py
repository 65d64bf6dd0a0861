"""The pending definitions that a person selects by name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from portal.pins.definitions import PendingDefinition

_WITH_DIGEST = re.compile(r"(?s)(.+)@([0-9a-f]{8,64})")


class NotPending(ValueError):
    """No definition of this name waits for approval, or not the one with this digest."""


def select_pending(pending: Iterable[PendingDefinition], names: Sequence[str]) -> tuple[PendingDefinition, ...]:
    """The definitions with these names, or all if there are no names.

    A name is `NAME` or `NAME@DIGEST`, where DIGEST is at least the first 8 digits of the definition's digest.

    Raises:
        NotPending: a name is not pending, or its definition has another digest by now.
    """
    definitions = tuple(pending)
    if not names:
        return definitions
    selected: dict[tuple[str, str], PendingDefinition] = {}
    for name in names:
        for definition in _select(definitions, name):
            selected[definition.kind, definition.name] = definition
    return tuple(selected.values())


def _select(definitions: tuple[PendingDefinition, ...], name: str) -> list[PendingDefinition]:
    # The whole text first: a tool's name may contain an @.
    named = [definition for definition in definitions if definition.name == name]
    if named:
        return named
    parts = _WITH_DIGEST.fullmatch(name)
    if parts is not None:
        named = [definition for definition in definitions if definition.name == parts[1]]
        if exact := [definition for definition in named if definition.digest.startswith(parts[2])]:
            return exact
    if named:
        raise NotPending(f"{named[0].name[:100]!r} is another definition by now: {named[0].digest[:12]}")
    raise NotPending(f"nothing called {name[:100]!r} waits for approval")
