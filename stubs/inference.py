"""What results look like, learned from the results themselves: a lattice of shapes that no value can be read back from.

A `Seen` says which JSON types came, which properties objects had and whether all of them had it, and what items and
values of maps looked like. `a | b` is what covers both; it is commutative, associative and idempotent, so it
does not matter in which order results come. Of a value nothing is kept but its type, of an object its property names,
and those only while they look like names and are few: an object used as a map, keyed by ids, addresses or whatever
comes, becomes a map.
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
"""An object with more properties than these, or more that only sometimes come, is a map."""
LEAST_ALIKE = 5
"""So is a single one whose values, at least this many, are objects with equal properties, and one with more than
`MOST_OPTIONAL` values of one type."""
LONGEST_NAME = 40
MOST_ITEMS = 1_000
"""Of a longer array as many items, from all over it, are looked at."""
MOST_LOOKED_AT = 50_000
"""Values looked at in one result; what is left then stays unseen."""

_TYPES: dict[type, str] = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string"}
_ORDER = ("string", "number", "boolean", "array", "object", "null")
_NAME = re.compile(r"[$@_]{0,2}[^\W\d_](?:\w|[ :$-](?=\w))*")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_MANY_DIGITS = re.compile(r"(?:\D*\d){5}")
_HEX = re.compile(r"(?=[a-f]*\d[a-f]*\d)[a-f\d]{8}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at one place. `scalars` are JSON Schema's types of what has no parts; a number is a number, since
    the next price may not be a whole one.

    Objects are either a record, `fields` by name, each with whether every object had it, or a map with `values`.
    """

    scalars: frozenset[str] = frozenset()
    items: "Seen | None" = None
    fields: "Fields | None" = None
    values: "Seen | None" = None
    anything: bool = False

    @classmethod
    def of(cls, value: Any) -> "Seen":
        """What one decoded JSON value looks like."""
        return _Look().at([value], DEEPEST)

    def __or__(self, other: "Seen") -> "Seen":
        """What covers both."""
        if self is other or other == NOTHING:
            return self
        if self == NOTHING:
            return other
        if self.anything or other.anything:
            return ANYTHING
        fields, values = _joined_objects(self, other)
        return Seen(self.scalars | other.scalars, _joined(self.items, other.items), fields, values)

    @property
    def size(self) -> int:
        """How many parts it consists of."""
        fields = self.fields.values() if self.fields is not None else ()
        inner = [part for part in (self.items, self.values, *(part for part, _ in fields)) if part is not None]
        return 1 + sum(part.size for part in inner)

    def within(self, largest: int) -> "Seen":
        """The same, with its deepest levels unsaid where it has more than `largest` parts."""
        found, depth = self, DEEPEST
        while found.size > largest and depth > 0:
            depth -= 1
            found = _cut(found, depth)
        return found

    def schema(self) -> Schema:
        """The JSON Schema that says the same; `read` reads it back."""
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
        if self.values is not None:
            types.add("object")
            schema["additionalProperties"] = self.values.schema()
        ordered = [name for name in _ORDER if name in types]
        return {"type": ordered[0] if len(ordered) == 1 else ordered, **schema} if ordered else {}

    def output_schema(self) -> Schema | None:
        """The output schema of a tool, which says where it comes from; None when it would say nothing."""
        schema = self.schema()
        return {"description": INFERRED, **schema} if isinstance(schema, Mapping) and schema else None

    @classmethod
    def read(cls, schema: Any) -> "Seen":
        """What `schema` wrote.

        Raises:
            ValueError: it did not write this.
        """
        return _read(schema, DEEPEST)


Fields = Mapping[str, tuple[Seen, bool]]
NOTHING = Seen()
ANYTHING = Seen(anything=True)


def looks_like_a_name(key: str) -> bool:
    """Whether a key may be the name of a property: short, made as names are, and no id, date, address or token."""
    if len(key) > LONGEST_NAME or not _NAME.fullmatch(key):
        return False
    return not (_MANY_DIGITS.match(key) or _HEX.search(key) or _is_jumbled(key))


