"""Every schema of the official JSON Schema Test Suite compiles, takes what the suite calls valid, and, where TypeScript
can say it, nothing else."""

import json
from typing import Any

import pytest

from stubs import type_of
from tests.stubs import official_suite, typescript
from tests.stubs.test_truth import as_type

OBJECT_KEYWORDS = {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
ARRAY_KEYWORDS = {"items", "prefixItems"}
SAID_EXACTLY = {"$schema", "$defs", "$ref", "type", "enum", "const", "anyOf", "properties", "required", *ARRAY_KEYWORDS}


def read_as_intended(schema: Any, value: Any) -> bool:
    """Whether a value is one the types mean to take.

    Two kinds are left out on purpose (see the chapter): what is no object or array under a schema that has such
    keywords but no `type`, and objects that share no property with one whose properties are all optional (TS2559).
    """
    if not isinstance(schema, dict) or "type" in schema:
        return True
    if OBJECT_KEYWORDS & set(schema) and not isinstance(value, dict):
        return bool(ARRAY_KEYWORDS & set(schema)) and isinstance(value, list)
    if ARRAY_KEYWORDS & set(schema) and not OBJECT_KEYWORDS & set(schema) and not isinstance(value, list):
        return False
    declared = schema.get("properties")
    weak = isinstance(declared, dict) and isinstance(value, dict) and bool(value) and not schema.get("required")
    return not weak or bool(set(value) & set(declared or ()))


@pytest.mark.timeout(300)  # The first run fetches the suite.
@pytest.mark.parametrize("draft", ["draft2020-12", "draft2019-09", "draft7"])
def test_the_official_suite_compiles_and_its_valid_values_are_assignable(draft: str) -> None:
    lines = ["export {};"]
    meaning: dict[int, str] = {}
    for number, (name, schema, valid, _) in enumerate(official_suite.groups(draft)):
        if isinstance(schema, dict) and draft == "draft7":
            schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
        text = type_of(schema)
        lines.append(f"type T{number} = {text};")
        meaning[len(lines)] = f"{name}: {text}"
        for value in valid:
            if read_as_intended(schema, value):
                lines.append(f"export const c{len(lines)}: [{as_type(value)}] extends [T{number}] ? 1 : 0 = 1;")
                meaning[len(lines)] = f"{name}: {json.dumps(value)} under {json.dumps(schema)} is {text}"
    assert len(lines) > 500
    found = typescript.check({"suite.ts": "\n".join(lines) + "\n"})
    assert [f"{meaning[item.line]} ({item.code})" for item in found] == []


def said_exactly(schema: Any) -> bool:
    """Whether TypeScript can say all that a schema says.

    It knows no integers, and no objects without further properties: a literal of an object lets others pass.
    """
    if isinstance(schema, list):
        return all(map(said_exactly, schema))
    if not isinstance(schema, dict):
        return isinstance(schema, bool)
    values = [*schema.get("enum", []), schema.get("const")]
    return (
        set(schema) <= SAID_EXACTLY
        and "integer" not in schema.get("type", "")
        and not any(isinstance(value, dict) for value in values)
        and str(schema.get("$ref", "#")).startswith("#")
        and "__proto__" not in schema.get("required", [])
        and all(said_exactly(schema[keyword]) for keyword in ("anyOf", "items", "prefixItems") if keyword in schema)
        and all(map(said_exactly, (*schema.get("properties", {}).values(), *schema.get("$defs", {}).values())))
    )


@pytest.mark.timeout(300)
def test_what_typescript_can_say_of_the_official_suite_refuses_what_is_invalid() -> None:
    lines = ["export {};"]
    meaning: dict[int, str] = {}
    for number, group in enumerate(official_suite.groups("draft2020-12")):
        if said_exactly(group.schema):
            lines.append(f"type T{number} = {type_of(group.schema)};")
            for value in group.invalid:
                lines.append(f"export const c{len(lines)}: [{as_type(value)}] extends [T{number}] ? 1 : 0 = 0;")
                meaning[len(lines)] = f"{group.name}: {json.dumps(value)} under {json.dumps(group.schema)}"
    assert len(meaning) > 120
    found = typescript.check({"suite.ts": "\n".join(lines) + "\n"})
    assert [meaning.get(item.line, lines[item.line - 1]) for item in found] == []
