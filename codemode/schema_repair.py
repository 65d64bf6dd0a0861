"""A schema without one keyword that does not compile, or a reference that leads nowhere, so that the check of its tool
costs that alone. Pure.

What remains allows at least what the schema allows: a broken keyword must not make a working tool unusable. So `not`
and its kind go as a whole, and with the names of properties what is said of all others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from codemode.schema_cost import References

_Json: TypeAlias = Any

_TABLES = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMAS = frozenset(
    "items additionalItems additionalProperties unevaluatedItems unevaluatedProperties then else".split()
)
_NEGATING = frozenset({"not", "if", "oneOf", "contains", "propertyNames"})
"""Keywords that may allow less when a schema within them allows more."""
_OTHERS = {
    "properties": ("additionalProperties", "unevaluatedProperties"),
    "patternProperties": ("additionalProperties", "unevaluatedProperties"),
    "prefixItems": ("items", "unevaluatedItems"),
}
"""What is said of all that a keyword does not name."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_MOST_LOST = 100
_MOST_PARTS = 20_000
_MOST_PASSES = 3  # a reference that is left out may take the target of another with it


def with_known_references(schema: _Json) -> tuple[_Json, list[str]]:
    """A copy without the references that lead nowhere in the document, so that any value is right where they stand, and
    what was left out. Nothing is left out where too many are lost."""
    lost: list[str] = []
    repaired = schema
    for _ in range(_MOST_PASSES):
        paths = list(_lost(repaired))
        if not paths:
            return repaired, lost
        if len(lost) + len(paths) > _MOST_LOST:
            return schema, []
        for path, reference in paths:
            if (without := without_keyword(repaired, path)) is not None:
                repaired = without[0]
                lost.append(f"{without[1]} ({reference[:60]} leads nowhere)")
    return (schema, []) if any(True for _ in _lost(repaired)) else (repaired, lost)


def _lost(root: _Json) -> Iterator[tuple[Sequence[str | int], str]]:
    """The references of a document that lead nowhere in it, each with the path to its keyword."""
    references = References(root)
    pending: list[tuple[_Json, tuple[str | int, ...]]] = [(root, ())]
    for _ in range(_MOST_PARTS):
        if not pending:
            return
        schema, path = pending.pop()
        if not isinstance(schema, dict):
            continue
        for keyword in _REFERENCES:
            reference = schema.get(keyword)
            if isinstance(reference, str):
                target = references.target(reference)[1] if keyword == "$ref" else None
                if not isinstance(target, (dict, bool)):
                    yield (*path, keyword), reference
        for keyword, value in schema.items():
            if isinstance(value, dict) and keyword in _TABLES | {"dependencies"}:
                pending += ((one, (*path, keyword, name)) for name, one in value.items())
            elif isinstance(value, list) and keyword in _LISTS | {"items"}:
                pending += ((one, (*path, keyword, number)) for number, one in enumerate(value))
            elif keyword in _SCHEMAS | _NEGATING:
                pending.append((value, (*path, keyword)))


def without_keyword(schema: _Json, path: Sequence[str | int]) -> tuple[_Json, str] | None:
    """A copy without the keyword whose value, or a part of it, is at `path`, and where that is, as `properties.a.type`.

    None if it cannot be told which one it is. A list of `items`, as before 2020-12, becomes `prefixItems`.
    """
    if not isinstance(schema, dict) or not path:
        return None
    keyword, rest = str(path[0]), path[1:]
    if keyword not in schema:
        return None
    value = schema[keyword]
    if keyword == "items" and isinstance(value, list):
        others = {key: one for key, one in schema.items() if key not in ("items", "additionalItems")}
        items = {"items": schema["additionalItems"]} if "additionalItems" in schema else {}
        return {**others, "prefixItems": value, **items}, "items"
    inner = None if keyword in _NEGATING else _inside(keyword, value, rest)
    if inner is not None:
        return {**schema, **inner[0]}, f"{keyword}.{inner[1]}"
    gone = {keyword, *_OTHERS.get(keyword, ())}
    left = {key: one for key, one in schema.items() if key not in gone}
    if keyword == "patternProperties" and isinstance(value, dict) and rest:
        left[keyword] = {name: one for name, one in value.items() if name != rest[0]}
    return left, keyword


def _inside(keyword: str, value: _Json, rest: Sequence[str | int]) -> tuple[dict[str, _Json], str] | None:
    """The keyword with a value that lacks what is at `rest` in it; None if the value as a whole is wrong."""
    if keyword in _SCHEMAS:
        repaired = without_keyword(value, rest)
        return None if repaired is None else ({keyword: repaired[0]}, repaired[1])
    name = rest[0] if rest else None
    known = keyword in _TABLES if isinstance(value, dict) else keyword in _LISTS and isinstance(value, list)
    if name is None or not known or name not in (value if isinstance(value, dict) else range(len(value))):
        return None
    if (repaired := without_keyword(value[name], rest[1:])) is None:
        if keyword == "patternProperties":
            return None
        # It is no schema: it says nothing of its value.
        repaired = True, ""
    changed: _Json = dict(value) if isinstance(value, dict) else list(value)
    changed[name] = repaired[0]
    return {keyword: changed}, f"{name}.{repaired[1]}".rstrip(".")
