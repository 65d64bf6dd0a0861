"""Output schemas that clients can compile. Pure.

The official TypeScript clients compile the output schema of every tool when they list the tools, and throw away the
whole list if one of them cannot be compiled: a reference to what is not there, a regular expression of Python, a
`minimum` that is a text, `exclusiveMinimum` as in draft 4. They also take two schemas with one `$id` for the same one,
and check the results of both by the first.

So a keyword that does not compile is left out. What remains allows all that the schema allows, and perhaps more: a
client must not refuse the result of a call that ran. Where leaving out would allow less, as in `not`, more is left out.

Sources: JSON Schema 2020-12 and draft-07; Ajv 8, as the clients configure it (`strict: false, validateSchema: false`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias
from urllib.parse import unquote

Schema: TypeAlias = Mapping[str, object]

_ANY_OBJECT: Final[Schema] = {"type": "object"}
_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_NUMBERS: Final = frozenset(
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength minItems maxItems "
    "minProperties maxProperties".split()
)
_ONE: Final = ("additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems")
_LISTS: Final = ("allOf", "anyOf", "prefixItems")
_BY_NAME: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_STRICT: Final = ("oneOf", "not", "if", "then", "else", "propertyNames", "contains")
"""Keywords that may allow less when a schema inside them allows more: kept as they are, or left out."""
_NAMING: Final = ("properties", "patternProperties")
_UNEVALUATED: Final = ("unevaluatedProperties", "unevaluatedItems")
_NAMES: Final = ("$id", "id", "$dynamicRef", "$recursiveRef", "discriminator")
_ATOM: Final = re.compile(
    r"""(?:
        [^\\()\[\]{}*+?|^$]                                            # a character
      | \\(?:[dDwWsStnrfv0^$\\.*+?()\[\]{}|/]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})
      | \.
      | \[\^?-?(?:[^\\\[\]-]-[^\\\[\]-]|[^\\\[\]-]|\\[dDwWsStnrfv^$\\.*+?()\[\]{}|/-])*+-?\]
    )(?:[*+?]\??|\{\d{1,4}(?:,\d{0,4})?\}\??)?+ | \^ | \$ | \\[bB] | \|""",
    re.VERBOSE,
)
_OPEN: Final = re.compile(r"\((?:\?[:=!])?")
_CLOSE: Final = re.compile(r"\)(?:[*+?]\??|\{\d{1,4}(?:,\d{0,4})?\}\??)?+")


def compilable(schema: Schema) -> Schema:
    """The schema of an object without what clients cannot compile; the same object if they can compile all of it."""
    try:
        nodes = list(_schemas(schema))
        if any("$id" in node or "id" in node for node in nodes[1:]):
            # References are relative to an `$id`, which would have to be followed.
            return _ANY_OBJECT
        kept = _kept(schema, schema, {id(node) for node in nodes})
    except RecursionError:
        return _ANY_OBJECT
    if kept == schema:
        return schema
    return kept if isinstance(kept, Mapping) else _ANY_OBJECT


def _kept(schema: object, root: Schema, known: set[int]) -> object:
    """A schema with what compiles. `known` are the schemas in `root`, by identity: what a reference may lead to."""
    if not isinstance(schema, Mapping):
        return schema if isinstance(schema, bool) else {}

    def inside(value: object) -> object:
        return _kept(value, root, known)

    kept: dict[str, object] = {}
    for name, value in schema.items():
        if name in _CHECKS:
            compiles = _CHECKS[name](value)
        elif name == "$ref":
            compiles = _leads_to_schema(value, root, known)
        elif name in _STRICT:
            compiles = _unchanged(value, inside)
        else:
            compiles = name not in _NAMES and _has_its_form(name, value)
        if compiles:
            kept[name] = _mapped(name, value, inside)
    return _without_what_depends(schema, kept)


def _has_its_form(name: str, value: object) -> bool:
    """Whether a keyword that has schemas has them as it should. Another keyword has no form."""
    if name in _LISTS:
        return isinstance(value, list) and bool(value)
    if name in _ONE:
        return isinstance(value, Mapping | bool)
    if name == "items":
        return isinstance(value, Mapping | bool) or (isinstance(value, list) and bool(value))
    return name not in _BY_NAME or isinstance(value, Mapping)


def _mapped(name: str, value: object, inside: Callable[[object], object]) -> object:
    """The value of a keyword with each schema in it replaced by what is `inside`."""
    if name in _BY_NAME and isinstance(value, Mapping):
        return {key: inside(one) for key, one in value.items()}
    if (name in _LISTS or name == "items") and isinstance(value, list):
        return [inside(one) for one in value]
    return inside(value) if name in _ONE or name == "items" else value


def _without_what_depends(schema: Schema, kept: dict[str, object]) -> dict[str, object]:
    """Without keywords that would mean something else now that others are gone."""
    if "nullable" in kept and "type" not in kept:
        del kept["nullable"]
        # Null was allowed, whatever else the schema says.
        if isinstance(values := kept.get("enum"), list) and None not in values:
            kept["enum"] = [*values, None]
    patterns = kept.get("patternProperties")
    if isinstance(patterns, dict) and not all(map(_is_pattern, patterns)):
        kept["patternProperties"] = {name: one for name, one in patterns.items() if _is_pattern(name)}
        kept.pop("additionalProperties", None)
    if "additionalItems" in kept and "items" in schema and "items" not in kept:
        del kept["additionalItems"]
    if "additionalProperties" in kept and any(name in schema and name not in kept for name in _NAMING):
        del kept["additionalProperties"]
    if "if" not in kept or any(name in schema and name not in kept for name in ("then", "else")):
        kept = {name: value for name, value in kept.items() if name not in ("if", "then", "else")}
    if not kept.keys().isdisjoint(_UNEVALUATED) and kept != schema:
        kept = {name: value for name, value in kept.items() if name not in _UNEVALUATED}
    return kept


def _unchanged(value: object, inside: Callable[[object], object]) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, Mapping | bool) and inside(one) == one for one in value)
    return isinstance(value, bool) or (isinstance(value, Mapping) and inside(value) == value)


def _schemas(schema: object) -> Iterator[Schema]:
    """The schema and all in it, each with what it is an object for."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for name, value in schema.items():
        if name in _BY_NAME:
            for one in value.values() if isinstance(value, Mapping) else ():
                yield from _schemas(one)
        elif name in _LISTS or name in _ONE or name in _STRICT or name == "items":
            for one in value if isinstance(value, list) else (value,):
                yield from _schemas(one)


