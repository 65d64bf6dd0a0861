"""What tokens are good for: the MCP endpoints of this portal, as RFC 8707 names them. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from portal.http import normal_origin

_PORTAL_PATH = re.compile(r"/[A-Za-z0-9-]{1,64}/mcp")


class ResourceUnknown(ValueError):
    """A client asked for a token for something that is not here."""


def is_protected(path: str, main: str) -> bool:
    """Whether a path is an MCP endpoint: the portal's, or `/<portal id>/mcp`."""
    return path == main or _PORTAL_PATH.fullmatch(path) is not None


def resource_url(origin: str, path: str) -> str:
    return origin + path


def read_resource(asked: str | None, origin: str, main: str) -> str:
    """The resource a request is about, in the one spelling that tokens carry; the main endpoint when it names none.

    Raises:
        ResourceUnknown: it is none of this portal's.
    """
    if not asked:
        return resource_url(origin, main)
    try:
        parts = urlsplit(asked)
    except ValueError:
        raise ResourceUnknown("resource is no URL") from None
    if normal_origin(f"{parts.scheme}://{parts.netloc}".lower()) != origin or parts.fragment or parts.query:
        raise ResourceUnknown(f"resource must be {resource_url(origin, main)}")
    path = parts.path.rstrip("/") if parts.path.rstrip("/") else "/"
    if path != main and not is_protected(path, main):
        if path == "/":
            return resource_url(origin, main)
        raise ResourceUnknown(f"resource must be {resource_url(origin, main)}")
    return resource_url(origin, path)
