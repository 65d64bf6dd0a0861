"""The subscriptions of one connection: changes of lists always, changes of a resource while a client watches it.

A legacy server gets a `resources/subscribe` for each resource, again in every new session. A modern server gets one
`subscriptions/listen` stream for everything. Source: MCP 2025-11-25 "Subscriptions", 2026-07-28
"Subscriptions".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from portal.errors import OutcomeUnknown, UpstreamError
from portal.upstream.backoff import LONGEST, SHORTEST
from portal.upstream.transports.link import Link
from portal.upstream.transports.protocol import Agreement

SUBSCRIBE, UNSUBSCRIBE = "resources/subscribe", "resources/unsubscribe"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
LIST_CHANGED = {
    "notifications/tools/list_changed": ("tools", "toolsListChanged"),
    "notifications/prompts/list_changed": ("prompts", "promptsListChanged"),
    "notifications/resources/list_changed": ("resources", "resourcesListChanged"),
}
MAX_WATCHED = 10_000
_ACKNOWLEDGE_SECONDS = 5.0


class Subscriptions:
    """`missed` is called when changes may have been missed. `watched` are the URIs to watch from the beginning."""

    def __init__(self, missed: Callable[[], None], watched: Collection[str] = ()) -> None:
        self._missed = missed
        self._watched: set[str] = set(watched)
        self._changed = asyncio.Event()
        self._acknowledged = asyncio.Event()

    @property
    def watched(self) -> frozenset[str]:
        return frozenset(self._watched)

    def full_for(self, uri: object) -> bool:
        """Whether there is no room to watch this resource too."""
        return len(self._watched) >= MAX_WATCHED and uri not in self._watched

    def note(self, method: str, uri: object) -> bool:
        """Whether the set of watched resources changed by `resources/subscribe` or `resources/unsubscribe` of `uri`."""
        if not isinstance(uri, str):
            return False
        before = len(self._watched)
        if method == UNSUBSCRIBE:
            self._watched.discard(uri)
        elif before < MAX_WATCHED:
            self._watched.add(uri)
        return len(self._watched) != before

    async def relisten(self) -> None:
        """Update the stream of a modern server. Returns when the server acknowledges it, or after a few seconds."""
        self._acknowledged.clear()
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                await self._acknowledged.wait()

    def acknowledged(self) -> None:
        self._acknowledged.set()

    async def attend(self, link: Link, agreement: Agreement) -> None:
        """Keep the subscriptions on the server while the link lives."""
        if agreement.modern:
            await self._listen(link, agreement)
            return
        for uri in sorted(self._watched):
            with suppress(UpstreamError):
                await link.request(SUBSCRIBE, {"uri": uri})

    async def _listen(self, link: Link, agreement: Agreement) -> None:
        lists = {
            name: True
            for capability, name in LIST_CHANGED.values()
            if isinstance(offered := agreement.capabilities.get(capability), dict) and offered.get("listChanged")
        }
        stream: asyncio.Task[bool] | None = None
        try:
            while True:
                self._changed.clear()
                notifications: dict[str, object] = {**lists}
                if self._watched:
                    notifications["resourceSubscriptions"] = sorted(self._watched)
                stream = await self._replace_stream(stream, link, notifications)
                changed = asyncio.create_task(self._changed.wait())
                try:
                    await asyncio.wait({changed, stream} if stream else {changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                if stream is not None and stream.done() and not stream.result():
                    return
        finally:
            if stream is not None:
                stream.cancel()

    async def _replace_stream(
        self, old: asyncio.Task[bool] | None, link: Link, notifications: Mapping[str, object]
    ) -> asyncio.Task[bool] | None:
        """A stream for the current subscriptions. The old one ends after the new one begins, so no change is missed."""
        new = asyncio.create_task(self._stream(link, notifications)) if notifications else None
        if old is not None:
            if new is not None and not old.done():
                acknowledged = asyncio.create_task(self._acknowledged.wait())
                await asyncio.wait(
                    {acknowledged, new}, timeout=_ACKNOWLEDGE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                acknowledged.cancel()
            old.cancel()
        if new is None:
            self._acknowledged.set()
        return new

    async def _stream(self, link: Link, notifications: Mapping[str, object]) -> bool:
        """Listen, and listen again when the stream ends. Returns False if the server refuses the method."""
        pause = SHORTEST
        while True:
            began = time.monotonic()
            with suppress(OutcomeUnknown):
                try:
                    await link.request("subscriptions/listen", {"notifications": notifications})
                except OutcomeUnknown:
                    raise
                except UpstreamError:
                    return False
            pause = SHORTEST if time.monotonic() - began > LONGEST else min(pause * 2, LONGEST)
            await asyncio.sleep(pause)
            # The server did not announce what changed while there was no stream.
            self._missed()
