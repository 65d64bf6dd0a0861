"""ID tokens: what must hold before anything that they say counts (OpenID Connect Core 2, 3.1.3.7, 12.2). Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson
from joserfc.jwt import ClaimsOption

from portal.jose import ClaimInvalid, TokenInvalid, VerifiedToken, read_keys, verify
from portal.login.claims import Claims, ClaimUnfit
from portal.login.providers import GOOGLE_ISSUER
from portal.login.remote import LoginRefused

LEEWAY_SECONDS = 60
MAX_ID_TOKEN = 128_000
# A time that is further away is none: no date could hold it.
MAX_LIFETIME = 10 * 365 * 86_400


def read_id_token(
    client_id: str,
    issuer: str,
    token: Mapping[str, object],
    keys: object,
    nonce: str,
    provider: str = "The identity provider",
) -> dict[str, object]:
    """The claims of the ID token in a token response, once all of OIDC Core 3.1.3.7 holds.

    `keys` is the JWK set of the `provider` of this name; `issuer` is "" when none is configured.

    Raises:
        ClaimUnfit: a claim does not hold, or it does not say who somebody is.
        LoginRefused: anything else does not hold.
    """
    required: dict[str, ClaimsOption] = {name: {"essential": True} for name in ("iss", "aud", "exp", "iat")}
    if issuer:
        # Google's ID tokens may have the bare host (OpenID Connect Core section 15.6.2).
        bare = [issuer.removeprefix("https://")] if issuer == GOOGLE_ISSUER else []
        required["iss"] = {"essential": True, "values": [issuer, *bare]}
    if len(str(token.get("id_token"))) > MAX_ID_TOKEN:
        raise ClaimUnfit(provider, "id_token", f"has more than {MAX_ID_TOKEN} characters")
    try:
        id_token = verify(token.get("id_token"), read_keys(keys), required, leeway=LEEWAY_SECONDS)
        check_claims(id_token, client_id, nonce, token.get("access_token"))
        if client_id not in _audiences(id_token.claims):
            raise ClaimInvalid("aud", "is another application")
    except ClaimInvalid as error:
        raise ClaimUnfit(provider, error.claim, error.problem) from error
    except TokenInvalid as error:
        raise LoginRefused("The identity provider's token does not hold.") from error
    Claims(provider, id_token.claims).subject()
    return dict(id_token.claims)


def read_renewed_id_token(
    client_id: str, former: str, token: str, access_token: str, keys: object
) -> Mapping[str, object]:
    """The claims of the ID token that a refresh token brought, once it is about the same person as the `former` one,
    which held before (OIDC Core 12.2).

    Raises:
        KeyUnknown: it is signed by a key that is not among `keys`.
        TokenInvalid: something else does not hold.
    """
    before = claims_of_verified(former)
    required: dict[str, ClaimsOption] = {name: {"essential": True} for name in ("aud", "exp", "iat")}
    required |= {name: {"essential": True, "value": str(before[name])} for name in ("iss", "sub")}
    renewed = verify(token, read_keys(keys), required, leeway=LEEWAY_SECONDS)
    nonce = renewed.claims.get("nonce")
    if nonce is not None and nonce != before.get("nonce"):
        raise ClaimInvalid("nonce", "is of another login")
    check_claims(renewed, client_id, nonce, access_token)
    if client_id not in _audiences(renewed.claims):
        raise ClaimInvalid("aud", "is another application")
    return renewed.claims


def claims_of_verified(token: str) -> Mapping[str, object]:
    """The claims of an ID token that was verified before, and kept where nobody could change it."""
    payload = token.split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return dict(claims)


def end_of(claims: Mapping[str, object], now: datetime) -> datetime:
    """When an ID token with these claims, which hold, ends; in the far future at most."""
    ends = claims["exp"]
    assert isinstance(ends, int | float)
    return now + timedelta(seconds=min(ends - now.timestamp(), MAX_LIFETIME))


def check_claims(token: VerifiedToken, client_id: str, nonce: object, access_token: object) -> None:
    """Check the nonce, and the claims that an ID token may leave out (OIDC Core 2 and 3.1.3.8).

    Raises:
        TokenInvalid: one does not hold.
    """
    claims = token.claims
    if claims.get("nonce") != nonce:
        raise ClaimInvalid("nonce", "is of another login")
    authorized = claims.get("azp")
    # With several audiences it must say which of them asked.
    if authorized != client_id and (authorized is not None or len(_audiences(claims)) > 1):
        raise ClaimInvalid("azp", "is another application")
    if claims.get("auth_time") and not isinstance(claims["auth_time"], int | float):
        raise ClaimInvalid("auth_time", "is no number")
    if claims.get("amr") and not isinstance(claims["amr"], list):
        raise ClaimInvalid("amr", "is no list")
    if claims.get("at_hash") is not None and isinstance(access_token, str):
        if claims["at_hash"] != half_hash(access_token, str(token.header["alg"])):
            raise ClaimInvalid("at_hash", "is of another access token")


def half_hash(text: str, algorithm: str) -> str:
    """The left half of a hash as long as the algorithm of the signature says, in base64url (OIDC Core 3.1.3.6)."""
    name = {"256": "sha256", "384": "sha384"}.get(algorithm[2:], "sha512")  # EdDSA hashes with SHA-512 (RFC 8032)
    digest = hashlib.new(name, text.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")


def _audiences(claims: Mapping[str, object]) -> list[object]:
    audience = claims["aud"]
    return audience if isinstance(audience, list) else [audience]
