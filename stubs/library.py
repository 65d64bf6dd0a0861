"""The types of one server: compiled documents with their definitions resolved, equal ones made one.

A definition that is part of a cycle stays a named type. Every other reference is as good as the type it stands for;
whether it gets a name in the text is decided where the text is made. Two tools that carry equal definitions, as
generators write them into each tool, share one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stubs.schema import Compiler
from stubs.shapes import (
    ALL,
    Array,
    Definition,
    Index,
    Intersection,
    JsonTypes,
    Noted,
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
"""A definition taller than this, with all it refers to written out in place, gets a name of its own."""


class Library:
    """Compiles schemas into shapes of one table. Not for use by two threads at once."""

    def __init__(self, *, documented: bool = True) -> None:
        self.shapes = Shapes()
        self._documented = documented
        self._canonical: dict[object, Definition] = {}

    def add(self, schema: Any, hint: str, allowed: JsonTypes = ALL) -> Shape:
        """The type of a schema document. Every reference in it leads to a finished definition."""
        compiler = Compiler(schema, self.shapes, hint=hint, documented=self._documented)
        shape = compiler.compile(allowed)
        if not compiler.definitions:
            return shape
        final: dict[Definition, Definition] = {}
        for group in _groups(compiler.definitions, lambda item: _referred(item.body)):
            final.update(self._finish(group, final))
        return self._replaced(shape, final)

    def _finish(
        self, group: Sequence[Definition], final: Mapping[Definition, Definition]
    ) -> dict[Definition, Definition]:
        """The canonical definitions for a group that refer to each other, all they refer to besides being final."""
        first = group[0]
        if len(group) == 1 and first not in _referred(first.body):
            assert first.body is not None
            first.body = self._replaced(first.body, final)
            return {first: self._kept((first.hint, first.doc, first.body), first)}
        _cut_empty_cycles(group, self.shapes)
        # Spelled with a stand-in for each member, equal groups of two documents are equal keys.
        stand_ins = {definition: self._stand_in(definition) for definition in group}
        spelled = [self._replaced(definition.body, {**final, **stand_ins}) for definition in group if definition.body]
        own = {**final, **{definition: definition for definition in group}}
        bodies = [self._replaced(definition.body, own) for definition in group if definition.body]
        for definition, body in zip(group, bodies, strict=True):
            definition.body, definition.recursive = body, True
        whole = tuple(
            sorted((item.place, item.hint, item.doc, id(body)) for item, body in zip(group, spelled, strict=True))
        )
        return {definition: self._kept((whole, definition.place), definition) for definition in group}

    def _kept(self, key: object, definition: Definition) -> Definition:
        kept = self._canonical.setdefault(key, definition)
        if kept is definition and definition.body is not None:
            definition.breadth = breadth(definition.body)
            definition.height = 1 + _height(definition.body)
            if definition.height > TALLEST:
                definition.recursive = True
        return kept

    def _stand_in(self, definition: Definition) -> Definition:
        fresh = Definition(definition.hint, definition.place, definition.json_types, "", definition.wide)
        return self._canonical.setdefault((definition.place, definition.json_types, definition.wide), fresh)

    def _replaced(self, shape: Shape, final: Mapping[Definition, Definition]) -> Shape:
        return _Replacing(self.shapes, final).shape(shape)


class _Replacing:
    """Rebuilds shapes with other definitions behind their references."""

    def __init__(self, shapes: Shapes, final: Mapping[Definition, Definition]) -> None:
        self._shapes = shapes
        self._final = final
        self._done: dict[Shape, Shape] = {}

    def shape(self, shape: Shape) -> Shape:
        if shape not in self._done:
            self._done[shape] = self._rebuilt(shape)
        return self._done[shape]

    def _rebuilt(self, shape: Shape) -> Shape:
        shapes = self._shapes
        match shape:
            case Reference(definition):
                return self._referred(self._final.get(definition, definition))
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
            case Noted(note, inner):
                return shapes.noted(note, self.shape(inner))
            case _:
                return shape

    def _referred(self, definition: Definition) -> Shape:
        body = definition.body
        if isinstance(body, Primitive) and not definition.doc:
            return body
        if isinstance(body, Reference) and not definition.doc:
            return body
        return self._shapes.reference(definition)


def _groups(
    nodes: Sequence[Definition], targets: Callable[[Definition], Iterable[Definition]]
) -> list[list[Definition]]:
    """Strongly connected components, what is referred to first (Tarjan 1972, without recursion)."""
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


def _referred(shape: Shape | None) -> dict[Definition, None]:
    """The definitions a shape refers to, in order of appearance."""
    found: dict[Definition, None] = {}
    seen: set[Shape] = set()
    waiting = [shape] if shape is not None else []
    while waiting:
        part = waiting.pop()
        if part in seen:
            continue
        seen.add(part)
        if isinstance(part, Reference):
            found[part.definition] = None
        waiting.extend(reversed(children(part)))
    return found


def _cut_empty_cycles(group: Sequence[Definition], shapes: Shapes) -> None:
    """Break cycles that pass through no object, array or tuple: a type that is defined as itself.

    As an alternative beside others it adds nothing to its own definition; else nothing is known of it. TypeScript
    refuses such aliases (TS2456).
    """
    members = set(group)
    for cycle in _groups(group, lambda item: _at_once(item.body, members)):
        for definition in cycle:
            if definition.body is not None:
                definition.body = _without(definition.body, definition, set(cycle), shapes)


def _at_once(shape: Shape | None, members: set[Definition]) -> dict[Definition, None]:
    """The members of a group that must be known before the shape is: those outside objects and arrays."""
    found: dict[Definition, None] = {}
    waiting = [shape] if shape is not None else []
    while waiting:
        part = waiting.pop()
        if isinstance(part, Reference) and part.definition in members:
            found[part.definition] = None
        elif isinstance(part, (Union, Intersection, Noted)):
            waiting.extend(children(part))
    return found


def _without(shape: Shape, own: Definition, cycle: set[Definition], shapes: Shapes) -> Shape:
    match shape:
        case Reference(definition):
            return shapes.unknown if definition in cycle else shape
        case Union(members):
            kept = [item for item in members if not (isinstance(item, Reference) and item.definition is own)]
            return shapes.union(_without(item, own, cycle, shapes) for item in kept)
        case Intersection(members):
            return shapes.intersection(_without(item, own, cycle, shapes) for item in members)
        case Noted(note, inner):
            return shapes.noted(note, _without(inner, own, cycle, shapes))
        case _:
            return shape


def _height(shape: Shape) -> int:
    match shape:
        case Reference(definition):
            return 1 if definition.recursive else definition.height
        case _:
            return 1 + max(map(_height, children(shape)), default=0)
