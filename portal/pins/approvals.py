"""The interface to the place where approvals are stored: a database or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from portal.errors import PortalError
from portal.pins.definitions import Approved


class PinsUnusable(PortalError):
    """Approvals cannot be read or stored. The message says where, why and what to do."""


class ApprovalStore(Protocol):
    """Stored approvals. Every method may raise `PinsUnusable`."""

    async def read(self) -> Mapping[str, Approved]:
        """The approved definitions by server id."""

    async def keep(self, server: str, approved: Approved, *, by: str, first: bool) -> Approved:
        """All approvals of the server after `approved` is added to them.

        With `first`, nothing is added if the server has approvals already: another process stored its first listing.
        """

    def following(self, changed: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """While the block runs, `changed` is called when this or another process may have stored approvals."""
