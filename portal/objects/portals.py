"""Stored portals."""

from __future__ import annotations

from portal.config import CodeModePolicy
from portal.objects.base import Document
from portal.objects.capabilities import Settings
from portal.objects.policies import Id
from portal.state import Kind


class PortalServer(Document):
    """A server of a portal. The portal's settings override the server's.

    With `default_disabled` only the tools and prompts that the portal enables are listed.
    """

    server_id: Id
    default_disabled: bool = False
    on_behalf: bool = True
    updated_tools: Settings = ()
    updated_prompts: Settings = ()


class PortalDocument(Document):
    """`hostname` is in lower case."""

    name: str
    hostname: str
    description: str | None = None
    instructions: str | None = None
    code_mode: CodeModePolicy = CodeModePolicy.OPT_IN
    secure_web_gateway: bool = False
    servers: tuple[PortalServer, ...] = ()


PORTAL = Kind("portal", PortalDocument)
