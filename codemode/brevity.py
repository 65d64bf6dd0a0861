"""Shortens a tool for its first reading: its types stay true, and say how much of them is left out.

Each level leaves out more: long texts, then texts of optional properties, inner objects and long enumerations, then
optional properties themselves. An object without some of its properties accepts any, and says how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any

from stubs import SHOWN, Tool

_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n|\n[-*#]")
_TEXTS = ("description", "title")
_NOISE = ("examples", "example", "default", "$comment", "pattern")
_WITHIN = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_TABLES = ("$defs", "definitions", "patternProperties", "dependentSchemas")
_MOST_DEEP = 40


@dataclass(frozen=True, slots=True)
class _Level:
    """The limits of one level.

    `text`: characters of the tool's own description; `required`, `optional`: of the description of such a property;
    `depth`, `returned`: how many levels of objects the input and the output write out; `values`: of an enumeration;
    `properties`: optional ones of an object; `members`: of a union.
    """

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
    """The tool at a level from 1 to `LEVELS`, the shortest; at level 0 the tool itself."""
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
    """Leave the first values of a long enumeration and the last one; of a union the first members, and any other."""
    for key in ("anyOf", "oneOf"):
        if (
            "enum" not in cut
            and (literals := _literals(cut.get(key))) is not None
            and len(literals) > level.members + 1
        ):
            cut.pop(key)
            cut["enum"] = literals
    values = cut.get("enum")
    if isinstance(values, list) and len(values) > level.values + 2:
        if all(isinstance(value, str | int | float | NoneType) for value in values):
            # The last value is written out too, so the enumeration stays closed.
            cut[SHOWN] = level.values
            _mark(cut, sum(value is not None for value in values[level.values :]) - 1, "values")
        else:
            rest = {"type": sorted({_type(value) for value in values[level.values :]})}
            cut.pop("enum")
            cut["anyOf"] = [{"enum": values[: level.values]}, rest]
            _mark(cut, len(values) - level.values, "values")
    for key in ("anyOf", "oneOf"):
        members = cut.get(key)
        if isinstance(members, list) and len(members) > level.members + 1:
            cut[key] = [*members[: level.members], {}]
            _mark(cut, len(members) - level.members, "alternatives")


def _literals(alternatives: object) -> list[object] | None:
    """The values of alternatives that are all single values, lists of them or null; None for others."""
    if not isinstance(alternatives, list):
        return None
    values: list[object] = []
    for one in alternatives:
        if not isinstance(one, Mapping):
            return None
        if one.get("type") == "null":
            values.append(None)
        elif "const" in one:
            values.append(one["const"])
        elif isinstance(one.get("enum"), list):
            values += one["enum"]
        else:
            return None
    return values


def _shorten_properties(cut: dict[str, Any], level: _Level, depth: int, nested: int) -> None:
    names = cut.get("required")
    required = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    properties: dict[str, Any] = {}
    room = level.properties
    for name, one in cut["properties"].items():
        if name not in required:
            room -= 1
            if room < 0:
                continue
        text = level.required if name in required else level.optional
        properties[name] = _schema(one, level, depth - 1, text, nested + 1)
    missing = len(cut["properties"]) - len(properties)
    cut["properties"] = properties
    if missing:
        cut["additionalProperties"] = True
        _mark(cut, missing, "optional properties")


def _mark(cut: dict[str, Any], count: int, things: str) -> None:
    """Say in a schema's description how much of it is left out."""
    mark, own = _left_out(count, things), cut.get("description")
    cut["description"] = f"{own} {mark}" if isinstance(own, str) and own else mark


def _left_out(count: int, things: str) -> str:
    return f"… {count} more {things}"


def _first_sentence(text: Any, longest: int) -> str | None:
    """The first sentence, cut to `longest` characters; None without a text or without room."""
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
