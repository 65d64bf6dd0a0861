"""Input schemas as callers may read them: a required property that has a default may be left out.

Servers whose schemas are made from code list such a property as required, because it always has a value once their own
code has filled it in.
"""

from collections.abc import Mapping
from typing import TypeVar, cast

_DATA = frozenset({"enum", "const", "default", "examples", "example"})
_DEEPEST = 200

T = TypeVar("T")


def without_defaulted(schema: T, depth: int = _DEEPEST) -> T:
    """The schema without those names in `required` whose property has a `default`; the same object if there are none.

    Parts keep their places, so references lead to the same parts.
    """
    if depth == 0:
        return schema
    if isinstance(schema, list):
        items = [without_defaulted(item, depth - 1) for item in schema]
        return cast("T", items) if any(new is not old for new, old in zip(items, schema, strict=True)) else schema
    if not isinstance(schema, Mapping):
        return schema
    changed = {
        key: new
        for key, part in schema.items()
        if key not in _DATA and (new := without_defaulted(part, depth - 1)) is not part
    }
    required, properties = schema.get("required"), schema.get("properties")
    if isinstance(required, list) and isinstance(properties, Mapping):
        names = [name for name in required if not _has_default(properties, name)]
        if len(names) < len(required):
            changed["required"] = names
    return cast("T", {**schema, **changed}) if changed else schema


def _has_default(properties: Mapping[object, object], name: object) -> bool:
    part = properties.get(name) if isinstance(name, str) else None
    return isinstance(part, Mapping) and "default" in part
