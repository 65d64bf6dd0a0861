"""Cookies that the portal sets: host-only, HttpOnly, SameSite=Lax; `__Host-` and Secure wherever there is TLS.

Lax and not Strict: a browser coming back from an identity provider, or sent by an MCP client, must still be known.

A portal that is reached by its path has cookies of its own by their name, `__Host-portal_session-docs`, and not by
their `Path`. `__Host-` demands `Path=/`, and it keeps out what a path does not: nobody at another host of the same
domain, or on a connection without TLS, can plant such a cookie (RFC 6265bis section 4.1.3.2). With `__Secure-` and
`Path=/docs/` any host below `example.com` could set one for `portal.example.com/docs/`, and so sign a browser in as
somebody else. Nor does a path keep a cookie from the pages at another path of that host (RFC 6265 section 8.5).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from portal.http.origin import PortalAddress, is_secure

MAX_VALUE = 200


def cookie_name(name: str, address: PortalAddress) -> str:
    """The name in the browser of the cookie `name` of the portal at this address."""
    named = f"{name}-{address.prefix.removeprefix('/')}" if address.prefix else name
    return f"__Host-{named}" if is_secure(address.origin) else named


def read_cookie(request: Request, name: str, address: PortalAddress) -> str:
    """The value, or "" without a cookie or for a value longer than `MAX_VALUE` characters."""
    value = request.cookies.get(cookie_name(name, address), "")
    return value if len(value) <= MAX_VALUE else ""


def write_cookie(
    response: Response, name: str, value: str, address: PortalAddress, *, max_age: int | None = None
) -> None:
    """`max_age` in seconds; None lasts as long as the browser runs."""
    response.set_cookie(
        cookie_name(name, address),
        value,
        max_age=max_age,
        path="/",
        secure=is_secure(address.origin),
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, name: str, address: PortalAddress) -> None:
    """Have the browser forget the cookie."""
    response.delete_cookie(
        cookie_name(name, address), path="/", secure=is_secure(address.origin), httponly=True, samesite="lax"
    )
