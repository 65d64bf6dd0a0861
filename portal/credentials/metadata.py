"""The metadata of protected resources and authorization servers, as far as the portal uses it. Pure.

Source: RFC 9728 2 (a resource), RFC 8414 2 (an authorization server). Issuers and URLs stay the text that they were:
they are compared as text (RFC 8414 3.3, RFC 9207 2.4).
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from portal.misfits import fitted

MAX_NAMES = 200
M = TypeVar("M", bound=BaseModel)


def _names(value: object) -> tuple[str, ...]:
    """The texts of a list. Another value costs only itself: no optional member is worth a whole document."""
    entries = value if isinstance(value, list | tuple) else ()
    return tuple(one for one in entries if isinstance(one, str) and 0 < len(one) <= 2048)[:MAX_NAMES]


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
OptionalText = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")]
OptionalUrl = Annotated[
    str, BeforeValidator(lambda value: value if isinstance(value, str) and len(value) <= 2048 else "")
]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]


class ResourceMetadata(BaseModel):
    """What a server says of itself as a protected resource."""

    model_config = ConfigDict(frozen=True)

    resource: Url
    authorization_servers: Names = ()
    scopes_supported: Names = ()


class ServerMetadata(BaseModel):
    """What an authorization server says of itself."""

    model_config = ConfigDict(frozen=True)

    issuer: Url
    token_endpoint: Url
    authorization_endpoint: OptionalUrl = ""
    registration_endpoint: OptionalUrl = ""
    revocation_endpoint: OptionalUrl = ""
    scopes_supported: Names = ()
    code_challenge_methods_supported: Names = ()
    token_endpoint_auth_methods_supported: Names = ()
    token_endpoint_auth_signing_alg_values_supported: Names = ()
    client_id_metadata_document_supported: Flag = False
    authorization_response_iss_parameter_supported: Flag = False


def read(model: type[M], document: object) -> M | None:
    """The document as metadata, None if it lacks what it must have."""
    try:
        return fitted(model, document)
    except ValidationError:
        return None
