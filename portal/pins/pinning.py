"""Compares the listings of pinned servers with their approvals, and stores approvals so that they survive a restart.

The first listing of a server is approved at once, as it is, and stored as soon as that is possible.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from types import TracebackType

import structlog

from portal.pins.approvals import ApprovalStore, PinsUnusable
from portal.pins.definitions import Approved, PendingDefinition, approve_all, judge
from portal.upstream import Listing

RETRY_SECONDS = 5.0
MAX_LOGGED = 20
FIRST = "first listing"


@dataclass(frozen=True, slots=True)
class ScreenedListing:
    """The approved part of a listing, and the definitions that are pending."""

    listing: Listing
    pending: tuple[PendingDefinition, ...] = ()


def screen(listing: Listing, approved: Approved) -> ScreenedListing:
    """The approved part of a listing. It is the same object if everything is approved."""
    judgement = judge(approved, listing.tools, listing.prompts)
    if not judgement.pending:
        return ScreenedListing(listing)
    content = hashlib.sha256(listing.digest.encode())
    for definition in judgement.pending:
        content.update(f"\n{definition.kind} {definition.digest}".encode())
    by_name = {str(tool["name"]): tool for tool in judgement.tools}
    approved_listing = replace(
        listing,
        tools=judgement.tools,
        prompts=judgement.prompts,
        digest=content.hexdigest(),
        by_name=by_name,
        mirrored={name: paths for name, paths in listing.mirrored.items() if name in by_name},
    )
    return ScreenedListing(approved_listing, judgement.pending)


class Pinning:
    """The approvals of all pinned servers. An async context manager that is open while the servers are.

    Entering raises:
        PinsUnusable: the approvals cannot be read.
    """

    def __init__(self, approvals: ApprovalStore) -> None:
        self._approvals = approvals
        self._approved: dict[str, Approved] = {}
        self._unsaved: dict[str, Approved] = {}
        self._screened: dict[str, tuple[Listing, Approved, ScreenedListing]] = {}
        self._logged: dict[str, frozenset[str]] = {}
        self._publish: Callable[..., None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._outdated = False
        self._exits = AsyncExitStack()
        self._log = structlog.get_logger("portal.pins")

    async def __aenter__(self) -> Pinning:
        async with AsyncExitStack() as exits:
            await exits.enter_async_context(self._approvals.following(self._changed))
            self._approved = dict(await self._approvals.read())
            self._exits = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exits.aclose()
        for task in (self._saving, self._reading):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for server, approved in self._unsaved.items():
            try:
                await self._approvals.keep(server, approved, by=FIRST, first=True)
            except PinsUnusable as unusable:
                self._log.error("what was pinned is not kept", server=server, reason=str(unusable))

    def publish_to(self, republish: Callable[..., None]) -> None:
        """From now on call `republish` with the ids of servers whose approvals changed."""
        self._publish = republish

    def screen(self, server: str, listing: Listing) -> ScreenedListing:
        """The approved part of a pinned server's listing. Its first listing is approved as a whole."""
        if not listing.digest:
            return ScreenedListing(listing)
        approved = self._approved.get(server)
        if approved is None:
            approved = self._approved[server] = self._unsaved[server] = approve_all(listing.tools, listing.prompts)
            self._start_saving()
        # Compared by identity: an unchanged listing keeps its objects, so that caches keyed by them stay valid.
        known = self._screened.get(server)
        if known is not None and known[0] is listing and known[1] is approved:
            return known[2]
        result = screen(listing, approved)
        self._screened[server] = (listing, approved, result)
        self._log_pending(server, result.pending)
        return result

    async def approve(self, server: str, pending: Iterable[PendingDefinition], *, by: str) -> None:
        """Approve these definitions, exactly as they are in `pending`.

        Raises:
            PinsUnusable: the approvals cannot be stored. Nothing is approved.
        """
        if (first := self._unsaved.get(server)) is not None:
            await self._approvals.keep(server, first, by=FIRST, first=True)
            self._unsaved.pop(server, None)
        definitions = {(definition.kind, definition.name): definition.now for definition in pending}
        self._update({server: await self._approvals.keep(server, definitions, by=by, first=False)})

    def _update(self, approved: Mapping[str, Approved]) -> None:
        changed = [server for server, definitions in approved.items() if self._approved.get(server) != definitions]
        self._approved.update({server: approved[server] for server in changed})
        if changed and self._publish is not None:
            self._publish(*changed)

    def _log_pending(self, server: str, pending: tuple[PendingDefinition, ...]) -> None:
        """Log each pending definition once."""
        digests = frozenset(definition.digest for definition in pending)
        new = digests - self._logged.get(server, frozenset())
        self._logged[server] = digests
        if new:
            names = [definition.name[:100] for definition in pending if definition.digest in new]
            self._log.warning(
                "a pinned server offers something new or changed; it is withheld until approved",
                server=server,
                names=names[:MAX_LOGGED],
                count=len(names),
                fix="codemode pins",
            )

    def _start_saving(self) -> None:
        if self._saving is None or self._saving.done():
            self._saving = asyncio.create_task(self._retry(self._save))

    def _changed(self) -> None:
        self._outdated = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._retry(self._read))

    async def _save(self) -> None:
        while self._unsaved:
            server, approved = next(iter(self._unsaved.items()))
            stored = await self._approvals.keep(server, approved, by=FIRST, first=True)
            self._unsaved.pop(server, None)
            # Another process may have stored its first listing before us. Then that one is approved.
            self._update({server: stored})

    async def _read(self) -> None:
        while self._outdated:
            self._outdated = False
            stored = await self._approvals.read()
            # A server that is missing in the store keeps its approvals here. Dropping them would approve whatever it
            # lists next. A server in `_unsaved` waits for `_save`, which finds out whose first listing was stored.
            self._update({server: approved for server, approved in stored.items() if server not in self._unsaved})

    async def _retry(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        while True:
            try:
                return await work()
            except PinsUnusable as unusable:
                self._log.error("approvals cannot be read or kept; those known hold", reason=str(unusable))
                self._outdated = True
                await asyncio.sleep(RETRY_SECONDS)
