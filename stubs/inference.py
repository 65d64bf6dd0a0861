"""The shapes of results, learned from the results: a lattice from which no value can be read back.

A `Seen` has the JSON types that occurred, the properties of objects and whether every object had them, and the shapes
of items and of the values of maps. `a | b` covers both; it is commutative, associative and idempotent, so the order of
results does not matter. Of a value only its type is stored, and of an object its property names, while they look like
names and are few. An object that is used as a map, with ids, addresses or other data for keys, becomes a map.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from stubs.tools import Schema

INFERRED = "Inferred from results seen."

DEEPEST = 12
MOST_NAMES = 64
MOST_OPTIONAL = 24
"""Objects with more than `MOST_NAMES` properties, or `MOST_OPTIONAL` that only some of them have, are maps."""
LEAST_ALIKE = 5
"""An object whose values, at least this many, are all objects with equal properties, is a map. So is one with more than
`MOST_OPTIONAL` values of one type."""
LONGEST_NAME = 40
MOST_ITEMS = 1_000
"""How many items of a longer array are read, evenly spread over it."""
MOST_VALUES = 50_000
"""How many values of one result are read."""

_TYPES: dict[type, str] = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string"}
_ORDER = ("string", "number", "boolean", "array", "object", "null")
_NAME = re.compile(r"[$@_]{0,2}[^\W\d_](?:\w|[ :$-](?=\w))*")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_MANY_DIGITS = re.compile(r"(?:\D*\d){5}")
_HEX = re.compile(r"(?=[a-f]*\d[a-f]*\d)[a-f\d]{8}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seen:
    """The shape of the values at one place. `scalars`: the JSON Schema types of the values without parts. Never
    `integer`: the next price may be no whole number.

    Objects are a record or a map. `fields`: the fields of a record by name, each with whether every object had it.
    `values`: the values of a map. `more`: a record may have other properties, of which nothing is said; `of` never
    says that.
    """

    scalars: frozenset[str] = frozenset()
    items: "Seen | None" = None
    fields: "Fields | None" = None
    values: "Seen | None" = None
    anything: bool = False
    more: bool = False

    @classmethod
    def of(cls, value: Any) -> "Seen":
        """The shape of one decoded JSON value."""
        return _Look().at([value], DEEPEST)

    def __or__(self, other: "Seen") -> "Seen":
        """The shape that covers both."""
        if self is other or other == NOTHING:
            return self
        if self == NOTHING:
            return other
        if self.anything or other.anything:
            return ANYTHING
        fields, values = _join_objects(self, other)
        more = self.more or other.more
        if more and values is not None:
            more, values = False, ANYTHING
        return Seen(self.scalars | other.scalars, _join(self.items, other.items), fields, values, more=more)

    @property
    def size(self) -> int:
        """The number of its parts."""
        fields = self.fields.values() if self.fields is not None else ()
        inner = [part for part in (self.items, self.values, *(part for part, _ in fields)) if part is not None]
        return 1 + sum(part.size for part in inner)

    def within(self, largest: int) -> "Seen":
        """The same shape; if it has more than `largest` parts, without its deepest levels."""
        shape, depth = self, DEEPEST
        while shape.size > largest and depth > 0:
            depth -= 1
            shape = _cut(shape, depth)
        return shape

    def schema(self) -> Schema:
        """The shape as JSON Schema, for `read`."""
        if self.anything:
            return True
        types = set(self.scalars)
        schema: dict[str, Any] = {}
        if self.items is not None:
            types.add("array")
            if self.items != NOTHING:
                schema["items"] = self.items.schema()
        if self.fields is not None:
            types.add("object")
            schema["properties"] = {name: part.schema() for name, (part, _) in self.fields.items()}
            if always := [name for name, (_, every) in self.fields.items() if every]:
                schema["required"] = always
            if self.more:
                schema["additionalProperties"] = True
        if self.values is not None:
            types.add("object")
            schema["additionalProperties"] = self.values.schema()
        ordered = [name for name in _ORDER if name in types]
        return {"type": ordered[0] if len(ordered) == 1 else ordered, **schema} if ordered else {}

    def output_schema(self) -> Schema | None:
        """The shape as the output schema of a tool, marked as inferred. None when nothing is known."""
        schema = self.schema()
        return {"description": INFERRED, **schema} if isinstance(schema, Mapping) and schema else None

    @classmethod
    def read(cls, schema: Any) -> "Seen":
        """The shape of a JSON Schema from `schema`.

        Raises:
            ValueError: it is another JSON Schema.
        """
        return _read(schema, DEEPEST)


Fields = Mapping[str, tuple[Seen, bool]]
NOTHING = Seen()
ANYTHING = Seen(anything=True)


def looks_like_a_name(key: str) -> bool:
    """Whether a key may be the name of a property: short, formed like a name, and not an id, date, address or token."""
    if len(key) > LONGEST_NAME or not _NAME.fullmatch(key):
        return False
    return not (_MANY_DIGITS.match(key) or _HEX.search(key) or _is_jumbled(key))


def _is_jumbled(key: str) -> bool:
    """Whether capitals, small letters and digits alternate as often as in a token."""
    if len(key) < 16 or key.isalpha():
        return False
    return len(key) < 3 * len(_WORD.findall(key))


def _cut(shape: Seen, depth: int) -> Seen:
    """The shape with `ANYTHING` below `depth` levels."""
    if depth == 0:
        return shape if shape == NOTHING else ANYTHING
    fields = None
    if shape.fields is not None:
        fields = {name: (_cut(part, depth - 1), always) for name, (part, always) in shape.fields.items()}
    items = None if shape.items is None else _cut(shape.items, depth - 1)
    values = None if shape.values is None else _cut(shape.values, depth - 1)
    return Seen(shape.scalars, items, fields, values, shape.anything, shape.more)


def _read(schema: Any, depth: int) -> Seen:
    if schema is True:
        return ANYTHING
    if not isinstance(schema, Mapping) or not schema.keys() <= _KEYWORDS:
        raise ValueError("not a learned shape")
    if not schema:
        return NOTHING
    if depth == 0:
        return ANYTHING
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name in _ORDER for name in names):
        raise ValueError("not a learned shape")
    fields = values = None
    more = False
    if "object" in names:
        fields, values = _read_object(schema, depth)
        more = "properties" in schema and "additionalProperties" in schema
        if more and values is not None:
            more, values = False, ANYTHING
    return Seen(
        frozenset(names) - {"array", "object"},
        _read(schema.get("items", {}), depth - 1) if "array" in names else None,
        fields,
        values,
        more=more,
    )


_KEYWORDS = frozenset({"type", "items", "properties", "required", "additionalProperties"})


def _read_object(schema: Mapping[str, Any], depth: int) -> tuple[Fields | None, Seen | None]:
    properties, required = schema.get("properties"), schema.get("required", [])
    if "additionalProperties" in schema:
        if properties is None:
            return None, _read(schema["additionalProperties"], depth - 1)
        if schema["additionalProperties"] is not True:
            raise ValueError("not a learned shape")
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        raise ValueError("not a learned shape")
    return _record_or_map({str(name): (_read(part, depth - 1), name in required) for name, part in properties.items()})


class _Look:
    """Reads one result column by column: all values at the same place together."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def at(self, values: Sequence[Any], depth: int) -> Seen:
        """The shape that covers all these values."""
        values = _spread(values)
        self._left -= len(values)
        if self._left < 0 or not values:
            return NOTHING
        types = set(map(type, values))
        if types - _TYPES.keys() - {list, dict}:
            return ANYTHING
        if depth == 0:
            return ANYTHING
        items = fields = inner = None
        if list in types:
            items = self.at([*chain.from_iterable(value for value in values if type(value) is list)], depth - 1)
        if dict in types:
            fields, inner = self._objects([value for value in values if type(value) is dict], depth - 1)
        return Seen(frozenset(_TYPES[kind] for kind in types if kind in _TYPES), items, fields, inner)

    def _objects(self, objects: Sequence[dict[Any, Any]], depth: int) -> tuple[Fields | None, Seen | None]:
        columns: dict[str, list[Any]] = {}
        for value in objects:
            for key, part in value.items():
                columns.setdefault(key, []).append(part)
        always = sum(len(column) == len(objects) for column in columns.values())
        # Several objects with the same keys are more likely records.
        alike = (len(objects) == 1 or always < len(columns)) and _alike(columns)
        if alike or _is_map(columns, always):
            return None, self.at([*chain.from_iterable(columns.values())], depth)
        return {name: (self.at(column, depth), len(column) == len(objects)) for name, column in columns.items()}, None


