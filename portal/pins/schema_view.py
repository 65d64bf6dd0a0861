"""A view of a JSON Schema for comparison: kinds of value, members, bounds. Pure, and bounded.

Schemas come from upstream servers: any part may have any type. References are followed within the document only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
ANYTHING = frozenset(kind for kind in KINDS if kind != "integer")
BOUNDS = {
    # By keyword: True if a larger value accepts less, False if a smaller value does, None if any change may.
    "minimum": True,
    "exclusiveMinimum": True,
    "minLength": True,
    "minItems": True,
    "minProperties": True,
    "maximum": False,
    "exclusiveMaximum": False,
    "maxLength": False,
    "maxItems": False,
    "maxProperties": False,
    "pattern": None,
    "format": None,
    "multipleOf": None,
    "uniqueItems": None,
}
MAX_DEPTH = 32
_MAX_HOPS = 64


@dataclass(frozen=True)
class SchemaView:
    """One schema. `kinds` are names of JSON types, `members` schemas by property name, `bounds` values by keyword.

    `values` are the values of an enumeration as JSON, or None. `open` says whether other members are allowed. `default`
    is JSON. `others` are alternatives as JSON, which are compared as wholes.
    """

    kinds: frozenset[str]
    values: tuple[str, ...] | None = None
    members: Mapping[str, object] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    open: bool = True
    items: object = None
    bounds: Mapping[str, object] = field(default_factory=dict)
    default: str | None = None
    others: frozenset[str] = frozenset()


def view(schema: object, root: object) -> SchemaView:
    """The view of `schema`, which is a part of the document `root`."""
    schema = resolved(schema, root)
    if schema is False:
        return SchemaView(frozenset())
    if not isinstance(schema, Mapping):
        return SchemaView(ANYTHING)
    alternatives = _alternatives(schema)
    if alternatives is not None:
        return _joined([view(alternative, root) for alternative in alternatives], schema)
    values = _values(schema)
    members = schema.get("properties")
    return SchemaView(
        kinds=_kinds(schema, values),
        values=values,
        members=members if isinstance(members, Mapping) else {},
        required=frozenset(name for name in _list(schema.get("required")) if isinstance(name, str)),
        open=schema.get("additionalProperties") is not False,
        items=schema.get("items") if isinstance(schema.get("items"), Mapping | bool) else None,
        bounds={name: schema[name] for name in BOUNDS if name in schema},
        default=_text(schema["default"]) if "default" in schema else None,
        others=frozenset(map(_text, _list(schema.get("allOf")))),
    )


def resolved(schema: object, root: object) -> object:
    """The schema that `$ref` refers to, or `schema` itself if it has none.

    A reference out of the document, or to nothing, is dropped. A circle of references accepts anything.
    """
    for _ in range(_MAX_HOPS):
        if not isinstance(schema, Mapping) or not isinstance(reference := schema.get("$ref"), str):
            return schema
        target = _pointed(reference, root)
        if target is None:
            return {key: value for key, value in schema.items() if key != "$ref"}
        schema = target
    return True


def _pointed(reference: str, root: object) -> object:
    if not reference.startswith("#"):
        return None
    target = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or step not in target:
            return None
        target = target[step]
    return target


def _alternatives(schema: Mapping[str, object]) -> Sequence[object] | None:
    for key in ("anyOf", "oneOf"):
        if isinstance(alternatives := schema.get(key), list) and alternatives and len(alternatives) <= 64:
            return alternatives
    return None


def _joined(views: Sequence[SchemaView], schema: Mapping[str, object]) -> SchemaView:
    """One view of several alternatives. If more than one has members, items or bounds, they become `others`."""
    detailed = [each for each in views if each.members or each.items is not None or each.bounds]
    values = [each.values for each in views if each.kinds != {"null"}]
    known = all(value is not None for value in values)
    first = detailed[0] if len(detailed) == 1 else SchemaView(frozenset())
    return SchemaView(
        kinds=frozenset().union(*(each.kinds for each in views)),
        values=tuple(dict.fromkeys(v for value in values for v in value or ())) if known and values else None,
        members=first.members,
        required=first.required,
        open=first.open,
        items=first.items,
        bounds=first.bounds,
        default=_text(schema["default"]) if "default" in schema else None,
        others=frozenset(map(_text, _alternatives(schema) or ())) if len(detailed) > 1 else frozenset(),
    )


def _kinds(schema: Mapping[str, object], values: tuple[str, ...] | None) -> frozenset[str]:
    declared = schema.get("type")
    named = {
        kind
        for kind in ([declared] if isinstance(declared, str) else _list(declared))
        if isinstance(kind, str) and kind in KINDS
    }
    if schema.get("nullable") is True and named:
        named.add("null")
    if not named and values is not None:
        named = {_kind_of(json.loads(value)) for value in values}
    if not named and ("properties" in schema or "required" in schema):
        named = {"object"}
    return frozenset(named) or ANYTHING


def _values(schema: Mapping[str, object]) -> tuple[str, ...] | None:
    if "const" in schema:
        return (_text(schema["const"]),)
    enum = schema.get("enum")
    return tuple(dict.fromkeys(map(_text, enum))) if isinstance(enum, list) else None


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {type(None): "null", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """JSON text without descriptions and titles: equal texts for values that mean the same."""
    return json.dumps(_without_prose(value, 0), sort_keys=True, ensure_ascii=False, default=str)


def _without_prose(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {
            str(key): _without_prose(part, depth + 1)
            for key, part in value.items()
            if key not in ("description", "title", "examples", "$comment") or not isinstance(part, str | list)
        }
    return [_without_prose(part, depth + 1) for part in value] if isinstance(value, list) else value
