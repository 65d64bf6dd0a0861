"""JWTs that somebody else signed, verified with the public keys they publish (RFC 7515, 7517, 7519).

The cryptography is joserfc's. Here is what the portal accepts: asymmetric algorithms only, so that no public key and no
secret of its own can pass for a signature; keys of the published set only, whatever a token's header brings along; and
numbers that are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet, OctKey
from joserfc.jws import JWSRegistry
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
MAX_KEYS = 100


class TokenInvalid(Exception):
    """A token or a key set that does not hold. The text is for logs: no part of the token is in it."""


class ClaimInvalid(TokenInvalid):
    """A claim of a token whose signature holds does not hold. `problem` is a phrase without a subject."""

    def __init__(self, claim: str, problem: str) -> None:
        self.claim = claim
        self.problem = problem
        super().__init__(f"{claim} {problem}")


class KeyUnknown(TokenInvalid):
    """The token names a key that is not in the set. A newer set may have it."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature and times hold."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class _Registry(JWSRegistry):
    # A certificate chain (x5c) is longer than what joserfc expects of a header.
    max_header_length = 16 * 1024


# A header parameter that nobody knows is ignored unless `crit` lists it (RFC 7515 4).
_REGISTRY = _Registry(algorithms=ALGORITHMS, strict_check_header=False)


def read_keys(document: object) -> KeySet:
    """The public keys of a JWK set. Keys of a kind that cannot be used here are left out (RFC 7517 5).

    Raises:
        TokenInvalid: it is no JWK set, has no key that can be used, or more than `MAX_KEYS`.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise TokenInvalid(f"it is no set of at most {MAX_KEYS} keys")
    keys = [key for entry in entries if (key := _read_key(entry)) is not None]
    if not keys:
        raise TokenInvalid("none of its keys can be used")
    return KeySet(keys)


def verify(token: object, keys: KeySet, claims: Mapping[str, ClaimsOption], *, leeway: int = 0) -> VerifiedToken:
    """The header and the claims of a token whose signature, times and `claims` hold; `leeway` in seconds.

    `claims` are joserfc's options by claim name: `{"exp": {"essential": True}}`. `exp`, `nbf` and `iat` are checked
    where they are present; a claim that must be present is listed in `claims`.

    Raises:
        KeyUnknown: it is signed by a key that is not in the set.
        ClaimInvalid: a claim does not hold.
        TokenInvalid: anything else does not hold.
    """
    if not isinstance(token, str):
        raise TokenInvalid("there is no token")
    try:
        signed = jws.deserialize_compact(token, keys, registry=_REGISTRY)
        # Stricter than joserfc's own JSON: no infinite number, no half of a surrogate pair, no endless nesting.
        found = orjson.loads(signed.payload or b"")
        if not isinstance(found, dict):
            raise TokenInvalid("it is no object")
        # A claim that is null was not sent (OpenID Connect Core section 5.3.2 has them left out).
        found = {name: value for name, value in found.items() if value is not None}
        JWTClaimsRegistry(None, leeway, **claims).validate(found)
    except ClaimError as error:
        raise ClaimInvalid(error.claim, "does not hold") from error
    except InvalidKeyIdError as error:
        raise KeyUnknown("it is signed by a key that is not published") from error
    # RecursionError: a header that nests too deeply.
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TokenInvalid(f"it does not hold ({type(error).__name__})") from error
    return VerifiedToken(signed.headers(), found)


def _read_key(entry: object) -> Key | None:
    if not isinstance(entry, dict):
        return None
    try:
        # A parameter that is null was not sent.
        key = JWKRegistry.import_key({name: value for name, value in entry.items() if value is not None})
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return None if isinstance(key, OctKey) else key
