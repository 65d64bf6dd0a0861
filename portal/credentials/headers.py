"""The HTTP headers in a stored server's credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from portal.config import HeaderName, HeaderValue
from portal.misfits import fitted


class CredentialsInvalid(ValueError):
    """Credentials cannot be sent as HTTP headers. The message does not quote them."""


class _Headers(BaseModel):
    model_config = ConfigDict(extra="forbid")

    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=64)] = {}
    credentials: Annotated[dict[str, HeaderValue], Field(max_length=64)] = {}


def read_headers(credentials: str) -> dict[str, str]:
    """The HTTP headers for bearer credentials: a token, or a JSON object `{"headers": {name: value}}`.

    Raises:
        CredentialsInvalid: the credentials cannot be sent as headers.
    """
    if credentials.lstrip().startswith("{"):
        try:
            read = fitted(_Headers, parse_json(credentials))
            if not read.headers and not read.credentials:
                raise CredentialsInvalid("must be a token, or an object with headers")
            return dict(read.headers)
        except ValidationError:
            # Don't include pydantic's message: it can contain the credential.
            raise CredentialsInvalid("must be a token, or an object with headers") from None
    if not credentials.strip() or not credentials.isprintable() or not credentials.isascii():
        raise CredentialsInvalid("a token is one line of printable ASCII")
    return {"Authorization": f"Bearer {credentials.strip()}"}


def read_scheme_values(credentials: str) -> dict[str, str]:
    """The values for single security schemes of an API in bearer credentials: `{"credentials": {scheme: value}}`.

    Raises:
        CredentialsInvalid: they are none.
    """
    if not credentials.lstrip().startswith("{"):
        return {}
    try:
        return dict(fitted(_Headers, parse_json(credentials)).credentials)
    except ValidationError:
        raise CredentialsInvalid("must be a token, or an object with headers and credentials") from None


def parse_json(credentials: str) -> object:
    """The JSON value in `credentials`.

    Raises:
        CredentialsInvalid: they are not JSON.
    """
    try:
        value: object = orjson.loads(credentials)
    except orjson.JSONDecodeError:
        raise CredentialsInvalid("is neither a token nor a JSON object") from None
    return value


def open_secret(secret: bytes | None) -> Mapping[str, str]:
    """The members of a stored server's secret: `auth_credentials`, `client_secret`, those that there are.

    Raises:
        CredentialsInvalid: it is not such a secret.
    """
    try:
        return _SECRET.validate_json(secret) if secret else {}
    except ValidationError:
        raise CredentialsInvalid("the stored secret is not one of a server") from None


_SECRET = TypeAdapter(dict[str, str])
