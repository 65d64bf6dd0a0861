"""JSON Schema to shapes: 2020-12, draft-07, and mixtures of both, as servers send them.

Sound first: every value that a schema allows belongs to the type. Then as exact as TypeScript can be. A keyword with a
value of the wrong type counts as absent, a part that cannot be known is `unknown`, and every size is bounded. In one
case convenience comes before soundness: a schema without `type` but with object or array keywords is read as an object
or an array, although JSON Schema allows every other kind of value.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from stubs.arrays import array_shape
from stubs.facts import is_integer
from stubs.jsdoc import describe
from stubs.literals import SHOWN, enumeration, json_type
from stubs.objects import object_shape
from stubs.references import ReferenceTarget, Resource, SchemaDocument
from stubs.shapes import ALL, NOTHING, Definition, JsonTypes, Property, Shape, Shapes, json_types
from stubs.text import commented, cut, plain

DEEPEST = 24
"""Schemas nested deeper than this in one definition are `unknown`."""
MOST_SCHEMAS = 5_000
"""The most schemas of one document that are read; the rest are `unknown`."""
MOST_DOCUMENTATION = 60_000
"""The most characters of comments from one document."""
MOST_ALTERNATIVES = 64

_OBJECT_KEYWORDS = ("properties", "required", "additionalProperties", "patternProperties", "propertyNames")
_ARRAY_KEYWORDS = ("items", "prefixItems")
_WIDENING = ("anyOf", "oneOf", "enum", "if", "allOf", "$ref", "$dynamicRef", "$recursiveRef")
_SINGLE = {name: frozenset({name}) for name in ALL} | {"integer": frozenset({"number"})}


class SchemaCompiler:
    """Compiles one schema document. `definitions`: every part to which a reference leads, with its body.

    `whole`: long enumerations are written out.
    """

    def __init__(
        self, root: Any, shapes: Shapes, *, hint: str = "Root", documented: bool = True, whole: bool = False
    ) -> None:
        self.definitions: list[Definition] = []
        self._shapes = shapes
        self._hint = hint
        self._whole = whole
        self._document = SchemaDocument(root)
        self._schemas_left = MOST_SCHEMAS
        self._documentation_left = MOST_DOCUMENTATION if documented else 0
        self._by_target: dict[int, Definition] = {}
        self._waiting: deque[tuple[Definition, ReferenceTarget]] = deque()

    def compile(self, allowed: JsonTypes = ALL) -> Shape:
        """The type of those values of the document that are of an allowed JSON type."""
        root = self._document.resource
        shape = self._shape(root.root, allowed, root, 0)
        while self._waiting:
            definition, target = self._waiting.popleft()
            definition.body = self._shape(target.schema, ALL, target.resource, 0)
        return shape

    def _shape(self, schema: Any, allowed: JsonTypes, resource: Resource, depth: int) -> Shape:
        if schema is False:
            return self._shapes.never
        if not isinstance(schema, Mapping) or not schema:
            return self._shapes.top(allowed)
        if self._schemas_left <= 0 or depth > DEEPEST:
            return self._shapes.top(allowed)
        self._schemas_left -= 1
        resource = self._document.enter(schema, resource)
        if self._document.legacy and isinstance(schema.get("$ref"), str):
            return self._or_null(schema, self._reference(schema["$ref"], False, resource, allowed), allowed)
        types = allowed & declared_types(schema)
        within = _Place(self, types, resource, depth)
        parts = self._conjuncts(schema, within)
        shape = self._shapes.intersection([self._base(schema, within, parts), *parts])
        return self._or_null(schema, shape, allowed)

    def _or_null(self, schema: Mapping[str, object], shape: Shape, allowed: JsonTypes) -> Shape:
        """The type, or null where the schema says `nullable`: a keyword of OpenAPI, which JSON Schema ignores. Servers
        that write it do send null."""
        nullable = schema.get("nullable") is True and "null" in allowed
        return self._shapes.union([shape, self._shapes.null]) if nullable else shape

    def _base(self, schema: Mapping[str, Any], place: "_Place", parts: Sequence[Shape]) -> Shape:
        """The type by the schema's own keywords. `parts`: the types by its combinators."""
        types, shapes = place.types, self._shapes
        if "const" in schema:
            return enumeration([schema["const"]], types, shapes)
        if isinstance(schema.get("enum"), list):
            values = schema["enum"]
            refused = _refused_values(schema)
            allowed = [value for value in values if not (isinstance(value, str) and value in refused)]
            shown = schema.get(SHOWN)
            shown = shown if isinstance(shown, int) and not isinstance(shown, bool) and shown > 0 else None
            return enumeration(allowed, types, shapes, whole=self._whole, shown=shown)
        has_object = any(keyword in schema for keyword in _OBJECT_KEYWORDS)
        has_array = any(keyword in schema for keyword in _ARRAY_KEYWORDS)
        if types == ALL:
            types = types.intersection(*map(json_types, parts))
        has_type = _named_types(schema.get("type")) is not None
        if types == ALL and not has_type and (has_object or has_array):
            types = frozenset({"object"} if has_object else ()) | frozenset({"array"} if has_array else ())
        if types == ALL and not (has_object or has_array):
            return shapes.unknown
        members: list[Shape] = []
        if types - {"object", "array"}:
            members.append(shapes.top(types - {"object", "array"}))
        if "number" in types and is_integer(schema):
            members[0] = shapes.union([shapes.top(types - {"object", "array", "number"}), shapes.integer])
        if "array" in types:
            members.append(array_shape(schema, place.inner, shapes, self._document.legacy))
        if "object" in types:
            members.append(self._object(schema, place))
        return shapes.union(members)

    def _object(self, schema: Mapping[str, Any], place: "_Place") -> Shape:
        def keys(names: list[str]) -> Shape:
            return enumeration(names, frozenset({"string"}), self._shapes, whole=self._whole)

        shape = object_shape(schema, place.inner, self._describe, self._shapes, keys)
        refused = schema.get("not")
        if isinstance(refused, Mapping) and set(refused) == {"required"} and isinstance(refused["required"], list):
            names = refused["required"]
            if len(names) == 1 and isinstance(names[0], str):
                absent = self._shapes.object_of([Property(names[0], self._shapes.never, False)])
                return self._shapes.intersection([shape, absent])
        return shape

    def _conjuncts(self, schema: Mapping[str, Any], place: "_Place") -> list[Shape]:
        """The types by the combinators. A value belongs to all of them."""
        parts: list[Shape] = []
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = schema.get(keyword)
            if isinstance(reference, str):
                parts.append(self._reference(reference, keyword == "$dynamicRef", place.resource, place.types))
        together = schema.get("allOf")
        if isinstance(together, list):
            parts += [place.same(part) for part in together[:MOST_ALTERNATIVES]]
        for keyword in ("anyOf", "oneOf"):
            alternatives = schema.get(keyword)
            if isinstance(alternatives, list) and alternatives:
                parts.append(self._alternatives(alternatives, place))
        if "if" in schema and "then" in schema and "else" in schema:
            then = self._shapes.intersection([place.same(schema["if"]), place.same(schema["then"])])
            parts.append(self._shapes.union([then, place.same(schema["else"])]))
        return parts

    def _alternatives(self, alternatives: Sequence[Any], place: "_Place") -> Shape:
        if len(alternatives) > MOST_ALTERNATIVES and all(
            isinstance(one, Mapping) and "const" in one for one in alternatives
        ):
            return enumeration([one["const"] for one in alternatives], place.types, self._shapes, whole=self._whole)
        compiled = [(part, place.same(part)) for part in alternatives[:MOST_ALTERNATIVES]]
        several = len([shape for _, shape in compiled if shape is not self._shapes.null]) > 1
        members = [self._shapes.note(self._describe(part) if several else "", shape) for part, shape in compiled]
        hidden = alternatives[MOST_ALTERNATIVES:]
        if hidden:
            others = place.types & _possible_of_any(hidden)
            members.append(self._shapes.note(f"or one of {len(hidden):,} more", self._shapes.top(others)))
        return self._shapes.union(members)

    def _reference(self, reference: str, dynamic: bool, resource: Resource, allowed: JsonTypes) -> Shape:
        resolve = self._document.resolve_dynamic if dynamic else self._document.resolve
        target = resolve(reference, resource)
        if target is None:
            note = commented(cut(plain(f"not in this schema: {reference}").replace("\n", " "), 100))
            return self._shapes.note(note, self._shapes.top(allowed))
        if not isinstance(target.schema, Mapping) or not target.schema:
            return self._shapes.never if target.schema is False else self._shapes.top(allowed)
        definition = self._by_target.get(id(target.schema))
        if definition is None:
            definition = self._define(reference, target)
        shape = self._shapes.reference(definition)
        if definition.json_types <= allowed:
            return shape
        return self._shapes.intersection([self._shapes.top(allowed), shape])

    def _define(self, reference: str, target: ReferenceTarget) -> Definition:
        definition = Definition(
            hint=target.hint or self._hint,
            place=f"{target.resource.uri}#{reference}",
            json_types=possible_types(target.schema),
            doc=self._describe(target.schema, target.hint),
            wide=any(keyword in target.schema for keyword in _WIDENING),
        )
        self._by_target[id(target.schema)] = definition
        self.definitions.append(definition)
        self._waiting.append((definition, target))
        return definition

    def _describe(self, schema: Any, name: str = "") -> str:
        if self._documentation_left <= 0:
            return ""
        text = describe(schema, name)
        self._documentation_left -= len(text)
        return text


