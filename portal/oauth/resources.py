"""What tokens are good for: the MCP endpoint of this portal, as RFC 8707 names it. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from portal.http import PortalAddress, normal_origin
from portal.oauth.messages import OAuthError


def resource_url(origin: str, path: str) -> str:
    """The resource of a path of an origin, in the spelling that tokens carry."""
    return origin + path


def read_resource(requested: str, address: PortalAddress, main: str) -> str | OAuthError:
    """The resource that a request names, in the spelling that tokens carry; the main endpoint if it names none.

    Error: it is not a resource of this portal (RFC 8707 section 2).
    """
    if not requested:
        return address.url(main)
    unknown = OAuthError("invalid_target", f"resource must be {address.url(main)}")
    try:
        parts = urlsplit(requested)
    except ValueError:
        return OAuthError("invalid_target", "resource is not a URL")
    origin = normal_origin(f"{parts.scheme}://{parts.netloc}".lower())
    path = address.within(parts.path.rstrip("/"))
    if origin != address.origin or parts.fragment or parts.query or path is None:
        return unknown
    if not path:
        # The portal's URL without a path: that is how some clients name its only endpoint.
        return address.url(main)
    return address.url(main) if path == main else unknown


def endpoint_path(resource: str, address: PortalAddress) -> str:
    """The path of a resource within its portal: what policies are asked about."""
    path = urlsplit(resource).path
    return address.within(path) or path
