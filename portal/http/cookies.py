"""Cookies the portal sets: host-only, HttpOnly, SameSite=Lax; `__Host-` and Secure wherever there is TLS.

Lax and not Strict: a browser coming back from an identity provider, or sent by an MCP client, must still be known.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from portal.http.origin import is_secure

MAX_VALUE = 200


def cookie_name(name: str, origin: str) -> str:
    return f"__Host-{name}" if is_secure(origin) else name


def read_cookie(request: Request, name: str, origin: str) -> str:
    """The value, or "" when there is none of a plausible length."""
    value = request.cookies.get(cookie_name(name, origin), "")
    return value if len(value) <= MAX_VALUE else ""


def write_cookie(response: Response, name: str, value: str, origin: str, *, max_age: int | None = None) -> None:
    """`max_age` in seconds; None lasts as long as the browser runs."""
    response.set_cookie(
        cookie_name(name, origin),
        value,
        max_age=max_age,
        path="/",
        secure=is_secure(origin),
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, name: str, origin: str) -> None:
    response.delete_cookie(cookie_name(name, origin), path="/", secure=is_secure(origin), httponly=True, samesite="lax")
