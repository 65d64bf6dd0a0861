"""Reads tool arguments from a command line: one JSON object, or `key=value` words typed by the tool's schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portal.cli.exits import CommandError
from portal.exact import parse

_HOW = (
    "Give one JSON object, or words such as name=value (text or JSON) and name:=JSON, "
    "for example limit=3 tags:='[\"a\"]'."
)


def parse_arguments(words: Sequence[str], input_schema: Mapping[str, object] | bool = True) -> dict[str, object]:
    """The arguments object for these words, {} if there are none.

    The value of `key=value` is text if the schema says string. Otherwise it is JSON if it parses as JSON, else text.
    The value of `key:=value` is always JSON.

    Raises:
        CommandError: the words cannot be read as arguments.
    """
    if not words:
        return {}
    if words[0].lstrip().startswith(("{", "[", '"')):
        if len(words) > 1:
            raise CommandError(f"Expected one JSON object, got {len(words)} words. {_HOW}")
        return _object(words[0])
    arguments: dict[str, object] = {}
    for word in words:
        key, value = _pair(word, input_schema)
        if key in arguments:
            raise CommandError(f"Argument {key!r} is given twice.")
        arguments[key] = value
    return arguments


def _object(text: str) -> dict[str, object]:
    try:
        value = parse(text)
    except ValueError as error:
        raise CommandError(f"The arguments are not JSON ({error}). {_HOW}") from error
    if not isinstance(value, dict):
        raise CommandError(f"The arguments must be a JSON object. {_HOW}")
    return value


def _pair(word: str, input_schema: Mapping[str, object] | bool) -> tuple[str, object]:
    key, separator, text = word.partition("=")
    if not separator or not key.rstrip(":"):
        raise CommandError(f"Cannot read the argument {word!r}. {_HOW}")
    if key.endswith(":"):
        try:
            return key[:-1], parse(text)
        except ValueError as error:
            raise CommandError(f"The value of {key[:-1]!r} is not JSON ({error}).") from error
    if _is_text(input_schema, key):
        return key, text
    try:
        return key, parse(text)
    except ValueError:
        return key, text


def _is_text(input_schema: Mapping[str, object] | bool, key: str) -> bool:
    """Whether the schema says that this argument is a string (or a string or null)."""
    if isinstance(input_schema, bool):
        return False
    properties = input_schema.get("properties")
    schema = properties.get(key) if isinstance(properties, Mapping) else None
    if not isinstance(schema, Mapping):
        return False
    return bool(kinds := _kinds(schema)) and kinds <= {"string", "null"} and "string" in kinds


def _kinds(schema: Mapping[str, object]) -> set[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return {kind}
    if isinstance(kind, list):
        return {name for name in kind if isinstance(name, str)}
    options = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(options, list) and all(isinstance(option, Mapping) for option in options):
        return set().union(*(_kinds(option) or {"any"} for option in options))
    enum = schema.get("enum")
    if isinstance(enum, list) and enum and all(isinstance(value, str) for value in enum):
        return {"string"}
    return set()