def _is_jumbled(key: str) -> bool:
    """Whether capitals, small letters and digits change places as often as in a token."""
    if len(key) < 16 or key.isalpha():
        return False
    return len(key) < 3 * len(_WORD.findall(key))


def _cut(shape: Seen, depth: int) -> Seen:
    """The shape with everything deeper than `depth` levels unsaid."""
    if depth == 0:
        return shape if shape == NOTHING else ANYTHING
    fields = None
    if shape.fields is not None:
        fields = {name: (_cut(part, depth - 1), always) for name, (part, always) in shape.fields.items()}
    items = None if shape.items is None else _cut(shape.items, depth - 1)
    values = None if shape.values is None else _cut(shape.values, depth - 1)
    return Seen(shape.scalars, items, fields, values, shape.anything)


def _read(schema: Any, depth: int) -> Seen:
    if schema is True:
        return ANYTHING
    if not isinstance(schema, Mapping) or not schema.keys() <= _WRITTEN:
        raise ValueError("not a learned shape")
    if not schema:
        return NOTHING
    if depth == 0:
        return ANYTHING
    types = schema.get("type")
    named = [types] if isinstance(types, str) else types
    if not isinstance(named, list) or not named or not all(isinstance(name, str) and name in _ORDER for name in named):
        raise ValueError("not a learned shape")
    fields = values = None
    if "object" in named:
        fields, values = _read_object(schema, depth)
    return Seen(
        frozenset(named) - {"array", "object"},
        _read(schema.get("items", {}), depth - 1) if "array" in named else None,
        fields,
        values,
    )


_WRITTEN = frozenset({"type", "items", "properties", "required", "additionalProperties"})


def _read_object(schema: Mapping[str, Any], depth: int) -> tuple[Fields | None, Seen | None]:
    if "additionalProperties" in schema:
        return None, _read(schema["additionalProperties"], depth - 1)
    properties, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        raise ValueError("not a learned shape")
    return _record_or_map({str(name): (_read(part, depth - 1), name in required) for name, part in properties.items()})


class _Look:
    """One look at one result, column by column: all values that stand at the same place together."""

    def __init__(self) -> None:
        self._left = MOST_LOOKED_AT

    def at(self, values: Sequence[Any], depth: int) -> Seen:
        """What covers all these values."""
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
        # That several objects have the very same keys speaks for a record.
        alike = (len(objects) == 1 or always < len(columns)) and _alike(columns)
        if alike or _is_map(columns, always):
            return None, self.at([*chain.from_iterable(columns.values())], depth)
        return {name: (self.at(column, depth), len(column) == len(objects)) for name, column in columns.items()}, None


def _spread(values: Sequence[Any]) -> Sequence[Any]:
    """At most `MOST_ITEMS` of the values, the first among them."""
    step = -(-len(values) // MOST_ITEMS)
    return values[::step] if step > 1 else values


def _is_map(names: Collection[Any], always: int) -> bool:
    """Whether these names, as many of which every object has, are keys of a map."""
    if len(names) > MOST_NAMES or len(names) - always > MOST_OPTIONAL:
        return True
    return not all(isinstance(name, str) and looks_like_a_name(name) for name in names)


def _alike(columns: Mapping[str, Sequence[Any]]) -> bool:
    """Whether the values under all names are objects with the same properties, two at least; of many names, whether
    the values are of one type."""
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


def _joined(first: Seen | None, second: Seen | None) -> Seen | None:
    if first is None or second is None:
        return second if first is None else first
    return first | second


def _joined_objects(first: Seen, second: Seen) -> tuple[Fields | None, Seen | None]:
    if first.values is not None or second.values is not None:
        return None, _joined(_values(first), _values(second))
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
    """What all values of the objects of a shape look like, whatever their key."""
    if shape.fields is None:
        return shape.values
    found = NOTHING
    for part, _ in shape.fields.values():
        found |= part
    return found
