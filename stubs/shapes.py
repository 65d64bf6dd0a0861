"""TypeScript types as values, and the algebra that keeps unions and intersections of them small.

Shapes are interned by a `Shapes` table: equal types of one table are one object. So they are compared with `is`, and a
type of many tools is stored once. Shapes form a graph without cycles; recursion goes through a `Definition`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

JsonTypes = frozenset[str]

ALL: JsonTypes = frozenset({"null", "boolean", "number", "string", "array", "object"})
NOTHING: JsonTypes = frozenset()
_PRIMITIVES: dict[str, JsonTypes] = {"unknown": ALL, "integer": frozenset({"number"})}
_IN_ORDER = ("string", "number", "boolean", "array", "object", "null")

LARGEST_BREADTH = 2_000
"""The most members of an intersection after TypeScript has multiplied it out. It gives up at 100,000."""

UNKNOWN_BREADTH = 32
"""The breadth assumed for a definition that has alternatives and no body yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """`string`, `number`, `boolean`, `null`, `unknown`, `never`; `integer`, which a text declares as a name for
    `number`; `undefined` and `Function`, in unions only."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """One string, number, `true` or `false` as a type. `text` is its TypeScript source.

    `more`: so many other literals of an enumeration are left out before it, which its text says in a comment.
    """

    text: str
    json_type: str
    more: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    item: "Shape"


@dataclass(frozen=True, slots=True, eq=False)
class Tuple:
    """`items`, the first `required` of them required, then any number of `rest` (None: no more items)."""

    items: tuple["Shape", ...]
    required: int
    rest: "Shape | None"


class Property(NamedTuple):
    name: str
    shape: "Shape"
    required: bool
    doc: str = ""


class Index(NamedTuple):
    """An index signature. `key` is `string`, a template literal such as `x-${string}` in backquotes, or a union of
    literals, which begins with a quotation mark: such an object has no other members."""

    key: str
    shape: "Shape"
    doc: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Object:
    """Named properties and index signatures. With neither it is any object."""

    properties: tuple[Property, ...]
    indexes: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    members: tuple["Shape", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Intersection:
    members: tuple["Shape", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """A type with a comment in front of it, where no property can have the comment."""

    note: str
    shape: "Shape"


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    definition: "Definition"


Shape = Primitive | Literal | Array | Tuple | Object | Union | Intersection | Note | Reference


@dataclass(slots=True, eq=False)
class Definition:
    """A part of a schema to which references lead. Its body is set after its first reference was compiled."""

    hint: str
    """A word for the name of the type; `naming` makes it unique."""
    place: str
    """Its place in its document, which distinguishes it from the other definitions there."""
    json_types: JsonTypes
    """A bound on the JSON types of its values, known before its body."""
    doc: str
    wide: bool
    """Whether it has alternatives, which multiply in an intersection."""
    body: Shape | None = None
    breadth: int | None = None
    height: int = 1
    recursive: bool = False
    """Whether it is always written as a named type: it is part of a cycle, or too tall to write out in place."""


S = TypeVar("S", bound=Shape)


class Shapes:
    """The table of interned shapes. All shapes come from it."""

    def __init__(self) -> None:
        self._interned: dict[tuple[object, ...], Shape] = {}
        self.unknown = self._primitive("unknown")
        self.never = self._primitive("never")
        self.string = self._primitive("string")
        self.number = self._primitive("number")
        self.integer = self._primitive("integer")
        self.boolean = self._primitive("boolean")
        self.null = self._primitive("null")
        self.undefined = self._primitive("undefined")
        self.function = self._primitive("Function")
        self.any_array = self.array_of(self.unknown)
        self.any_object = self.object_of(())
        self.true = self.literal("true", "boolean")
        self.false = self.literal("false", "boolean")
        self._tops: dict[str, Shape] = {
            "string": self.string,
            "number": self.number,
            "boolean": self.boolean,
            "null": self.null,
            "array": self.any_array,
            "object": self.any_object,
        }
        self._all_tops: dict[JsonTypes, Shape] = {ALL: self.unknown, NOTHING: self.never}

    def top(self, json_types: JsonTypes) -> Shape:
        """The type of every value of these JSON types."""
        shape = self._all_tops.get(json_types)
        if shape is None:
            shape = self.union([self._tops[name] for name in _IN_ORDER if name in json_types])
            self._all_tops[json_types] = shape
        return shape

    def literal(self, text: str, json_type: str) -> Literal:
        return self._intern((Literal, text), Literal(text, json_type))

    def cut(self, more: int, last: Literal) -> Literal:
        """The last literal of an enumeration, with a comment that counts those before it which are left out."""
        more, text = more + last.more, last.text.partition(" */ ")[2] if last.more else last.text
        if not more:
            return last
        text = f"/* {more:,} more */ {text}"
        return self._intern((Literal, text), Literal(text, last.json_type, more))

    def array_of(self, item: Shape) -> Array:
        return self._intern((Array, item), Array(item))

    def tuple_of(self, items: Sequence[Shape], required: int, rest: Shape | None) -> Tuple:
        items = tuple(items)
        return self._intern((Tuple, items, required, rest), Tuple(items, required, rest))

    def object_of(self, properties: Iterable[Property], indexes: Iterable[Index] = ()) -> Object:
        properties, indexes = tuple(properties), tuple(indexes)
        return self._intern((Object, properties, indexes), Object(properties, indexes))

    def note(self, note: str, shape: Shape) -> Shape:
        return self._intern((Note, note, shape), Note(note, shape)) if note else shape

    def reference(self, definition: Definition) -> Reference:
        return self._intern((Reference, definition), Reference(definition))

    def union(self, shapes: Iterable[Shape]) -> Shape:
        """The type of all values that belong to any of the shapes. `null` is the last member."""
        members: dict[Shape, None] = {}
        for shape in shapes:
            members.update(dict.fromkeys(shape.members if isinstance(shape, Union) else (shape,)))
        members.pop(self.never, None)
        if self.unknown in members:
            return self.unknown
        if self.true in members and self.false in members:
            members = {self.boolean if shape is self.true else shape: None for shape in members}
        if self.boolean in members:
            members.pop(self.true, None)
            members.pop(self.false, None)
        if self.number in members:
            members.pop(self.integer, None)
        if self.null in members:
            del members[self.null]
            members[self.null] = None
        if len(members) < 2:
            return next(iter(members), self.never)
        return self._intern((Union, *members), Union(tuple(members)))

    def intersection(self, shapes: Iterable[Shape]) -> Shape:
        """The type of all values that belong to every shape; wider where TypeScript could not bear the exact one."""
        members: dict[Shape, None] = {}
        for shape in shapes:
            members.update(dict.fromkeys(shape.members if isinstance(shape, Intersection) else (shape,)))
        members.pop(self.unknown, None)
        possible = ALL
        for shape in members:
            possible &= json_types(shape)
        if not possible:
            return self.never
        if len(members) < 2:
            return next(iter(members), self.unknown)
        narrowed = dict.fromkeys(self._narrow(shape, possible) for shape in members)
        if self.never in narrowed:
            return self.never
        tops = [shape for shape in narrowed if self.is_top(shape)]
        merged = self._merge([shape for shape in narrowed if shape not in tops])
        if not merged:
            # All of them are tops of the same possible types: one is enough.
            return tops[0]
        bound = ALL
        for shape in merged:
            bound &= json_types(shape)
        narrowing = [shape for shape in tops if not bound <= json_types(shape)]
        return self._finish(dict.fromkeys([*narrowing, *merged]))

    def is_top(self, shape: Shape) -> bool:
        """Whether the shape allows every value of its JSON types."""
        if isinstance(shape, Union):
            return all(self.is_top(member) for member in shape.members)
        return shape in self._tops.values() or shape is self.unknown

    def _primitive(self, text: str) -> Primitive:
        return self._intern((Primitive, text), Primitive(text))

    def _intern(self, key: tuple[object, ...], shape: S) -> S:
        return self._interned.setdefault(key, shape)  # type: ignore[return-value]

    def _narrow(self, shape: Shape, possible: JsonTypes) -> Shape:
        if isinstance(shape, Union):
            return self.union([member for member in shape.members if json_types(member) & possible])
        return shape

    def _merge(self, shapes: list[Shape]) -> list[Shape]:
        """Merge all plain objects into one, and all sets of literals into one."""
        plain = [shape for shape in shapes if isinstance(shape, Object) and self._is_plain(shape)]
        literals = [shape for shape in shapes if is_literals(shape)]
        rest = [shape for shape in shapes if shape not in plain and shape not in literals]
        if plain:
            rest.insert(0, self._merge_objects(plain))
        if literals:
            sets = [shape.members if isinstance(shape, Union) else (shape,) for shape in literals]
            # A set with literals that are left out says nothing about the others.
            sets = [one for one in sets if not any(isinstance(item, Literal) and item.more for item in one)] or sets[:1]
            common = [member for member in sets[0] if all(member in other for other in sets[1:])]
            rest = [self.union(common), *(shape for shape in rest if shape is not self.integer)]
        return rest

    def _merge_objects(self, objects: Sequence[Object]) -> Shape:
        if len(objects) == 1:
            return objects[0]
        merged: dict[str, Property] = {}
        for item in (item for shape in objects for item in shape.properties):
            before = merged.get(item.name)
            if before is not None:
                both = self.intersection([before.shape, item.shape])
                item = Property(item.name, both, before.required or item.required, before.doc or item.doc)
            merged[item.name] = item
        return self.object_of(merged.values(), dict.fromkeys(index for shape in objects for index in shape.indexes))

    def _is_plain(self, shape: Object) -> bool:
        """Whether properties without a name of their own may have any type."""
        return all(index == ("string", self.unknown, "") for index in shape.indexes)

    def _finish(self, members: dict[Shape, None]) -> Shape:
        if self.never in members:
            return self.never
        if math.prod(map(breadth, members)) > LARGEST_BREADTH:
            # Fewer members make the type wider, which is still sound.
            return min(members, key=breadth)
        if len(members) < 2:
            return next(iter(members))
        return self._intern((Intersection, *members), Intersection(tuple(members)))


def json_types(shape: Shape) -> JsonTypes:
    """The JSON types of the values of a shape; for a reference a bound."""
    match shape:
        case Primitive(text):
            return NOTHING if text == "never" else _PRIMITIVES.get(text) or frozenset({text})
        case Literal():
            return frozenset({shape.json_type})
        case Array() | Tuple():
            return frozenset({"array"})
        case Object():
            return frozenset({"object"})
        case Union(members):
            return frozenset().union(*map(json_types, members))
        case Intersection(members):
            return ALL.intersection(*map(json_types, members))
        case Note():
            return json_types(shape.shape)
        case Reference(definition):
            return definition.json_types


def is_literals(shape: Shape) -> bool:
    """Whether a shape is a literal, or a union of literals and `null` only."""
    if isinstance(shape, Union):
        return all(isinstance(member, Literal) or is_null(member) for member in shape.members)
    return isinstance(shape, Literal)


def is_null(shape: Shape) -> bool:
    return isinstance(shape, Primitive) and shape.text == "null"


def breadth(shape: Shape) -> int:
    """About how many members a type has after TypeScript has multiplied out its intersections."""
    match shape:
        case Union(members):
            return sum(map(breadth, members))
        case Intersection(members):
            return math.prod(map(breadth, members))
        case Note():
            return breadth(shape.shape)
        case Reference(definition):
            return definition.breadth or (UNKNOWN_BREADTH if definition.wide else 1)
        case _:
            return 1


def children(shape: Shape) -> tuple[Shape, ...]:
    """The direct parts of a shape; a reference has none."""
    match shape:
        case Array(item):
            return (item,)
        case Tuple(items, _, rest):
            return items if rest is None else (*items, rest)
        case Object(properties, indexes):
            return (*(item.shape for item in properties), *(item.shape for item in indexes))
        case Union(members) | Intersection(members):
            return members
        case Note():
            return (shape.shape,)
        case _:
            return ()
