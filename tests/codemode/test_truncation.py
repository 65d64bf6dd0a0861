"""A truncated value is valid JSON within its budget, keeps its outline, and says what is gone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode.truncation import MARK, text_of, truncate, truncate_text
from tests.deep import examples
from tests.strategies import FINITE, json_values

JSON = json_values(st.integers(-(2**53), 2**53), FINITE, st.text(max_size=2_000), keys=st.text(), size=30, leaves=60)


@examples(300)
@given(JSON, st.sampled_from([256, 400, 1_000, 24_000]))
def test_any_value_is_cut_to_valid_json_within_the_budget(value: Any, budget: int) -> None:
    cut = truncate(value, budget)
    if cut is None:
        assert len(text_of(value)) <= budget
        return
    text = text_of(cut.value)
    assert len(text) <= budget
    assert orjson.loads(text) == cut.value
    assert cut.chars == len(text_of(value)) > budget
    assert cut.paths and all(path.startswith("result") for path in cut.paths)
    assert MARK in text


def test_a_value_that_fits_is_left_alone() -> None:
    assert truncate({"a": [1, 2, "three"]}, 256) is None


def test_small_values_next_to_a_huge_one_stay_whole() -> None:
    cut = truncate({"total": 3, "body": "x" * 100_000, "next": "page-2"}, 1_000)
    assert cut is not None
    assert (cut.value["total"], cut.value["next"], cut.paths) == (3, "page-2", ["result.body"])
    assert cut.value["body"].startswith("x" * 800)
    assert cut.value["body"].endswith("chars")


def test_the_tail_of_a_long_list_is_counted() -> None:
    cut = truncate(list(range(100_000)), 1_000)
    assert cut is not None
    kept = cut.value[:-1]
    assert kept == list(range(len(kept)))
    assert cut.value[-1] == f"{MARK} {100_000 - len(kept)} more items"


def test_rows_of_a_table_keep_their_short_cells() -> None:
    rows = [{"id": n, "title": f"Row {n}", "body": "lorem ipsum " * 300} for n in range(200)]
    cut = truncate({"rows": rows, "count": 200}, 24_000)
    assert cut is not None
    assert cut.value["count"] == 200
    assert len(cut.value["rows"]) > 50
    assert cut.value["rows"][7]["title"] == "Row 7"
    assert cut.paths[0] == "result.rows[0].body"


def test_omitted_keys_are_counted_and_some_are_named() -> None:
    cut = truncate({f"key{n}": "x" * 50 for n in range(500)}, 2_000)
    assert cut is not None
    assert "keys omitted: key" in cut.value[MARK]


@pytest.mark.parametrize("text", ["x" * 30_000, "\n" * 30_000, '"' * 30_000, "日" * 30_000, "😀" * 30_000])
def test_a_long_string_in_an_object_is_cut_whatever_its_characters_cost(text: str) -> None:
    cut = truncate({"text": text}, 24_000)
    assert cut is not None
    assert 20_000 < len(text_of(cut.value)) <= 24_000


def test_a_long_text_ends_with_how_much_is_gone() -> None:
    cut = truncate_text("a" * 30_000, 24_000)
    assert cut is not None and len(cut) <= 24_000
    assert cut.endswith(f"{MARK} {30_000 - cut.index(' ')} chars")
    assert truncate_text("a" * 24_000, 24_000) is None


def test_depth_costs_no_more_than_it_must() -> None:
    value: Any = "x" * 50_000
    for _ in range(90):
        value = {"a": value, "b": "y" * 300}
    cut = truncate(value, 24_000)
    assert cut is not None
    assert len(text_of(cut.value)) <= 24_000
