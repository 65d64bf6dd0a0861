"""Secrets at rest: bound to their place, unreadable when changed, re-wrapped without being decrypted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.state import SecretUnreadable
from portal.state.envelope import Key, Place, kid_of, rewrap, seal, unseal
from tests.deep import examples

OLD = Key("00" * 8, datetime(2026, 1, 1, tzinfo=UTC), b"o" * 32)
NEW = Key("11" * 8, datetime(2026, 2, 1, tzinfo=UTC), b"n" * 32)
RING = {key.kid: key for key in (OLD, NEW)}
HERE = Place("objects", "server", "files", "secret")
text = st.text(max_size=20)
places = st.builds(Place, text, text, text, text)


@given(st.binary(max_size=300), places)
def test_a_sealed_secret_opens_in_its_place(secret: bytes, place: Place) -> None:
    sealed = seal(secret, place, OLD)
    assert unseal(sealed, place, RING.__getitem__) == secret
    assert kid_of(sealed) == OLD.kid
    assert len(secret) < 8 or secret not in sealed


@given(places, places)
def test_a_secret_moved_to_another_place_does_not_open(place: Place, other: Place) -> None:
    if place != other:
        with pytest.raises(SecretUnreadable):
            unseal(seal(b"hush", place, OLD), other, RING.__getitem__)


@given(st.integers(0, 7), st.data())
@examples(300)
def test_a_secret_with_one_bit_changed_does_not_open(bit: int, data: st.DataObject) -> None:
    sealed = bytearray(seal(b"hush", HERE, OLD))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << bit
    with pytest.raises((SecretUnreadable, KeyError)):
        unseal(bytes(sealed), HERE, RING.__getitem__)


@given(st.binary(max_size=200))
def test_bytes_that_were_never_sealed_do_not_open(noise: bytes) -> None:
    with pytest.raises((SecretUnreadable, KeyError)):
        unseal(noise, HERE, RING.__getitem__)


def test_a_rewrapped_secret_opens_with_the_new_key_alone() -> None:
    sealed = seal(b"hush", HERE, OLD)
    moved = rewrap(sealed, RING.__getitem__, NEW)
    assert kid_of(moved) == NEW.kid
    assert unseal(moved, HERE, {NEW.kid: NEW}.__getitem__) == b"hush"
    # The secret itself was not touched.
    assert moved[-32:] == sealed[-32:]


def test_the_same_secret_sealed_twice_is_never_the_same_bytes() -> None:
    assert len({seal(b"hush", HERE, OLD) for _ in range(200)}) == 200


def test_a_key_does_not_show_itself() -> None:
    assert "ooo" not in repr(OLD) and "ooo" not in str(OLD)