class _Place:
    """The place of a schema: the resource, depth and JSON types with which its parts are compiled."""

    def __init__(self, compiler: SchemaCompiler, types: JsonTypes, resource: Resource, depth: int) -> None:
        self.types = types
        self.resource = resource
        self._compiler = compiler
        self._depth = depth

    def inner(self, schema: Any) -> Shape:
        """The type of a part of the value: a property, an item."""
        return self._compiler._shape(schema, ALL, self.resource, self._depth + 1)

    def same(self, schema: Any) -> Shape:
        """The type of the same value by another schema."""
        return self._compiler._shape(schema, self.types, self.resource, self._depth + 1)


def declared_types(schema: Any) -> JsonTypes:
    """The JSON types that a schema allows by `type` and a plain `not`."""
    if not isinstance(schema, Mapping):
        return NOTHING if schema is False else ALL
    types = _named_types(schema.get("type")) or ALL
    refused = schema.get("not")
    if refused is True or (isinstance(refused, Mapping) and not refused):
        return NOTHING
    if isinstance(refused, Mapping) and set(refused) == {"type"}:
        names = _named_types(refused["type"])
        # Without integers other numbers remain.
        if names and "integer" not in refused["type"]:
            types -= names
    return types


def possible_types(schema: Any, depth: int = 3) -> JsonTypes:
    """A bound on the JSON types that a schema allows, without following references."""
    if not isinstance(schema, Mapping) or depth == 0 or schema.get("nullable") is True:
        return ALL if schema is not False else NOTHING
    types = declared_types(schema)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        types &= frozenset(json_type(value) or "null" for value in values)
    for keyword in ("anyOf", "oneOf"):
        parts = schema.get(keyword)
        if isinstance(parts, list) and parts:
            types &= NOTHING.union(*(possible_types(part, depth - 1) for part in parts))
    return types


def _possible_of_any(schemas: Sequence[Any]) -> JsonTypes:
    types = NOTHING
    for schema in schemas[:MOST_SCHEMAS]:
        types |= possible_types(schema)
        if types == ALL:
            break
    return ALL if len(schemas) > MOST_SCHEMAS else types


def _named_types(declared: Any) -> JsonTypes | None:
    """The types of a `type` keyword; None when it is not valid."""
    names = declared if isinstance(declared, list) else [declared]
    if not names or not all(isinstance(name, str) and name in _SINGLE for name in names):
        return None
    return NOTHING.union(*(_SINGLE[name] for name in names))


def _refused_values(schema: Mapping[str, Any]) -> frozenset[str]:
    """The strings that a plain `not` excludes from an enumeration."""
    refused = schema.get("not")
    if not isinstance(refused, Mapping) or len(refused) != 1:
        return frozenset()
    values = refused.get("enum", [refused["const"]] if "const" in refused else [])
    # Only strings: for numbers equality differs between Python and JSON Schema.
    return frozenset(value for value in values if isinstance(value, str)) if isinstance(values, list) else frozenset()
