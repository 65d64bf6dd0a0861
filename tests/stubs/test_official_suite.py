"""Every schema of the official JSON Schema Test Suite compiles, and takes what the suite calls valid."""

import json
from typing import Any

import pytest

from stubs import type_of
from tests.stubs import official_suite, typescript
from tests.stubs.test_truth import as_type

OBJECT_KEYWORDS = {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
ARRAY_KEYWORDS = {"items", "prefixItems"}


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
    for number, (name, schema, valid) in enumerate(official_suite.groups(draft)):
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
