"""The rules of administrators: patterns and exact values."""

from __future__ import annotations

from importlib import util
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.dlp import DetectionUnavailable, Detector, ExactList, Pattern, Profile, RuleRefused, lists_key
from portal.dlp.patterns import LONGEST_MATCH, MOST_MATCHES
from tests.portal.dlp.conftest import KEY, Make

HASHES = lists_key(KEY)


def own(make: Make, *rules: Pattern | ExactList) -> Detector:
    found = tuple(rule for rule in rules if isinstance(rule, Pattern))
    lists = tuple(rule for rule in rules if isinstance(rule, ExactList))
    return make(Profile("own", patterns=found, lists=lists))


def found(detector: Detector, value: Any) -> list[tuple[str, str, int, int]]:
    return [(one.rule, one.path, one.start, one.length) for one in detector.scan(value).findings]


def test_a_pattern_is_found_in_strings_names_and_numbers(make: Make) -> None:
    detector = own(make, Pattern("ticket", r"\bT-?\d{5}\b"), Pattern("year", r"\b20\d\d\b"))
    value = {"a": "é see T-12345!", "T54321": 2026}
    assert found(detector, value) == [
        ("ticket", "value.a", 6, 7),
        ("ticket", 'value["[redacted:ticket]"]#', 0, 6),
        ("year", 'value["[redacted:ticket]"]', 0, 4),
    ]


def test_each_string_begins_and_ends_a_line(make: Make) -> None:
    detector = own(make, Pattern("code", r"^\d{5}$"))
    assert found(detector, ["12345", "x12345", "a\n54321\nb"]) == [
        ("code", "value[0]", 0, 5),
        ("code", "value[2]", 2, 5),
    ]


@pytest.mark.parametrize("pattern", ["", "a*", "(?:)", "x?", "^", "$", r"\b", "(a|)", "(?:a{0,3})*", "^$", r"\b|abc"])
def test_a_pattern_that_matches_the_empty_text_is_refused(pattern: str) -> None:
    with pytest.raises(RuleRefused, match="'own'.*matches the empty text"):
        Pattern("own", pattern)


@pytest.mark.parametrize("pattern", ["(", "a)|(b", "[z-a]", r"(a)\1", "(?=a)b", "a{5000}", "\ud800", "(?P<a"])
def test_a_pattern_that_does_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(RuleRefused, match="'own' cannot be used.*RE2"):
        Pattern("own", pattern)


@pytest.mark.parametrize("pattern", ["(?:[ab]{1,900}c){1,1}[ab]{1,900}(?:a|bc){1,500}", "x" * 1001])
def test_a_pattern_that_is_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(RuleRefused, match="'own'"):
        Pattern("own", pattern)


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a]", "-a", "x" * 65])
def test_a_rule_has_a_proper_name(name: str) -> None:
    with pytest.raises(RuleRefused, match="proper name"):
        Pattern(name, "abc")
    with pytest.raises(RuleRefused, match="proper name"):
        ExactList.of(name, [], HASHES)


@given(st.text(max_size=40))
def test_every_text_is_a_pattern_or_refused(pattern: str) -> None:
    try:
        made = Pattern("own", pattern)
    except RuleRefused:
        return
    matches, _ = made.matches("own", b"some text 123\nmore")
    assert all(match.start < match.end for match in matches)


@given(st.integers(0, 70_000), st.integers(1, LONGEST_MATCH - 2))
def test_a_match_of_allowed_length_is_found_wherever_it_stands(before: int, length: int) -> None:
    text = b" " * before + b"<" + b"x" * length + b">" + b" " * 70_000
    matches, is_all = Pattern("own", "<x+>").matches("own", text)
    assert is_all
    assert [(match.start, match.end) for match in matches] == [(before, before + length + 2)]


def test_more_matches_than_the_bound_make_a_verdict_incomplete(make: Make) -> None:
    detector = own(make, Pattern("own", "ab"))
    assert detector.scan("ab " * MOST_MATCHES).complete
    verdict = detector.scan("ab " * (MOST_MATCHES + 1))
    assert (verdict.complete, len(verdict.findings)) == (False, MOST_MATCHES)


@pytest.mark.parametrize(
    "text",
    ["ACME-77-XQ", "acme 77 xq", "see acme.77/xq!", "ＡＣＭＥ 77 XQ"],
    ids=["as given", "small letters", "other separators", "other letters of Unicode"],
)
def test_a_value_of_a_list_is_found_however_it_is_written(make: Make, text: str) -> None:
    detector = own(make, ExactList.of("parts", ["ACME-77-XQ", "other value"], HASHES))
    (finding,) = detector.scan({"text": text}).findings
    assert finding.rule == "parts"


@pytest.mark.parametrize("text", ["123-45-6789", "123456789", "123 45 6789", "1234 56789", "no. (123)45 6789, please"])
def test_digits_of_a_list_are_found_however_they_are_grouped(make: Make, text: str) -> None:
    detector = own(make, ExactList.of("accounts", ["123 456 789"], HASHES))
    (finding,) = detector.scan(["x", text]).findings
    assert (
        "".join(sign for sign in text[finding.start : finding.start + finding.length] if sign.isdigit()) == "123456789"
    )
    assert detector.scan([123456789])


def test_what_is_not_on_a_list_is_not_found(make: Make) -> None:
    detector = own(make, ExactList.of("names", ["Ada Lovelace", "12345678"], HASHES))
    assert not detector.scan(["Ada", "Lovelace Ada", "ada lovelaced", "112345678", "Ada and Lovelace", 1234567])


def test_the_values_of_a_list_are_hashed_with_the_key_of_the_detector(make: Make) -> None:
    detector = own(make, ExactList.of("names", ["Ada Lovelace"], lists_key(KEY[::-1])))
    assert not detector.scan("Ada Lovelace")


def test_without_the_extra_every_detector_is_refused(rules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec
    for missing in ("re2", "kingfisher_sdk"):
        monkeypatch.setattr(util, "find_spec", lambda name, missing=missing: None if name == missing else find(name))
        with pytest.raises(DetectionUnavailable, match=r"pip install 'codemode-portal\[dlp\]'"):
            Detector([Profile("credentials")], key=KEY, folder=rules)
    for profile in ("financial", "national", "personal"):
        with pytest.raises(DetectionUnavailable, match="not installed"):
            monkeypatch.setattr(util, "find_spec", lambda name: None)
            Detector([Profile(profile)], key=KEY, folder=rules)
    with pytest.raises(DetectionUnavailable, match="not installed"):
        Pattern("own", "abc")


def test_the_folder_of_the_rules_is_for_its_owner_alone(tmp_path: Any, rules: Any) -> None:
    rules.chmod(0o755)
    Detector([Profile("credentials")], key=KEY, folder=rules)
    assert rules.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(rules)
    for place in ("file", "link"):
        with pytest.raises(DetectionUnavailable):
            Detector([Profile("credentials")], key=KEY, folder=tmp_path / place)
