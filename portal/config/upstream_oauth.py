"""The `oauth` section of a server: how the portal gets the access tokens that the server asks for."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from portal.config.section import Section, http_url

_PROTOCOL = frozenset(
    "response_type client_id redirect_uri scope state code_challenge code_challenge_method resource grant_type "
    "client_secret client_assertion client_assertion_type code code_verifier refresh_token assertion subject_token "
    "subject_token_type requested_token_type".split()
)
# Tokens are asked for with a token of the identity provider that a person signed in with.
_BY_SIGN_IN = ("id_jag", "token_exchange")
_IDENTITY_PROVIDER = re.compile(r"[A-Za-z0-9_-]{0,64}")
_SCOPES = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")  # RFC 6749 3.3


def _url(value: str) -> str:
    if urlsplit(http_url(value)).fragment:
        raise ValueError("must be an http:// or https:// URL with a host, and without a fragment")
    return value


def _scope(value: str) -> str:
    if not _SCOPES.fullmatch(value):
        raise ValueError("must be scopes with spaces between them")
    return " ".join(value.split())


def _resource(value: str) -> str:
    return value if value in ("send", "omit") else _url(value)


def _identity_provider(value: str) -> str:
    if not _IDENTITY_PROVIDER.fullmatch(value):
        raise ValueError("must be the id of an identity provider: letters, digits, - and _")
    return value


Url = Annotated[str, AfterValidator(_url)]


class UpstreamOAuth(Section):
    """How the portal gets tokens: by the login of a person (RFC 6749 4.1), as a client of its own (4.4), or by what the
    person's sign-in at the portal left: an identity assertion that the identity provider issues for the authorization
    server (`id_jag`), or a token of the identity provider that the authorization server exchanges (`token_exchange`,
    RFC 8693). The last two need the `identity_provider`, by its id, and the `issuer`; `subject_token` is which of the
    provider's tokens is exchanged.

    A client that is registered shows who it is by `client_secret`, or by a JWT that it signs with `private_key`
    (RFC 7523 2.2), a PEM or JWK text. `issuer` is the authorization server that knows the client: the secret goes to no
    other. For a login no client is needed where the authorization server registers the portal by itself. With
    `token_endpoint`, for a login also `authorization_endpoint`, nothing is asked of its metadata.

    Three members are for what providers do in their own way: `resource` (RFC 8707) is sent, omitted, or another URL;
    `parameters` are added to the request for a login, or for a token without one; `token_endpoint_auth_method` is the
    way the client shows who it is. `rotating` "strict" is for one that takes back everything when a refresh token comes
    twice, `assume_pkce` for one that does not say that it knows PKCE. With `redirect_uris`, those that the client is
    registered with, a login that would come back elsewhere is not begun. `callback_port` is where `codemode login`
    waits for the browser. `allow_private` lets the server's metadata name addresses of private networks.
    """

    grant: Literal["authorization_code", "client_credentials", "id_jag", "token_exchange"] = "authorization_code"
    identity_provider: Annotated[str, AfterValidator(_identity_provider)] = ""
    subject_token: Literal["id_token", "access_token"] = "id_token"
    client_id: str = Field(default="", max_length=2048)
    client_secret: str = Field(default="", max_length=8192, repr=False)
    private_key: str = Field(default="", max_length=65536, repr=False)
    key_id: str = Field(default="", max_length=512)
    algorithm: Literal["", "RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"] = ""
    issuer: Url | None = None
    token_endpoint: Url | None = None
    authorization_endpoint: Url | None = None
    revocation_endpoint: Url | None = None
    scope: Annotated[str, AfterValidator(_scope)] = Field(default="", max_length=4096)
    resource: Annotated[str, AfterValidator(_resource)] = "send"
    parameters: dict[str, str] = Field(default_factory=dict, max_length=20, repr=False)
    token_endpoint_auth_method: Literal["", "none", "client_secret_basic", "client_secret_post", "private_key_jwt"] = ""
    redirect_uris: tuple[Url, ...] = Field(default=(), max_length=32)
    rotating: Literal["tolerant", "strict"] = "tolerant"
    assume_pkce: bool = False
    callback_port: int = Field(default=0, ge=0, le=65535)
    allow_private: bool = False

    @field_validator("parameters")
    @classmethod
    def _are_no_parameters_of_the_protocol(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := sorted(_PROTOCOL & value.keys()):
            raise ValueError(f"must not have `{taken[0]}`, which the portal sends itself")
        return value

    @model_validator(mode="after")
    def _shows_who_it_is(self) -> UpstreamOAuth:
        alone = self.grant != "authorization_code"
        if alone and not self.client_id:
            raise ValueError("needs a `clientId`")
        if (alone and not (self.client_secret or self.private_key)) or (self.client_secret and self.private_key):
            raise ValueError("needs either `clientSecret` or `privateKey`")
        if (self.client_secret or self.private_key) and not self.client_id:
            raise ValueError("needs the `clientId` of its `clientSecret` or `privateKey`")
        if not alone and bool(self.token_endpoint) != bool(self.authorization_endpoint):
            raise ValueError("needs both `tokenEndpoint` and `authorizationEndpoint`, or neither")
        if self.token_endpoint and not self.client_id:
            raise ValueError("needs a `clientId` where `tokenEndpoint` is written")
        if self.by_sign_in and not (self.identity_provider and self.issuer):
            raise ValueError(f"needs `identityProvider` and `issuer` for the grant {self.grant}")
        if self.identity_provider and not self.by_sign_in:
            raise ValueError("has an `identityProvider`, which is for the grants id_jag and token_exchange")
        if self.subject_token != "id_token" and self.grant != "token_exchange":
            raise ValueError("has a `subjectToken`, which is for the grant token_exchange")
        signs = self.token_endpoint_auth_method == "private_key_jwt"
        public = self.token_endpoint_auth_method == "none" and bool(self.client_secret)
        if self.token_endpoint_auth_method and (public or signs != bool(self.private_key)):
            raise ValueError("has a `tokenEndpointAuthMethod` that does not go with its `clientSecret` or `privateKey`")
        return self

    @property
    def by_sign_in(self) -> bool:
        """Whether each person's tokens come of their sign-in at the portal."""
        return self.grant in _BY_SIGN_IN

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not appear in a log, a reason or an error."""
        key_lines = [line for line in self.private_key.split() if len(line) >= 16]
        return tuple(filter(None, (self.client_secret, self.private_key, *key_lines)))
