"""Schemas of OpenAPI 3.0 and 3.1 as JSON Schema 2020-12, for one direction: what is sent, or what is answered.

A schema that comes out allows every value that the one which went in allows, and often no other. What cannot be kept is
left out, which allows more: keywords of the wrong type, references that lead nowhere, and what is beyond the bounds.
That alternatives exclude one another (`oneOf`) is not kept either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeGuard

from portal.openapi.discriminators import selecting
from portal.openapi.document import MISSING, MOST_HOPS, OpenApiDocument, described, members, nowhere, shortened, text
from portal.openapi.names import definition_name, with_hash

DEEPEST = 24
"""Schemas nested deeper than this within one definition may be anything."""
MOST_DESCRIPTION = 1_000
MOST_EXAMPLE = 80
MOST_MEMBERS = 2_000
"""The most properties or alternatives of one schema that are read."""
LARGEST_DEFINITION = 20_000
"""The most that one definition may weigh, in characters of JSON, roughly."""
LARGEST_VALUE = 1_000_000
"""Values of an `enum` or a `const` that weigh more are left out."""
MOST_WRITTEN = 12_000_000
"""The most that the schemas of all operations weigh, without their definitions. Those that come later have little room:
a document whose operations share a large body by reference has it once, and its tools have it each."""
BUDGET_BEYOND = 1_000
MOST_STEPS = 2_000_000
MOST_REPAIRS = 100

Direction = Literal["input", "output"]
Json = dict[str, object]

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_MEANT: Final = {"int": "integer", "long": "integer", "float": "number", "double": "number", "bool": "boolean"}
_COUNTS: Final = frozenset(
    {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains"}
)
_BOUNDS: Final = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}
_BESIDE_REFERENCE: Final = frozenset({"title", "description", "default", "deprecated", "example", "nullable"})
_SPACES = re.compile(r"[\s_-]+")


@dataclass(slots=True)
class Conversion:
    """One run through schemas that share a budget. `references`: the definitions they name; `together` and `either`:
    those that they name in place, as a part that must hold (`allOf`) or may hold (`anyOf`)."""

    place: str
    budget: int
    within: object = None
    spent: int = 0
    changes: int = 0
    references: dict[str, None] = field(default_factory=dict)
    together: dict[str, None] = field(default_factory=dict)
    either: dict[str, None] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()

    def mark(self) -> tuple[int, int, int]:
        """Where this run stands, for `forget`."""
        return len(self.references), len(self.together), len(self.either)

    def forget(self, mark: tuple[int, int, int]) -> None:
        """Forget the references that were made since: what has them is left out."""
        for known, count in zip((self.references, self.together, self.either), mark, strict=True):
            while len(known) > count:
                known.popitem()


@dataclass(slots=True)
class _Definition:
    """A schema that others refer to, converted when it is first needed."""

    name: str
    raw: Mapping[str, object]
    place: str
    schema: Json | None = None
    weight: int = 0
    references: tuple[str, ...] = ()
    together: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    broken: frozenset[str] = frozenset()
    settled: bool = False


# What each part of the reader looks at. Most schemas have little.
_REQUIRING: Final = frozenset({"required", "allOf"})
_BOUNDING: Final = _COUNTS | _BOUNDS.keys() | set(_BOUNDS.values()) | {"multipleOf", "uniqueItems"}
_OF_OBJECTS: Final = frozenset(
    {"properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames"}
)
_OF_ARRAYS: Final = frozenset({"prefixItems", "items", "contains", "minContains"})
_COMBINING: Final = frozenset({"allOf", "anyOf", "oneOf", "not", "if"})
_VALUES: Final = frozenset({"format", "pattern", "contentMediaType", "contentEncoding", "enum", "const"}) | frozenset(
    {"default", "example", "examples"}
)
# The most schemas that are looked at for hidden properties of one.
_BUILT_ON: Final = 100
_KEPT_TEXT: Final = frozenset({"pattern", "contentMediaType", "contentEncoding"})
_COMPONENTS: Final = "#/components/schemas"
Position = Literal["", "together", "either"]


class SchemaReader:
    """Converts the schemas of one document for one direction. Definitions are converted once."""

    def __init__(self, document: OpenApiDocument, direction: Direction) -> None:
        self._document = document
        self._hiding = "readOnly" if direction == "input" else "writeOnly"
        self._names: dict[int, str] = {}
        self._hidden_of: dict[int, frozenset[str]] = {}
        self._definitions: dict[str, _Definition] = {}
        self._weights: dict[int, int] = {}
        self._written = 0
        self._steps = 0
        self._repairs = 0
        # The component that a definition's name belongs to, however the document is ordered.
        self._plain: dict[str, str] = {}
        for name in sorted(filter(_is_text, members(document.target(_COMPONENTS))), key=lambda one: (len(one), one)):
            self._plain.setdefault(definition_name(name), name)

    def convert(self, raw: object, run: Conversion) -> object:
        """A schema as JSON Schema. Its references lead to definitions, see `definitions`."""
        if self._written > MOST_WRITTEN:
            run.budget = min(run.budget, BUDGET_BEYOND)
        before = run.spent
        converted = self._schema(raw, run, 0, "together", frozenset())
        self._written += run.spent - before
        return converted

    def definitions(self, references: Mapping[str, None], budget: int) -> Json:
        """Definitions for these references and for those within them, the nearest first. What the budget has no room
        for is an object or a value of which nothing is said."""
        found: Json = {}
        queue = list(references)
        for name in queue:
            if name in found:
                continue
            definition = self._settled(name)
            if definition.weight > budget:
                found[name] = _outline(definition.raw)
                continue
            budget -= definition.weight
            found[name] = definition.schema
            queue += [other for other in definition.references if other not in found]
        return found

    def hides(self, raw: object) -> bool:
        """Whether a property of this schema does not belong into this direction."""
        for _ in range(MOST_HOPS):
            if not isinstance(raw, dict):
                return False
            if raw.get(self._hiding) is True:
                return True
            reference = raw.get("$ref")
            if not isinstance(reference, str):
                return False
            raw = self._document.target(reference)
        return False

    # One schema.

    def _schema(self, raw: object, run: Conversion, depth: int, position: Position, hidden: frozenset[str]) -> object:
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, dict):
            self._lose(run, f"has a schema that is {described(raw)}")
            return {}
        if depth > DEEPEST or run.spent > run.budget:
            run.changes += 1
            return {}
        run.spent += 20
        reference = raw.get("$ref")
        if isinstance(reference, str):
            return self._beside_reference(raw, reference, run, depth, position, hidden)
        return self._keywords(raw, run, depth, position, hidden)

    def _beside_reference(
        self,
        raw: Mapping[str, object],
        reference: str,
        run: Conversion,
        depth: int,
        position: Position,
        hidden: frozenset[str],
    ) -> object:
        target = self._reference(reference, run, depth, position)
        if len(raw) == 1:
            return target
        beside = {
            key: value
            for key, value in raw.items()
            if key != "$ref" and (not self._document.old or key in _BESIDE_REFERENCE)
        }
        nullable = beside.pop("nullable", None) is True
        out = self._keywords(beside, run, depth, position, hidden) if beside else {}
        if isinstance(target, dict) and target:
            if out.keys() & target.keys():
                out["allOf"] = [*_listed(out.get("allOf")), target]
            else:
                out = {**out, **target}
        elif target is False:
            return False
        return _or_null(out) if nullable else out

    def _keywords(
        self, raw: Mapping[str, object], run: Conversion, depth: int, position: Position, hidden: frozenset[str]
    ) -> Json:
        out: Json = {}
        self._annotations(raw, run, out)
        types = self._types(raw, run)
        if types:
            out["type"] = types[0] if len(types) == 1 else types
        if not _VALUES.isdisjoint(raw):
            self._values(raw, run, out)
        if not _BOUNDING.isdisjoint(raw):
            self._bounds(raw, out)
        if not _REQUIRING.isdisjoint(raw):
            hidden = self._required(raw, run, out, hidden)
        if not _OF_OBJECTS.isdisjoint(raw):
            self._object(raw, run, out, depth)
        if not _OF_ARRAYS.isdisjoint(raw):
            self._array(raw, run, out, depth)
        if not _COMBINING.isdisjoint(raw):
            self._combinators(raw, run, out, depth, position, hidden)
        return _or_null(out) if raw.get("nullable") is True else out

    def _annotations(self, raw: Mapping[str, object], run: Conversion, out: Json) -> None:
        description = shortened(text(raw.get("description")), MOST_DESCRIPTION)
        title = shortened(text(raw.get("title")), 100)
        if description:
            out["description"] = description
        elif title:
            out["title"] = title
        run.spent += len(description) + len(title)
        if raw.get("deprecated") is True:
            out["deprecated"] = True

    def _types(self, raw: Mapping[str, object], run: Conversion) -> list[str]:
        declared = raw.get("type")
        if declared is None:
            return []
        found: list[str] = []
        for one in declared if isinstance(declared, list) else [declared]:
            name = _MEANT.get(one, one) if isinstance(one, str) else one
            if name == "file":
                name = "string"
            if not isinstance(name, str) or name not in _TYPES:
                self._lose(run, f"has a type that is {repr(name[:40]) if isinstance(name, str) else described(name)}")
                # Of several types one is unknown, so the value may be of any.
                return []
            if name not in found:
                found.append(name)
        return found

    def _values(self, raw: Mapping[str, object], run: Conversion, out: Json) -> None:
        kind = raw.get("format")
        if isinstance(kind, str) and kind:
            if kind in ("byte", "base64") and raw.get("type") == "string":
                out["contentEncoding"] = "base64"
            else:
                out["format"] = kind[:60]
        for key in _KEPT_TEXT:
            value = raw.get(key)
            if isinstance(value, str) and self._room(run, len(value)):
                out[key] = value
        values = raw.get("enum")
        if isinstance(values, list) and values and self._room(run, self._weight_of(values)):
            out["enum"] = values
        if "const" in raw and self._room(run, self._weight_of(raw["const"])):
            out["const"] = raw["const"]
        default = raw.get("default")
        if default is not None and (size := _size(default)) <= MOST_EXAMPLE:
            out["default"] = default
            run.spent += size
        example = raw.get("example")
        examples = raw.get("examples")
        if example is None and isinstance(examples, list) and examples:
            example = examples[0]
        if example is not None and "enum" not in out and (size := _size(example)) <= MOST_EXAMPLE:
            out["examples"] = [example]
            run.spent += size

    def _room(self, run: Conversion, characters: int) -> bool:
        """Whether there is room for so many more, which are then spent."""
        if run.spent + characters > run.budget:
            run.changes += 1
            return False
        run.spent += characters
        return True

    def _weight_of(self, value: object) -> int:
        """Roughly the characters of a value of the document."""
        if not isinstance(value, dict | list):
            return _flat_size(value)
        # Values belong to the document, so nothing else gets their id.
        found = self._weights.get(id(value))
        if found is None:
            found = self._weights[id(value)] = _weight(value, LARGEST_VALUE)
        return found

    def _bounds(self, raw: Mapping[str, object], out: Json) -> None:
        for key in _COUNTS:
            value = raw.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value):
                out[key] = int(value)
        step = raw.get("multipleOf")
        if _is_number(step) and step > 0:
            out["multipleOf"] = step
        if raw.get("uniqueItems") is True:
            out["uniqueItems"] = True
        for key, exclusive in _BOUNDS.items():
            bound, beyond = raw.get(key), raw.get(exclusive)
            if _is_number(beyond):
                out[exclusive] = beyond
            if _is_number(bound):
                out[exclusive if beyond is True else key] = bound

    def _required(
        self, raw: Mapping[str, object], run: Conversion, out: Json, hidden: frozenset[str]
    ) -> frozenset[str]:
        """Writes `required`; returns the names that are hidden in all parts of this schema."""
        together = raw.get("allOf")
        if "required" not in raw and not together:
            return hidden
        hidden |= self._hidden_names(raw)
        required = raw.get("required")
        if isinstance(required, list):
            names = [name for name in dict.fromkeys(n for n in required if isinstance(n, str)) if name not in hidden]
            if names:
                out["required"] = names
                run.spent += sum(len(name) + 3 for name in names)
        return hidden

    def _hidden_names(self, raw: Mapping[str, object]) -> frozenset[str]:
        """Of its own properties and those of what it builds on, the nearest of it."""
        names, seen, parts, left = frozenset[str](), {id(raw)}, [raw], _BUILT_ON
        for one in parts:
            names |= self._own_hidden(one)
            for part in _listed(one.get("allOf"))[:left]:
                left -= 1
                if isinstance(part, dict) and isinstance(reference := part.get("$ref"), str):
                    part = self._document.target(reference)
                if isinstance(part, dict) and id(part) not in seen:
                    seen.add(id(part))
                    parts.append(part)
        return names

    def _own_hidden(self, raw: Mapping[str, object]) -> frozenset[str]:
        properties = raw.get("properties")
        if not isinstance(properties, dict):
            return frozenset()
        # The properties belong to the document, so nothing else gets their id.
        found = self._hidden_of.get(id(properties))
        if found is None:
            names = (name for name, value in properties.items() if isinstance(name, str) and self.hides(value))
            found = self._hidden_of[id(properties)] = frozenset(names)
        return found

    def _object(self, raw: Mapping[str, object], run: Conversion, out: Json, depth: int) -> None:
        properties = raw.get("properties")
        if isinstance(properties, dict):
            out["properties"] = self._properties(properties, run, depth)
        elif properties is not None:
            self._lose(run, f"has properties that are {described(properties)}")
        patterns = raw.get("patternProperties")
        if isinstance(patterns, dict):
            out["patternProperties"] = self._properties(patterns, run, depth)
        others = raw.get("additionalProperties")
        if others is None and raw.get("unevaluatedProperties") is False and not _APPLYING & raw.keys():
            others = False
        if isinstance(others, bool | dict):
            if not (others is False and isinstance(properties, dict) and len(properties) > MOST_MEMBERS):
                out["additionalProperties"] = self._schema(others, run, depth + 1, "", frozenset())
        names = raw.get("propertyNames")
        if isinstance(names, dict):
            out["propertyNames"] = self._schema(names, run, depth + 1, "", frozenset())

    def _properties(self, properties: Mapping[str, object], run: Conversion, depth: int) -> Json:
        found: Json = {}
        for name, value in properties.items():
            if not isinstance(name, str) or self.hides(value):
                run.changes += 1
                continue
            if len(found) >= MOST_MEMBERS:
                run.changes += 1
                break
            run.spent += len(name)
            schema = self._schema(value, run, depth + 1, "", frozenset())
            if isinstance(schema, dict) and "title" in schema and _same_words(schema["title"], name):
                del schema["title"]
            found[name] = schema
        return found

    def _array(self, raw: Mapping[str, object], run: Conversion, out: Json, depth: int) -> None:
        first, items = raw.get("prefixItems"), raw.get("items")
        if isinstance(items, list):
            first, items = items, None
        if isinstance(first, list) and first:
            out["prefixItems"] = [self._schema(one, run, depth + 1, "", frozenset()) for one in first[:MOST_MEMBERS]]
        if isinstance(items, bool | dict) and not (isinstance(first, list) and len(first) > MOST_MEMBERS):
            out["items"] = self._schema(items, run, depth + 1, "", frozenset())
        elif items is not None:
            self._lose(run, f"has items that are {described(items)}")
        contained = raw.get("contains")
        if isinstance(contained, dict):
            out["contains"] = self._schema(contained, run, depth + 1, "", frozenset())
        else:
            out.pop("minContains", None)

    def _combinators(
        self,
        raw: Mapping[str, object],
        run: Conversion,
        out: Json,
        depth: int,
        position: Position,
        hidden: frozenset[str],
    ) -> None:
        together = self._several(raw, "allOf", run)
        parts = [self._schema(one, run, depth + 1, position and "together", hidden) for one in together]
        parts = [part for part in parts if part != {} and part is not True]
        either: Position = "either" if position else ""
        alternatives: list[list[object]] = []
        for key in ("anyOf", "oneOf"):
            several = self._several(raw, key, run)
            mark = run.mark()
            converted = [self._schema(one, run, depth + 1, either, hidden) for one in several]
            if "discriminator" in raw and len(several) > 1:
                converted = self._selected(raw, several, converted)
            run.changes += key == "oneOf"
            if {} in converted or True in converted:
                # One of them takes everything, so the others say nothing.
                run.changes += 1
                run.forget(mark)
            elif converted:
                alternatives.append(converted)
        for number, several in enumerate(alternatives):
            if len(several) == 1:
                parts += [one for one in several if one != {}]
            elif number and "anyOf" in out:
                parts.append({"anyOf": several})
            else:
                out["anyOf"] = several
        if parts:
            _add_parts(out, parts)
        self._refusal(raw, run, out, depth)

    def _selected(self, raw: Mapping[str, object], several: list[object], converted: list[object]) -> list[object]:
        """The alternatives, each with the values of the property that select it."""
        name, selected = selecting(self._document, raw)
        found: list[object] = []
        for one, schema in zip(several, converted, strict=True):
            values = selected.get(text(one.get("$ref")) if isinstance(one, dict) else "")
            if values and isinstance(schema, dict) and schema.keys() == {"$ref"}:
                schema = {**schema, "properties": {name: {"enum": values}}, "required": [name]}
            found.append(schema)
        return found

    def _several(self, raw: Mapping[str, object], key: str, run: Conversion) -> list[object]:
        value = raw.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not value:
            self._lose(run, f"has {key} that is {described(value)}" if value != [] else f"has an empty {key}")
            return []
        if len(value) > MOST_MEMBERS:
            run.changes += 1
            return [] if key != "allOf" else value[:MOST_MEMBERS]
        return value

    def _refusal(self, raw: Mapping[str, object], run: Conversion, out: Json, depth: int) -> None:
        """`not` and `if`, where a part that allows more would make the whole allow less."""
        refused = raw.get("not")
        if isinstance(refused, dict) and refused:
            exact = self._exact(refused, run, depth)
            if exact is not None:
                out["not"] = exact
        condition = raw.get("if")
        if isinstance(condition, dict) and ("then" in raw or "else" in raw):
            exact = self._exact(condition, run, depth)
            if exact is not None:
                out["if"] = exact
                for key in ("then", "else"):
                    if isinstance(raw.get(key), bool | dict):
                        out[key] = self._schema(raw[key], run, depth + 1, "either", frozenset())

    def _exact(self, raw: Mapping[str, object], run: Conversion, depth: int) -> object | None:
        """The schema, unless something of it would be left out or might be."""
        other = Conversion(run.place, run.budget - run.spent)
        converted = self._schema(raw, other, depth + 1, "", frozenset())
        run.spent += other.spent
        if other.changes or other.references or not raw.keys() <= _EXACT:
            run.changes += 1
            return None
        return converted

    # References.

    def _reference(self, reference: str, run: Conversion, depth: int, position: Position) -> Json | bool:
        raw: object = {"$ref": reference}
        hint = ""
        for _ in range(MOST_HOPS):
            following = raw.get("$ref") if isinstance(raw, dict) else None
            if not isinstance(following, str) or (hint and len(raw) > 1 and not self._document.old):  # type: ignore[arg-type]
                break
            hint = following
            raw = self._document.target(hint, run.within)
            if raw is MISSING:
                self._lose(run, nowhere(hint))
                return {}
        else:
            self._lose(run, "has a reference that leads to references only")
            return {}
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, dict):
            self._lose(run, f"refers to {described(raw)}, which is no schema")
            return {}
        name = self._name(raw, hint)
        if position and name in run.broken:
            if position == "either":
                run.changes += 1
                return {}
            own = {key: value for key, value in raw.items() if key not in ("oneOf", "anyOf", "discriminator")}
            return self._keywords(own, run, depth + 1, position, frozenset()) if depth < DEEPEST else {}
        run.references[name] = None
        if position == "together":
            run.together[name] = None
        elif position:
            run.either[name] = None
        run.spent += len(name)
        return {"$ref": f"#/$defs/{name}"}

    def _name(self, raw: Mapping[str, object], reference: str) -> str:
        """The name of a definition: that of a component schema, else the last part of the reference with a hash."""
        known = self._names.get(id(raw))
        if known is not None:
            return known
        place, _, last = reference.rpartition("/")
        name = definition_name(last)
        if place != _COMPONENTS or self._plain.get(name) != last:
            name = with_hash(name, reference)
        while name in self._definitions:
            name = with_hash(name, name)
        self._names[id(raw)] = name
        self._definitions[name] = _Definition(name, raw, reference[1:200])
        return name

    # Definitions.

    def _settled(self, name: str) -> _Definition:
        """The definition, converted, and no longer a part of itself without a property or an item between."""
        definition = self._definitions[name]
        while not definition.settled and not self._walk(name):
            pass
        return definition

    def _walk(self, start: str) -> bool:
        """Settles everything that is a part of this definition in place. False if a circle was broken: walk again."""
        waiting: dict[str, list[str]] = {}
        places: dict[str, int] = {}
        stack = [start]
        while stack:
            name = stack[-1]
            definition = self._definitions[name]
            if not definition.settled and name not in waiting:
                self._convert_definition(definition)
                waiting[name] = [*definition.together, *definition.either]
                places[name] = len(stack) - 1
            if definition.settled or not waiting[name]:
                definition.settled = True
                waiting.pop(name, None)
                stack.pop()
                continue
            self._steps += 1
            following = waiting[name].pop()
            if following not in waiting:
                stack.append(following)
            elif self._repairs < MOST_REPAIRS and self._steps < MOST_STEPS:
                self._break(stack[places[following] :])
                return False
            else:
                # Too much was tried. This one says nothing, and the walk goes on.
                self._circular(definition)
                definition.schema, definition.references, definition.settled = {}, (), True
        return True

    def _break(self, circle: list[str]) -> None:
        """Takes a circle apart, best where a schema builds on another."""
        self._circular(self._definitions[min(circle)])
        self._repairs += 1
        pairs = list(zip(circle, [*circle[1:], circle[0]], strict=True))
        building = [pair for pair in pairs if pair[1] in self._definitions[pair[0]].together]
        for name, following in building or pairs:
            definition = self._definitions[name]
            definition.broken |= {following}
            definition.schema = None

    def _circular(self, definition: _Definition) -> None:
        self._document.gap(definition.place, "is a part of itself, without a property or an item between")

    def _convert_definition(self, definition: _Definition) -> None:
        if definition.schema is not None:
            return
        run = Conversion(definition.place, LARGEST_DEFINITION, within=definition.raw, broken=definition.broken)
        schema = self._schema(definition.raw, run, 0, "together", frozenset())
        definition.schema = schema if isinstance(schema, dict) else {}
        if "title" in definition.schema and _same_words(definition.schema["title"], definition.name):
            del definition.schema["title"]
        definition.weight = run.spent
        definition.references = tuple(run.references)
        definition.together, definition.either = tuple(run.together), tuple(run.either)

    def _lose(self, run: Conversion, why: str) -> None:
        run.changes += 1
        self._document.gap(run.place, why)


_APPLYING: Final = frozenset({"allOf", "anyOf", "oneOf", "if", "then", "else", "$ref", "dependentSchemas"})
# What these say depends on the keywords beside them.
_ADJACENT: Final = frozenset({"additionalProperties", "items", "contains", "minContains", "if", "then", "else"})
_EXACT: Final = frozenset(
    {"type", "enum", "const", "required", "properties", "items", "pattern", "format", "minimum", "maximum", "minLength"}
    | {"maxLength", "minItems", "maxItems", "title", "description", "anyOf", "allOf", "additionalProperties", "not"}
)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _or_null(schema: Json) -> Json:
    """The schema, or null."""
    declared = schema.get("type")
    out = dict(schema)
    if isinstance(out.get("enum"), list) and None not in schema["enum"]:  # type: ignore[operator]
        out["enum"] = [*schema["enum"], None]  # type: ignore[misc]
    if "const" in schema or any(key in schema for key in ("allOf", "anyOf", "not", "if", "$ref")):
        kept: Json = {}
        for key in ("description", "title", "deprecated", "default"):
            if key in out:
                kept[key] = out.pop(key)
        if set(schema) - kept.keys() == {"anyOf"} and isinstance(schema["anyOf"], list):
            return {**kept, "anyOf": [*schema["anyOf"], {"type": "null"}]}
        return {**kept, "anyOf": [out, {"type": "null"}]}
    if isinstance(declared, str):
        out["type"] = [declared, "null"] if declared != "null" else declared
    elif isinstance(declared, list) and "null" not in declared:
        out["type"] = [*declared, "null"]
    return out


def _add_parts(out: Json, parts: list[object]) -> None:
    """Adds what must hold too. One reference, or what has no keyword in common, needs no `allOf`."""
    if len(parts) == 1 and isinstance(parts[0], dict) and not out.keys() & parts[0].keys():
        only = parts[0]
        if not _ADJACENT & only.keys() and not _ADJACENT & out.keys():
            out.update(only)
            return
    if len(parts) == 1 and isinstance(parts[0], dict) and parts[0].keys() == {"$ref"} and "$ref" not in out:
        out.update(parts[0])
        return
    out["allOf"] = parts


def _outline(raw: Mapping[str, object]) -> Json:
    """What is said of a definition for which there is no room."""
    kind = raw.get("type")
    if isinstance(kind, str) and kind in _TYPES and raw.get("nullable") is not True:
        return {"type": kind}
    if "properties" in raw and kind is None:
        return {"type": "object"}
    return {}


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _size(value: object) -> int:
    """Roughly the characters of a value, or more than any bound."""
    if isinstance(value, str):
        return len(value) + 2
    if value is None or isinstance(value, bool | int | float):
        return 8
    if isinstance(value, list) and len(value) <= 8:
        return 2 + sum(map(_flat_size, value))
    if isinstance(value, dict) and len(value) <= 8 and "$ref" not in value:
        return 2 + sum(len(str(key)) + 4 + _flat_size(member) for key, member in value.items())
    return 1_000_000


def _weight(value: object, most: int) -> int:
    """Roughly the characters of a value, or more than `most`."""
    found, pending = 0, [value]
    while pending and found <= most:
        one = pending.pop()
        if isinstance(one, dict):
            found += 2 + sum(len(str(key)) + 4 for key in one)
            pending += one.values()
        elif isinstance(one, list):
            found += 2
            pending += one
        else:
            found += _flat_size(one)
    return found


def _flat_size(value: object) -> int:
    if isinstance(value, str):
        return len(value) + 2
    return 8 if value is None or isinstance(value, bool | int | float) else 1_000_000


def _same_words(title: object, name: str) -> bool:
    return isinstance(title, str) and _SPACES.sub("", title).lower() == _SPACES.sub("", name).lower()
