"""The access snapshot that decides now, the listeners to its changes, and the decision about a request.

A request is decided once. The decision is stored in its ASGI scope, and its refusal has one form.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

import structlog

from portal.access.access import Access, Standing
from portal.access.policies import LOGIN_ENDED, Decision
from portal.bounded import Bounded
from portal.errors import DENIED
from portal.http import Refusal
from portal.identity import Identity

_STANDING = "portal.standing"


def keep_standing(scope: MutableMapping[str, Any], standing: Standing) -> None:
    """Store the decisions about the caller in the scope of the request, for every handler of it."""
    scope[_STANDING] = standing


def standing_of(scope: MutableMapping[str, Any] | None) -> Standing | None:
    """The decisions about the caller of a request, or None if none were made."""
    standing = scope.get(_STANDING) if scope is not None else None
    return standing if isinstance(standing, Standing) else None


def portal_decision(standing: Standing | None) -> Decision:
    """The decision whether a caller may use the portal. `standing` is None if the login has ended."""
    return LOGIN_ENDED if standing is None else standing.portal


def denied(decision: Decision, **more: object) -> Refusal:
    """The refusal of a request by policy: 403, with the policy and `more` for programs."""
    return Refusal(403, "denied", decision.reason, DENIED, data={"policy": decision.policy, **more})


MAX_STANDINGS = 4096
log = structlog.get_logger("portal.access")


class Signals(Protocol):
    """Facts about callers in addition to their login, which expire: country, posture, risk, external evaluations."""

    async def prepare(self, identity: Identity, access: Access) -> None:
        """Get the signals about a caller that `access` needs and that are missing or stale.

        Bounded in time. Never raises.
        """

    def current(self, identity: Identity) -> Identity | None:
        """The caller with its current signals, or None if the login has ended.

        The same object as long as nothing changes.
        """


class NoSignals:
    """No signals: callers stay as their login described them."""

    async def prepare(self, identity: Identity, access: Access) -> None:
        return None

    def current(self, identity: Identity) -> Identity | None:
        return identity


class LiveAccess:
    """Holds the current access, which is replaced as a whole. On the event loop only."""

    def __init__(self, access: Access, signals: Signals | None = None) -> None:
        self.signals: Signals = signals or NoSignals()
        self._current = access
        self._listeners: list[Callable[[], None]] = []
        # By the id of an identity. The standing holds the identity, so that no other object can get its id.
        self._standings: Bounded[int, Standing] = Bounded(MAX_STANDINGS)

    @property
    def current(self) -> Access:
        return self._current

    def replace(self, access: Access) -> None:
        """Let `access` decide from now on, for open sessions and running programs, too."""
        self._current = access
        self.changed()

    def changed(self) -> None:
        """Tell the listeners that decisions may have changed, for example by a new signal."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except (
                Exception
            ):  # The edge of a background task: a fault of one listener must not hide a change from the others.
                log.exception("a listener failed")

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change, until the function that is returned is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def standing(self, identity: Identity) -> Standing | None:
        """All decisions about a caller, or None if the login has ended.

        Cached for an identity that returns as the same object: within a run, and where authentication caches it.
        """
        caller = self.signals.current(identity)
        return None if caller is None else self._standing(caller)

    def judged(self, reading: Identity) -> Standing | None:
        """All decisions about a caller with the signals that were read before (`standing(...).identity`), by the
        access of now; None if the login has ended. So several who decide about one call decide about one caller."""
        return None if self.signals.current(reading) is None else self._standing(reading)

    async def decide(self, identity: Identity) -> Standing | None:
        """As `standing`, with external evaluations renewed first: called once for each request."""
        if self._current.evaluations:
            await self.prepare(identity)
        return self.standing(identity)

    def _standing(self, caller: Identity) -> Standing:
        standing = self._standings.get(id(caller))
        if standing is None or standing.identity is not caller or standing.access is not self._current:
            standing = self._standings[id(caller)] = Standing(self._current, caller)
        return standing

    async def prepare(self, identity: Identity) -> None:
        """Get the signals about a caller that are missing, before a request is decided."""
        await self.signals.prepare(identity, self._current)
