"""ASGI middleware for people: an error that is JSON for programs becomes a page where a browser shows it to somebody.

Clients of MCP, OAuth and the admin API read errors as JSON, whatever they say they accept. So it is the request that
decides whether a person looks, and the page is made here, in one place, whatever refused the request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 64 * 1024
ErrorPage = Callable[[Scope, int, bytes], Awaitable[Response]]
"""Makes the page for a request that was answered with this status and body."""
_FORM_PAGES = ("/admin", "/login", "/logout", "/authorize", "/servers", "/runs")
_ABOUT_BODY = {"content-type", "content-length", "content-encoding"}


class BrowserPages:
    """Wraps an application. Answers that are no errors, and those to programs, pass through untouched."""

    def __init__(self, app: ASGIApp, page: ErrorPage) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_shown_to_person(scope):
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            # Also after a failure of the portal: it is answered before it goes on to the log.
            if answer.start is not None:
                await self._show(answer, answer.start, scope, receive, send)

    async def _show(self, answer: _Answer, start: Message, scope: Scope, receive: Receive, send: Send) -> None:
        page = await self._page(scope, start["status"], bytes(answer.body))
        for name, value in MutableHeaders(raw=list(start["headers"])).items():
            if name not in _ABOUT_BODY and name not in page.headers:
                page.headers[name] = value
        await page(scope, receive, send)


class _Answer:
    """Passes an answer on, except an error in JSON or plain text: that is kept. `start` is its first message."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.start: Message | None = None
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_bare_error(message):
            self.start = message
        elif self.start is None:
            await self._send(message)
        elif message["type"] == "http.response.body" and len(self.body) < MAX_BODY:
            self.body += message.get("body", b"")


def is_shown_to_person(scope: Scope) -> bool:
    """Whether the answer is shown to a person: a browser opens an address, or sends a form of one of our pages.

    Browsers say so themselves (https://www.w3.org/TR/fetch-metadata/). Older ones accept HTML. So do some libraries,
    and these send forms to OAuth endpoints, but none to our pages.
    """
    headers = Headers(scope=scope)
    if mode := headers.get("sec-fetch-mode"):
        return mode == "navigate"
    if "text/html" not in headers.get("accept", ""):
        return False
    if scope["method"] == "POST":
        path: str = scope["path"]
        return any(f"{page}/" in f"{path}/" for page in _FORM_PAGES)
    return scope["method"] in ("GET", "HEAD")


def _is_bare_error(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "").partition(";")[0].strip()
    return message["status"] >= 400 and kind in ("application/json", "text/plain", "")
