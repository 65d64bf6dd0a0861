"""The types of one server: compiled documents with their definitions resolved and equal definitions merged.

A definition that is part of a cycle stays a named type. Any other reference stands for its type; `naming` decides
whether that gets a name in the text. Generators copy the same definitions into every tool: equal ones become one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stubs.schema import SchemaCompiler
from stubs.shapes import (
    ALL,
    Array,
    Definition,
    Index,
    Intersection,
    JsonTypes,
    Note,
    Object,
    Primitive,
    Property,
    Reference,
    Shape,
    Shapes,
    Tuple,
    Union,
    breadth,
    children,
)

TALLEST = 16
"""The most levels of a type that is written out in place with its definitions; a taller one gets a name."""


class Library:
    """Compiles schemas into shapes of one table. `whole`: long enumerations are written out. Not thread-safe."""

    def __init__(self, *, documented: bool = True, whole: bool = False) -> None:
        self.shapes = Shapes()
        self._documented = documented
        self._whole = whole
        self._canonical: dict[object, Definition] = {}

    def add(self, schema: Any, hint: str, allowed: JsonTypes = ALL) -> Shape:
        """The type of a schema document. Every reference in it leads to a finished definition."""
        compiler = SchemaCompiler(schema, self.shapes, hint=hint, documented=self._documented, whole=self._whole)
        shape = compiler.compile(allowed)
        if not compiler.definitions:
            return shape
        final: dict[Definition, Definition] = {}
        for group in _groups(compiler.definitions, lambda item: _definitions(item.body)):
            final.update(self._finish(group, final))
        return self._replace(shape, final)

    def _finish(
        self, group: Sequence[Definition], final: Mapping[Definition, Definition]
    ) -> dict[Definition, Definition]:
        """The canonical definitions for a group whose members refer to each other. All other definitions that they
        refer to are in `final` already."""
        first = group[0]
        if len(group) == 1 and first not in _definitions(first.body):
            assert first.body is not None
            first.body = self._replace(first.body, final)
            return {first: self._canonical_for((first.hint, first.doc, first.body), first)}
        _cut_empty_cycles(group, self.shapes)
        # With the same stand-ins for their members, equal groups of two documents have equal bodies, and so equal keys.
        stand_ins = {definition: self._stand_in(definition) for definition in group}
        abstract = [self._replace(definition.body, {**final, **stand_ins}) for definition in group if definition.body]
        own = {**final, **{definition: definition for definition in group}}
        bodies = [self._replace(definition.body, own) for definition in group if definition.body]
        for definition, body in zip(group, bodies, strict=True):
            definition.body, definition.recursive = body, True
        whole = tuple(
            sorted((item.place, item.hint, item.doc, id(body)) for item, body in zip(group, abstract, strict=True))
        )
        return {definition: self._canonical_for((whole, definition.place), definition) for definition in group}

    def _canonical_for(self, key: object, definition: Definition) -> Definition:
        """The first definition with this key. Completes `definition` if it is the first."""
        canonical = self._canonical.setdefault(key, definition)
        if canonical is definition and definition.body is not None:
            definition.breadth = breadth(definition.body)
            definition.height = 1 + _height(definition.body)
            if definition.height > TALLEST:
                definition.recursive = True
        return canonical

    def _stand_in(self, definition: Definition) -> Definition:
        fresh = Definition(definition.hint, definition.place, definition.json_types, "", definition.wide)
        return self._canonical.setdefault((definition.place, definition.json_types, definition.wide), fresh)

    def _replace(self, shape: Shape, final: Mapping[Definition, Definition]) -> Shape:
        return _Replacement(self.shapes, final).shape(shape)


class _Replacement:
    """Rebuilds shapes with other definitions behind their references."""

    def __init__(self, shapes: Shapes, final: Mapping[Definition, Definition]) -> None:
        self._shapes = shapes
        self._final = final
        self._done: dict[Shape, Shape] = {}

    def shape(self, shape: Shape) -> Shape:
        if shape not in self._done:
            self._done[shape] = self._rebuild(shape)
        return self._done[shape]

    def _rebuild(self, shape: Shape) -> Shape:
        shapes = self._shapes
        match shape:
            case Reference(definition):
                return self._reference(self._final.get(definition, definition))
            case Array(item):
                return shapes.array_of(self.shape(item))
            case Tuple(items, required, rest):
                return shapes.tuple_of(
                    [self.shape(item) for item in items], required, None if rest is None else self.shape(rest)
                )
            case Object(properties, indexes):
                return shapes.object_of(
                    (Property(item.name, self.shape(item.shape), item.required, item.doc) for item in properties),
                    (Index(item.key, self.shape(item.shape), item.doc) for item in indexes),
                )
            case Union(members):
                return shapes.union(self.shape(member) for member in members)
            case Intersection(members):
                return shapes.intersection(self.shape(member) for member in members)
            case Note(note, inner):
                return shapes.note(note, self.shape(inner))
            case _:
                return shape

    def _reference(self, definition: Definition) -> Shape:
        body = definition.body
        if isinstance(body, Primitive) and not definition.doc:
            return body
        if isinstance(body, Reference) and not definition.doc:
            return body
        return self._shapes.reference(definition)


def _groups(
    nodes: Sequence[Definition], targets: Callable[[Definition], Iterable[Definition]]
) -> list[list[Definition]]:
    """The strongly connected components, each after those it refers to (Tarjan 1972, without recursion)."""
    order: dict[Definition, int] = {}
    low: dict[Definition, int] = {}
    stack: list[Definition] = []
    on_stack: set[Definition] = set()
    groups: list[list[Definition]] = []
    for root in nodes:
        work = [] if root in order else [(root, iter(targets(root)))]
        while work:
            node, ahead = work[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                stack.append(node)
                on_stack.add(node)
            for target in ahead:
                if target not in order:
                    work.append((target, iter(targets(target))))
                    break
                if target in on_stack:
                    low[node] = min(low[node], order[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    start = stack.index(node)
                    groups.append(stack[start:])
                    on_stack.difference_update(stack[start:])
                    del stack[start:]
    return groups


def _definitions(shape: Shape | None) -> dict[Definition, None]:
    """The definitions that a shape refers to, in their order in the text."""
    definitions: dict[Definition, None] = {}
    visited: set[Shape] = set()
    stack = [shape] if shape is not None else []
    while stack:
        part = stack.pop()
        if part in visited:
            continue
        visited.add(part)
        if isinstance(part, Reference):
            definitions[part.definition] = None
        stack.extend(reversed(children(part)))
    return definitions


def _cut_empty_cycles(group: Sequence[Definition], shapes: Shapes) -> None:
    """Break cycles that pass through no object, array or tuple: a type that is defined as itself (TS2456).

    As one alternative of several the type adds nothing to its own definition and is left out; elsewhere it is
    `unknown`.
    """
    members = set(group)
    for cycle in _groups(group, lambda item: _direct_members(item.body, members)):
        for definition in cycle:
            if definition.body is not None:
                definition.body = _without(definition.body, definition, set(cycle), shapes)


def _direct_members(shape: Shape | None, members: set[Definition]) -> dict[Definition, None]:
    """The members of a group to which a shape refers outside objects, arrays and tuples."""
    direct: dict[Definition, None] = {}
    stack = [shape] if shape is not None else []
    while stack:
        part = stack.pop()
        if isinstance(part, Reference) and part.definition in members:
            direct[part.definition] = None
        elif isinstance(part, (Union, Intersection, Note)):
            stack.extend(children(part))
    return direct


def _without(shape: Shape, own: Definition, cycle: set[Definition], shapes: Shapes) -> Shape:
    match shape:
        case Reference(definition):
            return shapes.unknown if definition in cycle else shape
        case Union(members):
            others = [item for item in members if not (isinstance(item, Reference) and item.definition is own)]
            return shapes.union(_without(item, own, cycle, shapes) for item in others)
        case Intersection(members):
            return shapes.intersection(_without(item, own, cycle, shapes) for item in members)
        case Note(note, inner):
            return shapes.note(note, _without(inner, own, cycle, shapes))
        case _:
            return shape


def _height(shape: Shape) -> int:
    match shape:
        case Reference(definition):
            return 1 if definition.recursive else definition.height
        case _:
            return 1 + max(map(_height, children(shape)), default=0)
