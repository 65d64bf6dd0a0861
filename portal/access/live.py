"""The snapshot that holds at this moment, and who wants to hear when it is another one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import structlog

from portal.access.access import Access, Standing
from portal.identity import Identity

MAX_STANDINGS = 4096
log = structlog.get_logger("portal.access")


class Signals(Protocol):
    """What is known of callers besides their login, and goes stale: country, posture, risk, external evaluations."""

    async def prepare(self, identity: Identity, access: Access) -> None:
        """Find out what is not known yet or any more of a caller. Bounded in time; never raises."""

    def current(self, identity: Identity) -> Identity | None:
        """The caller as known now: the same object when nothing changed, None when the login no longer holds."""


class Unchanging:
    """Takes callers as whoever authenticated them has described them."""

    async def prepare(self, identity: Identity, access: Access) -> None:
        return None

    def current(self, identity: Identity) -> Identity | None:
        return identity


class LiveAccess:
    """Holds the current snapshot. Replaced as a whole, on the event loop; whoever asks next is told by the new one."""

    def __init__(self, access: Access, signals: Signals | None = None) -> None:
        self.signals: Signals = signals or Unchanging()
        self._current = access
        self._listeners: list[Callable[[], None]] = []
        self._standings: OrderedDict[int, Standing] = OrderedDict()

    @property
    def current(self) -> Access:
        return self._current

    def replace(self, access: Access) -> None:
        """From now on this decides, for sessions that are open and programs that run too."""
        self._current = access
        self.changed()

    def changed(self) -> None:
        """Tell everyone that what callers may do may have changed: also when a posture source says something new."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:  # The edge of a background job: a listener's failure does not keep a policy from holding.
                log.exception("a listener failed")

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def standing(self, identity: Identity) -> Standing | None:
        """All that holds for a caller now; None when the login no longer does.

        Kept for identities that come again as the same object: in a run, and where an authenticator keeps them.
        """
        known = self.signals.current(identity)
        if known is None:
            return None
        kept = self._standings.get(id(known))
        if kept is not None and kept.identity is known and kept.access is self._current:
            return kept
        made = self._standings[id(known)] = Standing(self._current, known)
        self._standings.move_to_end(id(known))
        while len(self._standings) > MAX_STANDINGS:
            self._standings.popitem(last=False)
        return made

    async def prepare(self, identity: Identity) -> None:
        """Before a request is decided: find out what has to be asked of others."""
        await self.signals.prepare(identity, self._current)
