"""The decisions of the HTTP edge as pure functions: addresses, hosts, origins, nesting."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http import UnsafeBind, is_loopback, require_safe_bind
from portal.http.edge import NameRules, normal_origin
from portal.http.guard import nests_deeper_than
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


@given(JSON, st.integers(min_value=0, max_value=6))
def test_nesting_is_measured_as_a_parser_would(value: object, limit: int) -> None:
    assert nests_deeper_than(json.dumps(value).encode(), limit) == (depth(value) > limit)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=5))
def test_nesting_of_what_is_no_json_is_a_decision_too(body: bytes, limit: int) -> None:
    assert nests_deeper_than(body, limit) in (True, False)


@pytest.mark.parametrize(
    "body",
    [b"[" * 4_000_000, b'{"a":' * 700_000, b'"' + b'\\"' * 2_000_000 + b"[" * 200, b'"\\' * 1_000_000 + b"[" * 200],
    ids=["arrays", "objects", "escapes", "open strings"],
)
def test_hostile_bodies_of_four_megabytes_are_measured_in_linear_time(body: bytes) -> None:
    nests_deeper_than(body, 100)
