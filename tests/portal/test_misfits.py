"""What does not fit a model, in our words and at its place; and members that are null as members that were not sent."""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, AnyUrl, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from portal.access import PolicyError, read_document
from portal.admin.apps import AppBody
from portal.admin.declared import SECTIONS
from portal.admin.policies import PolicyBody
from portal.admin.tokens import TokenBody
from portal.misfits import fitted, misfits
from tests.deep import examples
from tests.strategies import json_values

# Beginnings of pydantic's sentences, names of Python's types, and names of classes.
LIBRARY = re.compile(
    r"\b(Input|Field|Extra|String|List|Tuple|Dictionary|Value|Assertion) (should|required|inputs|error|must|failed)|"
    r"URL (scheme|should)|"
    r"\b(tuple|dict|NoneType|pydantic|Body|[A-Z][a-z]+[A-Z]\w*)\b|validation error|function-"
)
EVERYONE: list[dict[str, Any]] = [{"everyone": {}}]


class Colour(Enum):
    RED = "red"


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=2, max_length=4)] = "part"


class Whole(BaseModel):
    text: str = ""
    number: Annotated[int, Field(ge=1, lt=10)] = 1
    ratio: float = 0.5
    flag: bool = False
    names: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(max_length=2)] = ()
    table: dict[str, int] = {}
    part: Part = Part()
    parts: list[Part] = []
    either: str | dict[str, str] = ""
    colour: Colour = Colour.RED
    word: Literal["a", "b"] = "a"
    at: AwareDatetime | None = None
    day: datetime | None = None
    url: AnyUrl | None = None
    even: Annotated[int, AfterValidator(_even)] = 2
    pattern: Annotated[str, Field(pattern="^x+$")] = "x"


WORDS: list[tuple[dict[str, Any], str]] = [
    ({"text": 1}, "text must be text"),
    ({"number": "one"}, "number must be a whole number"),
    ({"number": 1.5}, "number must be a whole number"),
    ({"number": 0}, "number must be greater than or equal to 1"),
    ({"number": 10}, "number must be less than 10"),
    ({"ratio": "half"}, "ratio must be a number"),
    ({"flag": "perhaps"}, "flag must be a boolean, true or false"),
    ({"names": "a"}, "names must be a list"),
    ({"names": [1]}, "names[0] must be text"),
    ({"names": ["a", "b", "c"]}, "names must have at most 2 entries"),
    ({"names": [""]}, "names[0] must not be empty"),
    ({"table": []}, "table must be an object"),
    ({"table": {"a": "b"}}, "table.a must be a whole number"),
    ({"part": "x"}, "part must be an object"),
    ({"part": {"name": "x"}}, "part.name must have at least 2 characters"),
    ({"part": {"name": "xxxxx"}}, "part.name must have at most 4 characters"),
    ({"parts": [{"other": 1}]}, "parts[0].other is not known here"),
    ({"either": 1}, "either must be text or an object"),
    ({"colour": "blue"}, "colour must be 'red'"),
    ({"word": "c"}, "word must be 'a' or 'b'"),
    ({"at": "yesterday"}, "at must be a date and time such as 2026-01-31T12:00:00Z"),
    ({"at": "2026-01-31T12:00:00"}, "at must be a date and time with a time zone, such as 2026-01-31T12:00:00Z"),
    ({"day": "soon"}, "day must be a date and time such as 2026-01-31T12:00:00Z"),
    ({"url": "nowhere"}, "url must be a URL"),
    ({"even": 3}, "even must be even"),
    ({"pattern": "y"}, "pattern must match the pattern ^x+$"),
]


def said(model: type[BaseModel], document: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        fitted(model, document)
    return [f"{one.dotted} {one.problem}" for one in misfits(caught.value, document)]


@pytest.mark.parametrize(("document", "words"), WORDS)
def test_what_does_not_fit_is_said_in_our_words(document: dict[str, Any], words: str) -> None:
    assert said(Whole, document) == [words]


def test_a_document_that_is_no_object_and_a_member_that_is_missing_are_named() -> None:
    assert said(Whole, []) == [" must be an object"]
    assert said(PolicyBody, {"name": None, "decision": "allow", "include": EVERYONE}) == ["name is missing"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"email": {"email": 3}}, "include[0].email.email must be text"),
        ({"email": {}}, "include[0].email.email is missing"),
        ({"email": {"email": "a", "x": 1}}, "include[0].email.x is not known here"),
        ({"email": {"email": ""}}, "include[0].email.email must not be empty"),
        ({"geo": {"country_code": "Germany"}}, "include[0].geo.country_code must match the pattern"),
        ({"emial": {}}, "include[0] must be an object with one member, a selector: everyone"),
    ],
)
def test_a_place_has_no_names_of_alternatives(rule: dict[str, Any], words: str) -> None:
    (one,) = said(PolicyBody, {"name": "p", "decision": "allow", "include": [rule]})
    assert one.startswith(words)


