"""A tool with less said about it: what an agent reads first, cut so that the types stay true and say what is missing.

Each level leaves out more: long texts, then texts of optional properties, inner objects and long enumerations, then
optional properties themselves. An object with something left out takes any further property, and says how many.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stubs import Tool

_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n|\n[-*#]")
_TEXTS = ("description", "title")
_NOISE = ("examples", "example", "default", "$comment", "pattern")
_WITHIN = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_TABLES = ("$defs", "definitions", "patternProperties", "dependentSchemas")
_MOST_DEEP = 40


@dataclass(frozen=True, slots=True)
class _Level:
    """`text`: characters of the tool's own description; `required` and `optional`: of a property's; `depth`: how deep
    objects are written out; `values`: of an enumeration; `properties`: optional ones of an object; `members`: of a
    union."""

    text: int
    required: int
    optional: int
    depth: int
    values: int
    properties: int
    members: int
    returned: int


_LEVELS = (
    _Level(400, 160, 120, 3, 24, 40, 12, 3),
    _Level(300, 120, 70, 2, 16, 24, 8, 2),
    _Level(240, 90, 40, 2, 12, 16, 6, 2),
    _Level(200, 70, 0, 1, 10, 12, 5, 1),
    _Level(160, 50, 0, 1, 6, 8, 4, 1),
    _Level(120, 30, 0, 0, 4, 5, 3, 0),
    _Level(80, 0, 0, 0, 3, 3, 2, 0),
)
LEVELS = len(_LEVELS)


def shortened(tool: Tool, level: int) -> Tool:
    """The tool at a level, 1 to `LEVELS`, the last the shortest; 0 is the tool itself."""
    if level == 0:
        return tool
    limits = _LEVELS[level - 1]
    returned = tool.output_schema
    return replace(
        tool,
        description=_first_sentence(tool.description, limits.text),
        input_schema=_schema(tool.input_schema, limits, limits.depth, limits.required),
        output_schema=None if returned is None else _schema(returned, limits, limits.returned, limits.required),
    )


def _schema(schema: Any, level: _Level, depth: int, text: int, nested: int = 0) -> Any:
    """A shorter schema that accepts every value the whole one accepts.

    `text`: the characters of its own description; `depth`: the levels of objects it still writes out.
    """
    if not isinstance(schema, Mapping) or nested > _MOST_DEEP:
        return schema if isinstance(schema, bool) else {}
    if depth < 0 and isinstance(schema.get("properties"), Mapping) and schema["properties"]:
        return {"type": schema.get("type", "object"), "description": _left_out(len(schema["properties"]), "properties")}
    cut: dict[str, Any] = {key: value for key, value in schema.items() if key not in _NOISE and key not in _TEXTS}
    if sentence := _first_sentence(schema.get("description"), text):
        cut["description"] = sentence
    for key in _WITHIN:
        if key in cut:
            cut[key] = _schema(cut[key], level, depth, level.required, nested + 1)
    for key in _LISTS:
        if isinstance(cut.get(key), list):
            cut[key] = [_schema(one, level, depth, level.required, nested + 1) for one in cut[key]]
    for key in _TABLES:
        if isinstance(cut.get(key), Mapping):
            cut[key] = {name: _schema(one, level, depth, level.required, nested + 1) for name, one in cut[key].items()}
    _shorten_values(cut, level)
    if isinstance(cut.get("properties"), Mapping):
        _shorten_properties(cut, level, depth, nested)
    return cut


def _shorten_values(cut: dict[str, Any], level: _Level) -> None:
    """Some of a long enumeration or union, and the types of the rest."""
    values = cut.get("enum")
    if isinstance(values, list) and len(values) > level.values + 2:
        shown = values[: level.values]
        rest = {"type": sorted({_type(value) for value in values[level.values :]})}
        cut.pop("enum")
        cut["anyOf"] = [{"enum": shown}, rest]
        _mark(cut, _left_out(len(values) - len(shown), "values"))
    for key in ("anyOf", "oneOf"):
        members = cut.get(key)
        if isinstance(members, list) and len(members) > level.members + 1:
            cut[key] = [*members[: level.members], {}]
            _mark(cut, _left_out(len(members) - level.members, "alternatives"))


def _shorten_properties(cut: dict[str, Any], level: _Level, depth: int, nested: int) -> None:
    listed = cut.get("required")
    required = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    shown: dict[str, Any] = {}
    room = level.properties
    for name, one in cut["properties"].items():
        if name not in required:
            room -= 1
            if room < 0:
                continue
        text = level.required if name in required else level.optional
        shown[name] = _schema(one, level, depth - 1, text, nested + 1)
    left = len(cut["properties"]) - len(shown)
    cut["properties"] = shown
    if left:
        cut["additionalProperties"] = True
        _mark(cut, _left_out(left, "optional properties"))


def _mark(cut: dict[str, Any], text: str) -> None:
    own = cut.get("description")
    cut["description"] = f"{own} {text}" if isinstance(own, str) and own else text


def _left_out(count: int, what: str) -> str:
    return f"… {count} more {what}"


def _first_sentence(text: Any, longest: int) -> str | None:
    """The first sentence, cut to `longest` characters; None for none."""
    if not isinstance(text, str) or longest == 0:
        return None
    first = " ".join(_SENTENCE_END.split(text.strip()[: 10 * longest], maxsplit=1)[0].split())
    return first if len(first) <= longest else first[: longest - 1].rstrip() + "…"


def _type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case None:
            return "null"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
    return "object"
