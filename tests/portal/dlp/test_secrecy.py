"""What was found stands nowhere but in the value: not in findings, errors, logs, or the list of an administrator."""

from __future__ import annotations

import base64
import logging
import pickle
import random
from collections.abc import Iterator
from typing import Any

import pytest

from portal.dlp import Detector, ExactList, Profile, RuleRefused, Verdict, lists_key
from tests.corpus import detection
from tests.corpus.detection import HALVES, AbsentTexts
from tests.portal.dlp import made_up
from tests.portal.dlp.conftest import KEY, Make
from tests.portal.dlp.made_up import SECRETS


def shown(verdict: Verdict) -> Iterator[str]:
    """All that a verdict may be turned into."""
    yield repr(verdict)
    yield str(verdict)
    for finding in (*verdict.findings, *verdict.allowed):
        yield repr(finding)
        yield finding.path
    yield pickle.dumps(verdict).decode("latin-1")


def test_no_secret_stands_in_what_a_scan_gives(everything: Detector, caplog: pytest.LogCaptureFixture) -> None:
    source = random.Random(11)
    with caplog.at_level(logging.DEBUG):
        for make_one in (*SECRETS.values(), made_up.card, made_up.iban, made_up.us_ssn):
            secret = make_one(source)
            hidden = base64.b64encode(f"it is {secret}".encode()).decode()
            value = {"a": secret, secret: [hidden], "b": secret[:15], "c": secret[15:], hidden: 1}
            verdict = everything.scan(value, as_arguments=True)
            assert verdict.findings
            for text in (*shown(verdict), caplog.text):
                assert secret not in text and hidden not in text


@pytest.mark.parametrize("half", HALVES)
def test_nothing_of_the_labelled_secrets_stands_in_what_a_scan_gives(
    everything: Detector, half: detection.Half
) -> None:
    try:
        secrets = detection.secrets(half)
    except AbsentTexts as error:
        pytest.skip(str(error))
    for one in secrets:
        value: Any = {"text": one.text, one.text: 1}
        for finding in (verdict := everything.scan(value, as_arguments=True)).findings:
            match = one.text[finding.start : finding.start + finding.length]
            assert len(match) < 6 or not any(match in text for text in shown(verdict))


def test_a_list_has_nothing_of_its_values(make: Make) -> None:
    values = ["Customer 4711-0815", "Maria Schnödegrün", "77 88 99 00 11"]
    listed = ExactList.of("customers", values, lists_key(KEY))
    kept = repr(listed) + pickle.dumps(listed).decode("latin-1")
    for part in ("4711", "0815", "customer 4711", "maria", "Maria", "schn", "7788990011", "77 88"):
        assert part not in kept
    assert make(Profile("own", lists=(listed,))).scan("is customer-4711.0815 known?")


def test_errors_about_a_list_say_the_number_of_the_value_and_not_the_value() -> None:
    for bad in ("abcd", "x" * 300, "one two three four five six seven"):
        with pytest.raises(RuleRefused, match="value 2 of the list 'own'") as raised:
            ExactList.of("own", ["longer value", bad], lists_key(KEY))
        assert bad not in str(raised.value)
