"""Shapes learned from results: true of every result seen, the same whatever the order, and nothing of the values."""

import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stubs import Seen, Server, Tool, assign_names, declarations, signature, type_of
from stubs.inference import ANYTHING, DEEPEST, MOST_ITEMS, MOST_NAMES, MOST_OPTIONAL, NOTHING, looks_like_a_name
from tests.stubs import typescript
from tests.stubs.test_truth import as_type

names = st.sampled_from(["id", "name", "owner", "tags", "__proto__", "größe", "x-y"])
keys = names | st.sampled_from(["2024-01-01", "a@b.c", "", "/home", "x" * 41]) | st.text(max_size=4)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)


def nested(named: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(named, inner, max_size=4),
        max_leaves=14,
    )


values = nested(names) | nested(keys)
shapes = values.map(Seen.of) | st.just(NOTHING)
with_more = shapes.map(lambda shape: replace(shape, more=shape.fields is not None))


def output_of(*results: Any) -> str:
    shape = NOTHING
    for result in results:
        shape |= Seen.of(result)
    return type_of(shape.output_schema() or True)


@given(shapes | with_more, shapes | with_more, shapes)
def test_the_order_of_results_does_not_matter(first: Seen, second: Seen, third: Seen) -> None:
    assert first | second == second | first
    assert (first | second) | third == first | (second | third)
    assert first | first == first
    assert first | NOTHING == first == NOTHING | first
    assert first | (first | second) == first | second


def wide(names: list[str], part: Any) -> Any:
    return [{name: part} for name in names]


@given(st.lists(st.lists(st.integers(0, 90).map(lambda n: f"p{n}"), max_size=40), min_size=3, max_size=3), values)
def test_nor_does_it_when_objects_become_maps(drawn: list[list[str]], part: Any) -> None:
    first, second, third = (Seen.of(wide(some, part)) for some in drawn)
    assert (first | second) | third == first | (second | third) == (third | first) | second


@given(st.lists(values, min_size=1, max_size=4))
def test_every_result_is_valid_under_what_was_learned_of_all(results: list[Any]) -> None:
    shape = NOTHING
    for result in results:
        shape |= Seen.of(result)
    for kept in (shape, shape.within(6)):
        schema = kept.output_schema()
        valid = jsonschema_rs.validator_for(True if schema is None else dict(schema))  # type: ignore[arg-type]
        assert all(valid.is_valid(result) for result in results)


@given(values, values)
def test_what_is_written_is_read_back(first: Any, second: Any) -> None:
    shape = Seen.of(first) | Seen.of(second)
    written = json.loads(json.dumps(shape.schema()))
    assert Seen.read(written) == shape
    assert Seen.read(written).schema() == shape.schema()
    more = replace(shape, more=shape.fields is not None)
    assert Seen.read(json.loads(json.dumps(more.schema()))) == more


@given(values)
def test_no_value_is_in_what_was_learned(value: Any) -> None:
    """Where every string differs from every name, none of them can be found again."""

    def marked(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: marked(item) for key, item in part.items()}
        if isinstance(part, list):
            return [marked(item) for item in part]
        return part if isinstance(part, bool) or part is None else "hunter2" if isinstance(part, str) else 31337

    text = json.dumps(Seen.of(marked(value)).output_schema())
    assert "hunter2" not in text and "31337" not in text


@settings(
    max_examples=6,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(st.lists(values, min_size=1, max_size=3), min_size=12, max_size=20))
def test_every_result_is_assignable_to_the_declared_type(results: list[list[Any]]) -> None:
    tools = []
    for number, some in enumerate(results):
        shape = NOTHING
        for result in some:
            shape |= Seen.of(result)
        tools.append(Tool(f"t{number}", output_schema=shape.output_schema(), output_inferred=True))
    server = Server("s", tools=tuple(tools))
    lines = declarations([server], assign_names([server])).splitlines()
    for number, some in enumerate(results):
        lines.append(f"type T{number} = Awaited<ReturnType<typeof codemode.s.t{number}>>;")
        lines += [
            f"export const c{number}_{at}: [{as_type(result)}] extends [T{number}] ? 1 : 0 = 1;"
            for at, result in enumerate(some)
        ]
    found = typescript.check({"learned.ts": "\n".join(lines) + "\n"})
    assert [lines[item.line - 1] for item in found] == []


