"""Secrets at rest: AES-256-GCM under a key of their own, which is wrapped by a key of the key file. Pure.

A sealed secret is `version | kid | wrapped data key | nonce | ciphertext and tag`. The place it belongs to is
authenticated with it, so that a row's secret put into another row, or another column, does not open.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from portal.state.errors import SecretUnreadable

KEY_BYTES = 32
KID_BYTES = 8
NONCE_BYTES = 12

_VERSION = b"\x01"
_WRAPPED = slice(1 + KID_BYTES, 1 + KID_BYTES + KEY_BYTES + 8)
_NONCE = slice(_WRAPPED.stop, _WRAPPED.stop + NONCE_BYTES)
_SHORTEST = _NONCE.stop + 16


@dataclass(frozen=True, slots=True)
class Key:
    """A key that wraps data keys. `kid` is 16 hexadecimal digits."""

    kid: str
    made_at: datetime
    material: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed secret is stored."""

    table: str
    kind: str
    id: str
    column: str

    @property
    def authenticated(self) -> bytes:
        # A JSON array, so that no two places are written alike.
        return _VERSION + orjson.dumps([self.table, self.kind, self.id, self.column])


FindKey = Callable[[str], Key]


def seal(secret: bytes, place: Place, key: Key) -> bytes:
    data_key = AESGCM.generate_key(KEY_BYTES * 8)
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(data_key).encrypt(nonce, secret, place.authenticated)
    return _VERSION + bytes.fromhex(key.kid) + aes_key_wrap(key.material, data_key) + nonce + sealed


def unseal(sealed: bytes, place: Place, find: FindKey) -> bytes:
    """The secret.

    Raises:
        SecretUnreadable: it was changed, belongs elsewhere, or its key is not the one it was sealed with.
    """
    data_key = _unwrap(sealed, find)
    try:
        return AESGCM(data_key).decrypt(sealed[_NONCE], sealed[_NONCE.stop :], place.authenticated)
    except InvalidTag:
        raise SecretUnreadable(f"the secret of {place.kind} {place.id!r} was changed or belongs elsewhere") from None


def rewrap(sealed: bytes, find: FindKey, key: Key) -> bytes:
    """The same secret with its data key wrapped by another key; the secret itself is not decrypted."""
    data_key = _unwrap(sealed, find)
    return _VERSION + bytes.fromhex(key.kid) + aes_key_wrap(key.material, data_key) + sealed[_NONCE.start :]


def kid_of(sealed: bytes) -> str:
    """The id of the key it is wrapped with."""
    if len(sealed) < _SHORTEST or sealed[:1] != _VERSION:
        raise SecretUnreadable("a stored secret is not in a form this program knows")
    return sealed[1 : 1 + KID_BYTES].hex()


def _unwrap(sealed: bytes, find: FindKey) -> bytes:
    kid = kid_of(sealed)
    try:
        return aes_key_unwrap(find(kid).material, sealed[_WRAPPED])
    except InvalidUnwrap:
        raise SecretUnreadable(f"a stored secret does not open with key {kid}") from None
