"""The body of a request: read when it is asked for, within the bounds of its sender.

The guard makes it and reads nothing. What needs a credential asks for the body once it knows who calls, and names them;
whatever else reads it gets no more than a stranger may send. So nobody makes the portal hold or look at what it would
not take from them.

A body that is here in one piece is taken at once. One that is not counts in the part of its sender, until it is whole:
one body, and as many bytes as have come. JSON is measured as it comes (`portal.http.json_scan`), so that what nests too
deep or has too many values is refused before the rest of it arrives, and no step of that holds up the event loop.
"""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mcp_types import PARSE_ERROR
from starlette.types import Message, Receive, Scope

from portal.http.client_ip import client_ip
from portal.http.edge import Edge, HttpSettings
from portal.http.json_scan import Excess, JsonScan, may_exceed, pieces_of
from portal.http.refusal import Refusal, no_room
from portal.shares import Full, Shares, network_of

BODY = "portal.http.body"
"""The key of the ASGI scope under which the application finds the `RequestBody` of a request."""
RETRY_SECONDS: Final = 2
_CLOSE = {"connection": "close"}


class Reading:
    """Room for the bodies that are still coming, and for their bytes, of all senders of one sort."""

    def __init__(self, bodies: Shares, size: Shares) -> None:
        self._bodies = bodies
        self._size = size

    @contextmanager
    def one_more(self, holder: str) -> Iterator["HeldBytes"]:
        """A block in which a body is read.

        Raises:
            Refusal: there is no room for another body.
        """
        try:
            self._bodies.take(holder)
        except Full as full:
            raise no_room(full, "requests on their way", RETRY_SECONDS) from None
        part = HeldBytes(self._size, holder)
        try:
            yield part
        finally:
            part.close()
            self._bodies.give_back(holder)


class HeldBytes:
    """What one body holds of its sender's part."""

    def __init__(self, size: Shares, holder: str) -> None:
        self._shares = size
        self._holder = holder
        self._size = 0

    def grow(self, size: int) -> None:
        """
        Raises:
            Refusal: there is no room for so many more bytes.
        """
        try:
            self._shares.take(self._holder, size)
        except Full as full:
            raise no_room(full, "bytes of requests on their way", RETRY_SECONDS) from None
        self._size += size

    def close(self) -> None:
        self._shares.give_back(self._holder, self._size)


def of_strangers() -> Reading:
    """Room for the bodies of those who have not signed in; they count by their network."""
    return Reading(Shares(512, 32), Shares(32 << 20, 8 << 20))


def of_callers() -> Reading:
    """Room for the bodies of those who have."""
    return Reading(Shares(512, 64), Shares(64 << 20, 16 << 20))


@dataclass(frozen=True, slots=True)
class Rooms:
    """Where bodies count while they are read. Strangers and callers leave each other's room alone."""

    strangers: Reading = field(default_factory=of_strangers)
    callers: Reading = field(default_factory=of_callers)


class ClientGone(Exception):
    """The client left before its request had arrived; there is nobody to answer."""


