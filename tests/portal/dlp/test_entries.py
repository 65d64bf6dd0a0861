"""Rules of the predefined profiles one by one: named, switched off, and shared into other profiles."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.dlp import ExactList, Pattern, Profile, RuleRefused, lists_key, predefined_rules, predefined_uuid
from tests.portal.dlp import made_up
from tests.portal.dlp.conftest import KEY, Make

CARD, IBAN = "4111 1111 1111 1111", "GB42 NAWI 1234 5698 7654 32"


def token() -> str:
    return made_up.SECRETS["github"](random.Random(7))


def test_every_rule_of_a_predefined_profile_has_a_title(rules: Path) -> None:
    found = predefined_rules(rules)
    assert {profile: len(of_profile) > 1 for profile, of_profile in found.items()} == dict.fromkeys(
        ("credentials", "financial", "national", "personal"), True
    )
    assert {"github-pat", "aws-access-key-id"} <= {one.rule for one in found["credentials"]}
    assert all(one.title and len(one.title) <= 200 for of_profile in found.values() for one in of_profile)


def test_what_is_found_in_a_scan_is_a_rule_that_is_listed(rules: Path, make: Make) -> None:
    source = random.Random(5)
    listed = {one.rule for one in predefined_rules(rules)["credentials"]}
    found = make("credentials").scan([secret(source) for secret in made_up.SECRETS.values()])
    assert {one.rule for one in found.findings} <= listed and len(found.findings) >= len(made_up.SECRETS)


def test_ids_of_profiles_and_rules_never_change() -> None:
    assert predefined_uuid("credentials") == "bd87736c-8fb6-5e9f-81fd-17e22d415d47"
    assert predefined_uuid("financial", "card") == "de1458ac-e705-5612-9f5e-105581889779"


def test_a_rule_that_is_off_is_not_looked_for(make: Make) -> None:
    detector = make(Profile("financial", off=frozenset({"iban"})))
    assert [one.rule for one in detector.scan([CARD, "DE89370400440532013000"]).findings] == ["card"]


def test_a_rule_of_a_predefined_profile_is_shared_into_another(make: Make) -> None:
    own = Profile("own", patterns=(Pattern("ticket", r"T-\d{5}"),), shared=frozenset({("financial", "card")}))
    value = [CARD, "DE89370400440532013000", "T-12345", token()]
    found = make(own).scan(value).findings
    assert [(one.profile, one.rule) for one in found] == [("own", "card"), ("own", "ticket")]
    both = make(own, "financial").scan(value).findings
    assert [(one.profile, one.rule) for one in both] == [
        ("financial", "card"),
        ("own", "card"),
        ("financial", "iban"),
        ("own", "ticket"),
    ]


def test_a_shared_credential_is_found_as_it_is_in_its_own_profile(make: Make) -> None:
    detector = make(Profile("own", shared=frozenset({("credentials", "github-pat")})))
    secret = token()
    assert [one.profile for one in detector.scan({"a": secret}).findings] == ["own"]
    halves = detector.scan({"a": secret[:20], "b": secret[20:]}, as_arguments=True).findings
    assert [(one.profile, one.path) for one in halves] == [("own", "value.a"), ("own", "value.b")]


def test_each_profile_has_its_own_number_of_matches_for_a_shared_rule(make: Make) -> None:
    own = Profile("own", allowed=1, shared=frozenset({("financial", "card")}))
    verdict = make(own, "financial").scan(CARD)
    assert ([one.profile for one in verdict.findings], [one.profile for one in verdict.allowed]) == (
        ["financial"],
        ["own"],
    )


@pytest.mark.parametrize(
    ("profile", "reason"),
    [
        (Profile("financial", shared=frozenset({("national", "us-ssn")})), "predefined"),
        (Profile("own", shared=frozenset({("own", "card")})), "not predefined"),
        (Profile("own", patterns=(Pattern("a", "aaa"),), off=frozenset({"a"})), "not predefined"),
        (Profile("own", shared=frozenset({("financial", "cart")})), "no rule of 'financial'"),
        (Profile("own", shared=frozenset({("credentials", "cart")})), "no rule of 'credentials'"),
    ],
)
def test_what_cannot_be_shared_or_off_is_refused(make: Make, profile: Profile, reason: str) -> None:
    with pytest.raises(RuleRefused, match=reason):
        make(profile)


def test_a_pattern_with_a_check_digit_finds_only_what_has_it(make: Make) -> None:
    detector = make(Profile("own", patterns=(Pattern("account", r"\bK-[\d-]+", luhn=True),)))
    assert detector.scan("K-7992-7398-713") and not detector.scan("K-7992-7398-714") and not detector.scan("K-0")


VALUES = st.lists(st.text("abcdef0123456789 äß", min_size=5, max_size=40), max_size=20)


@settings(max_examples=60)
@given(VALUES)
def test_a_list_is_the_same_after_it_was_packed(values: list[str]) -> None:
    try:
        made = ExactList.of("names", values, lists_key(KEY))
    except RuleRefused:
        return
    assert ExactList.unpacked("names", made.packed()) == made


def test_a_packed_list_that_is_damaged_is_refused() -> None:
    packed = ExactList.of("names", ["Ada Lovelace"], lists_key(KEY)).packed()
    with pytest.raises(RuleRefused, match="damaged"):
        ExactList.unpacked("names", packed[:-1])
