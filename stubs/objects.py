"""Objects of JSON Schema: `properties`, `required`, `additionalProperties`, `patternProperties`, `propertyNames`.

An object without `additionalProperties` gets no index signature, although JSON Schema allows other properties.
TypeScript allows them too, except in an object literal, where an undeclared name is nearly always a misspelling.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from stubs.shapes import Index, Literal, Property, Shape, Shapes, Union, json_types

MOST_PROPERTIES = 256
LONGEST_NAME = 200
MOST_INDEXED_KINDS = 6
_OBJECT_MEMBERS = frozenset(
    "constructor toString toLocaleString valueOf hasOwnProperty isPrototypeOf propertyIsEnumerable".split()
)
"""To TypeScript every object has these, as functions: an object without such a property would not fit its type."""
_APPLICATORS = ("allOf", "anyOf", "oneOf", "if", "$ref", "$dynamicRef", "dependentSchemas")
_EVERYTHING = re.compile(r"\^?(\.[*+])?\$?|\^?\(\.[*+]\)\$?|\^?\[\\s\\S\][*+]\$?")
_STARTS_WITH = re.compile(r"\^((?:[A-Za-z0-9_@:/ -]|\\[-./_$])+)(?:\.\*\$?)?")
_ENDS_WITH = re.compile(r"(?:\^\.\*)?((?:[A-Za-z0-9_@:/ -]|\\[-./_$])+)\$")

Compile = Callable[[Any], Shape]


def object_shape(
    schema: Mapping[str, Any],
    compile_: Compile,
    describe: Callable[[Any, str], str],
    shapes: Shapes,
    keys: Callable[[list[str]], Shape],
) -> Shape:
    """The type of the objects that a schema allows, by its object keywords only.

    `keys`: the union of the names that a map may have.
    """
    declared = schema.get("properties")
    declared = declared if isinstance(declared, Mapping) else {}
    required = _names(schema.get("required"))
    patterns = schema.get("patternProperties")
    patterns = patterns if isinstance(patterns, Mapping) else {}
    additional = _additional(schema)
    properties: dict[str, Property] = {}
    for key, part in declared.items():
        name = str(key)
        if len(properties) < MOST_PROPERTIES and len(name) <= LONGEST_NAME:
            shape = compile_(part)
            if name in _OBJECT_MEMBERS and name not in required:
                shape = shapes.union([shape, shapes.function])
            properties[name] = Property(name, shape, name in required, describe(part, name))
    hidden = len(declared) - len(properties)
    for name in _undeclared(schema, required, declared):
        if len(properties) < MOST_PROPERTIES and len(name) <= LONGEST_NAME:
            shape = shapes.unknown if patterns or additional is None else compile_(additional)
            properties[name] = Property(name, shape, name in required)
    if any(item.required and item.shape is shapes.never for item in properties.values()):
        return shapes.never
    if hidden:
        note = f"{hidden:,} more properties"
        return shapes.object_of(properties.values(), [Index("string", shapes.unknown, note)])
    if additional is not None and _limited_names(schema) is not None:
        additional = None if properties else False
    elif not properties and (names := _listed_names(schema)) is not None:
        union = keys(names)
        members = union.members if isinstance(union, Union) else (union,)
        literals = [member.text for member in members if isinstance(member, Literal)]
        if literals and len(literals) == len(members):
            return shapes.object_of((), [Index(" | ".join(literals), compile_(additional))])
    return shapes.object_of(properties.values(), _indexes(properties, patterns, additional, compile_, shapes))


def _undeclared(schema: Mapping[str, Any], required: Mapping[str, None], declared: Mapping[str, Any]) -> list[str]:
    """The undeclared names that are required, or that `propertyNames` lists."""
    names = dict(required)
    names.update(dict.fromkeys(_limited_names(schema) or ()))
    return [name for name in names if name not in declared]


def _limited_names(schema: Mapping[str, Any]) -> list[str] | None:
    """The names of additional properties, where `propertyNames` lists a few."""
    names = _listed_names(schema)
    return names if names is not None and 0 < len(names) <= 2 * MOST_INDEXED_KINDS else None


def _listed_names(schema: Mapping[str, object]) -> list[str] | None:
    """The names of additional properties, where `propertyNames` lists them."""
    names = schema.get("propertyNames")
    if not isinstance(names, Mapping) or _additional(schema) in (None, False) or "patternProperties" in schema:
        return None
    values: list[object] = []
    for one in next((names[key] for key in ("anyOf", "oneOf") if isinstance(names.get(key), list)), [names]):
        if not isinstance(one, Mapping) or not (isinstance(one.get("enum"), list) or "const" in one):
            return None
        values += one["enum"] if isinstance(one.get("enum"), list) else [one["const"]]
    return [value for value in values if isinstance(value, str)]


def _additional(schema: Mapping[str, Any]) -> Any:
    """The schema of other properties; None where no keyword restricts them."""
    if "additionalProperties" in schema:
        return schema["additionalProperties"]
    if "unevaluatedProperties" in schema and not any(keyword in schema for keyword in _APPLICATORS):
        return schema["unevaluatedProperties"]
    return True if isinstance(schema.get("propertyNames"), Mapping) else None


def _indexes(
    properties: Mapping[str, Property], patterns: Mapping[str, Any], additional: Any, compile_: Compile, shapes: Shapes
) -> list[Index]:
    """Index signatures that hold for every property of a value, the declared ones included.

    TypeScript requires that each declared property fits the signature for its name. So the signature includes their
    types, and is `unknown` where that would be long.
    """
    others = shapes.never if additional is False else shapes.unknown if additional is None else compile_(additional)
    if not patterns and additional is None:
        return []
    if not patterns and others is shapes.never:
        return [] if properties else [Index("string", shapes.never)]
    keyed = {str(pattern): compile_(part) for pattern, part in list(patterns.items())[:MOST_INDEXED_KINDS]}
    if len(patterns) > len(keyed):
        others = shapes.unknown
    for pattern in [pattern for pattern in keyed if _EVERYTHING.fullmatch(pattern)]:
        others = keyed.pop(pattern)
        additional = others
    templates = [_template(pattern) for pattern in keyed]
    if additional in (None, False) and keyed and _independent(templates):
        return [
            Index(key, _widened(shape, [item for item in properties.values() if matches(item.name)], shapes))
            for (key, matches), shape in zip(filter(None, templates), keyed.values(), strict=True)
        ]
    return [Index("string", _widened(shapes.union([others, *keyed.values()]), list(properties.values()), shapes))]


def _widened(shape: Shape, properties: list[Property], shapes: Shapes) -> Shape:
    if shape is shapes.unknown or not properties:
        return shape
    kinds = dict.fromkeys([shape, *(item.shape for item in properties)])
    if not all(item.required for item in properties):
        kinds[shapes.undefined] = None
    if len(kinds) > MOST_INDEXED_KINDS or any("object" in json_types(kind) for kind in list(kinds)[1:]):
        return shapes.unknown
    return shapes.union(kinds)


def _template(pattern: str) -> tuple[str, Callable[[str], bool]] | None:
    """The template literal type for the names that a simple pattern matches, and a test for declared names."""
    if match := _STARTS_WITH.fullmatch(pattern):
        start = re.sub(r"\\(.)", r"\1", match[1])
        return f"`{start}${{string}}`", lambda name: name.startswith(start)
    if match := _ENDS_WITH.fullmatch(pattern):
        end = re.sub(r"\\(.)", r"\1", match[1])
        return f"`${{string}}{end}`", lambda name: name.endswith(end)
    return None


def _independent(templates: list[tuple[str, Callable[[str], bool]] | None]) -> bool:
    """Whether every pattern has a template, and no template is a special case of another."""
    texts = [template[0].strip("`").split("${string}") if template else ["", ""] for template in templates]
    return all(texts_a != ["", ""] for texts_a in texts) and not any(
        a is not b and b[0].startswith(a[0]) and b[1].endswith(a[1]) for a in texts for b in texts
    )


def _names(value: Any) -> dict[str, None]:
    """A list of names, in order, as the keys of a dict."""
    return dict.fromkeys(name for name in value if isinstance(name, str)) if isinstance(value, list) else {}