def _spread(values: Sequence[Any]) -> Sequence[Any]:
    """At most `MOST_ITEMS` of the values, evenly spread, from the first on."""
    step = -(-len(values) // MOST_ITEMS)
    return values[::step] if step > 1 else values


def _is_map(names: Collection[Any], always: int) -> bool:
    """Whether these names are keys of a map. `always`: how many of them every object has."""
    if len(names) > MOST_NAMES or len(names) - always > MOST_OPTIONAL:
        return True
    return not all(isinstance(name, str) and looks_like_a_name(name) for name in names)


def _alike(columns: Mapping[str, Sequence[Any]]) -> bool:
    """Whether all values are objects with the same properties, at least two, or, of many names, whether they are of
    one type."""
    if len(columns) < LEAST_ALIKE:
        return False
    parts = chain.from_iterable(columns.values())
    first = next(parts)
    if len(columns) > MOST_OPTIONAL and all(type(part) is type(first) for part in parts):
        return True
    parts = chain.from_iterable(columns.values())
    if type(first) is not dict or len(first) < 2:
        return False
    return all(type(part) is dict and part.keys() == first.keys() for part in parts)


def _join(first: Seen | None, second: Seen | None) -> Seen | None:
    if first is None or second is None:
        return second if first is None else first
    return first | second


def _join_objects(first: Seen, second: Seen) -> tuple[Fields | None, Seen | None]:
    if first.values is not None or second.values is not None:
        return None, _join(_values(first), _values(second))
    if first.fields is None or second.fields is None:
        return second.fields if first.fields is None else first.fields, None
    fields: dict[str, tuple[Seen, bool]] = {}
    for name, (part, always) in first.fields.items():
        other = second.fields.get(name)
        fields[name] = (part, False) if other is None else (part | other[0], always and other[1])
    for name, (part, _) in second.fields.items():
        fields.setdefault(name, (part, False))
    return _record_or_map(fields)


def _record_or_map(fields: Fields) -> tuple[Fields | None, Seen | None]:
    if _is_map(fields, sum(always for _, always in fields.values())):
        return None, _values(Seen(fields=fields))
    return fields, None


def _values(shape: Seen) -> Seen | None:
    """The shape that covers all values of the objects of a shape, under any key."""
    if shape.fields is None:
        return shape.values
    values = NOTHING
    for part, _ in shape.fields.values():
        values |= part
    return values
