"""Our portal as `codemode serve` runs it, over two HTTP upstreams, programs run in worker processes."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cases import Case, Reading
from benchmarks.portal_client import latency, load, start

ADD = "await codemode.server0.add({ a: 1, b: 2 })"
TEN = f"let last; for (let i = 0; i < 10; i++) last = {ADD}; return last"


def cases() -> Mapping[str, Case | Reading]:
    constant = {"code": "async () => 1"}
    return {
        "constant": latency(code_mode, "code", constant),
        "plain_call": latency(portal, "server0_add", {"a": 1, "b": 2}),
        "one_call": latency(code_mode, "code", {"code": f"return {ADD}"}),
        "ten_calls": latency(code_mode, "code", {"code": TEN}, rounds=40),
        "constant_1": load(code_mode, "code", constant, clients=1),
        "constant_16": load(code_mode, "code", constant, clients=16),
        "constant_64": load(code_mode, "code", constant, clients=64),
    }


def portal() -> str:
    upstream = start("benchmarks.servers.upstream")
    return start("benchmarks.servers.our_portal", upstream, upstream)


def code_mode() -> str:
    return f"{portal()}?codemode=search_and_execute"
