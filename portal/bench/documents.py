"""Reading what developers write and save: JSON and YAML files, bounded, with errors that name the file."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from portal.errors import InputError


def only_known(value: object, known: Collection[str], where: str) -> dict[str, object]:
    """`value` as an object with no other keys than these. Raises InputError naming the nearest."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be an object, not {kind_of(value)}.")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else f" It may have: {', '.join(known)}."
            raise InputError(f"{where} has an unknown key {str(key)[:60]!r}.{meant}")
    return dict(value)


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
