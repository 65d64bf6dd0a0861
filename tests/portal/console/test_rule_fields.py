"""Rules of policies as fields of a form: nothing is lost, whatever rules are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from starlette.requests import Request

from portal.admin import AdminError, ShownProvider, ShownServiceToken, invalid
from portal.admin import ShownGroup as Group
from portal.admin import ShownList as AddressList
from portal.console.rule_fields import RuleSet, sent_sets, shown_sets
from portal.console.rule_words import Known, rule_words
from portal.console.visit import Visit
from portal.objects import Rules

AT = datetime(2026, 1, 1, tzinfo=UTC)
DATES: Any = {"created_at": AT, "updated_at": AT}
EVERYONE: Any = [{"everyone": {}}]
KNOWN = Known(
    groups=[Group(id="g1", name="Engineers", include=EVERYONE, **DATES)],
    lists=[
        AddressList(id="l1", name="Guests", type="EMAIL", count=1, **DATES),
        AddressList(id="l2", name="Office", type="IP", count=1, **DATES),
    ],
    providers=[
        ShownProvider(id="okta", name="Okta", type="okta", config={}, **DATES),
        ShownProvider(id="hub", name="GitHub", type="github", config={}, **DATES),
        ShownProvider(id="sso", name="SSO", type="oidc", config={"groups_claim": "roles"}, **DATES),
    ],
    tokens=[
        ShownServiceToken(id="t1", name="Nightly", client_id="c", duration="8760h", client_secret_version=1, **DATES)
    ],
)
texts = st.text(min_size=1, max_size=12) | st.sampled_from(["a b", "acme/team", " padded ", "two\nlines", "DE", "x,y"])
ids = st.sampled_from(["g1", "l1", "l2", "okta", "hub", "sso", "t1", "gone"])
RULES = st.one_of(
    st.just({"everyone": {}}),
    st.just({"any_valid_service_token": {}}),
    texts.map(lambda one: {"email": {"email": one}}),
    texts.map(lambda one: {"email_domain": {"domain": one.lower().removeprefix("@") or "x"}}),
    texts.map(lambda one: {"auth_method": {"auth_method": one}}),
    st.sampled_from(["DE", "fr", "T1"]).map(lambda one: {"geo": {"country_code": one}}),
    st.sampled_from(["10.0.0.0/8", "::1"]).map(lambda one: {"ip": {"ip": one}}),
    st.tuples(st.sampled_from(["group", "email_list", "ip_list", "login_method"]), ids).map(
        lambda one: {one[0]: {"id": one[1]}}
    ),
    ids.map(lambda one: {"service_token": {"token_id": one}}),
    st.tuples(texts, ids).map(lambda one: {"okta": {"name": one[0], "identity_provider_id": one[1]}}),
    st.tuples(texts, texts, ids).map(
        lambda one: {"github-organization": {"name": one[0], "team": one[1], "identity_provider_id": one[2]}}
    ),
    st.tuples(texts, ids).map(lambda one: {"github-organization": {"name": one[0], "identity_provider_id": one[1]}}),
    st.tuples(st.sampled_from(["roles", "groups", "team"]), texts, ids).map(
        lambda one: {"oidc": {"claim_name": one[0], "claim_value": one[1], "identity_provider_id": one[2]}}
    ),
)


def form_of(sets: list[RuleSet]) -> dict[str, str]:
    """What a browser sends of these fields when nobody changes them."""
    sent: dict[str, str] = {}
    for one in sets:
        for line in (*one.first, *one.lines):
            sent[line.name] = line.value.replace("\n", "\r\n")
        for box in (one.everyone, *one.groups.boxes, *(box for group in one.ticked for box in group.boxes)):
            if box.ticked:
                sent[box.name] = "on"
        sent[one.json_name] = one.json
    return sent


def visit_of(fields: Mapping[str, str]) -> Visit:
    """A visit of which only the fields are looked at."""
    nobody: Any = None
    return Visit(Request({"type": "http"}), nobody, nobody, nobody, nobody, fields)


def unordered(rules: Any) -> list[str]:
    """Rules in an order of their own, each once: nothing depends on more."""
    return sorted({json.dumps(one, sort_keys=True) for one in rules})


@given(st.fixed_dictionaries({name: st.lists(RULES, max_size=6) for name in ("include", "require", "exclude")}))
def test_a_form_that_nobody_changes_makes_the_rules_that_are_stored(rules: dict[str, list[Any]]) -> None:
    for stored in rules.values():
        TypeAdapter(Rules).validate_python(stored)
        assert all(rule_words(one, KNOWN) for one in stored)
    made = sent_sets(visit_of(form_of(shown_sets(rules, KNOWN))), KNOWN).rules
    assert {name: unordered(of_set) for name, of_set in made.items()} == {
        name: unordered(of_set) for name, of_set in rules.items()
    }


def test_what_the_common_selectors_say_is_in_plain_fields_and_only_the_rest_is_json() -> None:
    rules = [
        {"email": {"email": "ada@acme.example"}},
        {"geo": {"country_code": "DE"}},
        {"group": {"id": "g1"}},
        {"group": {"id": "gone"}},
        {"github-organization": {"name": "acme", "team": "core", "identity_provider_id": "hub"}},
        {"oidc": {"claim_name": "roles", "claim_value": "ops", "identity_provider_id": "sso"}},
        {"service_token": {"token_id": "t1"}},
    ]
    include = shown_sets({"include": rules}, KNOWN)[0]
    sent = form_of([include])
    assert json.loads(include.json) == [{"group": {"id": "gone"}}]
    assert {name: value for name, value in sent.items() if value and name != "include_json"} == {
        "include_emails": "ada@acme.example",
        "include_countries": "DE",
        "include_group_g1": "on",
        "include_idp_hub": "acme/core",
        "include_idp_sso": "ops",
        "include_token_t1": "on",
    }


def test_a_problem_is_told_beside_the_field_that_it_comes_from() -> None:
    sent = sent_sets(
        visit_of({"include_emails": "a@b.example\nc@d.example", "include_ips": "10.0.0.1, nowhere"}), KNOWN
    )
    placed = sent.placed(invalid("must be an address", "/include/3/ip/ip"))
    assert [(one.pointer, one.message) for one in placed.problems] == [("/include_ips", "entry 2: must be an address")]
    elsewhere = sent.placed(AdminError(400, [replace(placed.problems[0], pointer="/include/99")]))
    assert elsewhere.problems[0].pointer == "/include/99"
