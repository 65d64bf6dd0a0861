"""JWTs of the portal: what it signs is verified by others, and nothing else is verified by it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from portal.oauth.signing import KEY_SETTINGS, KEY_SETTINGS_ID, SIGNING_KEY, KeySettings, SigningKey, SigningKeys
from portal.state import KeyRing
from tests.portal.state.databases import new_state
from tests.portal.state.held import HeldStore
from tests.strategies import SHORT, json_values

ISSUER, AUDIENCES = "https://portal.example", ["tickets", "weather"]
DAY = 24 * 3600
JSON = json_values(st.integers(), st.floats(), SHORT, keys=st.text(max_size=4), size=3, leaves=5)
NOW = int(time.time())
# Values that a careless reader takes for good ones.
NEARLY = st.sampled_from(
    [ISSUER, [ISSUER], "tickets", ["tickets"], [["tickets"]], ["tickets", 1], {"tickets": 1}, "ES256", "none", "HS256"]
    + [0, 1, True, 1.0, 2**63, 10**400, "9999999999", float("nan"), float("inf"), [], "", {}, ["exp"], [["kid"]]]
    + [NOW + 600, NOW - 30, NOW + DAY, NOW - DAY]
)


class Signer:
    """The keys of a portal, read, and one of them to sign with anything a test makes up."""

    def __init__(self, keys: SigningKeys, key: SigningKey, runner: asyncio.Runner) -> None:
        self.keys, self.key, self._runner = keys, key, runner
        private = load_pem_private_key(key.private.encode(), None)
        assert isinstance(private, EllipticCurvePrivateKey)
        self._private = private

    def verified(self, token: str) -> dict[str, Any] | None:
        return self._runner.run(self.keys.verify(token, issuer=ISSUER, audience=AUDIENCES))

    def signed(self, header: bytes, payload: bytes) -> str:
        """A JWS of any header and payload, with a valid signature."""
        start = f"{encoded(header)}.{encoded(payload)}"
        numbers = decode_dss_signature(self._private.sign(start.encode(), ECDSA(SHA256())))
        return f"{start}.{encoded(b''.join(number.to_bytes(32, 'big') for number in numbers))}"

    def header(self) -> dict[str, Any]:
        return {"alg": "ES256", "typ": "JWT", "kid": self.key.kid}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def claims() -> dict[str, Any]:
    now = int(time.time())
    return {"iss": ISSUER, "aud": ["tickets"], "iat": now - 60, "nbf": now - 60, "exp": now + 3600, "sub": "ada"}


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    """Its store is closed: the keys are kept, so that verifying asks nobody."""

    async def read() -> tuple[SigningKeys, SigningKey]:
        url = new_state(tmp_path_factory.mktemp("signing"))
        async with HeldStore.open(url, KeyRing.in_memory()) as store:
            keys = SigningKeys(store)
            return keys, await keys.current()

    with asyncio.Runner() as runner:
        yield Signer(*runner.run(read()), runner)


@given(lasts=st.integers(1, DAY), since=st.integers(0, 3600), audience=st.sampled_from(["tickets", ["x", "weather"]]))
def test_a_token_of_ours_is_valid_for_a_day_at_most(signer: Signer, lasts: int, since: int, audience: Any) -> None:
    iat = int(time.time()) - since
    token = {"iss": ISSUER, "aud": audience, "iat": iat, "exp": iat + lasts}
    signed = signer.signed(json.dumps(signer.header()).encode(), json.dumps(token).encode())
    if lasts > since + 60:
        assert signer.verified(signed) == token
    if lasts < since:
        assert signer.verified(signed) is None
    too_long = json.dumps({**token, "exp": iat + DAY + 1}).encode()
    assert signer.verified(signer.signed(json.dumps(signer.header()).encode(), too_long)) is None


@pytest.mark.parametrize("time_of", [float, str, lambda moment: moment + 0.5, lambda moment: [moment], bool])
@pytest.mark.parametrize("name", ["exp", "iat"])
def test_a_time_that_is_not_a_whole_number_is_not_verified(signer: Signer, name: str, time_of: Any) -> None:
    made = {**claims(), name: time_of(claims()[name])}
    assert signer.verified(signer.signed(json.dumps(signer.header()).encode(), json.dumps(made).encode())) is None


@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", ISSUER.upper(), [ISSUER], "", None, True])
def test_a_token_of_another_issuer_is_not_verified(signer: Signer, issuer: Any) -> None:
    made = {**claims(), "iss": issuer}
    assert signer.verified(signer.signed(json.dumps(signer.header()).encode(), json.dumps(made).encode())) is None


@given(
    changes=st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "sub", "jti", "another"]), NEARLY | JSON, max_size=3
    ),
    missing=st.sets(st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "sub"]), max_size=2),
)
def test_only_claims_that_hold_in_every_point_are_verified(
    signer: Signer, changes: dict[str, Any], missing: set[str]
) -> None:
    made = {name: value for name, value in {**claims(), **changes}.items() if name not in missing}
    found = signer.verified(signer.signed(json.dumps(signer.header()).encode(), json.dumps(made).encode()))
    if found is None:
        assert missing & {"iss", "aud", "exp", "iat"} or set(changes) - {"another"}
        return
    audience = [found["aud"]] if isinstance(found["aud"], str) else found["aud"]
    assert found["iss"] == ISSUER and set(audience) & set(AUDIENCES)
    assert type(found["exp"]) is int and type(found["iat"]) is int
    assert found["iat"] <= time.time() and time.time() - 60 < found["exp"] <= found["iat"] + DAY
    assert "nbf" not in found or found["nbf"] <= time.time()


@given(
    changes=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "bork"]), NEARLY | JSON, max_size=3
    )
)
def test_only_a_header_with_our_algorithm_and_our_key_is_verified(signer: Signer, changes: dict[str, Any]) -> None:
    header = {**signer.header(), **changes}
    found = signer.verified(signer.signed(json.dumps(header).encode(), json.dumps(claims()).encode()))
    if found is not None:
        assert (header["alg"], header["kid"]) == ("ES256", signer.key.kid)
        assert "bork" not in header and not header.get("crit")


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_what_is_no_object_is_no_header_and_no_claims(signer: Signer, part: bytes, in_header: bool) -> None:
    header, payload = json.dumps(signer.header()).encode(), json.dumps(claims()).encode()
    assert signer.verified(signer.signed(part, payload) if in_header else signer.signed(header, part)) is None


@given(st.text(max_size=40) | st.lists(st.text("AQgw_-=.", max_size=6), max_size=5).map(".".join))
def test_any_other_text_is_not_verified(signer: Signer, text: str) -> None:
    assert signer.verified(text) is None


@pytest.mark.parametrize("deep", [b'{"a":' + b"[" * 5_000, b"[" * 5_000, b'{"a":' + b"9" * 5_000 + b"}"])
def test_json_that_is_nested_or_long_beyond_reason_is_not_verified(signer: Signer, deep: bytes) -> None:
    header, payload = json.dumps(signer.header()).encode(), json.dumps(claims()).encode()
    assert signer.verified(signer.signed(deep, payload)) is None
    assert signer.verified(signer.signed(header, deep)) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_token_with_any_byte_changed_is_not_verified(signer: Signer, place: int, change: int) -> None:
    token = bytearray(signer.signed(json.dumps(signer.header()).encode(), json.dumps(claims()).encode()), "latin-1")
    token[place % len(token)] ^= change
    assert signer.verified(token.decode("latin-1")) is None


def test_without_an_audience_nothing_is_verified(signer: Signer) -> None:
    token = signer.signed(json.dumps(signer.header()).encode(), json.dumps(claims()).encode())
    assert signer.verified(token) is not None
    assert asyncio.run(signer.keys.verify(token, issuer=ISSUER, audience=[])) is None


@pytest.mark.anyio
async def test_others_verify_what_we_sign_with_the_published_keys(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        keys = SigningKeys(store)
        told = {**claims(), "name": "Ada Löwe 🦁"}
        token = await keys.sign(told)
        [public] = (await keys.key_set())["keys"]
        assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": public["kid"]}
        assert jwt.decode(token, jwt.PyJWK(public), algorithms=["ES256"], audience="tickets", issuer=ISSUER) == told
        assert await keys.verify(token, issuer=ISSUER, audience=["tickets"]) == told


@pytest.mark.anyio
async def test_a_key_rotated_elsewhere_while_the_keys_are_being_read_is_the_one_that_signs(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        other = SigningKeys(store)
        first = await other.current()
        keys = SigningKeys(store)
        store.hold.begin()
        reading = asyncio.create_task(keys.current())
        await store.hold.answered.wait()
        rotating = asyncio.create_task(other.rotate(by="ann"))
        changed = asyncio.Event()
        store.subscribe(lambda kinds: changed.set() if SIGNING_KEY.name in kinds else None)
        await changed.wait()
        store.hold.end()
        second = await rotating
        assert first.kid != second.kid and (await reading).kid == second.kid


@pytest.mark.anyio
async def test_an_interval_set_while_the_former_one_is_being_read_holds(tmp_path: Path) -> None:
    async with HeldStore.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        keys = SigningKeys(store)
        store.hold.begin()
        reading = asyncio.create_task(keys.rotation_interval())
        await store.hold.answered.wait()
        await store.create(KEY_SETTINGS, KEY_SETTINGS_ID, KeySettings(key_rotation_interval_days=30), by="ann")
        store.hold.end()
        assert await reading == timedelta(days=30)
