"""Stored MCP servers."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from portal.config import Labels
from portal.objects.base import Document
from portal.objects.capabilities import Settings
from portal.state import Kind

AuthType = Literal["oauth", "bearer", "unauthenticated"]
MAX_API_TEXT = 3 * 1024 * 1024
"""Characters of the OpenAPI document of a stored server, and bytes of it in UTF-8."""
_MAX_PACKED = 512 * 1024


class ServerDocument(Document):
    """`hostname` is the server's URL. `oauth` is the part of its OAuth client that is no secret.

    `client_secret_version` counts the client secrets set so far. `has_client_secret` is whether there is one now; None
    in an older document, which has one if it ever had. `labels` are for data-flow rules; those of a tool are in its
    setting. A server that is an API has an OpenAPI document: `openapi_url` is where it is fetched from, or
    `openapi_packed` is its text, as `packed` makes it. `hostname` is then the base address of its paths.
    """

    name: str
    hostname: str
    auth_type: AuthType
    description: str | None = None
    assertion_audience: str = ""
    is_shared_oauth_callback_enabled: bool = False
    labels: Labels = ()
    pin: bool = False
    secure_web_gateway: bool = False
    updated_tools: Settings = ()
    updated_prompts: Settings = ()
    oauth: Mapping[str, object] | None = None
    client_secret_version: int = 0
    has_client_secret: bool | None = None
    openapi_url: str | None = None
    openapi_packed: Annotated[str, Field(max_length=_MAX_PACKED)] | None = None

    @property
    def is_api(self) -> bool:
        return bool(self.openapi_url or self.openapi_packed)


def packed(text: str) -> str | None:
    """A text as it is stored: an OpenAPI document repeats itself, and is a tenth of its size when compressed. None if
    it is too large to be stored."""
    data = text.encode()
    made = b64encode(zlib.compress(data, 9)).decode() if len(data) <= MAX_API_TEXT else ""
    return made if made and len(made) <= _MAX_PACKED else None


def unpacked(stored: str) -> str:
    """The text that was `packed`.

    Raises:
        ValueError: it is none, or larger than one may be.
    """
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(b64decode(stored, validate=True), MAX_API_TEXT + 1)
    except zlib.error:
        raise ValueError("this is no stored text") from None
    if len(data) > MAX_API_TEXT or not unpacking.eof:
        raise ValueError("this is no stored text")
    return data.decode()


SERVER = Kind("server", ServerDocument)