def test_a_policy_of_an_application_is_checked_as_what_it_is() -> None:
    link, own = {"id": "x", "zz": 1}, {"decision": "allow", "include": EVERYONE}
    assert said(AppBody, {"type": "self_hosted", "name": "n", "policies": [link, own]}) == [
        "policies[0].zz is not known here",
        "policies[1].name is missing",
    ]


NULLS: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (PolicyBody, {"name": "p", "decision": "allow", "include": EVERYONE, "exclude": None, "approval_groups": None}),
    (PolicyBody, {"name": "p", "decision": "allow", "include": [{"everyone": {}, "email": None, "group": None}]}),
    (PolicyBody, {"name": "p", "decision": "allow", "include": [{"cloudflare_account_member": {"account_id": None}}]}),
    (AppBody, {"type": "self_hosted", "name": "n", "destinations": None, "policies": None, "session_duration": None}),
    (AppBody, {"type": "self_hosted", "name": "n", "policies": [{"id": "x", "decision": None, "include": None}]}),
    (AppBody, {"type": "mcp", "name": "n", "destinations": [{"type": None, "uri": "https://a.example"}]}),
    (
        AppBody,
        {
            "type": "saas",
            "name": "n",
            "saas_app": {"auth_type": "oidc", "redirect_uris": ["https://a.example/"], "scopes": None}
            | {"refresh_token_options": {"lifetime": None}, "allow_pkce_without_client_secret": None},
        },
    ),
    (
        TokenBody,
        {
            "name": "n",
            "condition": {"request_ip": {"in": None, "not_in": ["10.0.0.0/8"]}},
            "policies": [
                {
                    "id": None,
                    "effect": "allow",
                    "permission_groups": [{"id": None}],
                    "resources": {"com.cloudflare.api.account.x": "*"},
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("model", "document"), NULLS[:-1])
def test_a_member_that_is_null_was_not_sent(model: type[BaseModel], document: dict[str, Any]) -> None:
    before = repr(document)
    value = fitted(model, document)
    assert value == fitted(model, without_nulls(document))
    assert repr(document) == before


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def test_null_where_a_value_is_needed_is_a_member_that_is_missing() -> None:
    model, document = NULLS[-1]
    assert said(model, document) == ["policies[0].permission_groups[0].id is missing"]


def test_null_that_means_something_and_null_in_a_list_stay() -> None:
    assert fitted(Whole, {"at": None}).at is None
    assert "at" in fitted(Whole, {"at": None, "flag": None}).model_fields_set
    assert said(Whole, {"names": ["a", None]}) == ["names[1] must be text"]


def test_a_document_that_is_nested_without_end_is_answered_too() -> None:
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    assert said(Whole, {"text": deep, "flag": None}) == ["text must be text"]
    policies = [{"id": "x", "deep": deep, "name": None}]
    assert said(AppBody, {"type": "self_hosted", "name": "n", "policies": policies}) == [
        "policies[0].deep is not known here"
    ]
    assert said(AppBody, {"type": deep, "name": "n", "policies": [deep]}) == [
        "type must be 'mcp', 'mcp_portal', 'self_hosted' or 'saas'",
        "policies[0] must be an object",
    ]


def test_null_lists_of_a_policy_file_were_not_sent() -> None:
    policy = {"id": "p", "decision": "allow", "include": EVERYONE, "require": None, "exclude": None}
    document = read_document({"policies": [policy], "portal": {"policies": ["p"], "servers": None}, "groups": None})
    assert document.policies[0].require == ()
    with pytest.raises(PolicyError, match=r"policies\[0\].decision: is missing|policies\[0\].decision is missing"):
        read_document({"policies": [{**policy, "decision": None}]})


ANYTHING = json_values()


def bodies() -> st.SearchStrategy[tuple[type[BaseModel], Any]]:
    """Bodies of declared sections with members of any JSON."""
    models = [section.body for section in SECTIONS]
    return st.sampled_from(models).flatmap(
        lambda model: st.tuples(
            st.just(model), st.dictionaries(st.sampled_from(sorted(model.model_fields)), ANYTHING, max_size=6)
        )
    )


@examples(300)
@given(bodies())
def test_no_sentence_of_the_library_is_said_of_any_body(drawn: tuple[type[BaseModel], Any]) -> None:
    model, document = drawn
    try:
        fitted(model, document)
    except ValidationError as error:
        for one in misfits(error, document):
            assert not LIBRARY.search(one.problem), one.problem
            here = document
            for part in one.place if one.problem != "is missing" else one.place[:-1]:
                assert part in here if isinstance(here, dict) else isinstance(part, int)
                here = here[part]
