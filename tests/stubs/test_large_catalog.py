"""All operations of a large real API: they compile, and hold the values they take."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stubs import Server, assign_names, declarations, signature
from tests.stubs import corpus, typescript
from tests.stubs.schemas import Case, values_for
from tests.stubs.test_truth import mismatches


@pytest.fixture(scope="module")
def operations() -> list[dict[str, Any]]:
    return corpus.large_catalog()


@pytest.fixture(scope="module")
def honest(operations: list[dict[str, Any]]) -> list[Any]:
    """The input schemas of which TypeScript can say what they take."""
    schemas = [operation["inputSchema"] for operation in operations]
    return [schema for schema in schemas if not has_weak_alternatives(schema)]


@pytest.fixture(scope="module")
def server(operations: list[dict[str, Any]]) -> Server:
    return corpus.as_server({"id": "api", "tools": operations})


def test_every_operation_compiles_under_strict_tsc(server: Server) -> None:
    names = assign_names([server])
    assert len(names.paths) == len(server.tools)
    text = declarations([server], names)
    program = (
        f"export const x = codemode.{next(iter(names.paths))}({{ no_such: 1 }});\nexport const y = codemode.api.nope;\n"
    )
    found = typescript.check({"api.d.ts": text, "program.ts": program})
    assert [item.file for item in found] == ["program.ts", "program.ts"], found[:5]


def test_signatures_stay_short(server: Server) -> None:
    names = assign_names([server])
    lengths = [len(signature(server, tool, names)) for tool in server.tools[::10]]
    assert max(lengths) < 500 and sum(lengths) / len(lengths) < 250


def has_weak_alternatives(schema: Any) -> bool:
    """Whether there are alternatives none of whose properties is required.

    TypeScript refuses an object that has no property of such a type (TS2559), though the schema of the alternative
    takes it with whatever else it has.
    """
    if isinstance(schema, list):
        return any(map(has_weak_alternatives, schema))
    if not isinstance(schema, dict):
        return False
    parts = [part for key in ("anyOf", "oneOf") for part in schema.get(key, []) if isinstance(part, dict)]
    weak = [part for part in parts if "properties" in part and "required" not in part]
    return len(weak) > 1 or any(map(has_weak_alternatives, schema.values()))


@settings(
    max_examples=3,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(drawn=st.data())
def test_what_an_operation_takes_is_assignable(honest: list[Any], drawn: st.DataObject) -> None:
    schemas = drawn.draw(st.lists(st.sampled_from(honest), min_size=20, max_size=30))
    cases = [
        Case(schema, drawn.draw(st.lists(values_for(schema, schema), min_size=2, max_size=3))) for schema in schemas
    ]
    assert mismatches(cases, exact=False) == []