class RequestBody:
    """The body of one request. `taken` is None until it is read."""

    __slots__ = ("_declared", "_is_json", "_receive", "_replayed", "_rooms", "_scope", "_settings", "taken")

    def __init__(
        self, scope: Scope, receive: Receive, edge: Edge, rooms: Rooms, declared: int = 0, *, is_json: bool
    ) -> None:
        """`declared` is the size that the head of the request gives it, 0 for none."""
        self.taken: bytes | None = None
        self._scope = scope
        self._receive = receive
        self._settings: HttpSettings = edge.settings
        self._rooms = rooms
        self._is_json = is_json
        self._declared = declared
        self._replayed = False

    def read(self, limit: int, holder: str) -> Awaitable[bytes]:
        """The body of a caller whom the application knows, by the key under which they hold things
        (`portal.shares.holder_of`).

        Raises:
            Refusal: it is too large, too deep, has too many values, comes too slowly, or there is no room for it.
            ClientGone: it does not come any more.
        """
        return self._read(min(limit, self._settings.body_limit), self._rooms.callers, holder)

    def read_from_stranger(self, limit: int | None = None) -> Awaitable[bytes]:
        """The body of somebody who has not signed in; without a limit, no more than every stranger may send.

        Raises:
            Refusal, ClientGone: as `read`.
        """
        most = self._settings.form_limit if limit is None else limit
        return self._read(min(most, self._settings.body_limit), self._rooms.strangers, None)

    def check_size(self, limit: int) -> None:
        """
        Raises:
            Refusal: the head says that the body is larger than this.
        """
        if self._declared > limit:
            raise too_large(limit)

    async def receive(self) -> Message:
        """An ASGI `receive`: first the body, then what the connection brings. A body that nobody has read yet has the
        bounds of a stranger's.

        Raises:
            Refusal, ClientGone: as `read`.
        """
        if self._replayed:
            return await self._receive()
        body = await self.read_from_stranger() if self.taken is None else self.taken
        self._replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def _read(self, limit: int, reading: Reading, holder: str | None) -> bytes:
        if self.taken is not None:
            return self.taken
        self.check_size(limit)
        seconds = self._settings.body_time
        try:
            async with asyncio.timeout(seconds):
                # As `_next`, for the bodies that come as one piece: nearly all.
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body: bytes = message.get("body", b"")
                more = message.get("more_body", False)
                if more:
                    body = await self._whole(body, limit, reading, holder)
        except TimeoutError:
            late = f"The body took longer than {seconds:g} s to arrive."
            raise Refusal(408, "body_time", late, headers=_CLOSE) from None
        if len(body) > limit:
            raise too_large(limit)
        if not more and self._is_json and may_exceed(body, self._settings.depth, self._settings.values):
            await self._measure(self._scan(), body)
        if self._is_json:
            # RFC 8259, section 8.1, allows to ignore the byte order mark that programs on Windows write before JSON.
            body = body.removeprefix(BOM_UTF8)
        self.taken = body
        return body

    async def _whole(self, piece: bytes, limit: int, reading: Reading, holder: str | None) -> bytes:
        # One run of memory: a list of pieces as small as a client likes would take many times their bytes.
        body = bytearray()
        scan = self._scan()
        if holder is None:
            holder = f"address:{network_of(client_ip(self._scope, self._settings.proxies))}"
        with reading.one_more(holder) as part:
            more = True
            while True:
                if len(body) + len(piece) > limit:
                    # The connection stays open: closing it on a body still under way would reset it, and the client
                    # see no answer.
                    raise too_large(limit)
                part.grow(len(piece))
                body += piece
                if self._is_json:
                    await self._measure(scan, piece)
                if not more:
                    return bytes(body)
                piece, more = await self._next()

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    def _scan(self) -> JsonScan:
        return JsonScan(self._settings.depth, self._settings.values)

    async def _measure(self, scan: JsonScan, text: bytes) -> None:
        """
        Raises:
            Refusal: the JSON nests too deep or has too many values.
        """
        for index, piece in enumerate(pieces_of(text)):
            if index:
                await asyncio.sleep(0)
            if (excess := scan.feed(piece)) is not None:
                raise Refusal(400, excess, self._words(excess), PARSE_ERROR)

    def _words(self, excess: Excess) -> str:
        if excess == "depth":
            return f"The body nests deeper than {self._settings.depth} levels of JSON."
        return f"The body has more than {self._settings.values:,} JSON values. Nothing ran."


def too_large(limit: int) -> Refusal:
    return Refusal(413, "body_size", f"The body is larger than {limit} bytes.")


def body_of(scope: Scope, receive: Receive, *, is_json: bool = True) -> RequestBody:
    """The body of a request. Without a guard in front of the application it has the bounds of every body and no part
    with others, and `is_json` says what it is."""
    found = scope.get(BODY)
    if isinstance(found, RequestBody):
        return found
    body = scope[BODY] = RequestBody(scope, receive, Edge(), Rooms(), is_json=is_json)
    return body


def body_read(scope: Scope) -> bytes:
    """The body of a request as far as it was read: b"" before that."""
    found = scope.get(BODY)
    return found.taken or b"" if isinstance(found, RequestBody) else b""
