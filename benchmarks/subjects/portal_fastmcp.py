"""FastMCP's CodeMode as a portal over two HTTP upstreams, programs in its Python."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.cases import Case, Reading
from benchmarks.portal_client import latency, load, start

ADD = "await call_tool('server0_add', {'a': 1, 'b': 2})"
TEN = f"for i in range(10):\n    r = {ADD}\nreturn r"


def cases() -> Mapping[str, Case | Reading]:
    constant = {"code": "return 1"}
    return {
        "constant": latency(portal, "execute", constant, rounds=60),
        "one_call": latency(portal, "execute", {"code": f"return {ADD}"}, rounds=15),
        "ten_calls": latency(portal, "execute", {"code": TEN}, rounds=4),
        "constant_1": load(portal, "execute", constant, clients=1),
        "constant_16": load(portal, "execute", constant, clients=16),
        "constant_64": load(portal, "execute", constant, clients=64),
    }


def portal() -> str:
    upstream = start("benchmarks.servers.upstream")
    return start("benchmarks.servers.fastmcp_portal", upstream, upstream)
