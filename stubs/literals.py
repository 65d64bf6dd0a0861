"""`enum` and `const`: JSON values as TypeScript literal types."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stubs.shapes import ALL, Index, JsonTypes, Property, Shape, Shapes
from stubs.text import number, quoted

MOST_LITERALS = 60
MOST_TEXT = 1_200
LITERALS_AFTER_CUT = 24
TEXT_AFTER_CUT = 480
LONGEST_LITERAL = 200
_DEEPEST = 4
_MOST_PARTS = 20


def json_type(value: Any) -> str | None:
    """The JSON type of a decoded value; None for a value that is not JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, Mapping):
        return "object"
    return "array" if isinstance(value, list) else None


def enumeration(values: Iterable[Any], allowed: JsonTypes, shapes: Shapes) -> Shape:
    """The union of the values that are of an allowed JSON type.

    A long list is cut: the first values, then the JSON types of the others, with a comment that counts these.
    """
    possible = [value for value in values if (json_type(value) or "null") in allowed]
    members = [literal(value, shapes) for value in possible[: MOST_LITERALS + 1]]
    if len(possible) <= MOST_LITERALS and _length(possible) <= MOST_TEXT:
        return shapes.union(members)
    count, length = 0, 0
    while count < LITERALS_AFTER_CUT and length < TEXT_AFTER_CUT:
        length += _length(possible[count : count + 1])
        count += 1
    others = frozenset(json_type(value) or "null" for value in possible[count:])
    note = f"or one of {len(possible) - count:,} more values"
    return shapes.union([*members[:count], shapes.note(note, shapes.top(others))])


def literal(value: Any, shapes: Shapes, depth: int = _DEEPEST) -> Shape:
    """The type of one value, as exact as TypeScript and the bounds allow."""
    if isinstance(value, bool):
        return shapes.true if value else shapes.false
    if isinstance(value, str) and len(value) <= LONGEST_LITERAL:
        return shapes.literal(quoted(value), "string")
    if isinstance(value, (int, float)) and (text := number(value)) is not None:
        return shapes.literal(text, "number")
    if isinstance(value, (list, Mapping)) and depth and len(value) <= _MOST_PARTS:
        return _compound(value, shapes, depth)
    kind = json_type(value)
    return shapes.top(frozenset({kind}) if kind else ALL)


def _compound(value: Sequence[Any] | Mapping[str, Any], shapes: Shapes, depth: int) -> Shape:
    if not isinstance(value, Mapping):
        items = [literal(item, shapes, depth - 1) for item in value]
        return shapes.tuple_of(items, len(items), None)
    if not value:
        return shapes.object_of((), [Index("string", shapes.never)])
    return shapes.object_of(Property(str(key), literal(item, shapes, depth - 1), True) for key, item in value.items())


def _length(values: Sequence[Any]) -> int:
    """About how many characters the values take as literals. Only strings can be long."""
    return sum(len(value) + 5 if isinstance(value, str) else 12 for value in values)
