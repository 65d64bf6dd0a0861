"""Where approvals are kept: an interface, so that a portal with a database and one without pin alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from portal.errors import PortalError
from portal.pins.judging import Approved


class PinsUnusable(PortalError):
    """Approvals cannot be read or kept. Says where, why and what to do."""


class Place(Protocol):
    """Every method may raise `PinsUnusable`."""

    async def read(self) -> Mapping[str, Approved]:
        """Everything approved, by server."""

    async def keep(self, server: str, approved: Approved, *, by: str, first: bool) -> Approved:
        """Add approvals to those of a server; what it has then. With `first` only if it has none at all."""

    def following(self, changed: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call `changed` when somebody, in whichever process, may have kept something."""
