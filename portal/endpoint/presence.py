"""Whether the client of a 2025 request is still there, for work that is worth nothing once it has left.

The SDK goes on with a request whose stream has broken, because in those versions a client may come back for the
answer. This portal keeps no answers, so a program whose client is gone runs for nobody and is stopped.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from starlette.types import Message, Receive, Scope

_KEY = "portal.presence"


class Presence:
    """One request's client. `leave` is called at most once."""

    def __init__(self) -> None:
        self.left = False
        self._on_leave: Callable[[], None] | None = None

    def leave(self) -> None:
        self.left = True
        if self._on_leave is not None:
            self._on_leave()

    @contextmanager
    def required(self) -> Iterator[anyio.CancelScope]:
        """A scope that is cancelled when the client leaves."""
        with anyio.CancelScope() as scope:
            self._on_leave = scope.cancel
            if self.left:
                scope.cancel()
            try:
                yield scope
            finally:
                self._on_leave = None


def watched(scope: Scope, receive: Receive) -> Receive:
    """Note in the request's scope when its connection ends."""
    presence = scope[_KEY] = Presence()

    async def receive_and_note() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            presence.leave()
        return message

    return receive_and_note


def presence_of(scope: Scope) -> Presence:
    presence = scope.get(_KEY)
    return presence if isinstance(presence, Presence) else Presence()
