"""How the portal shows an authorization server which client it is.

Source: RFC 6749 2.3.1 (secrets), RFC 7523 2.2 and 3 (a JWT signed with the client's private key), OpenID Connect Core 9
(the names of the methods).
"""

from __future__ import annotations

import secrets
import warnings
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote_plus

import orjson
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, Key, OctKey, OKPKey, RSAKey

from portal.config import UpstreamOAuth
from portal.credentials.errors import Misconfigured
from portal.credentials.metadata import ServerMetadata

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
VALID_SECONDS = 300
# The name since RFC 9864, and the one that most still have.
_ED25519 = ("EdDSA", "Ed25519")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client of one authorization server, with a `secret`, a private `key`, or neither. `method` is the way it shows
    who it is, "" to choose one."""

    id: str
    secret: str = field(default="", repr=False)
    key: Key | None = field(default=None, repr=False)
    algorithm: str = ""
    method: str = ""


def read_private_key(text: str, key_id: str = "") -> Key:
    """The private key in a PEM or JWK text.

    Raises:
        Misconfigured: it is none. The text is not quoted.
    """
    key: Key | None = None
    try:
        with _without_advice():
            key = _read_key(text)
    except (JoseError, ValueError, TypeError, KeyError):
        pass
    if key is None or isinstance(key, OctKey) or not key.is_private:
        raise Misconfigured("`privateKey` in its `oauth` is no private key in PEM or JWK form.")
    if key_id:
        key = JWKRegistry.import_key({**key.as_dict(private=True), "kid": key_id})
    return key


def configured_client(oauth: UpstreamOAuth) -> RegisteredClient:
    """The client that an administrator registered.

    Raises:
        Misconfigured: its private key is none.
    """
    return RegisteredClient(
        id=oauth.client_id,
        secret=oauth.client_secret,
        key=read_private_key(oauth.private_key, oauth.key_id) if oauth.private_key else None,
        algorithm=oauth.algorithm,
        method=oauth.token_endpoint_auth_method or ("" if oauth.client_secret or oauth.private_key else "none"),
    )


def authenticated(
    client: RegisteredClient, form: Mapping[str, str], server: ServerMetadata, now: int
) -> tuple[dict[str, str], dict[str, str]]:
    """The form and the headers of a request by this client to the token endpoint of `server`. `now` is a Unix time.

    Raises:
        Misconfigured: the key cannot sign with the configured algorithm.
    """
    if client.key is not None:
        algorithms = server.token_endpoint_auth_signing_alg_values_supported
        assertion = _assertion(client, client.key, algorithms, server.issuer, now)
        named = {"client_id": client.id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        return {**form, **named}, {}
    if not client.secret:
        return {**form, "client_id": client.id}, {}
    method = client.method or _method_for_secret(server.token_endpoint_auth_methods_supported)
    if method == "client_secret_post":
        return {**form, "client_id": client.id, "client_secret": client.secret}, {}
    pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
    return dict(form), {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _method_for_secret(methods: tuple[str, ...]) -> str:
    """Basic authorization, which every server must take (RFC 6749 2.3.1), unless it names only the other."""
    only_post = "client_secret_post" in methods and "client_secret_basic" not in methods
    return "client_secret_post" if only_post else "client_secret_basic"


def _assertion(client: RegisteredClient, key: Key, algorithms: tuple[str, ...], audience: str, now: int) -> str:
    algorithm = client.algorithm or _algorithm_of(key, algorithms)
    header = {"alg": algorithm, "typ": "JWT", **({"kid": key.kid} if key.kid else {})}
    claims = {
        "iss": client.id,
        "sub": client.id,
        "aud": audience,
        "iat": now,
        "exp": now + VALID_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    try:
        with _without_advice():
            return jwt.encode(header, claims, key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError):
        raise Misconfigured(f"`privateKey` in its `oauth` cannot sign with {algorithm}. Check `algorithm`.") from None


def _algorithm_of(key: Key, taken: tuple[str, ...]) -> str:
    """The algorithm to sign with: one of those that are `taken`, if any is for this kind of key."""
    if isinstance(key, ECKey):
        return _CURVES.get(key.curve_name, "ES256")
    fitting = ("RS256", "PS256", "RS384", "PS384", "RS512", "PS512") if isinstance(key, RSAKey) else _ED25519
    return next((name for name in fitting if name in taken), fitting[0])


def _read_key(text: str) -> Key | None:
    if text.lstrip().startswith("{"):
        return JWKRegistry.import_key(orjson.loads(text))
    return next((found for kind in (ECKey, RSAKey, OKPKey) if (found := _from_pem(kind, text))), None)


def _from_pem(kind: type[ECKey] | type[RSAKey] | type[OKPKey], text: str) -> Key | None:
    try:
        return kind.import_key(text)
    except (JoseError, ValueError, TypeError):
        return None


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep joserfc from warning of short keys and former names of algorithms: the authorization server decides what it
    takes, and nobody who could change it reads the warning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield
