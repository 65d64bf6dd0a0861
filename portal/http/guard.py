"""The ASGI middleware in front of everything: header hygiene, Host and Origin, content type, and the bounds of a body.

It reads no body. The application finds one in the scope (`portal.http.bodies`) and asks for it when it knows who has
sent it; afterwards it sees the connection itself, so that it notices a client that goes away.

What an answer does not declare public, nobody keeps: most answers depend on who asks, and the others are small.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal.http.bodies import BODY, ClientGone, RequestBody, Rooms
from portal.http.edge import Edge
from portal.http.refusal import IS_OAUTH, Refusal, answer_to

_WHITE_SPACE = b" \t"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BYTES = b"application/octet-stream"
_HOST, _ORIGIN, _TYPE, _LENGTH = b"host", b"origin", b"content-type", b"content-length"
_READ = frozenset({_HOST, _ORIGIN, _TYPE, _LENGTH})

Fields = Mapping[bytes, Sequence[bytes]]
"""Values of headers by name, each as often as it came."""


class Guard:
    """Wrap an ASGI application. Refusals have `portal.http.refusal`'s shapes, also those that the application raises;
    lifespan passes through untouched."""

    def __init__(self, app: ASGIApp, edge: Edge, rooms: Rooms | None = None) -> None:
        self._app = app
        self._edge = edge
        self._rooms = rooms or Rooms()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        scope["headers"], fields = _read_head(scope["headers"])
        scope[IS_OAUTH] = self._edge.is_oauth
        answer = _Unkept(send)
        try:
            self._check_names(fields)
            if scope["method"] in _WITH_BODY:
                receive = self._body(scope, fields, receive).receive
            await self._app(scope, receive, answer.send)
        except Refusal as refusal:
            if answer.started:
                raise
            await answer_to(scope, refusal)(scope, receive, answer.send)
        except ClientGone:
            return

    def _check_names(self, fields: Fields) -> None:
        hosts = fields.get(_HOST, ())
        if len(hosts) != 1 or not self._edge.names.host_allowed(hosts[0].decode("latin-1")):
            raise Refusal(
                421,
                "host",
                f"This portal does not answer to the host {_shown(hosts)}. Use localhost, or add the name to the "
                "allowed hosts of the portal.",
            )
        origins = fields.get(_ORIGIN, ())
        if origins and (len(origins) > 1 or not self._edge.names.origin_allowed(origins[0].decode("latin-1"))):
            raise Refusal(
                403,
                "origin",
                f"Requests from the web origin {_shown(origins)} are not allowed. Add it to the allowed origins of the "
                "portal if you trust that site.",
            )

    def _body(self, scope: Scope, fields: Fields, receive: Receive) -> RequestBody:
        """The body, of which nothing is read.

        Raises:
            Refusal: its head says already that nobody takes it.
        """
        is_form = self._edge.takes_forms(scope["path"])
        kinds = fields.get(_TYPE, ())
        is_upload = scope["method"] == "POST" and _kind(kinds) == _BYTES and self._edge.takes_bytes(scope["path"])
        if scope["method"] == "POST" and not is_upload:
            _check_kind(kinds, is_form=is_form)
        limit = self._edge.settings.form_limit if is_form else self._edge.settings.body_limit
        size = _declared_size(fields.get(_LENGTH, ()))
        is_json = not (is_form or is_upload)
        body = scope[BODY] = RequestBody(scope, receive, self._edge, self._rooms, size, is_json=is_json)
        body.check_size(limit)
        return body


class _Unkept:
    """Sends an answer on, as one that nobody keeps unless it says that it is public (RFC 9111 section 5.2.2)."""

    __slots__ = ("_send", "started")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    def send(self, message: Message) -> Awaitable[None]:
        # No coroutine of its own: every answer passes here twice.
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": _unkept(message.get("headers", ()))}
        return self._send(message)


def _unkept(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with a `Cache-Control` that says `public` or `no-store`."""
    found = [*headers]
    for index, (name, value) in enumerate(found):
        if name == b"cache-control":
            if b"public" not in value and b"no-store" not in value:
                found[index] = name, b"no-store, " + value
            return found
    found.append((b"cache-control", b"no-store"))
    return found


def _read_head(received: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], Fields]:
    """The headers without the white space round their values, and those of them that are read here.

    White space is no part of a value (RFC 9110 section 5.5), and not every parser removes it. In one pass, because each
    request pays for it.
    """
    headers: list[tuple[bytes, bytes]] = []
    fields: dict[bytes, list[bytes]] = {}
    for name, value in received:
        value = value.strip(_WHITE_SPACE)
        headers.append((name, value))
        if name in _READ:
            fields.setdefault(name, []).append(value)
    return headers, fields


def _declared_size(lengths: Sequence[bytes]) -> int:
    """The size that the head of a request gives its body, 0 for none."""
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


def _kind(kinds: Sequence[bytes]) -> bytes:
    """The one type of a body, without its parameters; empty if there is none or several."""
    return kinds[0].partition(b";")[0].strip().lower() if len(kinds) == 1 else b""


def _check_kind(kinds: Sequence[bytes], *, is_form: bool) -> None:
    wanted = b"application/x-www-form-urlencoded" if is_form else b"application/json"
    if _kind(kinds) == wanted:
        return
    if is_form:
        form = wanted.decode()
        raise Refusal(415, "content_type", f"Send the body as a form, with the header Content-Type: {form}.")
    raise Refusal(415, "content_type", "Send the body as JSON, with the header Content-Type: application/json.")


def _shown(values: Sequence[bytes]) -> str:
    """Header values for a message: bounded, and printable whatever was sent."""
    return repr(", ".join(value.decode("latin-1") for value in values)[:100])
