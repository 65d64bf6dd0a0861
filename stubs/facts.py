"""Facts about a value that TypeScript cannot express, in a few words: `1..50, default 10`.

They come from the keywords of JSON Schema 2020-12 validation, sections 6 to 9, and OpenAPI's `example`. A keyword of
the wrong type, or too long for a short fact, is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stubs.arrays import LARGEST_EXACT
from stubs.text import number, plain, short_json

LONGEST_FACT = 60
_DEEPEST = 3
_SAFE_INTEGER = 2**53 - 1


def facts(schema: Any, depth: int = _DEEPEST) -> list[str]:
    """The facts about the values of a schema, each as short as is useful, in a fixed order."""
    if not isinstance(schema, Mapping) or depth == 0:
        return []
    words = [
        *_numbers(schema),
        *_strings(schema),
        *_arrays(schema, depth),
        *_objects(schema),
        *_within(schema, depth),
        *_remarks(schema),
    ]
    return list(dict.fromkeys(words))


def branches(schema: Mapping[str, Any]) -> list[Any]:
    """The alternatives of `anyOf` or `oneOf`, without null."""
    for keyword in ("anyOf", "oneOf"):
        alternatives = schema.get(keyword)
        if isinstance(alternatives, list):
            return [item for item in alternatives if not (isinstance(item, Mapping) and item.get("type") == "null")]
    return []


def is_integer(schema: Mapping[str, Any]) -> bool:
    declared = schema.get("type")
    if isinstance(declared, list):
        return "integer" in declared and "number" not in declared
    return bool(declared == "integer")


def _numbers(schema: Mapping[str, Any]) -> list[str]:
    low, above = _bound(schema, "minimum", "exclusiveMinimum")
    high, below = _bound(schema, "maximum", "exclusiveMaximum")
    if low and high and not above and not below:
        span = low if low == high else f"{low}..{high}"
    else:
        span = " ".join(
            [
                *([f"{'>' if above else '>='} {low}"] if low else []),
                *([f"{'<' if below else '<='} {high}"] if high else []),
            ]
        )
    step = _number(schema.get("multipleOf"))
    return [*([span] if span else []), *([f"multiple of {step}"] if step and step != "1" else [])]


def _bound(schema: Mapping[str, Any], inclusive: str, exclusive: str) -> tuple[str | None, bool]:
    """A limit, and whether it is exclusive. In draft-04 the exclusive keyword is a boolean about the other."""
    strict = _number(schema.get(exclusive))
    if strict:
        return strict, True
    return _number(schema.get(inclusive)), schema.get(exclusive) is True


def _number(value: Any) -> str | None:
    """The text of a limit. None for the largest safe integer and above, which generators write for no limit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= _SAFE_INTEGER:
        return None
    return number(value)


def _strings(schema: Mapping[str, Any]) -> list[str]:
    words = [_word(schema.get("format")), _count(schema, "minLength", "maxLength", "chars")]
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and 0 < len(pattern) <= LONGEST_FACT:
        words.append(f"/{plain(pattern)}/".replace("\n", "\\n"))
    words += [_word(schema.get("contentEncoding")), _word(schema.get("contentMediaType"))]
    return [item for item in words if item]


def _arrays(schema: Mapping[str, Any], depth: int) -> list[str]:
    counted = "" if _says_length(schema) else _count(schema, "minItems", "maxItems", "items")
    words = [counted, "unique" if schema.get("uniqueItems") is True else ""]
    each = facts(schema.get("items"), depth - 1)
    if each:
        words.append(f"each {', '.join(each)}")
    return [item for item in words if item]


def _says_length(schema: Mapping[str, Any]) -> bool:
    """Whether the type is a tuple that shows the length of the array."""
    least, most = schema.get("minItems"), schema.get("maxItems")
    prefix = schema.get("prefixItems", schema.get("items"))
    if isinstance(prefix, list) and prefix:
        return most is None or (isinstance(most, int) and most <= len(prefix))
    return most == 0 or (least == most and isinstance(most, int) and most <= LARGEST_EXACT)


def _objects(schema: Mapping[str, Any]) -> list[str]:
    words = [_count(schema, "minProperties", "maxProperties", "properties")]
    names = schema.get("propertyNames")
    if isinstance(names, Mapping) and (of_names := _strings(names)):
        words.append(f"names {', '.join(of_names)}")
    for keyword in ("dependentRequired", "dependencies"):
        dependencies = schema.get(keyword)
        if isinstance(dependencies, Mapping):
            pairs = [(key, value) for key, value in list(dependencies.items())[:4] if isinstance(value, list) and value]
            words += [
                f"{plain(str(key))} requires {', '.join(map(plain, map(str, value)))}"[:80] for key, value in pairs
            ]
    patterns = schema.get("patternProperties")
    if isinstance(patterns, Mapping):
        words += [
            f"names like /{plain(str(pattern))}/" for pattern in list(patterns)[:4] if len(str(pattern)) <= LONGEST_FACT
        ]
    return [item for item in words if item]


def _within(schema: Mapping[str, Any], depth: int) -> list[str]:
    """The facts of the only alternative that is not null, of `allOf`, and of `not`."""
    alternatives = branches(schema)
    parts = alternatives if len(alternatives) == 1 else []
    together = schema.get("allOf")
    if isinstance(together, list):
        parts = [*parts, *together[:8]]
    words = [fact for part in parts for fact in facts(part, depth - 1)]
    refused = schema.get("not")
    if isinstance(refused, Mapping):
        values = refused.get("enum") if "enum" in refused else [refused["const"]] if "const" in refused else None
        text = short_json(values, LONGEST_FACT) if isinstance(values, list) and values else None
        words += [f"not {text[1:-1]}"] if text else []
    return words


def _remarks(schema: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    default = schema.get("default")
    if default is not None and default not in ("", [], {}):
        text = short_json(default, 40)
        words += [f"default {text}"] if text else []
    words += _examples(schema)
    words += [word for key, word in (("readOnly", "read-only"), ("writeOnly", "write-only")) if schema.get(key) is True]
    words += ["deprecated"] if schema.get("deprecated") is True else []
    return words


def _examples(schema: Mapping[str, Any]) -> list[str]:
    examples = schema.get("examples")
    values: Sequence[Any] = (
        examples if isinstance(examples, list) else [schema["example"]] if "example" in schema else []
    )
    for count in (2, 1):
        text = short_json(list(values[:count]), 42) if values else None
        if text:
            return [f"e.g. {text[1:-1]}"]
    return []


def _count(schema: Mapping[str, Any], least: str, most: str, unit: str) -> str:
    low, high = _number(schema.get(least)), _number(schema.get(most))
    if low == "0":
        low = None
    if low and high:
        return f"{low} {unit}" if low == high else f"{low}..{high} {unit}"
    if low:
        return f">= {low} {unit}"
    return f"<= {high} {unit}" if high else ""


def _word(value: Any) -> str:
    return plain(value).replace("\n", " ") if isinstance(value, str) and 0 < len(value) <= 40 else ""
