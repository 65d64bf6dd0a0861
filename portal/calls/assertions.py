"""Credentials by assertion: the portal's signed statement of who is calling, for the servers that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from portal.calls.gate import Call
from portal.identity import ANONYMOUS
from portal.upstream import CallContext

if TYPE_CHECKING:
    # The authorization server brings a database and more: a portal without identity starts without them.
    from portal.oauth import Assertions


class AssertionCredentials:
    """`assertions` gives those of the portal, None while nobody signs in."""

    def __init__(self, assertions: Callable[[], Assertions | None]) -> None:
        self._assertions = assertions

    async def headers(self, call: Call, context: CallContext) -> Mapping[str, str]:
        assertions = self._assertions()
        if assertions is None:
            return {}
        return await assertions.headers(context.principal or ANONYMOUS, call.server)
