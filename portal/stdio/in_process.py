"""A portal of this process: requests of streamable HTTP as calls of its ASGI application, without a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.types import ASGIApp, Message, Scope

from portal.errors import OutcomeUnknown
from portal.upstream import Body

_WAITING = 16
# Parts of an answer that wait for the client to read: a program that writes faster than that is held up.
_ENDING_SECONDS = 5.0


class InProcess:
    """Implements `Exchange` with an application. `path` is that of the MCP endpoint, `query` its mode."""

    def __init__(self, app: ASGIApp, path: str, query: str = "") -> None:
        self._app = app
        self._path = path
        self._query = query
        self._open: set[_Call] = set()

    async def send(self, method: str, headers: Mapping[str, str], data: bytes = b"") -> _Call:
        call = _Call(self._app, self._scope(method, headers, data), data)
        self._open.add(call)
        call.task.add_done_callback(lambda _: self._open.discard(call))
        try:
            await call.begun()
        except BaseException:
            await call.aclose()
            raise
        return call

    async def aclose(self) -> None:
        await asyncio.gather(*(call.aclose() for call in tuple(self._open)))

    def _scope(self, method: str, headers: Mapping[str, str], data: bytes) -> Scope:
        fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        fields += [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % len(data))]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": self._query.encode(),
            "root_path": "",
            "headers": fields,
            # Whoever starts a program is a person of this machine, as whoever reaches loopback is.
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
            "state": {},
        }


class _Call:
    """Implements `ExchangeAnswer`: one call of the application, in a task of its own."""

    def __init__(self, app: ASGIApp, scope: Scope, data: bytes) -> None:
        self.status = 0
        self._headers: dict[str, str] = {}
        self._data: bytes | None = data
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self._left = asyncio.Event()
        self._begun = asyncio.Event()
        self.task = asyncio.create_task(self._run(app, scope))

    async def begun(self) -> None:
        """Return when the head of the answer is there.

        Raises:
            OutcomeUnknown: there is none.
        """
        begun = asyncio.create_task(self._begun.wait())
        try:
            await asyncio.wait({begun, self.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            begun.cancel()
        if not self._begun.is_set():
            raise _failed()

    def header(self, name: str) -> str:
        return self._headers.get(name, "")

    async def body(self) -> Body:
        return Body(self.header("content-type").startswith("text/event-stream"), b"", self._pieces())

    async def aclose(self) -> None:
        self._left.set()
        # Whoever waits to write more goes on, and sees that nobody reads it.
        while not self._parts.empty():
            self._parts.get_nowait()
        if not self.task.done():
            await asyncio.wait({self.task}, timeout=_ENDING_SECONDS)
            self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (part := await self._parts.get()) is not None:
            yield part

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        finally:
            # Also where the application failed: the relay sees an answer that ended early.
            await self._put(None)

    async def _receive(self) -> Message:
        if (data := self._data) is not None:
            self._data = None
            return {"type": "http.request", "body": data, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            self._begun.set()
        elif message["type"] == "http.response.body" and (part := message.get("body", b"")):
            await self._put(part)

    async def _put(self, part: bytes | None) -> None:
        if not self._left.is_set():
            await self._parts.put(part)


def _failed() -> OutcomeUnknown:
    return OutcomeUnknown("The portal failed on this request. Its log says why.")
