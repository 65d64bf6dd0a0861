"""What people are asked about one call: by policies, data-flow rules and rules of the gateway, as one question.

Everything that asks is read at one moment, about one caller with the signals of that moment. What one of these denies
is asked of nobody: it says so itself, later. Whatever lets the call go on afterwards compares what it would ask then
with what was approved, so a change in between stops the call and never lets it pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from codemode import off_loop
from portal.access import ApprovalRule, LiveAccess, combined, digest_of
from portal.approvals import canonical
from portal.approvals import digest_of as digest_of_call
from portal.calls.flows import flow_of
from portal.calls.gate import WITHOUT_CONTENT, Call
from portal.calls.gateway import GatewayPreview, GatewayScreening
from portal.calls.plans import PLANS
from portal.calls.policy import allows, approval_of
from portal.config import OpenApiServer, ServerConfig, StdioServer
from portal.errors import CallDenied
from portal.flows import Flows
from portal.identity import ANONYMOUS, Identity
from portal.servers import Servers
from portal.shares import holder_of
from portal.upstream import CallContext


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedCall:
    """A call that people are asked about. `rule` is the one question, `parts` the revisions of what asks it. `judged`
    is the caller as it was decided about. `sent` is the call as it would go out, and `shown` what people see of its
    params, where that is less."""

    rule: ApprovalRule
    parts: frozenset[str]
    judged: Identity
    sent: Call
    shown: Mapping[str, object] | None = field(default=None, repr=False)


class AskingRules:
    """What asks, at one portal, whose id is `portal`."""

    def __init__(
        self,
        access: LiveAccess,
        servers: Servers,
        portal: str,
        flows: Flows | None = None,
        gateway: GatewayScreening | None = None,
    ) -> None:
        self._access = access
        self._servers = servers
        self._portal = portal
        self._flows = flows
        self._gateway = gateway

    @property
    def any(self) -> bool:
        """Whether anything asks for approvals at this moment."""
        flows, gateway = self._flows, self._gateway
        return (
            self._access.current.asks
            or (flows is not None and flows.settings.asks)
            or (gateway is not None and gateway.asks)
        )

    async def asked(self, call: Call, context: CallContext) -> AskedCall | None:
        """What people are asked about the call at this moment; None for nothing, or if it is denied anyway. The
        policies that decide next about this call decide about the caller that was read here.

        Raises:
            StoreUnavailable: what was read elsewhere cannot be known.
        """
        caller = context.principal or ANONYMOUS
        if self._access.current.evaluations:
            await self._access.prepare(caller)
        standing = self._access.standing(caller)
        if standing is None or call.method in WITHOUT_CONTENT:
            return None
        # Before anything that may take time: what was decided about is this caller.
        judged = context.facts.judged = standing.identity
        preview: GatewayPreview | None = None
        if self._gateway is not None:
            preview = await self._gateway.preview(call, context)
            if preview is None:
                return None
        if (found := self._found(call, context, judged)) is None:
            return None
        if preview is not None:
            found += preview.asks
        if (rule := combined(found)) is None:
            return None
        return AskedCall(
            rule=replace(rule, revision=digest_of([rule.revision, self._target(call, context)])),
            parts=frozenset(one.revision for one in found),
            judged=judged,
            sent=call if preview is None else preview.sent,
            shown=None if preview is None else preview.shown,
        )

    def still(self, asked: AskedCall, call: Call, context: CallContext) -> bool:
        """Whether policies and data-flow rules ask nothing more by now than they did."""
        found = self._found(call, context, asked.judged)
        return found is not None and {one.revision for one in found} <= asked.parts

    def _found(self, call: Call, context: CallContext, judged: Identity) -> list[ApprovalRule] | None:
        """What policies and data-flow rules ask; None if one of them denies the call."""
        standing = self._access.judged(judged)
        if standing is None or not allows(standing, self._servers, call, context):
            return None
        rule = approval_of(standing, self._servers, call, context)
        found = [] if rule is None else [rule]
        flow = flow_of(self._flows, call, context, portal=self._portal, holder=holder_of(context.principal))
        if flow is not None:
            if (asks := flow.asks()) is None:
                return None
            found += asks
        if context.unplanned:
            found.append(PLANS)
        return found

    def _target(self, call: Call, context: CallContext) -> list[object]:
        """Where the call goes, and where its server's entry points now: people have approved it for there."""
        now = self._servers.snapshot_for(context.on_behalf).servers.get(call.server)
        return [_place(context.facts.server), _place(None if now is None else now.config)]


def _place(server: ServerConfig | None) -> list[object]:
    if server is None:
        return []
    if isinstance(server, StdioServer):
        return ["stdio", server.command, list(server.args), str(server.cwd or "")]
    place: list[object] = [server.transport, server.url]
    return [*place, server.openapi, str(server.server)] if isinstance(server, OpenApiServer) else place


async def digest_sent(call: Call) -> bytes:
    """The digest of what a call sends, as its approval has it.

    Raises:
        ApprovalImpossible: nobody could be shown it.
    """
    sent = params_shown(call)
    return digest_of_call(call.method, await off_loop(partial(canonical, sent), sent))


def params_shown(call: Call) -> Mapping[str, object]:
    """What people see of the params of a call: all but the name of a tool, which they see anyway."""
    if call.method != "tools/call":
        return call.params
    arguments = call.params.get("arguments")
    return arguments if isinstance(arguments, Mapping) else {}


async def require_as_shown(sent: Call, context: CallContext) -> None:
    """
    Raises:
        CallDenied: what would be sent is not what people have approved, or nobody was asked.
    """
    if context.unplanned and PLANS.revision not in context.facts.approved:
        # Something seemed to deny it as people would have been asked, and does not any more.
        reason = "This call is in no plan that people have approved, and nobody was asked about it. It did not run."
        raise CallDenied(reason, policy=PLANS.policy, server=sent.server)
    shown = context.facts.shown
    if shown is None or await digest_sent(sent) == shown:
        return
    reason = (
        "The rules of the gateway have changed what this call would send since people approved it. It did not run. "
        "Make it again."
    )
    raise CallDenied(reason, policy=context.facts.policy or None, server=sent.server)
