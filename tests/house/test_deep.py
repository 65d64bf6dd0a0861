"""The tenth of a large matrix that runs every time: it shows every kind and value, and is the same in every run."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.deep import deep, sixth, times


def ordinary(cases: list[Any]) -> list[Any]:
    return [case.values for case in cases if not case.marks]


def test_of_plain_cases_every_tenth_stays() -> None:
    assert ordinary(deep(range(41))) == [(0,), (10,), (20,), (30,), (40,)]


def test_of_a_product_every_value_of_every_parameter_stays() -> None:
    cases = deep(product("abcd", range(11), [True, False]))
    stay = ordinary(cases)
    assert len(cases) == 88 and len(stay) == 11
    assert [set(values) for values in zip(*stay, strict=True)] == [set("abcd"), set(range(11)), {True, False}]


def test_each_kind_stays() -> None:
    stay = ordinary(deep(range(100), kind=lambda number: number in (7, 8)))
    assert len(stay) == 10 and (7,) in stay


def test_a_result_that_several_cases_share_stays_and_values_of_one_case_alone_do_not_count() -> None:
    stay = ordinary(deep([(number, "rare" if number in (3, 4) else "common") for number in range(30)]))
    assert len(stay) == 3
    assert {result for _, result in stay} == {"rare", "common"}


def test_of_two_numbers_of_repetitions_the_smaller_one_stays() -> None:
    few, many = times(3, 9)
    assert few == 3 and many.values == (9,)
    assert [mark.name for mark in many.marks] == ["deep"]


def test_six_places_get_every_case_once_and_the_whole_gives_each_all_of_them() -> None:
    cases = list(range(13))
    assert sorted(case for place in range(6) for case in sixth(cases, place, whole=False)) == cases
    assert sixth(cases, 7, whole=False) == sixth(cases, 1, whole=False) == [1, 7]
    assert sixth(cases, 4, whole=True) == cases


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc")) | st.none() | st.lists(st.integers())))
def test_every_case_is_there_in_its_order_and_at_least_a_tenth_stays(cases: list[Any]) -> None:
    made = deep(cases)
    assert [case.values for case in made] == [case if isinstance(case, tuple) else (case,) for case in cases]
    assert 10 * len(ordinary(made)) >= len(cases)
    assert ordinary(made) == ordinary(deep(cases))
