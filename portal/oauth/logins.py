"""Which of the logins that are being used still hold: for programs that run and streams that stay open meanwhile.

A request is checked when it comes in. What it started goes on afterwards, and must end when its person signs out
everywhere, its grant is revoked or its service token deleted; of that the store tells within half a second.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine

import structlog

from portal.access import Access, Signals, Unchanging
from portal.identity import Identity
from portal.login import EVERYWHERE, IDP
from portal.login import KIND as ADMINISTRATOR
from portal.oauth import service_tokens
from portal.oauth.grants import ACCESS, REFRESH
from portal.state import StateUnavailable, Store

MAX_KEPT = 20_000


class Logins:
    """Remembers the identities that were let in, by object, with the grant each came of ("" for a service token)."""

    def __init__(self, store: Store, changed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._changed = changed
        self._kept: OrderedDict[int, tuple[Identity, str]] = OrderedDict()
        self._ended: dict[int, Identity] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget = store.subscribe(self._heard)
        self._log = structlog.get_logger("portal.oauth")

    async def aclose(self) -> None:
        self._forget()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call this when a login has ended."""
        self._changed = changed

    def note(self, identity: Identity, family: str) -> None:
        """This identity was let in."""
        self._kept[id(identity)] = identity, family
        self._kept.move_to_end(id(identity))
        while len(self._kept) > MAX_KEPT:
            gone, _ = self._kept.popitem(last=False)
            self._ended.pop(gone, None)

    def holds(self, identity: Identity) -> bool:
        return self._ended.get(id(identity)) is not identity

    def _heard(self, kinds: frozenset[str] | set[str]) -> None:
        if kinds & {ACCESS, REFRESH, service_tokens.KIND} and self._kept:
            self._begin(self._look())
        if ADMINISTRATOR in kinds:
            self._begin(self._end_departed())

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_departed(self) -> None:
        try:
            await end_departed(self._store)
        except StateUnavailable as error:
            self._log.error("sessions of deleted accounts could not be ended", reason=str(error))

    async def _look(self) -> None:
        subjects = {identity.id for identity, family in self._kept.values() if family}
        try:
            alive = {
                token.family
                for subject in subjects
                for kind in (ACCESS, REFRESH)
                for token in await self._store.tokens.list(kind, subject)
            }
            services = {stored.id for stored in await self._store.list(service_tokens.KIND)}
        except StateUnavailable as error:
            # Tokens cannot be checked either then: nothing new comes in, and what runs has its own end.
            self._log.error("logins could not be looked up", reason=str(error))
            return
        before = len(self._ended)
        for key, (identity, family) in tuple(self._kept.items()):
            known = (family in alive and identity.id in subjects) if family else identity.service_token_id in services
            if not known and (identity.id in subjects or not family):
                self._ended[key] = identity
        if len(self._ended) != before:
            self._changed()


async def end_departed(store: Store) -> int:
    """End the sessions and grants of local accounts that are no more; how many tokens that were."""
    known = {f"{IDP}:{stored.id}" for stored in await store.list(ADMINISTRATOR)}
    held = {token.subject for kind in EVERYWHERE for token in await store.tokens.list(kind)}
    departed = [subject for subject in held if subject.startswith(f"{IDP}:") and subject not in known]
    return sum([await store.tokens.revoke_subject(subject, kinds=EVERYWHERE) for subject in departed])


class LoginSignals:
    """`portal.access.live.Signals` in which a login that has ended is nobody; everything else is `inner`'s."""

    def __init__(self, logins: Logins, inner: Signals | None = None) -> None:
        self._logins = logins
        self._inner = inner or Unchanging()

    async def prepare(self, identity: Identity, access: Access) -> None:
        await self._inner.prepare(identity, access)

    def current(self, identity: Identity) -> Identity | None:
        return self._inner.current(identity) if self._logins.holds(identity) else None
