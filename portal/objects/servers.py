"""The MCP servers of the admin API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from portal.objects.base import Document
from portal.objects.capabilities import Settings
from portal.state import Kind

AuthType = Literal["oauth", "bearer", "unauthenticated"]


class ServerDocument(Document):
    """`hostname` is the server's URL. `oauth` is what of its OAuth client is no secret; `client_secret_version` counts
    the client secrets there were."""

    name: str
    hostname: str
    auth_type: AuthType
    description: str | None = None
    assertion_audience: str = ""
    is_shared_oauth_callback_enabled: bool = False
    pin: bool = False
    secure_web_gateway: bool = False
    updated_tools: Settings = ()
    updated_prompts: Settings = ()
    oauth: Mapping[str, object] | None = None
    client_secret_version: int = 0


SERVER = Kind("server", ServerDocument)