def _leads_to_schema(reference: object, root: Schema, known: set[int]) -> bool:
    """Whether a reference is to a schema in `root`, as a JSON pointer (RFC 6901)."""
    if reference == "#":
        return True
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return False
    found: object = root
    for part in unquote(reference[2:]).split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isascii() and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return False
    return id(found) in known


def _is_type(value: object) -> bool:
    words = value if isinstance(value, list) else [value]
    return bool(words) and all(isinstance(word, str) and word in _TYPES for word in words)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_pattern(value: object) -> bool:
    """Whether this is a regular expression that JavaScript certainly takes (ECMA-262, with the flag `u`)."""
    if not isinstance(value, str) or len(value) > _LONGEST_PATTERN:
        return False
    at = depth = 0
    while at < len(value):
        if (found := _OPEN.match(value, at)) is not None:
            depth += 1
        elif (found := _CLOSE.match(value, at)) is not None:
            depth -= 1
        else:
            found = _ATOM.match(value, at)
        if found is None or depth < 0:
            return False
        at = found.end()
    if depth:
        return False
    try:
        # Ranges in a class that go backwards, and the like.
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


_LONGEST_PATTERN: Final = 1_000
_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    **dict.fromkeys(_NUMBERS, _is_number),
    "type": _is_type,
    "enum": lambda value: isinstance(value, list) and bool(value),
    "pattern": _is_pattern,
    "format": lambda value: isinstance(value, str),
    "uniqueItems": lambda value: isinstance(value, bool),
    "nullable": lambda value: isinstance(value, bool),
    "required": _are_names,
    "dependencies": lambda value: isinstance(value, Mapping) and all(map(_are_names, value.values())),
    "dependentRequired": lambda value: isinstance(value, Mapping) and all(map(_are_names, value.values())),
    "$schema": lambda value: isinstance(value, str),
    "$anchor": lambda value: False,
    "$dynamicAnchor": lambda value: False,
    "$async": lambda value: False,
}
"""Whether a keyword's value compiles."""
