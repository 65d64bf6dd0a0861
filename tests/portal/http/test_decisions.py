"""The decisions of the HTTP edge as pure functions: addresses, hosts, origins, nesting."""

import json
from itertools import pairwise
from time import thread_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http import UnsafeBind, is_loopback, require_safe_bind
from portal.http.edge import NameRules, normal_origin
from portal.http.json_scan import Excess, JsonScan, may_exceed, pieces_of
from tests.strategies import json_values

RULES = NameRules.compile(("mcp.example.com", "other.example:8443"), ("https://mcp.example.com",))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.1", "LOCALHOST", "a.localhost"])
def test_loopback_needs_no_identity(host: str) -> None:
    assert is_loopback(host)
    require_safe_bind(host, identity=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "example.com", "", "localhost.evil.com"])
def test_any_other_address_without_identity_is_refused_with_an_explanation(host: str) -> None:
    with pytest.raises(UnsafeBind, match=r"127\.0\.0\.1"):
        require_safe_bind(host, identity=False)
    require_safe_bind(host, identity=True)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:1", "127.0.0.1:8765", "[::1]:80", "[::1]", "MCP.Example.com", "mcp.example.com:9",
     "mcp.example.com."],
)  # fmt: skip
def test_hosts_of_the_portal_are_answered(host: str) -> None:
    assert RULES.host_allowed(host)


@pytest.mark.parametrize(
    "host",
    ["evil", "evil:80", "localhost.evil.com", "localhost:80:80", "localhost:x", "", ":80", "::1", "[::1", "[::1]x",
     "other.example", "other.example:1", "127.0.0.1.evil", "a@localhost"],
)  # fmt: skip
def test_hosts_of_others_are_not(host: str) -> None:
    assert not RULES.host_allowed(host)


def test_a_port_can_be_part_of_an_allowed_host() -> None:
    assert RULES.host_allowed("other.example:8443")


@pytest.mark.parametrize(
    "origin", ["http://localhost:6274", "https://127.0.0.1", "http://[::1]:1", "https://mcp.example.com:443"]
)
def test_origins_of_the_portal_and_of_this_machine_may_ask(origin: str) -> None:
    assert RULES.origin_allowed(origin)


@pytest.mark.parametrize(
    "origin",
    ["http://evil", "null", "", "https://mcp.example.com.evil", "http://mcp.example.com", "https://mcp.example.com:444",
     "https://mcp.example.com/x", "file://localhost", "http://localhost@evil", "http://[::1", "chrome-extension://abc"],
)  # fmt: skip
def test_origins_of_others_may_not(origin: str) -> None:
    assert not RULES.origin_allowed(origin)


def test_a_star_leaves_the_check_to_whoever_stands_in_front() -> None:
    rules = NameRules.compile(("*",), ("*",))
    assert rules.host_allowed("evil") and rules.origin_allowed("null")


def test_pages_under_an_allowed_name_of_this_machine_may_send_their_forms() -> None:
    rules = NameRules.compile(("docs.localhost", "docs.example.com"), ())
    assert rules.origin_allowed("http://docs.localhost:8787")
    assert not rules.origin_allowed("http://other.localhost:8787")
    assert not rules.origin_allowed("https://docs.example.com")


@pytest.mark.parametrize(("hosts", "origins"), [(("a:b:c",), ()), (("",), ()), ((), ("example.com",)), ((), ("null",))])
def test_an_entry_that_is_no_name_is_an_error_at_the_start(hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        NameRules.compile(hosts, origins)


@given(st.text(max_size=40))
def test_any_text_is_a_decision_and_no_exception(text: str) -> None:
    RULES.host_allowed(text)
    origin = normal_origin(text)
    assert origin is None or normal_origin(origin) == origin


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max((depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(item) for item in value), default=0)
    return 0


JSON = json_values(
    st.integers(),
    st.text(alphabet='a"\\[]{}', max_size=8),
    keys=st.text(alphabet='x"\\[{', max_size=3),
    size=3,
    leaves=20,
)


def count(value: object) -> int:
    """How many values there are; an empty array or object counts as two, for what could be in it."""
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    if inside is None:
        return 1
    return 1 + (sum(map(count, inside)) or 1)


def excess_of(text: bytes, depth: int, values: int, *cuts: int) -> Excess | None:
    """Which bound a text exceeds that comes in pieces, cut at these places."""
    scan, places = JsonScan(depth, values), sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        if (excess := scan.feed(text[start:end])) is not None:
            return excess
    return None


CUTS = st.lists(st.integers(min_value=0, max_value=1000), max_size=6)


@given(JSON, st.integers(min_value=0, max_value=6), CUTS)
def test_nesting_is_measured_as_a_parser_would_wherever_the_text_is_cut(
    value: object, limit: int, cuts: list[int]
) -> None:
    assert (excess_of(json.dumps(value).encode(), limit, 10_000, *cuts) == "depth") == (depth(value) > limit)


@given(JSON, st.integers(min_value=1, max_value=12), CUTS)
def test_values_are_counted_wherever_the_text_is_cut(value: object, limit: int, cuts: list[int]) -> None:
    assert (excess_of(json.dumps(value).encode(), 100, limit, *cuts) == "values") == (count(value) > limit)


@given(JSON, st.integers(min_value=0, max_value=6), st.integers(min_value=1, max_value=50))
def test_what_is_not_measured_exceeds_nothing(value: object, depth: int, values: int) -> None:
    text = json.dumps(value).encode()
    assert may_exceed(text, depth, values) or excess_of(text, depth, values) is None


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=5), CUTS)
def test_what_is_no_json_is_a_decision_too(body: bytes, limit: int, cuts: list[int]) -> None:
    assert excess_of(body, limit, 50, *cuts) in (None, "depth", "values")


M = 4_000_000


@pytest.mark.parametrize(
    ("body", "excess"),
    [
        (b"[" * M, "depth"),
        (b'{"a":' * (M // 5), "depth"),
        (b"[]" * (M // 2), "values"),
        (b"[" + b"{}," * (M // 3), "values"),
        (b"1," * (M // 2), "values"),
        (b'"' * M, "values"),
        (b'"' + b'\\"' * (M // 2) + b"[" * 200, None),
        (b'"\\' * (M // 2) + b"[" * 200, None),
        (b'{"text":"' + b"[1,2],\\n" * (M // 8) + b'"}', None),
    ],
    ids=["arrays", "objects", "empty", "empty in one", "numbers", "quotes", "escapes", "open strings", "text"],
)
def test_hostile_bodies_of_four_megabytes_are_measured_in_steps_of_milliseconds(
    body: bytes, excess: Excess | None
) -> None:
    best: list[float] = []
    for _ in range(3):
        scan, found, slowest = JsonScan(100, 100_000), None, 0.0
        for piece in pieces_of(body):
            start = thread_time()
            found = scan.feed(piece)
            slowest = max(slowest, thread_time() - start)
            if found is not None:
                break
        best.append(slowest)
        assert found == excess
    assert min(best) < 0.02
