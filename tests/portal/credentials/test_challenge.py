"""What a server that refuses a request says about the token it wants, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.credentials.challenge import MAX_SCOPES, Challenge, read_challenge, union


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, Challenge()),
        ("", Challenge()),
        ("Bearer", Challenge()),
        ("Bearer scope=a", Challenge(scope="a")),
        ('bearer Scope = "a b" , error=invalid_token', Challenge(scope="a b", error="invalid_token")),
        ('Bearer error="insufficient_scope", scope="x"', Challenge(scope="x", error="insufficient_scope")),
        ('Bearer resource_metadata="https://a/b?c=d,e"', Challenge(resource_metadata="https://a/b?c=d,e")),
        ("Bearer resource_metadata=https://a/b", Challenge(resource_metadata="https://a/b")),
        # Scopes have few characters (RFC 6749 3.3); others could not be asked for.
        (r'Bearer scope="a \"b\" \\c d"', Challenge(scope="a d")),
        ('Bearer scope="a\udcff b"', Challenge(scope="b")),
        # A text that looks like a parameter is none.
        ('Bearer error_description="use scope=\\"all\\", error=none", scope="a"', Challenge(scope="a")),
        ('Bearer realm="scope=b", scope="a"', Challenge(scope="a")),
        # The first of two counts, and other schemes have parameters of their own.
        ("Bearer scope=a, scope=b", Challenge(scope="a")),
        ('Basic realm="x", scope="b", Bearer scope="a"', Challenge(scope="a")),
        ('Bearer scope="a", DPoP algs="ES256", scope="b"', Challenge(scope="a")),
        ("Negotiate, Bearer scope=a", Challenge(scope="a")),
    ],
)
def test_the_bearer_challenge_is_found_in_a_header(header: str | None, challenge: Challenge) -> None:
    assert read_challenge(header) == challenge


@given(st.text(max_size=4096))
def test_no_header_is_too_odd_to_be_read(header: str) -> None:
    assert isinstance(read_challenge(f"Bearer {header}"), Challenge)


def test_a_long_header_takes_no_longer_than_its_length() -> None:
    for header in ('Bearer scope="' + '\\"' * 2000, "Bearer " + "a=," * 1300, "Bearer " + "a " * 2000):
        assert isinstance(read_challenge(header), Challenge)


scopes = st.lists(st.text("abc:/", min_size=1, max_size=3), max_size=8).map(" ".join)


@given(scopes, scopes)
def test_a_union_has_every_scope_once_and_in_order(first: str, second: str) -> None:
    both = union(first, second).split()
    assert set(both) == {*first.split(), *second.split()}
    assert len(set(both)) == len(both)
    assert both[: len(dict.fromkeys(first.split()))] == list(dict.fromkeys(first.split()))


def test_a_union_is_bounded() -> None:
    assert len(union("a", " ".join(map(str, range(1000)))).split()) == MAX_SCOPES
