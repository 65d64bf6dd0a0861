"""Admission by policy: the access policies that hold at this moment decide about every call to an upstream server.

This covers the calls of a program that began under other policies, and those of a session that has been open for
hours. The caller is judged as known now, with address, device posture and risk.
"""

from __future__ import annotations

from collections.abc import Mapping

from portal.access import LOGIN_ENDED, ApprovalRule, Decision, LiveAccess, Standing
from portal.calls.gate import RELEASES, WITHOUT_CONTENT, Call, Denial
from portal.identity import ANONYMOUS
from portal.servers import Servers
from portal.upstream import CallContext


class PolicyAdmission:
    def __init__(self, access: LiveAccess, servers: Servers) -> None:
        self._access = access
        self._servers = servers

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        if call.method in RELEASES:
            return None
        identity = context.principal or ANONYMOUS
        if (judged := context.facts.judged) is not None:
            # What people were asked was decided with these signals. With others it might have been something else.
            standing = self._access.judged(judged)
        else:
            if self._access.current.evaluations:
                await self._access.prepare(identity)
            standing = self._access.standing(identity)
        if standing is None:
            return Denial(LOGIN_ENDED.reason, policy=LOGIN_ENDED.policy)
        decision = self._decision(standing, call, context)
        if not decision.allowed:
            return Denial(decision.reason, policy=decision.policy)
        return self._unapproved(standing, call, context)

    def _unapproved(self, standing: Standing, call: Call, context: CallContext) -> Denial | None:
        """A denial of a call that needs an approval by now, and has another one, or none."""
        if not standing.access.asks or call.method in WITHOUT_CONTENT:
            return None
        rule = approval_of(standing, self._servers, call, context)
        if rule is None or rule.revision in context.facts.approved:
            return None
        name = rule.policy_name or rule.policy
        reason = f"The policy {name!r} asks for an approval of this call by now. It did not run. Make it again."
        return Denial(reason, rule.policy)

    def _decision(self, standing: Standing, call: Call, context: CallContext) -> Decision:
        if call.method == "tools/call":
            return self._tool(standing, call, context)
        return _entry_decision(standing, call)

    def _tool(self, standing: Standing, call: Call, context: CallContext) -> Decision:
        spent = context.spent
        annotations = annotations_of(self._servers, call, context)
        decision, budgets = standing.tool(call.server, call.name, annotations, arguments_of(call))
        # Budgets are per run. A direct call is a run of one call.
        counts = {} if spent is None else spent
        for budget in budgets:
            if counts.get(budget.policy, 0) >= budget.calls:
                return budget.spent()
        context.facts.budgets = tuple(budget.policy for budget in budgets)
        count_in_budgets(context, 1)
        return decision


def _entry_decision(standing: Standing, call: Call) -> Decision:
    """The decision about a call that is of no tool."""
    if call.method == "prompts/get" or (call.method == "completion/complete" and _of_prompt(call)):
        return standing.prompt(call.server, call.name)
    return standing.server(call.server)


def allows(standing: Standing, servers: Servers, call: Call, context: CallContext) -> bool:
    """Whether policies let the caller make this call, whatever budgets say."""
    if call.method != "tools/call":
        return _entry_decision(standing, call).allowed
    annotations = annotations_of(servers, call, context)
    return standing.tool(call.server, call.name, annotations, arguments_of(call))[0].allowed


def approval_of(standing: Standing, servers: Servers, call: Call, context: CallContext) -> ApprovalRule | None:
    """What the call needs by policies; None if nothing, or if they deny it."""
    if call.method != "tools/call":
        return standing.approval(call.server, None, {})
    return standing.approval(call.server, call.name, annotations_of(servers, call, context), arguments_of(call))


def count_in_budgets(context: CallContext, calls: int) -> None:
    """Count so many more calls in the budgets that the call of this context is counted in."""
    if context.spent is not None:
        for policy in context.facts.budgets:
            context.spent[policy] = context.spent.get(policy, 0) + calls


def annotations_of(servers: Servers, call: Call, context: CallContext) -> Mapping[str, object]:
    """The annotations of the tool that a call is for, as its server lists it at this moment."""
    server = servers.snapshot_for(context.on_behalf).servers.get(call.server)
    definition = server.tool(call.name) if server is not None else None
    annotations = definition.get("annotations") if definition is not None else None
    return annotations if isinstance(annotations, Mapping) else {}


def arguments_of(call: Call) -> Mapping[str, object]:
    """The arguments of a call of a tool, {} if they are none."""
    arguments = call.params.get("arguments")
    return arguments if isinstance(arguments, Mapping) else {}


def _of_prompt(call: Call) -> bool:
    reference = call.params.get("ref")
    return isinstance(reference, Mapping) and reference.get("type") == "ref/prompt"
