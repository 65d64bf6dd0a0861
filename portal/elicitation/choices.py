"""Which servers each person has turned off, at each portal. A choice stays until it is made otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Annotated

import structlog
from pydantic import Field

from portal.elicitation.seen import row_of
from portal.http import Rate
from portal.objects import Document
from portal.state import AlreadyExists, Conflict, Follower, Kind, StateUnavailable, Store

MAX_OFF = 500
MOST_AT_ONCE, MOST_PER_MINUTE = 100, 30
"""How often a person may choose at a portal."""

ServerId = Annotated[str, Field(max_length=200)]


class ChoicesDocument(Document):
    """What a person (`Identity.key`) has turned off at a portal."""

    portal: str
    subject: str
    off: tuple[ServerId, ...] = Field(max_length=MAX_OFF)


CHOICES = Kind("server_choices", ChoicesDocument)
_Key = tuple[str, str]


class Choices:
    """An async context manager; while it is open it follows the store. Only who has turned something off has a row, and
    all rows are in memory: they are asked for with each request.

    Entering raises:
        StateUnavailable: the choices cannot be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._off: Mapping[_Key, frozenset[str]] = {}
        self._listeners: list[Callable[[str, str], object]] = []
        self._follower: Follower
        self._writing = asyncio.Lock()
        # Each choice is read by every process of the instance.
        self._rate = Rate(burst=MOST_AT_ONCE, per_minute=MOST_PER_MINUTE)
        self._log = structlog.get_logger("portal.elicitation")

    async def __aenter__(self) -> Choices:
        self._follower = Follower(self._store, {CHOICES.name}, self._follow, self._unavailable)
        await self._follow()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._follower.aclose()

    def subscribe(self, listener: Callable[[str, str], object]) -> Callable[[], None]:
        """A function that unsubscribes. Until then `listener(portal, subject)` is called when somebody has chosen."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return unsubscribe

    def off(self, portal: str, subject: str) -> frozenset[str]:
        """The servers that a person has turned off at a portal."""
        return self._off.get((portal, subject), frozenset())

    async def choose(self, portal: str, subject: str, servers: Mapping[str, bool]) -> None:
        """Turn servers on (true) or off, by id. It holds when this returns.

        Raises:
            ValueError: too many would be off, or this person chooses too often.
            StateUnavailable: it cannot be stored.
        """
        if not self._rate.allows(row_of(portal, subject)):
            raise ValueError("you turn servers on and off too often: nothing was changed, wait a minute")
        async with self._writing:
            for last in (False, False, True):
                try:
                    off = await self._stored(portal, subject, servers)
                except (Conflict, AlreadyExists):
                    # The same person has chosen at another process meanwhile.
                    if last:
                        raise
                else:
                    break
            self._take({**self._off, (portal, subject): off})

    async def _stored(self, portal: str, subject: str, servers: Mapping[str, bool]) -> frozenset[str]:
        id = row_of(portal, subject)
        async with self._store.transaction() as transaction:
            stored = await transaction.get(CHOICES, id)
            before = frozenset(stored.document.off) if stored is not None else frozenset()
            off = (before | {server for server, on in servers.items() if not on}) - {
                server for server, on in servers.items() if on
            }
            if off == before:
                return off
            if len(off) > MAX_OFF:
                raise ValueError(f"at most {MAX_OFF} servers can be turned off")
            document = ChoicesDocument(portal=portal, subject=subject, off=tuple(sorted(off)))
            if not off:
                await transaction.delete(CHOICES, id, by=subject)
            elif stored is None:
                await transaction.create(CHOICES, id, document, by=subject)
            else:
                await transaction.replace(CHOICES, id, document, by=subject, revision=stored.revision)
        return off

    async def _follow(self) -> None:
        # Not while something is stored here, which a reading that began before would not have.
        async with self._writing:
            rows = await self._store.list(CHOICES)
            self._take({(row.document.portal, row.document.subject): frozenset(row.document.off) for row in rows})

    def _take(self, off: Mapping[_Key, frozenset[str]]) -> None:
        before, self._off = self._off, off
        for key in [key for key in {**before, **off} if before.get(key, frozenset()) != off.get(key, frozenset())]:
            for listener in tuple(self._listeners):
                listener(*key)

    def _unavailable(self, error: StateUnavailable) -> None:
        self._log.debug("which servers are turned off cannot be read; what was known holds", reason=str(error))
