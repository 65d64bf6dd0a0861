"""Arguments for a call as short as a tool's schema allows: its required members, with plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 8
_TEXTS = {
    "date-time": "2026-01-31T10:00:00Z",
    "date": "2026-01-31",
    "uri": "https://example.com/page",
    "email": "ada@example.com",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "ipv4": "192.0.2.1",
}


def required_arguments(schema: Any) -> dict[str, Any]:
    """The arguments of a call of a tool with this input schema."""
    found = _value(schema, schema, _DEEPEST)
    return found if isinstance(found, dict) else {}


def _value(schema: Any, whole: Any, depth: int) -> Any:
    """A value that a schema accepts, where no pattern or condition asks for more."""
    if not isinstance(schema, Mapping) or depth == 0:
        return "example"
    for word, chosen in (("const", schema.get("const")), ("enum", next(iter(schema.get("enum", ())), None))):
        if word in schema:
            return chosen
    if isinstance(reference := schema.get("$ref"), str):
        return _value(_at(whole, reference), whole, depth - 1)
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return _value({**schema[word][0], **_without(schema, word)}, whole, depth - 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    match kinds if isinstance(kinds, str) else kinds[0]:
        case "object":
            members = schema.get("properties", {})
            return {name: _value(members.get(name, {}), whole, depth - 1) for name in schema.get("required", ())}
        case "array":
            return [_value(schema.get("items", {}), whole, depth - 1)] * max(1, schema.get("minItems", 0))
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "null":
            return None
    text = _TEXTS.get(str(schema.get("format")), "example")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _without(schema: Mapping[str, Any], word: str) -> dict[str, Any]:
    """What a schema says beside its alternatives and its description."""
    return {name: part for name, part in schema.items() if name not in (word, "description")}


def _at(whole: Any, reference: str) -> Any:
    """The part of a schema that a reference within it names."""
    found = whole
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, Mapping) else {}
    return found
