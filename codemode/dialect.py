"""A tool's schema in JSON Schema's own words, for the check of arguments: as its declaration reads it.

Two keywords mean more to the servers that write them than to JSON Schema. `nullable` of OpenAPI 3.0 allows null in
addition to what the rest of the schema allows. `oneOf` is a list of alternatives: where two of them overlap, JSON
Schema refuses the values that both allow, although each of them declares to take them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

_DATA = frozenset({"enum", "const", "default", "examples", "example"})
_TABLES = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
_REFUSING = ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_DEEPEST = 200

_Path = tuple[str, ...]
_Json: TypeAlias = Any


def in_own_words(schema: _Json) -> _Json:
    """An equal schema without `nullable` and `oneOf`; references within it lead to the same parts. Nothing is changed
    in the schema itself."""
    writer = _Writer()
    written = writer.write(schema, (), (), 0)
    return writer.redirected(written) if writer.moves else written


class _Writer:
    """Writes one schema. `moves`: the new place of each part that has another, by its place in the original."""

    def __init__(self) -> None:
        self.moves: dict[_Path, _Path] = {}

    def write(self, schema: _Json, old: _Path, new: _Path, depth: int) -> _Json:
        if isinstance(schema, list):
            return [self.write(item, (*old, str(at)), (*new, str(at)), depth + 1) for at, item in enumerate(schema)]
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return schema
        nullable = schema.get("nullable") is True
        apart = {key for key in _REFUSING if key in schema} if nullable else set()
        if nullable and "const" in schema and "enum" in schema:
            apart.add("const")
        written: dict[str, _Json] = {}
        rest: dict[str, _Json] = {}
        for key, value in schema.items():
            into, place = (rest, (*new, "anyOf", "1")) if key in apart else (written, new)
            if key == "oneOf" and isinstance(value, list):
                name, place = ("anyOf", place) if "anyOf" not in schema else ("allOf", place)
                if name == "allOf":
                    # Both lists hold: the second one becomes one more part of `allOf`.
                    parts = into.get("allOf", self._of(schema, "allOf", old, place, depth))
                    parts = parts if isinstance(parts, list) else []
                    target = (*place, "allOf", str(len(parts)), "anyOf")
                    self._move((*old, key), target)
                    into["allOf"] = [*parts, {"anyOf": self.write(value, (*old, key), target, depth + 1)}]
                    continue
                self._move((*old, key), (*place, name))
                into[name] = self.write(value, (*old, key), (*place, name), depth + 1)
            elif key == "allOf" and "allOf" in into:
                continue
            else:
                if place != new:
                    self._move((*old, key), (*place, key))
                into[key] = self._member(key, value, (*old, key), (*place, key), depth)
        if written.get("additionalProperties") is False:
            # The library names the members that are too many only where others are known.
            written.setdefault("properties", {})
        if nullable:
            _allow_null(written)
        if rest:
            written["anyOf"] = [{"type": "null"}, rest]
        return written

    def redirected(self, schema: _Json) -> _Json:
        """The schema with references that follow the moves."""
        if isinstance(schema, list):
            return [self.redirected(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        return {
            key: self._reference(value)
            if key == "$ref" and isinstance(value, str)
            else value
            if key in _DATA
            else self.redirected(value)
            for key, value in schema.items()
        }

    def _of(self, schema: Mapping[str, _Json], key: str, old: _Path, place: _Path, depth: int) -> _Json:
        return self._member(key, schema[key], (*old, key), (*place, key), depth) if key in schema else []

    def _member(self, key: str, value: _Json, old: _Path, new: _Path, depth: int) -> _Json:
        if key in _DATA:
            return value
        if key in _TABLES and isinstance(value, Mapping):
            return {
                name: self.write(part, (*old, str(name)), (*new, str(name)), depth + 1) for name, part in value.items()
            }
        return self.write(value, old, new, depth + 1) if isinstance(value, Mapping | list) else value

    def _move(self, old: _Path, new: _Path) -> None:
        self.moves[old] = new

    def _reference(self, reference: str) -> str:
        if not reference.startswith("#/"):
            return reference
        old: _Path = ()
        new: _Path = ()
        for token in unquote(reference[2:]).split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            old = (*old, name)
            new = self.moves.get(old, (*new, name))
        return "#/" + "/".join(quote(name.replace("~", "~0").replace("/", "~1"), safe="~") for name in new)


def _allow_null(schema: dict[str, _Json]) -> None:
    """Let a schema allow null by its own `type`, `enum` and `const`; no other keyword that it still has refuses it."""
    schema.pop("nullable", None)
    types = schema.get("type")
    if isinstance(types, str) and types != "null":
        schema["type"] = [types, "null"]
    elif isinstance(types, list) and "null" not in types:
        schema["type"] = [*types, "null"]
    if "const" in schema and "enum" not in schema:
        schema["enum"] = [schema.pop("const")]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
