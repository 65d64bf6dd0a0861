"""How much of foreign labelled texts is found, and how much else is taken for a secret: bars for both halves."""

from __future__ import annotations

from collections import Counter

import pytest

from portal.dlp import Detector
from tests.corpus import detection
from tests.corpus.detection import HALVES, VARIABLE, AbsentTexts, Half, Secret, Sentence
from tests.portal.dlp.conftest import Make

KINDS = {
    "card": "CREDIT_CARD",
    "iban": "IBAN_CODE",
    "us-ssn": "US_SSN",
    "email": "EMAIL_ADDRESS",
    "ip-address": "IP_ADDRESS",
}


def secrets(half: Half) -> list[Secret]:
    try:
        return detection.secrets(half)
    except AbsentTexts as error:
        pytest.skip(str(error))


def sentences(half: Half) -> list[Sentence]:
    try:
        return detection.sentences(half)
    except AbsentTexts as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def credentials(make: Make) -> Detector:
    return make("credentials")


@pytest.fixture(scope="module")
def numbers(make: Make) -> Detector:
    return make("financial", "national", "personal")


@pytest.mark.parametrize("in_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("half", HALVES)
def test_at_least_95_of_100_secrets_are_found(credentials: Detector, half: Half, in_json: bool) -> None:
    texts = [one.text for one in secrets(half) if one.is_secret]
    found = sum(bool(credentials.scan({"items": [text]} if in_json else text)) for text in texts)
    assert found >= 0.95 * len(texts)


@pytest.mark.parametrize("in_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("half", HALVES)
def test_at_most_2_of_100_decoys_are_taken_for_secrets(credentials: Detector, half: Half, in_json: bool) -> None:
    texts = [one.text for one in secrets(half) if not one.is_secret]
    found = sum(bool(credentials.scan({"items": [text]} if in_json else text)) for text in texts)
    assert found <= 0.02 * len(texts)


@pytest.mark.parametrize("half", HALVES)
def test_at_least_98_of_100_numbers_are_found_and_next_to_nothing_else(numbers: Detector, half: Half) -> None:
    wanted, found, wrong = Counter[str](), Counter[str](), Counter[str]()
    texts = sentences(half)
    for sentence in texts:
        places = {
            (KINDS.get(one.rule), one.start, one.start + one.length) for one in numbers.scan(sentence.text).findings
        }
        labelled = {tuple(span) for span in sentence.spans}
        wanted.update(span.kind for span in sentence.spans if span.kind in KINDS.values())
        found.update(str(kind) for kind, *_ in places & labelled)
        wrong.update(str(kind) for kind, *_ in places - labelled if kind is not None)
    assert wanted.keys() == set(KINDS.values())
    assert [kind for kind in wanted if found[kind] < 0.98 * wanted[kind]] == []
    assert sum(wrong.values()) <= 0.01 * len(texts)


def test_where_the_texts_are_not_there_the_error_says_which_variable_names_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "no/such/folder")
    with pytest.raises(AbsentTexts, match=VARIABLE):
        detection.secrets("tuned")
