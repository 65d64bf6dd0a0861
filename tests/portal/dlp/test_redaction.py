"""A redacted value has the same shape, and nothing is found in it."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.dlp import Detector, Pattern, Profile, redact
from tests.deep import examples
from tests.portal.dlp import made_up
from tests.portal.dlp.conftest import Make
from tests.portal.dlp.made_up import SECRETS
from tests.strategies import json_values

TOKEN = SECRETS["github"](random.Random(1))
CARD = "4111111111111111"
KINDS = [*SECRETS.values(), made_up.card, made_up.iban, made_up.us_ssn]


def secret_texts() -> st.SearchStrategy[Any]:
    """Texts with secrets in them, plain and in base64, and cards as numbers."""

    def written(source: random.Random) -> Any:
        secret = source.choice(KINDS)(source)
        if source.random() < 0.2:
            return int(made_up.card(source))
        text = source.choice(["{}", "say {} now", "({})", "{},{}", 'é "{}"\n', "password: {}"])
        text = text.format(secret, source.choice(KINDS)(source))
        return base64.b64encode(f"take {text}".encode()).decode() if source.random() < 0.2 else text

    return st.randoms(use_true_random=False).map(written)


VALUES = json_values(secret_texts(), st.text(max_size=8), st.integers(), keys=secret_texts().map(str))


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [shape(member) for member in value.values()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return None


@examples(400)
@given(VALUES)
def test_nothing_is_found_in_a_redacted_value(everything: Detector, value: Any) -> None:
    clean, verdict = everything.redacted(value)
    assert everything.scan(clean).findings == ()
    assert shape(clean) == shape(value)
    assert json.loads(json.dumps(clean)) == clean
    if not verdict:
        assert clean is value


@examples(200)
@given(VALUES)
def test_nothing_is_found_in_redacted_arguments(everything: Detector, value: Any) -> None:
    clean, _ = everything.redacted(value, as_arguments=True)
    assert everything.scan(clean, as_arguments=True).findings == ()
    assert shape(clean) == shape(value)


def test_matches_are_replaced_where_they_stand(everything: Detector) -> None:
    hidden = base64.b64encode(f"token {TOKEN}".encode()).decode()
    value = {
        "text": f"é use {TOKEN}, then {CARD}.",
        "card": int(CARD),
        f"key {TOKEN}": [None, True, {"data": f"see {hidden}!"}],
        "same": {"untouched": 1.5},
    }
    clean = redact(value, everything.scan(value).findings)
    assert clean == {
        "text": "é use [redacted:github-pat], then [redacted:card].",
        "card": "[redacted:card]",
        "key [redacted:github-pat]": [None, True, {"data": "see [redacted:github-pat]!"}],
        "same": {"untouched": 1.5},
    }
    assert isinstance(clean, dict) and clean["same"] is value["same"]


def test_names_that_would_be_equal_stay_apart(everything: Detector) -> None:
    source = random.Random(3)
    value = {SECRETS["github"](source): 1, SECRETS["github"](source): 2, "[redacted:github-pat] 2": 3}
    clean = redact(value, everything.scan(value).findings)
    assert clean == {"[redacted:github-pat]": 1, "[redacted:github-pat] 3": 2, "[redacted:github-pat] 2": 3}


def test_every_piece_of_a_split_secret_is_replaced(everything: Detector) -> None:
    value = {"a": f"x {TOKEN[:20]}", "b": TOKEN[20:]}
    clean, _ = everything.redacted(value, as_arguments=True)
    assert clean == {"a": "x [redacted:github-pat]", "b": "[redacted:github-pat]"}


def test_a_marker_hides_nothing_that_only_looks_like_one(make: Make) -> None:
    detector = make("credentials", Profile("own", patterns=(Pattern("code", r"\b[a-z]+-?[a-z0-9]+\b"),)))
    assert [finding.start for finding in detector.scan("[redacted:ab-12cd34ef]").findings] == [1, 10]
    for rule in ("code", "github-pat", "card"):
        assert not detector.scan(f"[redacted:{rule}]")


def test_a_pattern_that_fits_its_own_marker_comes_to_an_end(make: Make) -> None:
    detector = make(Profile("own", patterns=(Pattern("words", r"[a-z:\[\]]+"),)))
    clean, _ = detector.redacted({"text": "some words"})
    assert detector.scan(clean).findings == ()


@pytest.mark.parametrize("value", [None, True, 1, [], {}, "", "text"])
def test_a_value_without_findings_is_given_back_as_it_is(everything: Detector, value: Any) -> None:
    assert everything.redacted(value)[0] is value
