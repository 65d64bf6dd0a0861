"""The direct call: the same client and the same upstream server, nothing between them."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cases import Case, Reading
from benchmarks.portal_client import latency, load, start

NUMBERS = {"a": 1, "b": 2}


def cases() -> Mapping[str, Case | Reading]:
    return {
        "constant": latency(upstream, "add", NUMBERS),
        "plain_call": latency(upstream, "add", NUMBERS),
        "one_call": latency(upstream, "add", NUMBERS),
        "ten_calls": latency(upstream, "add", NUMBERS, times=10, rounds=40),
        "constant_1": load(upstream, "add", NUMBERS, clients=1),
        "constant_16": load(upstream, "add", NUMBERS, clients=16),
        "constant_64": load(upstream, "add", NUMBERS, clients=64),
    }


def upstream() -> str:
    return start("benchmarks.servers.upstream")
