"""Checks of JSON values in developers' files, with errors that say where the mistake is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from portal.errors import InputError


def check_keys(value: object, known: Collection[str], where: str) -> dict[str, object]:
    """`value` as an object that has only known keys.

    Raises:
        InputError: it is not an object, or has another key. The message names the most similar known one.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be an object, not {json_kind(value)}.")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else f" It may have: {', '.join(known)}."
            raise InputError(f"{where} has an unknown key {str(key)[:60]!r}.{meant}")
    return dict(value)


def json_kind(value: object) -> str:
    """The kind of a JSON value, in words."""
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
