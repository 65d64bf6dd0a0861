"""Tokens of others: what holds, what does not, and that no text whatever makes anything but a refusal of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from portal.jose import MAX_KEYS, KeyUnknown, TokenInvalid, read_keys, verify
from tests.deep import examples
from tests.strategies import json_values

KEY = ECKey.generate_key("P-256", {"kid": "one", "use": "sig"})
KEYS = read_keys({"keys": [KEY.as_dict(private=False)]})
JSON_VALUES = json_values(st.integers(), st.floats(), st.text(max_size=20), leaves=10)


def token(claims: Any = None, key: Key = KEY, algorithm: str = "ES256", **header: Any) -> str:
    claims = {"exp": int(time.time()) + 60} if claims is None else claims
    header = {"alg": algorithm, "kid": "one", **header}
    return jwt.encode({name: value for name, value in header.items() if value is not None}, claims, key, [algorithm])


def encoded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048, {"kid": "one"}), "RS256"),
        (RSAKey.generate_key(2048, {"kid": "one"}), "PS512"),
        (ECKey.generate_key("P-521", {"kid": "one"}), "ES512"),
        (OKPKey.generate_key("Ed25519", {"kid": "one"}), "Ed25519"),
    ],
)
def test_a_token_signed_by_a_published_key_says_what_it_says(key: Key, algorithm: str) -> None:
    keys = read_keys({"keys": [key.as_dict(private=False)]})
    found = verify(token({"sub": "ada"}, key, algorithm), keys, {"sub": {"essential": True}})
    assert found.claims == {"sub": "ada"}
    assert found.header["alg"] == algorithm


class Lenient(JWSRegistry):
    """Signs with any header."""

    max_header_length = 10_000


@pytest.mark.parametrize("parameter", [{"pi.atm": "1"}, {"x5c": ["A" * 4000]}])
def test_header_parameters_that_nobody_knows_are_ignored(parameter: dict[str, Any]) -> None:
    registry = Lenient(algorithms=["ES256"], strict_check_header=False)
    sent = jwt.encode({"alg": "ES256", "kid": "one", **parameter}, {"sub": "ada"}, KEY, registry=registry)
    assert verify(sent, KEYS, {}).claims == {"sub": "ada"}


def test_a_critical_header_parameter_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TokenInvalid, match="UnsupportedHeader"):
        verify(f"{encoded({'alg': 'ES256', 'crit': ['bork'], 'bork': 1})}.{encoded({})}.AAAA", KEYS, {})


def test_a_key_that_is_not_published_is_told_from_a_token_that_does_not_hold() -> None:
    other = ECKey.generate_key("P-256", {"kid": "two"})
    with pytest.raises(KeyUnknown):
        verify(token(key=other, kid="two"), KEYS, {})
    with pytest.raises(TokenInvalid) as caught:
        verify(token(key=other), KEYS, {})
    assert not isinstance(caught.value, KeyUnknown)


def test_a_token_without_a_key_id_is_of_the_only_key_or_of_none() -> None:
    assert verify(token(kid=None), KEYS, {}).claims
    two = read_keys({"keys": [KEY.as_dict(private=False), ECKey.generate_key("P-256").as_dict(private=False)]})
    with pytest.raises(KeyUnknown):
        verify(token(kid=None), two, {})


def test_secrets_are_no_keys_and_no_key_signs_by_another_algorithm_than_its_own() -> None:
    secret = OctKey.import_key("a secret that both sides know, long enough", {"kid": "one"})
    with pytest.raises(TokenInvalid):
        read_keys({"keys": [secret.as_dict(private=True)]})
    for text in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        signed = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{encoded({'exp': 9_999_999_999})}"
        mac = hmac.new(text, signed.encode(), hashlib.sha256).digest()
        with pytest.raises(TokenInvalid):
            verify(f"{signed}.{encoded(mac)}", KEYS, {})
    with pytest.raises(TokenInvalid):
        verify(f"{encoded({'alg': 'none', 'kid': 'one'})}.{encoded({'exp': 9_999_999_999})}.", KEYS, {})
    for published in ({"use": "enc"}, {"alg": "ES512"}):
        with pytest.raises(TokenInvalid):
            verify(token(), read_keys({"keys": [{**KEY.as_dict(private=False), **published}]}), {})


# A day: a suite that takes an hour must not outlive what is in the future here.
DAY = 24 * 3600
NOW = int(time.time())


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW - DAY},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": NOW + 2 * DAY, "nbf": NOW + DAY},
        {"exp": NOW + 2 * DAY, "iat": NOW + DAY},
        {"exp": NOW + 2 * DAY, "iat": "yesterday"},
        {"exp": NOW + 2 * DAY, "sub": 7},
        {"exp": NOW + 2 * DAY, "aud": {"a": 1}},
        {},
    ],
)
def test_times_and_claims_that_do_not_hold_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid):
        verify(token(claims), KEYS, {"exp": {"essential": True}}, leeway=60)


def test_a_claim_that_is_null_was_not_sent() -> None:
    claims = {"exp": NOW + 2 * DAY, "nbf": None, "iat": None, "aud": None, "nonce": None}
    assert verify(token(claims), KEYS, {"exp": {"essential": True}}).claims == {"exp": NOW + 2 * DAY}


@pytest.mark.parametrize("parameter", ["use", "alg", "key_ops", "x5c", "x5t"])
def test_a_parameter_of_a_key_that_is_null_was_not_sent(parameter: str) -> None:
    keys = read_keys({"keys": [{**KEY.as_dict(private=False), parameter: None}]})
    assert verify(token(), keys, {}).claims


def test_leeway_is_for_clocks_that_differ() -> None:
    late = token({"exp": int(time.time()) - 30})
    assert verify(late, KEYS, {}, leeway=60).claims
    with pytest.raises(TokenInvalid):
        verify(late, KEYS, {})


def test_json_that_nests_without_end_is_refused() -> None:
    for deep in (b"[" * 60_000, b'{"a":' * 15_000):
        for part in (f"{encoded(deep)}.{encoded({})}.AAAA", signed_bytes(deep)):
            with pytest.raises(TokenInvalid):
                verify(part, KEYS, {})


def signed_bytes(payload: bytes) -> str:
    """A good signature over any payload."""
    return jws.serialize_compact({"alg": "ES256", "kid": "one"}, payload, KEY)


@pytest.mark.parametrize("payload", [rb'{"sub": "\ud800"}', b'{"exp": 1e999}', b"NaN", b"[]", b"", b'{"a": 1', b"\xff"])
def test_a_payload_that_is_no_strict_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(TokenInvalid):
        verify(signed_bytes(payload), KEYS, {})


@given(st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
@examples(60)
def test_no_payload_however_well_signed_is_anything_but_claims_or_a_refusal(payload: bytes) -> None:
    try:
        claims = verify(signed_bytes(payload), KEYS, {"exp": {"essential": True}}).claims
    except TokenInvalid:
        return
    assert isinstance(claims["exp"], int | float) and not isinstance(claims["exp"], bool)


@given(JSON_VALUES | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "jwk", "b64", "typ"]), JSON_VALUES))
def test_no_header_is_anything_but_a_refusal(header: Any) -> None:
    with pytest.raises(TokenInvalid):
        verify(f"{encoded(header)}.{encoded({})}.AAAA", KEYS, {})


@given(st.text() | JSON_VALUES)
def test_no_other_value_is_a_token(value: Any) -> None:
    with pytest.raises(TokenInvalid):
        verify(value, KEYS, {})


def test_keys_that_cannot_be_used_do_not_keep_a_set_from_being_read() -> None:
    good = KEY.as_dict(private=False)
    bad: list[Any] = [
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA"},
        {"kty": "AKP", "alg": "ML-DSA-44"},
        {**good, "y": good["x"]},
        {"kty": ["EC"]},
        {},
        "key",
        None,
    ]
    assert verify(token(), read_keys({"keys": [*bad, good]}), {}).claims


@given(JSON_VALUES | st.fixed_dictionaries({"keys": st.lists(JSON_VALUES, max_size=3) | JSON_VALUES}))
def test_no_other_document_is_a_key_set(document: Any) -> None:
    with pytest.raises(TokenInvalid):
        read_keys(document)


def test_a_set_of_more_keys_than_anybody_needs_is_refused() -> None:
    good = KEY.as_dict(private=False)
    assert read_keys({"keys": [good] * MAX_KEYS})
    with pytest.raises(TokenInvalid):
        read_keys({"keys": [good] * (MAX_KEYS + 1)})
