"""Holds the listings of pinned servers against what was approved, and has approvals kept where they outlive us.

The first listing of a server is approved as it is, at once, and kept as soon as that is possible.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import structlog

from portal.pins.judging import Approved, Withheld, everything, judged
from portal.pins.places import PinsUnusable, Place
from portal.upstream import Listing

RETRY_SECONDS = 5.0
MOST_LOGGED = 20
FIRST = "first listing"


@dataclass(frozen=True, slots=True)
class Screened:
    """A listing without what waits."""

    listing: Listing
    withheld: tuple[Withheld, ...] = ()


def screened(listing: Listing, approved: Approved) -> Screened:
    """What may be shown of a listing: the listing itself when that is all of it."""
    verdict = judged(approved, listing.tools, listing.prompts)
    if not verdict.withheld:
        return Screened(listing)
    content = hashlib.sha256(listing.digest.encode())
    for waits in verdict.withheld:
        content.update(f"\n{waits.kind} {waits.digest}".encode())
    by_name = {tool["name"]: tool for tool in verdict.tools}
    shown = replace(
        listing,
        tools=verdict.tools,
        prompts=verdict.prompts,
        digest=content.hexdigest(),
        by_name=by_name,
        mirrored={name: paths for name, paths in listing.mirrored.items() if name in by_name},
    )
    return Screened(shown, verdict.withheld)


class Pinning:
    """An async context manager around the servers it watches over; entering raises `PinsUnusable`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._approved: dict[str, Approved] = {}
        self._unkept: dict[str, Approved] = {}
        self._judged: dict[str, tuple[Listing, Approved, Screened]] = {}
        self._told: dict[str, frozenset[str]] = {}
        self._publish_to: Callable[..., None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._outdated = False
        self._exits = AsyncExitStack()
        self._log = structlog.get_logger("portal.pins")

    async def __aenter__(self) -> Pinning:
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(self._place.following(self._changed))
            self._approved = dict(await self._place.read())
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()
        for task in (self._keeping, self._reading):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for server, approved in self._unkept.items():
            try:
                await self._place.keep(server, approved, by=FIRST, first=True)
            except PinsUnusable as unusable:
                self._log.error("what was pinned is not kept", server=server, reason=str(unusable))

    def publish_to(self, offer_anew: Callable[..., None]) -> None:
        """Call this with the ids of servers of which something else is approved now."""
        self._publish_to = offer_anew

    def screened(self, server: str, listing: Listing) -> Screened:
        """What may be shown of what a pinned server lists."""
        if not listing.digest:
            return Screened(listing)
        approved = self._approved.get(server)
        if approved is None:
            approved = self._approved[server] = self._unkept[server] = everything(listing.tools, listing.prompts)
            self._start_keeping()
        known = self._judged.get(server)
        if known is not None and known[0] is listing and known[1] is approved:
            return known[2]
        found = screened(listing, approved)
        self._judged[server] = (listing, approved, found)
        self._tell(server, found.withheld)
        return found

    async def approve(self, server: str, withheld: Iterable[Withheld], *, by: str) -> None:
        """Approve these definitions, exactly as they are in `withheld`.

        Raises:
            PinsUnusable: that cannot be kept; nothing is approved.
        """
        if (first := self._unkept.get(server)) is not None:
            await self._place.keep(server, first, by=FIRST, first=True)
            self._unkept.pop(server, None)
        wanted = {(waits.kind, waits.name): waits.now for waits in withheld}
        self._take({server: await self._place.keep(server, wanted, by=by, first=False)})

    def _take(self, approved: Mapping[str, Approved]) -> None:
        changed = [server for server, one in approved.items() if self._approved.get(server) != one]
        self._approved.update({server: approved[server] for server in changed})
        if changed and self._publish_to is not None:
            self._publish_to(*changed)

    def _tell(self, server: str, withheld: tuple[Withheld, ...]) -> None:
        waiting = frozenset(waits.digest for waits in withheld)
        news = waiting - self._told.get(server, frozenset())
        self._told[server] = waiting
        if news:
            names = [waits.name[:100] for waits in withheld if waits.digest in news]
            self._log.warning(
                "a pinned server offers something new or changed; it is withheld until approved",
                server=server,
                names=names[:MOST_LOGGED],
                count=len(names),
                fix="codemode pins",
            )

    def _start_keeping(self) -> None:
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._retried(self._keep))

    def _changed(self) -> None:
        self._outdated = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._retried(self._read))

    async def _keep(self) -> None:
        while self._unkept:
            server, approved = next(iter(self._unkept.items()))
            kept = await self._place.keep(server, approved, by=FIRST, first=True)
            self._unkept.pop(server, None)
            # Another process may have been first.
            self._take({server: kept})

    async def _read(self) -> None:
        while self._outdated:
            self._outdated = False
            found = await self._place.read()
            # Whoever takes a server's approvals away changes nothing for those who run: it would approve anything.
            self._take({server: one for server, one in found.items() if server not in self._unkept})

    async def _retried(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                return await work()
            except PinsUnusable as unusable:
                self._log.error("approvals cannot be read or kept; those known hold", reason=str(unusable))
                self._outdated = True
                await asyncio.sleep(RETRY_SECONDS)
