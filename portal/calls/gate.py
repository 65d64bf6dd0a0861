"""The questions that decide about a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from portal.calls.call import Call, Denial
from portal.upstream import CallContext

Passed = TypeVar("Passed", Call, dict[str, Any])


class Gate(Protocol):
    """Decides about every call. Each method is asked once a call, in this order, on every path."""

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        """May this identity make this call?"""

    async def screen(self, call: Call, context: CallContext) -> Call | Denial:
        """May these arguments leave? The call to make, which may be changed."""

    async def credentials(self, call: Call, context: CallContext) -> Mapping[str, str]:
        """HTTP headers this call carries to its upstream."""

    async def screen_result(self, call: Call, result: dict[str, Any], context: CallContext) -> dict[str, Any] | Denial:
        """May this result come in? The result to pass on, which may be changed."""


class OpenGate:
    """Lets everything pass: for a portal without identities, on loopback."""

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        return None

    async def screen(self, call: Call, context: CallContext) -> Call | Denial:
        return call

    async def credentials(self, call: Call, context: CallContext) -> Mapping[str, str]:
        return {}

    async def screen_result(self, call: Call, result: dict[str, Any], context: CallContext) -> dict[str, Any] | Denial:
        return result
