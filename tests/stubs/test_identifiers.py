"""The rule from names to identifiers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubs.identifiers import LONGEST_IDENTIFIER, PROTOCOL_PROPERTIES, RESERVED_WORDS, distinct, identifier

IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
raw_names = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="ab-._ 1$é", max_size=5),
    st.sampled_from(["delete", "delete_", "then", "3d", "a-b", "a_b", "a.b", "", "日本", "__proto__", "x" * 200]),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("search", "search"),
        ("get-issue", "get_issue"),
        ("a.b c\td", "a_b_c_d"),
        ("a/b:c!", "abc"),
        ("café", "caf"),
        ("3d", "_3d"),
        ("-3", "_3"),
        ("delete", "delete_"),
        ("undefined", "undefined_"),
        ("then", "then_"),
        ("toJSON", "toJSON_"),
        ("__proto__", "__proto___"),
        ("$ref", "$ref"),
        ("日本", ""),
        ("", ""),
    ],
)
def test_a_name_alone_becomes_its_identifier(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_names_that_the_caller_reserves_get_an_underscore() -> None:
    assert identifier("search", {"search"}) == "search_"


def test_a_name_that_is_its_own_identifier_keeps_it_whatever_else_is_there() -> None:
    named = distinct(["get-x", "get.x", "get_x"], fallback="tool")
    assert named["get_x"] == "get_x"
    assert len(set(named.values())) == 3


def test_of_several_that_want_one_identifier_the_first_in_code_point_order_gets_it() -> None:
    named = distinct(["get.x", "get-x"], fallback="tool")
    assert named["get-x"] == "get_x"
    assert re.fullmatch(r"get_x_[0-9a-f]{4}", named["get.x"])


def test_names_of_which_nothing_is_left_are_told_apart() -> None:
    named = distinct(["日本", "中国"], fallback="tool")
    assert all(re.fullmatch(r"tool_[0-9a-f]{4}", name) for name in named.values())
    assert named["日本"] == distinct(["日本"], fallback="tool")["日本"]


def test_a_suffix_that_is_taken_grows() -> None:
    alone = distinct(["日本"], fallback="tool")["日本"]
    named = distinct(["日本", alone], fallback="tool")
    assert named[alone] == alone
    assert named["日本"].startswith(alone) and named["日本"] != alone


def test_long_names_are_cut_and_stay_apart() -> None:
    named = distinct(["x" * 100, "x" * 101], fallback="tool")
    assert len(set(named.values())) == 2
    assert all(len(name) < LONGEST_IDENTIFIER + 10 for name in named.values())


@given(st.sets(raw_names, max_size=12))
def test_identifiers_are_identifiers_and_never_the_same(names: set[str]) -> None:
    named = distinct(names, fallback="tool")
    assert set(named) == names
    assert len(set(named.values())) == len(names)
    for name in named.values():
        assert IDENTIFIER.fullmatch(name)
        assert name not in RESERVED_WORDS and name not in PROTOCOL_PROPERTIES


@given(st.lists(raw_names, max_size=8, unique=True), st.randoms())
def test_identifiers_do_not_depend_on_the_order_of_names(names: list[str], random: object) -> None:
    assert distinct(names, fallback="tool") == distinct(list(reversed(names)), fallback="tool")


@given(st.sets(raw_names, max_size=10), raw_names)
def test_a_new_name_renames_only_the_one_whose_place_it_takes(names: set[str], new: str) -> None:
    before = distinct(names, fallback="tool")
    after = distinct(names | {new}, fallback="tool")
    renamed = [name for name in names if before[name] != after[name]]
    assert all(before[name] == after[new] for name in renamed)
