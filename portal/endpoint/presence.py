"""Whether the client of a 2025 request is still there, for work that is worth nothing once it has left.

The SDK goes on with a request whose stream has broken, because in those versions a client may come back for the answer
(`resumption`). A program is the exception: it can cost much and have effects, so it stops when its client leaves.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from starlette.types import Message, Receive, Scope

_KEY = "portal.presence"


class Presence:
    """The client of one request. `leave` is called at most once."""

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


def note_departure(scope: Scope, receive: Receive) -> Receive:
    """`receive` that notes in the request's scope when its connection ends."""
    presence = scope[_KEY] = Presence()

    async def receive_and_note() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            presence.leave()
        return message

    return receive_and_note


def presence_of(scope: Scope) -> Presence:
    """The presence noted by `note_departure`; elsewhere one whose client never leaves."""
    presence = scope.get(_KEY)
    return presence if isinstance(presence, Presence) else Presence()
