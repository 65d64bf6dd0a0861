"""`enum` and `const`: JSON values as TypeScript literal types."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stubs.shapes import ALL, Index, JsonTypes, Literal, Property, Shape, Shapes, json_types
from stubs.text import number, quoted

SHOWN = "x-shown"
"""A keyword next to `enum`: how many of its values are written out. A shortened schema has it; it allows no others."""

MOST_LITERALS = 60
MOST_TEXT = 1_200
WHOLE_LITERALS = 2_000
WHOLE_TEXT = 60_000
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


def enumeration(
    values: Iterable[Any], allowed: JsonTypes, shapes: Shapes, *, whole: bool = False, shown: int | None = None
) -> Shape:
    """The union of the values that are of an allowed JSON type.

    A long list is cut: the first values, a comment that counts others, and the last value, so that it stays closed; in
    front of the comment a value of each kind that the first ones do not have. Where the others are no plain values,
    their JSON types take the place of the last. `whole`: only a list that no
    compiler could bear is cut, and that one is open. `shown`: the most values that are written out.
    """
    possible = [value for value in values if (json_type(value) or "null") in allowed]
    most, text = (WHOLE_LITERALS, WHOLE_TEXT) if whole else (MOST_LITERALS, MOST_TEXT)
    if whole or shown is None or len(possible) <= shown:
        members = [literal(value, shapes) for value in possible[: most + 1]]
        if len(possible) <= most and _length(possible) <= text:
            return shapes.union(members)
        count, length = 0, 0
        while count < LITERALS_AFTER_CUT and length < TEXT_AFTER_CUT:
            length += _length(possible[count : count + 1])
            count += 1
    else:
        members, count = [literal(value, shapes) for value in possible[:shown]], shown
    if not whole and (closing := _closing(possible[count:], members[:count], shapes)) is not None:
        nothing = [value for value in possible[count:] if value is None][:1]
        return shapes.union([*members[:count], *closing, *(shapes.null for _ in nothing)])
    others = frozenset(json_type(value) or "null" for value in possible[count:])
    note = f"or one of {len(possible) - count:,} more values"
    return shapes.union([*members[:count], shapes.note(note, shapes.top(others))])


def _closing(others: Sequence[object], first: Sequence[Shape], shapes: Shapes) -> list[Shape] | None:
    """Literals for some of the values that are left out: one of each kind that the first ones do not have, then the
    last one, with a comment that counts those still missing. None where no literal stands for a kind."""
    plain = [value for value in others if value is not None]
    if not plain or not all(isinstance(value, (str, int, float)) for value in plain):
        return None
    kinds = frozenset[str]().union(*map(json_types, first))
    shown: dict[str, Literal] = {}
    last: Literal | None = None
    for value in reversed(plain):
        kind = json_type(value) or "null"
        if last is not None and (kind in shown or kind in kinds):
            continue
        if isinstance(shape := literal(value, shapes), Literal):
            if last is None:
                last = shape
            shown[kind] = shape
    if last is None or not {json_type(value) for value in plain} <= kinds | shown.keys():
        return None
    more = [shape for shape in shown.values() if shape is not last]
    return [*more, shapes.cut(len(plain) - 1 - len(more), last)]


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
