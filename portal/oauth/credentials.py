"""Client authentication at the token and revocation endpoints: Basic, a secret in the form, or none. Pure.

RFC 6749 section 2.3; the methods are named as RFC 7591 section 2 names them.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

from portal.oauth.clients import Client, hash_secret
from portal.oauth.messages import OAuthError, read_form

BASIC, POST, NONE = "client_secret_basic", "client_secret_post", "none"
UNKNOWN_CLIENT = OAuthError("invalid_client", "the client is unknown")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The client id of a request, with the secret of its `Authorization` header and that of its form ("" if absent)."""

    client_id: str
    basic: str = field(default="", repr=False)
    post: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ClientForm:
    """A form that a client sends directly: its parameters, and the credentials in them or in the header."""

    parameters: Mapping[str, str] = field(repr=False)
    credentials: Credentials


def read_client_form(body: bytes, authorization: str) -> ClientForm | OAuthError:
    """The form in a body, with the credentials that `read_credentials` finds. Error: as there, or as `read_form`."""
    parameters = read_form(body)
    if isinstance(parameters, OAuthError):
        return parameters
    credentials = read_credentials(authorization, parameters)
    return credentials if isinstance(credentials, OAuthError) else ClientForm(parameters, credentials)


def read_credentials(authorization: str, parameters: Mapping[str, str]) -> Credentials | OAuthError:
    """The credentials in an `Authorization` header and a form.

    The id may be in either. Error: it is in neither, it differs, or the header is not well-formed.
    """
    client_id, secret = parameters.get("client_id", ""), parameters.get("client_secret", "")
    scheme, _, encoded = authorization.partition(" ")
    basic = ""
    if scheme.lower() == "basic":
        try:
            name, _, basic = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:
            return OAuthError("invalid_client", "the Basic credentials are not well-formed")
        name, basic = unquote(name), unquote(basic)
        if client_id and client_id != name:
            return OAuthError("invalid_client", "the client_id of the form is not that of the Basic credentials")
        client_id = name
    if not client_id:
        return OAuthError("invalid_client", "client_id is missing")
    return Credentials(client_id, basic, secret)


def authenticate(credentials: Credentials, client: Client | None, now: datetime) -> Client | OAuthError:
    """The client, if these are its credentials, sent by a method it may use."""
    if client is None or client.id != credentials.client_id:
        return UNKNOWN_CLIENT
    secret = credentials.basic if BASIC in client.auth_methods else ""
    if not secret and POST in client.auth_methods:
        secret = credentials.post
    if not secret:
        if NONE in client.auth_methods:
            return client
        return OAuthError("invalid_client", f"the client secret is missing: send it by {_listed(client.auth_methods)}")
    if not client.secret_sha256 or not hmac.compare_digest(hash_secret(secret), client.secret_sha256):
        return OAuthError("invalid_client", "the client secret is wrong")
    if client.secret_expires_at and now.timestamp() >= client.secret_expires_at:
        return OAuthError("invalid_client", "the client secret has expired")
    return client


def _listed(methods: frozenset[str]) -> str:
    return " or ".join(sorted(methods))
