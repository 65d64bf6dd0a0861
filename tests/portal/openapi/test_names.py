"""Names of tools and of properties: valid, readable, unique, and the same whatever else the document has."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.openapi.names import Wording, property_names, tool_names
from tests.portal.openapi.writing import api

VALID = re.compile(r"[A-Za-z0-9_-]{1,64}")
PIECES = st.text(st.sampled_from("abc/._ -{}é界"), max_size=8)
WORDINGS = st.builds(Wording, PIECES | st.text(max_size=90), st.sampled_from(["GET", "POST"]), PIECES.map("/{}".format))


@pytest.mark.parametrize(
    ("operation_id", "name"),
    [
        ("listPets", "listPets"),
        ("list_pets", "list_pets"),
        ("list-pets", "list-pets"),
        ("repos/create-for-org", "repos_create-for-org"),
        ("Pets.List All", "Pets_List_All"),
        ("pets{id}", "pets_id"),
        ("", "get_pets_by_id"),
        ("界", "get_pets_by_id"),
        ("---", "---"),
    ],
)
def test_an_operation_id_becomes_a_readable_name(operation_id: str, name: str) -> None:
    assert tool_names([Wording(operation_id, "GET", "/pets/{id}")]) == [name]


def test_a_name_that_is_too_long_keeps_its_beginning() -> None:
    one, other = tool_names([Wording("a" * 200, "GET", "/"), Wording("a" * 199 + "b", "GET", "/")])
    assert one != other
    assert one.startswith("aaaaaaaaaa")
    assert len(one) == 64


def test_the_operation_that_is_called_so_keeps_a_name_that_another_becomes() -> None:
    first, second = tool_names([Wording("pets/list", "GET", "/a"), Wording("pets_list", "GET", "/b")])
    assert second == "pets_list"
    assert re.fullmatch(r"pets_list_[0-9a-f]{8}", first)


def test_two_operations_of_one_id_are_both_there_and_that_is_said() -> None:
    found = api({"/b": {"get": {"operationId": "list"}}, "/a": {"get": {"operationId": "list"}}})
    assert {one.path: one.name for one in found.operations}["/a"] == "list"
    assert len({one.name for one in found.operations}) == 2
    assert [gap.why for gap in found.gaps] == ["has the operationId 'list', which another has too"]


@given(st.lists(WORDINGS, max_size=12, unique_by=lambda one: one.key))
def test_names_are_valid_and_unique_whatever_the_document_calls_its_operations(operations: list[Wording]) -> None:
    names = tool_names(operations)
    assert len(names) == len(operations)
    assert len({name.lower() for name in names}) == len(names)
    assert all(VALID.fullmatch(name) for name in names)


@given(st.lists(WORDINGS, max_size=8, unique_by=lambda one: one.key), st.randoms())
def test_names_do_not_depend_on_the_order_of_operations(operations: list[Wording], chance: st.DataObject) -> None:
    before = dict(zip(operations, tool_names(operations), strict=True))
    moved = list(operations)
    chance.shuffle(moved)  # type: ignore[attr-defined]
    assert dict(zip(moved, tool_names(moved), strict=True)) == before


@given(st.lists(st.tuples(st.sampled_from(["path", "query", "body"]), PIECES | st.text(max_size=80)), max_size=12))
def test_properties_of_an_input_have_valid_and_unique_names(wanted: list[tuple[str, str]]) -> None:
    names = property_names(wanted)
    assert len(set(names)) == len(names) == len(wanted)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) for name in names)


def test_a_property_whose_name_is_taken_says_its_place() -> None:
    wanted = [("path", "id"), ("query", "id"), ("body", "id"), ("query", "filter[name]"), ("query", "$top")]
    assert property_names(wanted) == ["id", "query_id", "body_id", "filter_name", "top"]
