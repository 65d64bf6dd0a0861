"""How many 2025 sessions there may be, how many of one person, and which one ends where another begins.

Agents that crash leave their sessions behind, and nothing is known of it before these were idle for long. So whoever
has all that they may have is not refused: the longest idle one of theirs ends, and its client, should it come back,
reads 404 and begins another (MCP 2025-11-25, "Session Management"). Where all sessions of the portal are taken, it is
one of whoever has the most. A session in use never ends for another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from portal.shares import Shares


@dataclass(slots=True)
class _Held:
    """A session. `requests` are those under way, its own stream among them."""

    holder: str
    requests: int = 0


class SessionRoom:
    """`end` ends a session, by its id. `busy` says whether something that is not counted here goes on in one."""

    def __init__(
        self, shares: Shares, end: Callable[[str], Awaitable[None]], busy: Callable[[str], bool] = lambda id: False
    ) -> None:
        self._shares = shares
        self._end = end
        self._busy = busy
        self._held: dict[str, _Held] = {}
        # By holder, whatever was used longest ago first.
        self._of: dict[str, OrderedDict[str, _Held]] = {}

    def __len__(self) -> int:
        return len(self._held)

    @asynccontextmanager
    async def opening(self, holder: str, send: Send) -> AsyncIterator[Send]:
        """A block for a request that may begin a session, with the `send` for its answer.

        Raises:
            Full: there is no room for one more, and none that could end for it.
        """
        await self._take(holder)
        begun = ""

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start" and message["status"] < 400 and not begun:
                begun = Headers(raw=message["headers"]).get(MCP_SESSION_ID_HEADER, "")
                if begun:
                    self._enter(begun, holder)
            await send(message)

        try:
            yield send_and_note
        finally:
            if not begun:
                self._shares.give_back(holder)
            else:
                self._leave(begun)

    @contextmanager
    def using(self, id: str) -> Iterator[None]:
        """A block in which a session is in use."""
        held = self._held.get(id)
        if held is None:
            yield
            return
        held.requests += 1
        self.touch(id)
        try:
            yield
        finally:
            self._leave(id)

    def touch(self, id: str) -> None:
        """A session was used now."""
        held = self._held.get(id)
        if held is not None:
            self._of[held.holder].move_to_end(id)

    def ended(self, id: str) -> None:
        """A session has ended, however. Idempotent."""
        held = self._held.pop(id, None)
        if held is None:
            return
        own = self._of[held.holder]
        del own[id]
        if not own:
            del self._of[held.holder]
        self._shares.give_back(held.holder)

    def _enter(self, id: str, holder: str) -> None:
        held = self._held[id] = _Held(holder, requests=1)
        self._of.setdefault(holder, OrderedDict())[id] = held

    def _leave(self, id: str) -> None:
        held = self._held.get(id)
        if held is not None:
            held.requests -= 1
            self.touch(id)

    async def _take(self, holder: str) -> None:
        whose = self._shares.gives_way(holder)
        idle = self._longest_idle(whose) if whose is not None else None
        if idle is not None:
            # The room is free at once: whoever asks meanwhile must not end a second session for it.
            self.ended(idle)
        self._shares.take(holder)
        if idle is not None:
            try:
                await self._end(idle)
            except BaseException:
                self._shares.give_back(holder)
                raise

    def _longest_idle(self, holder: str) -> str | None:
        for id, held in self._of.get(holder, {}).items():
            if not held.requests and not self._busy(id):
                return id
        return None


def begins_session(scope: Scope) -> bool:
    """Whether a request may begin a session: it is of the 2025 versions, and names none."""
    return scope["method"] == "POST" and MCP_SESSION_ID_HEADER not in Headers(scope=scope) and has_sessions(scope)


def has_sessions(scope: Scope) -> bool:
    """Whether a request is of the versions that have sessions. In others the id of one means nothing."""
    version = Headers(scope=scope).get(MCP_PROTOCOL_VERSION_HEADER)
    return version is None or version in HANDSHAKE_PROTOCOL_VERSIONS


def session_named(scope: Scope) -> str:
    """The id of the session that a request is of, "" for none."""
    return Headers(scope=scope).get(MCP_SESSION_ID_HEADER, "")
