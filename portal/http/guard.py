"""The ASGI middleware in front of everything: header hygiene, Host and Origin, content type, body size, time and depth.

It reads the whole body before the application runs, within its bounds, and replays it; afterwards the application
sees the connection itself, so that it notices a client that goes away.
"""

import asyncio
import re
from codecs import BOM_UTF8
from itertools import accumulate

from mcp_types import PARSE_ERROR
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.edge import Edge
from portal.http.refusal import Refusal, refuse, refuse_oauth

# A string, closed or running to the end. Possessive throughout, so the scan is linear whatever the input.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = tuple(1 if byte in b"[{" else -1 for byte in range(256))


def nests_deeper_than(body: bytes, limit: int) -> bool:
    """Whether JSON text nests arrays and objects more than `limit` deep. Linear, and exact for well-formed JSON.

    Parsers further in recurse: 100,000 brackets must be turned away by something that does not.
    """
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return any(depth > limit for depth in accumulate(map(_STEP.__getitem__, brackets)))


BODY = "portal.http.guard"
"""The key of the ASGI scope under which the application finds the body of a POST, whole and within its bounds."""

_WHITE_SPACE = b" \t"
_CLOSE = {"connection": "close"}


class Guard:
    """Wrap an ASGI application. Refusals have `portal.http.refusal`'s shapes; lifespan passes through untouched."""

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        # RFC 9110 section 5.5: white space round a field value is no part of it, and not every parser removes it.
        headers = [(name, value.strip(_WHITE_SPACE)) for name, value in scope["headers"]]
        scope["headers"] = headers
        try:
            self._check_names(headers)
            if scope["method"] == "POST":
                take = self._take_form if self._edge.takes_forms(scope["path"]) else self._take_body
                body = scope[BODY] = await take(headers, receive)
                receive = replay(body, receive)
        except Refusal as refusal:
            answer = refuse_oauth if self._edge.is_oauth(scope["path"]) else refuse
            await answer(refusal)(scope, receive, send)
            return
        except ClientGone:
            return
        await self._app(scope, receive, send)

    def _check_names(self, headers: list[tuple[bytes, bytes]]) -> None:
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._edge.names.host_allowed(hosts[0].decode("latin-1")):
            raise Refusal(
                421,
                "host",
                f"This portal does not answer to the host {_shown(hosts)}. Use localhost, or add the name to the "
                "allowed hosts of the portal.",
            )
        origins = [value for name, value in headers if name == b"origin"]
        if origins and (len(origins) > 1 or not self._edge.names.origin_allowed(origins[0].decode("latin-1"))):
            raise Refusal(
                403,
                "origin",
                f"Requests from the web origin {_shown(origins)} are not allowed. Add it to the allowed origins of the "
                "portal if you trust that site.",
            )

    async def _take_body(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
        kinds = [value for name, value in headers if name == b"content-type"]
        if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"application/json":
            raise Refusal(415, "content_type", "Send the body as JSON, with the header Content-Type: application/json.")
        # RFC 8259, section 8.1, allows to ignore the byte order mark that programs on Windows write in front of JSON.
        body = (await self._read(headers, receive, self._edge.settings.body_limit)).removeprefix(BOM_UTF8)
        if nests_deeper_than(body, self._edge.settings.depth):
            raise Refusal(
                400, "depth", f"The body nests deeper than {self._edge.settings.depth} levels of JSON.", PARSE_ERROR
            )
        return body

    async def _take_form(self, headers: list[tuple[bytes, bytes]], receive: Receive) -> bytes:
        kinds = [value for name, value in headers if name == b"content-type"]
        if len(kinds) != 1 or kinds[0].partition(b";")[0].strip().lower() != b"application/x-www-form-urlencoded":
            form = "application/x-www-form-urlencoded"
            raise Refusal(415, "content_type", f"Send the body as a form, with the header Content-Type: {form}.")
        return await self._read(headers, receive, self._edge.settings.form_limit)

    async def _read(self, headers: list[tuple[bytes, bytes]], receive: Receive, limit: int) -> bytes:
        # The connection stays open: closing it on a body still under way would reset it, and the client see no answer.
        too_large = Refusal(413, "body_size", f"The body is larger than {limit} bytes.")
        declared = next((value for name, value in headers if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > limit:
            raise too_large
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._edge.settings.body_time):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        raise too_large
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
        except TimeoutError:
            late = f"The body took longer than {self._edge.settings.body_time:g} s to arrive."
            raise Refusal(408, "body_time", late, headers=_CLOSE) from None


class ClientGone(Exception):
    """The client left before its request had arrived; there is nobody to answer."""


def replay(body: bytes, receive: Receive) -> Receive:
    """An ASGI `receive` that gives the body once and then whatever the connection brings."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again


def _shown(values: list[bytes]) -> str:
    """Header values for a message: bounded, and printable whatever was sent."""
    return repr(", ".join(value.decode("latin-1") for value in values)[:100])
