"""Stored MCP servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from portal.config import Labels
from portal.objects.base import Document
from portal.objects.capabilities import Settings
from portal.state import Kind

AuthType = Literal["oauth", "bearer", "unauthenticated"]


class ServerDocument(Document):
    """`hostname` is the server's URL. `oauth` is the part of its OAuth client that is no secret.

    `client_secret_version` counts the client secrets set so far. `has_client_secret` is whether there is one now; None
    in an older document, which has one if it ever had. `labels` are for data-flow rules; those of a tool are in its
    setting.
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


SERVER = Kind("server", ServerDocument)
