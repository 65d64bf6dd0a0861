"""Access to the bench: only a page that was opened with the token of this start may use it.

The token is in the fragment of the URL, which browsers do not send, and then in a header that no other site can make a
browser send. A cookie would not be safe: browsers send cookies to all ports of a host.
"""

from __future__ import annotations

import hmac
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http import Refusal, refuse

_SCHEME = "bearer "


def new_token() -> str:
    """A token of 256 random bits, in characters that fit into a URL."""
    return secrets.token_urlsafe(32)


def page_url(base: str, token: str) -> str:
    """The URL to open. The token after `#` stays in the browser."""
    return f"{base}/#{token}"


def refusal_for(headers: Headers, token: str) -> Refusal | None:
    """The refusal of a request, or None if it may pass."""
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return Refusal(403, "origin", "Only the bench's own page may use the bench.")
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return Refusal(403, "origin", "Only the bench's own page may use the bench.")
    authorization = headers.get("authorization", "")
    if authorization[: len(_SCHEME)].lower() != _SCHEME or not hmac.compare_digest(
        authorization[len(_SCHEME) :].strip().encode("latin-1", "replace"), token.encode()
    ):
        message = "Open the URL that `codemode bench-ui` printed when it started: its token is missing here, or old."
        return Refusal(401, "token", message, headers={"WWW-Authenticate": "Bearer"})
    return None


class TokenRequired:
    """An ASGI middleware: every request needs the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = refusal_for(Headers(scope=scope), self._token)
        if refusal is not None:
            await refuse(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)
