"""URLs in their normal spelling (RFC 3986 section 6.2.2): where a URL leads, as a browser reads it. Pure.

For what is shown to people, for the portal's own address, and for whether one URL is below another. What decides who
gets a code or a token (a redirect, a client id, an issuer) is compared as it was sent.
"""

from __future__ import annotations

import re

from pydantic import AnyUrl, TypeAdapter, ValidationError

_URL: TypeAdapter[AnyUrl] = TypeAdapter(AnyUrl)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def normal_url(url: str) -> str | None:
    """A URL with a lower-case scheme and host, without its scheme's own port, with a path, without dot segments, and
    with escapes only where they are needed; None if it is not a URL.
    """
    try:
        return str(_URL.validate_python(_ESCAPE.sub(_normal_escape, url)))
    except ValidationError:
        return None


def _normal_escape(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if character in _UNRESERVED else escape[0].upper()
