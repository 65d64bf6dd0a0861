"""Texts made to be slow: the time of a scan grows with the text and no faster. It is the time of the processor."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from portal.dlp import Detector, Pattern, Profile
from tests.portal.dlp.conftest import Make

SMALL, LARGE = 64 * 1024, 512 * 1024
MOST = 3 * LARGE / SMALL
"""So many times as long may the larger text take: a square would take 64 times as long."""

PARTS = {
    "one line": "word and ",
    "digits": "7",
    "groups of digits": "4111 ",
    "digits and dots": "1.",
    "hexadecimal": "a1",
    "base64": base64.b64encode(b"nothing here to see ").decode(),
    "short base64": base64.b64encode(b"nothing here to see ").decode() + ",",
    "words nearly long enough": "x" * 19 + " ",
    "account numbers that break off": "GB12 ",
    "addresses": "a://b:c@",
    "mail": "a@",
    "names and signs": "password=",
    "first lines of keys": "-----BEGIN PRIVATE KEY-----\n",
    "a vendor and no token": "sourcegraph ",
    "beginnings of tokens": "AKIA",
    "commands": "curl -u ",
    "escapes": '\\"',
    "markers": "[redacted:card]",
    "colons": "a:",
}


def seconds(detector: Detector, value: Any) -> float:
    """The least time of three."""
    found = []
    for number in range(3):
        begun = time.thread_time()
        detector.scan([number, value])
        found.append(time.thread_time() - begun)
    return min(found)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_text_takes_time_in_proportion_to_its_size(everything: Detector, part: str) -> None:
    small, large = (seconds(everything, part * (size // len(part))) for size in (SMALL, LARGE))
    assert large < MOST * max(small, 0.001)


def deep(size: int) -> Any:
    """Arrays in arrays, with a card at the ground and a long text at each level."""
    value: Any = "4111111111111111"
    for _ in range(200):
        value = ["x" * (size // 200), value]
    return value


def wide(size: int) -> Any:
    return {f"name {number}": number for number in range(size // 20)}


def with_many_findings(size: int) -> Any:
    return [{"card": "4111 1111 1111 1111", "name": "somebody"} for _ in range(size // 100)]


@pytest.mark.parametrize("make_value", [deep, wide, with_many_findings])
def test_a_value_takes_time_in_proportion_to_its_size(everything: Detector, make_value: Any) -> None:
    small, large = (seconds(everything, make_value(size)) for size in (SMALL, LARGE))
    assert large < MOST * max(small, 0.001)


def test_split_arguments_take_time_in_proportion_to_their_number(everything: Detector) -> None:
    def of_arguments(count: int) -> float:
        value = [f"part {number}" for number in range(count)]
        begun = time.thread_time()
        everything.scan(value, as_arguments=True)
        return time.thread_time() - begun

    small, large = (min(of_arguments(count) for _ in range(3)) for count in (SMALL // 12, LARGE // 12))
    assert large < MOST * max(small, 0.001)


@pytest.mark.parametrize("pattern", [r"key(.*secret)?", r"(\w+\s)*end", r"a|a[\s\S]*z", r"(?:key )+x?"])
def test_a_pattern_takes_time_in_proportion_to_the_text(make: Make, pattern: str) -> None:
    detector = make(Profile("own", patterns=(Pattern("own", pattern),)))
    small, large = (seconds(detector, "a key " * (size // 6)) for size in (SMALL, LARGE))
    assert large < MOST * max(small, 0.005)
