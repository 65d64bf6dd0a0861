"""The requests under way at a portal's MCP endpoint: how many, how many bytes, and how many of one caller.

A request is under way until its answer is sent, or its work is done if that is later: a 2025 client may leave and come
back for the answer (`resumption`), and whoever leaves a thousand calls behind has them all the same.
"""

from __future__ import annotations

from starlette.types import Scope

from portal.http import BODY, HttpSettings
from portal.shares import Full, Shares

SECONDS = 5
"""When to come back: requests end soon."""
REQUESTS, BYTES = "requests under way", "bytes of requests under way"
_SMALL = 16 * 1024  # of as many small bodies as there may be requests, nobody runs out of memory


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

    def begin(self, scope: Scope, holder: str) -> None:
        """Count this request, until `end`.

        Raises:
            NoRoom: there are too many already. Nothing was counted.
        """
        if (full := self._requests.full_for(holder)) is not None:
            raise NoRoom(full, REQUESTS)
        if size := size_of(scope):
            if (full := self._bytes.full_for(holder, size)) is not None:
                raise NoRoom(full, BYTES)
            self._bytes.take(holder, size)
        self._requests.take(holder)

    def end(self, scope: Scope, holder: str) -> None:
        self._requests.give_back(holder)
        if size := size_of(scope):
            self._bytes.give_back(holder, size)


def size_of(scope: Scope) -> int:
    """The bytes that a request's body counts as: none if there are few."""
    body = scope.get(BODY)
    return len(body) if isinstance(body, bytes) and len(body) > _SMALL else 0
