"""What is kept of arguments and results has no secret that a name or a place tells, and is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.logs.masking import CUT, MASKED, Masks, masked, masked_text

SECRET = "s3cr3t-7f1c"
DEFAULT = Masks.of()


@pytest.mark.parametrize(
    "name",
    [
        "password", "PassWord", "user_password", "db-passwd", "pass phrase", "client_secret", "clientSecret",
        "access_token", "refreshToken", "Authorization", "X-Api-Key", "api_key", "apiKey", "private-key", "cookie",
        "Set-Cookie", "credentials", "PIN", "otp", "session_id", "jwt", "auth",
    ],
)  # fmt: skip
def test_members_whose_names_say_so_are_masked_at_any_depth(name: str) -> None:
    value = {"a": [{"b": {name: SECRET, "kept": "yes"}}, {name: {"deep": [SECRET]}}]}
    assert masked(value, DEFAULT, 10_000) == {"a": [{"b": {name: MASKED, "kept": "yes"}}, {name: MASKED}]}


@pytest.mark.parametrize("name", ["author", "spinner", "keyboard", "passenger", "opinion"])
def test_members_with_harmless_names_are_kept(name: str) -> None:
    assert masked({name: "kept"}, DEFAULT, 1000) == {name: "kept"}


def test_names_and_paths_of_the_operator_are_masked_too() -> None:
    masks = Masks.of(["iban", "customer.cards.*.number", "rows.*"])
    value = {
        "IBAN": SECRET,
        "customer": {"cards": [{"number": SECRET, "kind": "v"}], "number": 5},
        "order": {"customer": {"cards": {"first": {"number": SECRET}}}},
        "rows": [SECRET, {"a": SECRET}],
    }
    assert masked(value, masks, 10_000) == {
        "IBAN": MASKED,
        "customer": {"cards": [{"number": MASKED, "kind": "v"}], "number": 5},
        "order": {"customer": {"cards": {"first": {"number": MASKED}}}},
        "rows": [MASKED, MASKED],
    }


def test_json_in_a_text_is_read_as_json() -> None:
    inner = json.dumps({"token": SECRET, "rows": [{"x": 1}]})
    value = {"content": [{"type": "text", "text": inner}, {"type": "text", "text": json.dumps({"again": inner})}]}
    kept = json.dumps(masked(value, DEFAULT, 10_000))
    assert SECRET not in kept and kept.count(MASKED) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"https://example.com/x?page=2&access_token={SECRET}&sort=a",
        f"password={SECRET}",
        f"PASSWORD: {SECRET}",
        f"password: '{SECRET} and more'",
        f"Authorization: Bearer {SECRET}",
        f"curl -H 'Authorization: Basic {SECRET}'",
        f"here is a Bearer {SECRET}",
        f'not json: {{"api_key": "{SECRET}"}}',
        f"postgresql://user:{SECRET}@host/db",
        f"client_secret = {SECRET}",
    ],
)
def test_what_a_text_says_is_a_secret_is_masked(text: str) -> None:
    kept = masked_text(text)
    assert SECRET not in kept and MASKED in kept


def test_a_long_text_of_json_is_cut_as_a_whole_because_a_part_of_it_tells_nothing() -> None:
    inner = json.dumps({"password": SECRET, "rows": ["x" * 100] * 100})
    assert masked({"text": inner}, DEFAULT, 2000) == {"text": CUT}


_names = st.sampled_from(["password", "a", "b", "refresh_token", "rows", "x" * 300])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_names | st.text(max_size=8), inner, max_size=6),
    max_leaves=40,
)


def _hide(value: Any) -> Any:
    """The value with the secret under each name that is masked."""
    if isinstance(value, dict):
        return {
            name: SECRET if name in ("password", "refresh_token", "x" * 300) else _hide(item)
            for name, item in value.items()
        }
    return [_hide(item) for item in value] if isinstance(value, list) else value


@given(_values, st.integers(0, 5000), st.booleans())
def test_whatever_the_value_no_masked_secret_is_left_and_it_is_bounded(value: Any, room: int, as_text: bool) -> None:
    value = _hide(value)
    kept = masked([json.dumps(value)] if as_text else value, DEFAULT, room)
    written = json.dumps(kept)
    assert SECRET not in written
    # Each character is at most a pair of escapes, and each level has brackets.
    assert len(written) <= 14 * room + 2000


@pytest.mark.parametrize(
    "text", ["password=" * 20_000, "token " * 20_000, "a://" * 20_000, "bearer " * 20_000, "[" * 50_000]
)
def test_a_hostile_text_takes_no_longer_than_another(text: str) -> None:
    assert len(str(masked(text, DEFAULT, 65_536))) < 500_000


def test_a_value_that_is_nested_far_too_deep_is_cut() -> None:
    value: Any = "deep"
    for _ in range(5_000):
        value = [value]
    assert CUT in json.dumps(masked(value, DEFAULT, 100_000))
