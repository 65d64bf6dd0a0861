"""The forms of planned arguments: what differs is a hole, what does not is fixed, and nothing else matches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.plan import FormsDiffer, Holes, form_of, matches, shown_form
from codemode.samples import MAX_NODES, VARIANTS, Hole, json_type, key_of, sample
from stubs import Schema

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
NAMES = st.text(max_size=6) | st.sampled_from(["⟨hole⟩", "⟨text⟩", "⟨computed⟩", "⟨⟨hole⟩"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(
        [
            *({"type": kind} for kind in ("string", "integer", "number", "boolean", "null")),
            {"type": ["string", "null"]},
            {"type": "integer", "minimum": 1, "maximum": 5},
            {"type": "string", "maxLength": 3},
            *({"type": "string", "format": form} for form in ("uuid", "email", "uri", "date-time", "date")),
            {"enum": ["a", "b"]},
            {"const": 1},
            {},
            {"$ref": "#/nowhere"},
            {"$ref": "#"},
            {"anyOf": [{"type": "null"}, {"type": "integer"}]},
        ]
    ),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(
            lambda members, needed: {"type": "object", "properties": members, "required": needed},
            st.dictionaries(st.sampled_from(["id", "name", "⟨x⟩", "b c"]), inner, max_size=4),
            st.lists(st.sampled_from(["id", "name"]), max_size=2),
        )
        | st.builds(lambda value: {"type": "object", "additionalProperties": value}, inner)
    ),
    max_leaves=8,
)
KEYWORDS = (
    *("type", "properties", "required", "items", "enum", "anyOf", "allOf", "$ref", "minimum", "maximum", "format"),
    *("minLength", "minItems", "additionalProperties"),
)
# What no schema is: servers are hostile.
ODD = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=5),
    max_leaves=15,
)


@given(JSON)
def test_what_is_the_same_in_all_variants_matches_itself_alone(value: Any) -> None:
    form = form_of((value,) * VARIANTS, Holes())
    assert matches(form, value)
    shown_form(form)


@given(JSON, JSON)
def test_fixed_values_match_no_others(value: Any, other: Any) -> None:
    assert matches(form_of((value,) * VARIANTS, Holes()), other) is (key_of(value) == key_of(other))


@given(SCHEMAS, st.data())
def test_answers_that_are_handed_on_are_holes_that_match_every_variant(schema: Any, data: Any) -> None:
    made = sample(schema, 3, itertools.count(101))
    holes = Holes(made.holes)
    around = data.draw(st.dictionaries(NAMES, JSON, max_size=2))
    values = tuple({**around, "answer": value} for value in made.values)
    form = form_of(values, holes)
    assert all(matches(form, value) for value in values)
    assert shown_form(form) == shown_form(form_of(values, holes))


@given(SCHEMAS)
def test_members_that_are_handed_on_match_also_where_they_are_missing(schema: Any) -> None:
    made = sample({"type": "object", "properties": {"one": schema, "two": schema}}, 1, itertools.count(101))
    answers: tuple[Any, ...] = made.values
    values = tuple({"x": value["one"]} if "one" in value else {} for value in answers)
    form: Any = form_of(values, Holes(made.holes))
    assert "1.one" in form["x"].get("⟨hole⟩", "1.one") and form["x"]["optional"] is True
    assert all(matches(form, value) for value in values)


@given(
    st.lists(st.text(max_size=10) | st.sampled_from(["number", "title"]), max_size=5),
    st.text(max_size=5),
    st.integers(),
)
def test_texts_around_holes_are_found_and_match_what_the_real_answer_makes_of_them(
    parts: list[str], title: str, number: int
) -> None:
    holes = (
        Hole("1.number", (4101, 900_000_707, 112), ("integer",)),
        Hole("1.title", ("⟨1.title⟩", "another 102", "third (102)"), ("string",)),
    )
    by_name = {"number": holes[0], "title": holes[1]}

    def text(variant: int | None) -> str:
        real = {"number": str(number), "title": title}
        return "".join(
            part if part not in by_name else real[part] if variant is None else str(by_name[part].values[variant])
            for part in parts
        )

    form = form_of(tuple(map(text, range(VARIANTS))), Holes(holes))
    assert all(matches(form, text(variant)) for variant in range(VARIANTS))
    if form == {"⟨hole⟩": "1.number", "types": ["integer"]}:
        return
    if isinstance(form, dict) and "⟨text⟩" in form:
        named = [part["⟨hole⟩"] for part in form["⟨text⟩"] if "⟨hole⟩" in part]
        if named == [f"1.{part}" for part in parts if part in by_name]:
            assert matches(form, text(None))


@pytest.mark.parametrize(
    ("parts", "text", "is_it"),
    [
        (["a", 0, "b"], "ab", True),
        (["a", 0, "b"], "a", False),
        (["aa", 0, "aa"], "aaa", False),
        ([0, "x", 0], "yxz", True),
        ([0, "x", 0, "x"], "x", False),
        ([0, "ab", 0, "b"], "abb", True),
        ([0, "ab", 0, "b"], "ab", False),
        (["a"], "a", True),
        (["a"], "ab", False),
    ],
)
def test_texts_match_by_their_fixed_parts(parts: list[Any], text: str, is_it: bool) -> None:
    form = {"⟨text⟩": [part if isinstance(part, str) else {"⟨hole⟩": "1"} for part in parts]}
    assert matches(form, text) is is_it


@given(st.lists(st.sampled_from(["a", "b", "ab", ""]), min_size=1, max_size=4), st.text("ab", max_size=6))
def test_a_text_matches_where_holes_can_be_filled(fixed: list[str], text: str) -> None:
    form = {"⟨text⟩": [part for one in fixed for part in (one, {"⟨hole⟩": "1"})][:-1]}

    def fills(parts: list[str], rest: str) -> bool:
        if not rest.startswith(parts[0]):
            return False
        rest = rest[len(parts[0]) :]
        if len(parts) == 1:
            return rest == ""
        return any(fills(parts[1:], rest[at:]) for at in range(len(rest) + 1))

    assert matches(form, text) is fills(fixed, text)


def test_a_hole_takes_values_of_its_types_alone() -> None:
    values: dict[str, Any] = {
        "integer": 1,
        "number": 1.5,
        "string": "",
        "boolean": True,
        "null": None,
        "array": [],
        "object": {},
    }
    for kind, value in values.items():
        form = {"⟨hole⟩": "1", "types": [kind]}
        assert [name for name, one in values.items() if matches(form, one)] == (
            ["integer", "number"] if kind == "number" else [kind]
        )
        assert matches({"⟨computed⟩": [kind]}, value) and matches({"⟨hole⟩": "1", "types": []}, value)


def test_what_could_be_several_parts_of_answers_is_named_after_none_alone() -> None:
    words, truth = ("a", "b", "c"), (True, False, True)
    holes = Holes([Hole(f"1.{name}", words, ("string",)) for name in "vwxyz"] + [Hole("1.open", truth, ("boolean",))])
    assert form_of(words, holes) == {"⟨hole⟩": "1.v or 1.w or 1.x or another", "types": ["string"]}
    assert form_of(truth, holes) == {"⟨computed⟩": ["boolean"]}


def test_other_members_and_other_kinds_are_no_form() -> None:
    others: list[Any] = [({"a": 1}, {"b": 1}, {"a": 1}), ({}, [], {}), ([1], 1, [1]), ({"a": {}}, {"a": 1}, {"a": 2})]
    for values in others:
        with pytest.raises(FormsDiffer):
            form_of(values, Holes())
    assert form_of(([1], [1, 2], []), Holes()) == {"⟨computed⟩": ["array"]}
    assert form_of(("Dear A", "Dear B", "Dear C"), Holes()) == {"⟨text⟩": ["Dear ", {"⟨computed⟩": ["string"]}]}
    assert form_of(("A", 1, None), Holes()) == {"⟨computed⟩": ["integer", "null", "string"]}


@given(SCHEMAS | ODD)
def test_samples_of_any_schema_are_bounded_and_their_holes_differ(schema: Any) -> None:
    made = sample(schema, 1, itertools.count(101))
    assert len(made.values) == VARIANTS and len(made.holes) <= 3 * MAX_NODES
    for hole in made.holes:
        assert len(set(map(key_of, hole.values))) > 1 and len(hole.name) <= 200
    if isinstance(schema, dict) and schema.get("type") in ("string", "integer", "boolean"):
        assert {json_type(value) for value in made.values} <= {schema["type"]} or "enum" in schema or "const" in schema


def test_schemas_that_hold_themselves_and_large_ones_end() -> None:
    tree = {"type": "object", "properties": {"down": {"$ref": "#"}, "next": {"$ref": "#"}}, "required": ["down"]}
    wide = {"type": "object", "properties": {f"m{at}": {"type": "string"} for at in range(5_000)}}
    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    for schema in (tree, wide, circle):
        assert len(sample(schema, 1, itertools.count(101)).holes) <= MAX_NODES + 1


PARTS = {f"a{level}": {"allOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 12} for level in range(40)}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"$ref": "#"}, {"properties": {"id": {"type": "integer"}}}]},
        {"allOf": [{"$ref": "#/$defs/a0"}, {"type": "integer"}], "$defs": PARTS},
    ],
    ids=["itself", "many times"],
)
def test_a_schema_that_is_all_of_itself_comes_to_an_end(schema: Schema) -> None:
    assert len(sample(schema, 1, itertools.count(101)).values) == VARIANTS
