"""A value that is valid under a schema is assignable to its type; where TypeScript can say it all, no other value is.

Valid is what jsonschema-rs calls valid, assignable is what tsc calls assignable.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jsonschema_rs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stubs import Server, Tool, assign_names, declarations, type_of
from tests.deep import examples
from tests.stubs import typescript
from tests.stubs.schemas import Case, cases, exact_schemas, honest_schemas

# Each example is one run of the compiler over many schemas. A failure names its schema and value by itself, so there is
# nothing to shrink.
thorough = settings(
    examples(24),
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# Stands before the last literal of an enumeration that was shortened.
_MORE = " more */ "


def as_type(value: Any) -> str:
    """The type of just this value, so that no check for surplus properties applies."""
    if isinstance(value, dict):
        return "{ " + "".join(f"{json.dumps(name)}: {as_type(item)}; " for name, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_type, value))}]"
    return json.dumps(value)


def validity(case: Case) -> list[bool] | None:
    """Which values of a case are valid; None when the schema is none."""
    try:
        validator = jsonschema_rs.validator_for(case.schema, retriever=lambda uri: True)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return None
    return [validator.is_valid(value) for value in case.values]


def mismatches(
    checked: list[Case], *, exact: bool, validity: Callable[[Case], list[bool] | None] = validity
) -> list[str]:
    """What valid values are not assignable, or with `exact` what invalid ones are, to the type of each schema.

    Both ways of writing a type are held against the values: on one line, and as the output type of a declared tool.
    """
    judged = [(case, valid) for case in checked if (valid := validity(case)) is not None]
    tools = tuple(Tool(f"t{number}", output_schema=case.schema) for number, (case, _) in enumerate(judged))
    server = Server("s", tools=tools)
    lines = declarations([server], assign_names([server])).splitlines()
    meaning: dict[int, str] = {}
    cut = set(_cut_types(tools))
    for number, (case, valid) in enumerate(judged):
        lines.append(f"type Line{number} = {type_of(case.schema)};")
        lines.append(f"type Declared{number} = Awaited<ReturnType<typeof codemode.s.t{number}>>;")
        for value, is_valid in zip(case.values, valid, strict=True):
            if not is_valid and not exact:
                continue
            # On one line a type that contains itself is `unknown`: it refuses nothing.
            lined = is_valid or "$defs" not in case.schema
            for name in ([f"Line{number}"] if lined else []) + [f"Declared{number}"]:
                if is_valid and name in cut:
                    continue
                expected = 1 if is_valid else 0
                lines.append(f"export const c{len(lines)}: [{as_type(value)}] extends [{name}] ? 1 : 0 = {expected};")
                meaning[len(lines)] = (
                    f"{json.dumps(value)} is {'valid' if is_valid else 'invalid'} under {json.dumps(case.schema)}, "
                    f"against {name}, {type_of(case.schema)}"
                )
    found = typescript.check({"truth.ts": "\n".join(lines) + "\n"})
    return [f"{meaning.get(item.line, lines[item.line - 1])}: {item.code} {item.text}" for item in found]


def _cut_types(tools: Sequence[Tool]) -> Iterator[str]:
    """The types that leave out literals of a long enumeration: they stay closed, so these are not assignable."""
    for number, tool in enumerate(tools):
        if _MORE in type_of(tool.output_schema):
            yield f"Line{number}"
        server = Server("s", tools=(tool,))
        if _MORE in declarations([server], assign_names([server])):
            yield f"Declared{number}"


@thorough
@given(st.lists(cases(honest_schemas()), min_size=8, max_size=16))
def test_every_valid_value_is_assignable_to_the_type(checked: list[Case]) -> None:
    assert mismatches(checked, exact=False) == []


@thorough
@given(st.lists(cases(exact_schemas), min_size=8, max_size=16))
def test_what_typescript_can_say_exactly_refuses_every_invalid_value(checked: list[Case]) -> None:
    assert mismatches(checked, exact=True) == []
