"""The signed assertion of who calls, added to the headers of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from portal.calls.call import Call, Denial
from portal.calls.gate import Gate
from portal.identity import ANONYMOUS
from portal.upstream import CallContext

if TYPE_CHECKING:
    from portal.oauth import Assertions


class AssertionGate:
    """Adds the assertion to the headers of each call that `inner` lets pass. `assertions` gives those of the portal,
    None while nobody signs in."""

    def __init__(self, inner: Gate, assertions: Callable[[], Assertions | None]) -> None:
        self._inner = inner
        self._assertions = assertions

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        return await self._inner.admit(call, context)

    async def screen(self, call: Call, context: CallContext) -> Call | Denial:
        return await self._inner.screen(call, context)

    async def credentials(self, call: Call, context: CallContext) -> Mapping[str, str]:
        headers = await self._inner.credentials(call, context)
        assertions = self._assertions()
        if assertions is None:
            return headers
        return {**headers, **await assertions.headers(context.principal or ANONYMOUS, call.server)}

    async def screen_result(self, call: Call, result: dict[str, Any], context: CallContext) -> dict[str, Any] | Denial:
        return await self._inner.screen_result(call, result, context)