def test_what_only_sometimes_comes_is_optional_and_null_is_said() -> None:
    rows = [{"id": 1, "owner": None}, {"id": 2, "owner": {"login": "ada"}, "score": 0.5}]
    assert output_of(rows) == "{ id: number; owner: { login: string } | null; score?: number }[]"
    assert output_of({"rows": []}, {"rows": rows, "next": "x"}).startswith("{ rows: { id: number;")
    assert output_of("plain text", {"a": 1}) == "string | { a: number }"
    assert output_of([]) == "unknown[]"


@pytest.mark.parametrize(
    "key",
    [
        *("id", "created_at", "firstName", "First name", "$schema", "@type", "dc:title", "x-rate-limit", "sha256"),
        *("totalRequestsLast30Days", "größe", "__typename", "ISO8601Date"),
    ],
)
def test_names_of_properties_are_kept(key: str) -> None:
    assert looks_like_a_name(key) and Seen.of({key: 1}).fields is not None


@pytest.mark.parametrize(
    "key",
    [
        *("2024-01-01", "ada@example.com", "example.com", "/home/ada", "550e8400-e29b-41d4-a716-446655440000", "12"),
        *("user_12345", "sk-AbC9xZ2kQ8vT1mN4", "3f2a9c81deadbeef", "", "x" * 41, "https://a.b/c", "a  b", "10.0.0.1"),
    ],
)
def test_keys_that_look_like_data_are_not_kept(key: str) -> None:
    assert output_of({"id": 1, key: 2}) == "Record<string, number>"
    assert key == "" or key not in json.dumps(Seen.of({key: 1}).schema()).replace(" ", "")


def test_many_distinct_keys_are_not_kept_whatever_they_look_like() -> None:
    people = [f"{first}{last}" for first in ("ada", "bob", "cyd", "dot", "eve") for last in ("x", "y", "z", "v", "w")]
    assert len(people) == MOST_OPTIONAL + 1
    assert output_of(*({person: True} for person in people)) == "Record<string, boolean>"
    assert output_of({f"{a}{b}": 1 for a in "abcdefghi" for b in "klmnopqr"}) == "Record<string, number>"
    assert output_of(dict.fromkeys(people, 1)) == "Record<string, number>"
    mixed = {f"{a}{b}": 1 if a < "e" else "x" for a in "abcdefgh" for b in "klmnopqr"}
    assert output_of(mixed).count(": ") == MOST_NAMES and "Record" in output_of({**mixed, "another": 1})


def test_objects_under_every_key_of_one_kind_are_a_map() -> None:
    amount = {"count": 1, "total": 2.5}
    assert output_of({"ada": amount, "bob": amount, "cyd": amount, "dot": amount, "eve": amount}) == (
        "Record<string, { count: number; total: number }>"
    )
    assert output_of({"min": amount, "max": amount}).startswith("{ min: ")
    quantiles = dict.fromkeys(("min", "low", "middle", "high", "max"), amount)
    assert output_of(quantiles).startswith("Record<") and output_of([quantiles, quantiles]).startswith("{ min: ")


def test_depth_and_size_are_bounded() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = {"in": deep}
    assert Seen.of(deep).size <= DEEPEST + 2
    large = Seen.of({f"a{n}": {f"b{m}": 1 if m else "x" for m in range(60)} for n in range(4)})
    assert large.size == 245 and large.within(100).size == 5 and large.within(1) == ANYTHING
    rows = Seen.of([{"n": n, "odd": None} for n in range(5 * MOST_ITEMS)])
    assert type_of(rows.schema()) == "{ n: number; odd: null }[]"


@pytest.mark.parametrize(
    "written",
    [
        *(None, 1, "string", [], False, {"enum": [1]}, {"type": "secret"}, {"type": []}, {"type": [1]}, {"type": {}}),
        *({"type": "object"}, {"type": "object", "properties": []}, {"type": "array", "items": {"const": 1}}),
        *({"type": "object", "properties": {}, "required": "a"}, {"description": "x", "type": "string"}),
    ],
)
def test_what_was_not_written_by_it_is_refused(written: Any) -> None:
    with pytest.raises(ValueError, match="not a learned shape"):
        Seen.read(written)


def test_an_inferred_output_says_so_wherever_it_is_shown() -> None:
    shape = Seen.of({"items": [{"id": 7, "title": "secret words"}]})
    tool = Tool("list", description="Lists.", output_schema=shape.output_schema(), output_inferred=True)
    server = Server("fix", tools=(tool,))
    names = assign_names([server])
    assert signature(server, tool, names).endswith("Promise</* inferred */ { items: { id: number; title: string }[] }>")
    text = declarations([server], names)
    assert "@returns Inferred from results seen." in text and "title: string" in text and "secret" not in text
    typescript.parse(text)
    typescript.parse_signature(signature(server, tool, names))
