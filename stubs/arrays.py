"""Arrays and tuples of JSON Schema: `items`, `prefixItems`, `additionalItems`, `minItems`, `maxItems`."""

from collections.abc import Callable, Mapping
from typing import Any

from stubs.shapes import Shape, Shapes

MOST_ELEMENTS = 40
LARGEST_EXACT = 4
"""The longest array of one kind of item and fixed length that is written as a tuple."""


def array_shape(schema: Mapping[str, Any], compile_: Callable[[Any], Shape], shapes: Shapes, legacy: bool) -> Shape:
    """The type of the arrays that a schema allows, by its array keywords only.

    `legacy`: the schema is of draft-07 or before, which has no `prefixItems`.
    """
    prefix, rest = _parts(schema, legacy)
    least, most = _size(schema.get("minItems")) or 0, _size(schema.get("maxItems"))
    if most is not None and least > most:
        return shapes.never
    if not prefix:
        if rest is False or most == 0:
            return shapes.tuple_of((), 0, None) if least == 0 else shapes.never
        item = compile_(rest)
        if most is not None and least == most <= LARGEST_EXACT and item is not shapes.unknown:
            return shapes.tuple_of([item] * least, least, None)
        return shapes.array_of(item)
    if most is not None and most <= len(prefix):
        prefix, rest = prefix[:most], False
    hidden = len(prefix) > MOST_ELEMENTS
    items = [compile_(item) for item in prefix[:MOST_ELEMENTS]]
    after = shapes.unknown if hidden else compile_(rest)
    extra = min(least, MOST_ELEMENTS) - len(items)
    items += [after] * extra
    if shapes.never in items[:least]:
        return shapes.never
    # `...never[]` would mean the same as no further items.
    return shapes.tuple_of(items, min(least, len(items)), None if after is shapes.never else after)


def _parts(schema: Mapping[str, Any], legacy: bool) -> tuple[list[Any], Any]:
    """The schemas of the first items, and the one schema of all further items."""
    prefix, items = schema.get("prefixItems"), schema.get("items", True)
    if isinstance(prefix, list) and prefix and not legacy:
        if "items" not in schema and "unevaluatedItems" in schema:
            return prefix, schema["unevaluatedItems"] if _alone(schema) else True
        return prefix, True if isinstance(items, list) else items
    if isinstance(items, list):
        return items, schema.get("additionalItems", True) if items else True
    return [], items


def _alone(schema: Mapping[str, Any]) -> bool:
    """Whether no other keyword can evaluate the further items, as `unevaluatedItems` means it."""
    others = ("allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef", "contains")
    return not any(keyword in schema for keyword in others)


def _size(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
        return None
    return int(value) if value == int(value) else None
