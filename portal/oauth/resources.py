"""What tokens are good for: the MCP endpoint of this portal, as RFC 8707 names it. Pure.

Tokens carry one spelling of it. Clients name it by the URL that they were configured with: the scheme and the host may
be in upper case, and the scheme's own port written out (MCP, authorization: "for robustness"), a slash may stand at the
end, and the parameters that choose a mode. All else is compared as it was sent.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from portal.http import PortalAddress, is_mode_query, normal_origin, normal_url
from portal.oauth.messages import OAuthError

_RESOURCE = re.compile(r"(?P<origin>[A-Za-z]+://[^/?]+)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?")


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
    found = _RESOURCE.fullmatch(requested) if requested.isascii() and requested.isprintable() else None
    if found is None:
        return OAuthError("invalid_target", "resource is not a URL")
    origin, query = _origin(found["origin"]), found["query"] or ""
    path = address.within((found["path"] or "").removesuffix("/"))
    if origin != address.origin or path is None:
        return unknown
    if query and not is_mode_query(query.encode()):
        return unknown
    if not path:
        # The portal's URL without a path: that is how some clients name its only endpoint.
        return address.url(main)
    return address.url(main) if path == main else unknown


def _origin(text: str) -> str | None:
    """An origin in the spelling of the portal's own; None for what is none."""
    origin = normal_origin(text)
    # IPv6 has many spellings.
    return (normal_url(origin) or origin).removesuffix("/") if origin is not None and "[" in origin else origin


def mode_query_of(query: bytes) -> str:
    """The query of a request, with its question mark, if it chooses a mode and says nothing else; otherwise ""."""
    return f"?{query.decode('ascii')}" if is_mode_query(query) else ""


def endpoint_path(resource: str, address: PortalAddress) -> str:
    """The path of a resource within its portal: what policies are asked about."""
    path = urlsplit(resource).path
    return address.within(path) or path
