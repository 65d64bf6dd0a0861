"""A JSON Schema as the comparison sees it: what kinds of value, which members, which bounds. Pure, and bounded.

Schemas are an upstream's word: any part may have any type. References are followed within the document only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = ("null", "boolean", "integer", "number", "string", "array", "object")
ANYTHING = frozenset(kind for kind in KINDS if kind != "integer")
BOUNDS = {
    # name: True when a larger value lets less pass, False when a smaller one does, None when any change may
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
class View:
    """`values` are those of an enumeration, None when it is none; `members` by name; `others` are alternatives that
    are compared as wholes."""

    kinds: frozenset[str]
    values: tuple[str, ...] | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    open: bool = True
    items: Any = None
    bounds: Mapping[str, Any] = field(default_factory=dict)
    default: str | None = None
    others: frozenset[str] = frozenset()


def view(schema: Any, root: Any) -> View:
    """The view of a part of the schema document `root`."""
    schema = resolved(schema, root)
    if schema is False:
        return View(frozenset())
    if not isinstance(schema, Mapping):
        return View(ANYTHING)
    alternatives = _alternatives(schema)
    if alternatives is not None:
        return _joined([view(one, root) for one in alternatives], schema)
    values = _values(schema)
    members = schema.get("properties")
    return View(
        kinds=_kinds(schema, values),
        values=values,
        members=members if isinstance(members, Mapping) else {},
        required=frozenset(name for name in _list(schema.get("required")) if isinstance(name, str)),
        open=schema.get("additionalProperties") is not False,
        items=schema.get("items") if isinstance(schema.get("items"), Mapping | bool) else None,
        bounds={name: schema[name] for name in BOUNDS if name in schema},
        default=_text(schema["default"]) if "default" in schema else None,
        others=frozenset(_text(one) for one in _list(schema.get("allOf"))),
    )


def resolved(schema: Any, root: Any) -> Any:
    """A schema with its own `$ref` followed; what leads out of the document, or in a circle, stays as it is."""
    for _ in range(_MAX_HOPS):
        if not isinstance(schema, Mapping) or not isinstance(reference := schema.get("$ref"), str):
            return schema
        target = _pointed(reference, root)
        if target is None:
            return {key: value for key, value in schema.items() if key != "$ref"}
        schema = target
    return True


def _pointed(reference: str, root: Any) -> Any:
    if not reference.startswith("#"):
        return None
    found = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or step not in found:
            return None
        found = found[step]
    return found


def _alternatives(schema: Mapping[str, Any]) -> Sequence[Any] | None:
    for key in ("anyOf", "oneOf"):
        if isinstance(found := schema.get(key), list) and found and len(found) <= 64:
            return found
    return None


def _joined(views: Sequence[View], schema: Mapping[str, Any]) -> View:
    """Several alternatives as one view. Where more than one has members, items or bounds, they are `others`."""
    detailed = [one for one in views if one.members or one.items is not None or one.bounds]
    values = [one.values for one in views if one.kinds != {"null"}]
    known = all(value is not None for value in values)
    first = detailed[0] if len(detailed) == 1 else View(frozenset())
    return View(
        kinds=frozenset().union(*(one.kinds for one in views)),
        values=tuple(dict.fromkeys(v for value in values for v in value or ())) if known and values else None,
        members=first.members,
        required=first.required,
        open=first.open,
        items=first.items,
        bounds=first.bounds,
        default=_text(schema["default"]) if "default" in schema else None,
        others=frozenset(map(_text, _alternatives(schema) or ())) if len(detailed) > 1 else frozenset(),
    )


def _kinds(schema: Mapping[str, Any], values: tuple[str, ...] | None) -> frozenset[str]:
    given = schema.get("type")
    named = {kind for kind in ([given] if isinstance(given, str) else _list(given)) if kind in KINDS}
    if schema.get("nullable") is True and named:
        named.add("null")
    if not named and values is not None:
        named = {_kind_of(json.loads(value)) for value in values}
    if not named and ("properties" in schema or "required" in schema):
        named = {"object"}
    return frozenset(named) or ANYTHING


def _values(schema: Mapping[str, Any]) -> tuple[str, ...] | None:
    if "const" in schema:
        return (_text(schema["const"]),)
    found = schema.get("enum")
    return tuple(dict.fromkeys(map(_text, found))) if isinstance(found, list) else None


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {type(None): "null", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """A JSON value as text that is equal for equal values; descriptions do not make a schema another one."""
    return json.dumps(_without_words(value, 0), sort_keys=True, ensure_ascii=False, default=str)


def _without_words(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {
            str(key): _without_words(part, depth + 1)
            for key, part in value.items()
            if key not in ("description", "title", "examples", "$comment") or not isinstance(part, str | list)
        }
    return [_without_words(part, depth + 1) for part in value] if isinstance(value, list) else value
