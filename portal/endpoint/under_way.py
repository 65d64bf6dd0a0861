"""The requests under way at a portal's MCP endpoint: how many, how many bytes, and how many of one caller.

A request is under way until its answer is sent, or its work is done if that is later: a 2025 client may leave and come
back for the answer (`resumption`), and whoever leaves a thousand calls behind has them all the same.
"""

from __future__ import annotations

from starlette.types import Scope

from portal.http import HttpSettings, body_read
from portal.shares import Full, Shares

SECONDS = 5
"""After so many a refused client may come back: requests end soon."""
REQUESTS, BYTES = "requests under way", "bytes of requests under way"
_SMALL = 16 * 1024  # bytes. Smaller bodies are not counted: the bound on requests bounds them well enough


class NoRoom(Exception):
    """There is no room for one more request. `what` is what there is too much of."""

    def __init__(self, full: Full, what: str) -> None:
        self.full = full
        self.what = what
        super().__init__(f"{what}: {full}")


class UnderWay:
    def __init__(self, http: HttpSettings) -> None:
        self._requests = Shares(http.requests, http.requests_each)
        self._bytes = Shares(http.request_bytes, http.request_bytes_each)

    def begin(self, holder: str, size: int = 0) -> Begun:
        """One more request of this holder, until its `end`, with the `size` of its body if that is known.

        Raises:
            NoRoom: there are too many already. Nothing was counted.
        """
        try:
            self._requests.take(holder)
        except Full as full:
            raise NoRoom(full, REQUESTS) from None
        begun = Begun(self._requests, self._bytes, holder)
        if size:
            try:
                begun.hold(size)
            except NoRoom:
                begun.end()
                raise
        return begun


class Begun:
    """A request that is under way."""

    __slots__ = ("_bytes", "_holder", "_requests", "_size")

    def __init__(self, requests: Shares, size: Shares, holder: str) -> None:
        self._requests = requests
        self._bytes = size
        self._holder = holder
        self._size = 0

    def hold(self, size: int) -> None:
        """Count its body, which is here now.

        Raises:
            NoRoom: there are too many bytes already. They were not counted.
        """
        if (full := self._bytes.full_for(self._holder, size)) is not None:
            raise NoRoom(full, BYTES)
        self._bytes.take(self._holder, size)
        self._size += size

    def end(self) -> None:
        self._requests.give_back(self._holder)
        if self._size:
            self._bytes.give_back(self._holder, self._size)


def size_of(scope: Scope) -> int:
    """The bytes that a request's body counts as: none if there are few."""
    return counted(body_read(scope))


def counted(body: bytes) -> int:
    """The bytes that a body counts as."""
    return len(body) if len(body) > _SMALL else 0
