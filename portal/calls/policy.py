"""The gate of a portal with identities: every call to an upstream is asked of the access policies that hold right now.

Also the calls of a program that began under other policies, and those of a session that is open for hours: whoever is
asked about is the caller as known at this moment, address, posture and risk included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal.access import LOGIN_ENDED, Decision, LiveAccess, Standing
from portal.calls.call import Call, Denial
from portal.calls.gate import Gate, OpenGate
from portal.identity import ANONYMOUS
from portal.servers import Servers
from portal.upstream import CallContext

# Letting go of something needs no permission, and is done when nobody asks any more.
_RELEASES = {"resources/unsubscribe"}


class AccessGate:
    """Admits by policy; what goes out and comes in is for `inner` to screen."""

    def __init__(self, access: LiveAccess, servers: Servers, inner: Gate | None = None) -> None:
        self._access = access
        self._servers = servers
        self._inner = inner or OpenGate()

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        if call.method in _RELEASES:
            return None
        identity = context.principal or ANONYMOUS
        if self._access.current.evaluations:
            await self._access.prepare(identity)
        standing = self._access.standing(identity)
        if standing is None:
            return Denial(LOGIN_ENDED.reason, policy=LOGIN_ENDED.policy)
        decision = self._decision(standing, call, context.spent)
        if not decision.allowed:
            return Denial(decision.reason, policy=decision.policy)
        return await self._inner.admit(call, context)

    async def screen(self, call: Call, context: CallContext) -> Call | Denial:
        return await self._inner.screen(call, context)

    async def credentials(self, call: Call, context: CallContext) -> Mapping[str, str]:
        return await self._inner.credentials(call, context)

    async def screen_result(self, call: Call, result: dict[str, Any], context: CallContext) -> dict[str, Any] | Denial:
        return await self._inner.screen_result(call, result, context)

    def _decision(self, standing: Standing, call: Call, spent: dict[str, int] | None) -> Decision:
        if call.method == "tools/call":
            return self._tool(standing, call, spent)
        if call.method == "prompts/get" or (call.method == "completion/complete" and _of_prompt(call)):
            return standing.prompt(call.server, call.name)
        return standing.server(call.server)

    def _tool(self, standing: Standing, call: Call, spent: dict[str, int] | None) -> Decision:
        server = self._servers.snapshot.servers.get(call.server)
        definition = server.tool(call.name) if server is not None else None
        annotations = definition.get("annotations") if definition is not None else None
        arguments = call.params.get("arguments")
        decision, budgets = standing.tool(
            call.server,
            call.name,
            annotations if isinstance(annotations, Mapping) else {},
            arguments if isinstance(arguments, Mapping) else {},
        )
        # A direct call is a run of one.
        counted = {} if spent is None else spent
        for budget in budgets:
            if counted.get(budget.policy, 0) >= budget.calls:
                return budget.spent()
        for budget in budgets:
            counted[budget.policy] = counted.get(budget.policy, 0) + 1
        return decision


def _of_prompt(call: Call) -> bool:
    reference = call.params.get("ref")
    return isinstance(reference, Mapping) and reference.get("type") == "ref/prompt"
