"""What one connection wants to hear about: changed lists always, changed resources as long as somebody watches them.

Legacy servers are told resource by resource (`resources/subscribe`), and again after every new session; modern ones
get one `subscriptions/listen` stream that names everything. Source: MCP 2025-11-25 "Subscriptions", 2026-07-28
"Subscriptions".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

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
    """`missed` is called when changes may have gone unheard."""

    def __init__(self, missed: Callable[[], None]) -> None:
        self._missed = missed
        self._watched: set[str] = set()
        self._changed = asyncio.Event()
        self._acknowledged = asyncio.Event()

    def note(self, method: str, uri: object) -> bool:
        """A subscription that succeeded (legacy), or is wanted (modern); whether that changed anything."""
        if not isinstance(uri, str):
            return False
        before = len(self._watched)
        if method == UNSUBSCRIBE:
            self._watched.discard(uri)
        elif before < MAX_WATCHED:
            self._watched.add(uri)
        return len(self._watched) != before

    async def relisten(self) -> None:
        """Tell a modern server what is watched now; returns once it has acknowledged that, or has had the time to."""
        self._acknowledged.clear()
        self._changed.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_ACKNOWLEDGE_SECONDS):
                await self._acknowledged.wait()

    def acknowledged(self) -> None:
        self._acknowledged.set()

    async def attend(self, link: Link, agreement: Agreement) -> None:
        """Keep the server informed for as long as the link lives."""
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
                wanted: dict[str, Any] = {**lists}
                if self._watched:
                    wanted["resourceSubscriptions"] = sorted(self._watched)
                stream = await self._replaced(stream, link, wanted)
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

    async def _replaced(
        self, old: asyncio.Task[bool] | None, link: Link, wanted: Mapping[str, Any]
    ) -> asyncio.Task[bool] | None:
        """A stream for what is wanted now. The old one ends when the new one has begun: nothing is missed between."""
        new = asyncio.create_task(self._stream(link, wanted)) if wanted else None
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

    async def _stream(self, link: Link, wanted: Mapping[str, Any]) -> bool:
        """Listen, again and again; returns False when the server does not offer it."""
        pause = SHORTEST
        while True:
            began = time.monotonic()
            with suppress(OutcomeUnknown):
                try:
                    await link.request("subscriptions/listen", {"notifications": wanted})
                except OutcomeUnknown:
                    raise
                except UpstreamError:
                    return False
            pause = SHORTEST if time.monotonic() - began > LONGEST else min(pause * 2, LONGEST)
            await asyncio.sleep(pause)
            # Whatever changed while nobody listened was not told.
            self._missed()
