"""What the relay needs of the portal behind it: a request of streamable HTTP goes there, and an answer comes back.

The portal is in this process (`in_process`) or elsewhere (`remote`); the relay does not see which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from portal.upstream import Body


class ExchangeAnswer(Protocol):
    """The answer to one request, as soon as its head is there."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str:
        """The value of a header, "" without one."""

    async def body(self) -> Body:
        """What follows the head.

        Raises:
            UpstreamError: it cannot be read, or is too large.
        """

    async def aclose(self) -> None:
        """No more of it is wanted: what is still working on it is cancelled. Idempotent."""


class Exchange(Protocol):
    async def send(self, method: str, headers: Mapping[str, str], data: bytes = b"") -> ExchangeAnswer:
        """The answer to a request at the MCP endpoint.

        Raises:
            UpstreamError: there is none. Its `ran` says whether the request may have had an effect.
        """

    async def aclose(self) -> None:
        """End it. Idempotent."""
