"""Who may drive the bench: only the page that was opened with the token of this start.

The token travels in the fragment of the URL, which no request carries, and then in a header that no other site can
make a browser send. A cookie would do neither: browsers share cookies between all ports of a host.
"""

from __future__ import annotations

import hmac
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from portal.http import Refusal, refuse

_SCHEME = "bearer "


def new_token() -> str:
    """256 bits that fit into a URL."""
    return secrets.token_urlsafe(32)


def page_url(base: str, token: str) -> str:
    """The URL to open; what is behind `#` stays in the browser."""
    return f"{base}/#{token}"


def refusal_for(headers: Headers, token: str) -> Refusal | None:
    """Why a request is not let through, or None."""
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is not None and origin.lower() != f"http://{host.lower()}":
        return Refusal(403, "origin", "Only the bench's own page may use the bench.")
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return Refusal(403, "origin", "Only the bench's own page may use the bench.")
    given = headers.get("authorization", "")
    if given[: len(_SCHEME)].lower() != _SCHEME or not hmac.compare_digest(
        given[len(_SCHEME) :].strip().encode("latin-1", "replace"), token.encode()
    ):
        message = "Open the URL that `codemode bench-ui` printed when it started: its token is missing here, or old."
        return Refusal(401, "token", message, headers={"WWW-Authenticate": "Bearer"})
    return None


class TokenRequired:
    """Wrap the ASGI application whose every request needs the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = refusal_for(Headers(scope=scope), self._token)
        if refusal is not None:
            await refuse(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)
