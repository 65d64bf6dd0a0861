"""URLs in their normal spelling, and the query strings that only choose a mode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.http import ModeRefused, is_mode_query, normal_url, read_mode_query
from portal.http.mode_query import ALLOWED


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTPS://Portal.Example.com:443", "https://portal.example.com/"),
        ("http://127.0.0.1:080/a", "http://127.0.0.1/a"),
        ("http://[0:0:0:0:0:0:0:1]:3/a", "http://[::1]:3/a"),
        ("https://a.example/%7euser/%c3%a4?q=%41%2f", "https://a.example/~user/%C3%A4?q=A%2F"),
        ("https://a.example/a/../b/%2e%2e/c", "https://a.example/c"),
        ("https://a.example/a/", "https://a.example/a/"),
        ("cursor://Anysphere/a", "cursor://Anysphere/a"),
        ("https://a.example:port/", None),
        ("no url", None),
    ],
)
def test_the_normal_spelling_of_a_url(url: str, normal: str | None) -> None:
    assert normal_url(url) == normal


@given(st.text(max_size=60))
def test_a_normal_spelling_is_its_own(text: str) -> None:
    for url in (text, f"https://a.example/{text}", f"app://{text}"):
        normal = normal_url(url)
        assert normal is None or normal_url(normal) == normal


MODE_QUERIES = [f"{name}={value}".encode() for name, values in ALLOWED.items() for value in values]


def test_a_mode_and_nothing_else_is_the_same_endpoint() -> None:
    assert all(map(is_mode_query, MODE_QUERIES))
    for other in (b"", b"x", b"codemode=off&x", b"codemode=yes", b"CODEMODE=off", b"codemode=off&codemode=off", b"&"):
        assert not is_mode_query(other)


@given(st.binary(max_size=60) | st.lists(st.sampled_from([*MODE_QUERIES, b"x=1", b""])).map(b"&".join))
def test_a_query_that_only_chooses_a_mode_can_stand_in_a_header(query: bytes) -> None:
    if is_mode_query(query):
        assert len(read_mode_query(query)) == 1
        assert query.isascii() and query.decode().isprintable() and not set(query) & set(b'"\\ #')
    else:
        try:
            read_mode_query(query)
        except ModeRefused:
            return
