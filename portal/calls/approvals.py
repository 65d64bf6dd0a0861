"""Admission by people: a call that needs an approval waits for it, or says where it is given.

It is asked first, because it may wait for hours; the policies that hold when it is through decide after it. A call of a
program waits, and may be given up and made again meanwhile. Any other call fails with the page to open, and the same
call once more uses what was approved there. An approval is found by who calls what with which arguments, never by
something in the call. A server may answer an approved call with a question: further rounds are of the same call. What
asks for approvals is in `asked.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from codemode import Waiting
from portal.access import ApprovalRule, hint
from portal.approvals import Approval, ApprovalImpossible, ApprovalNeed, Approvals, ApprovalUnknown
from portal.calls.asked import AskedCall, AskingRules, digest_sent, params_shown
from portal.calls.gate import READS, WITHOUT_CONTENT, Call, Denial
from portal.calls.policy import annotations_of
from portal.errors import ApprovalRequired
from portal.identity import ANONYMOUS, Identity
from portal.servers import Servers
from portal.state import StateError
from portal.upstream import ApprovedRound, CallContext

# Each of these is shown to people like a call of a tool.
_SHOWN = {"tools/call", *READS} - {"completion/complete"}
# The params of a call of a tool that people decide about.
_ARGUMENTS_ONLY = {"name", "arguments"}
# Those of a further round of a call that they have approved: what its server asked, and what it goes on with.
_OF_ROUNDS = {"inputResponses", "requestState"}
# So often the policies may change while one call waits.
_MOST_ROUNDS = 10
_MAX_NAME = 128


class ApprovalAdmission:
    """`portal` is the id of the portal whose calls it admits, `asking` what asks there; `page` gives the address of the
    page for an approval. Without `approvals` there is no database to keep any, and a call that needs one is denied."""

    def __init__(
        self,
        asking: AskingRules,
        approvals: Approvals | None,
        servers: Servers,
        portal: str,
        page: Callable[[str], str],
    ) -> None:
        self._asking = asking
        self._servers = servers
        self._approvals = approvals
        self._portal = portal
        self._page = page

    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        """A denial if people do not approve the call.

        Raises:
            ApprovalRequired: they have not decided yet, and the caller does not wait.
            StoreUnavailable: the database does not answer.
        """
        if not (self._asking.any or context.unplanned) or call.method in WITHOUT_CONTENT:
            return None
        caller = context.principal or ANONYMOUS
        for _ in range(_MOST_ROUNDS):
            try:
                asked = await self._asking.asked(call, context)
            except ApprovalImpossible as error:
                return Denial(str(error))
            if asked is None:
                return None
            rule = asked.rule
            if context.approved is not None and set(call.params) <= _ARGUMENTS_ONLY | _OF_ROUNDS:
                need = self._need(asked, call, context, caller)
                return await self._next_round(context.approved, asked, need, context)
            if (refusal := self._refusal(rule, call, caller)) is not None:
                return Denial(refusal, rule.policy)
            answer = await self._answer(self._need(asked, call, context, caller), call, context)
            if isinstance(answer, str):
                return Denial(answer, rule.policy)
            # What asks may be others by now: it is asked again what the call needs.
            if answer and self._asking.still(asked, call, context):
                context.facts.approved = asked.parts
                return None
        return Denial(f"The policies about {_name(call)} change again and again. The call did not run.")

    async def _answer(self, need: ApprovalNeed, call: Call, context: CallContext) -> bool | str:
        """True if people have approved the call, and it may be made with that; False if it may be asked for again by
        now; or why it may not be made, in words.

        Raises:
            ApprovalRequired, StateUnavailable: as `admit`.
        """
        approvals = self._approvals
        assert approvals is not None
        try:
            approval = await approvals.found(need)
            if approval is None and await self._granted(need, context):
                return True
            if approval is None:
                approval = await approvals.request(need)
            if approval.state == "approved" and await self._used(approval, need, context):
                context.facts.shown = approval.digest
                return True
            if approval.state == "pending":
                approval = await self._decided(approval, call, context)
            if approval.state == "withdrawn" and await self._granted(need, context):
                # What was decided about another call is remembered, and is good for this one.
                return True
        except ApprovalImpossible as error:
            return str(error)
        except ApprovalUnknown:
            return f"The approval of {_name(call)} is kept no more. The call did not run."
        return _end_in_words(approval, call) or False

    def _refusal(self, rule: ApprovalRule, call: Call, caller: Identity) -> str | None:
        """Why nobody is asked about the call."""
        name = f"The policy {rule.policy_name or rule.policy!r} asks for an approval of {_name(call)}"
        if self._approvals is None:
            return f"{name}, and this portal has no database to keep one. The call did not run."
        if call.method not in _SHOWN:
            return f"{name}, and of such a request none can be given. It did not run."
        if call.method == "tools/call" and (more := sorted(set(call.params) - _ARGUMENTS_ONLY)):
            # It goes to the server as well, and may say what is done as much as the arguments do.
            return f"{name}. People see its arguments, and not its {_shown(more[0])!r}: leave that out. It did not run."
        if not caller.key:
            return f"{name}, and it is not known whose call this is. It did not run. Sign in first."
        if (rule.by != "group" or rule.also_person or rule.justified) and not caller.logged_in:
            return f"{name} by the person whose call it is, and there is none behind this caller. It did not run."
        return None

    def _need(self, asked: AskedCall, call: Call, context: CallContext, caller: Identity) -> ApprovalNeed:
        tool = call.method == "tools/call"
        annotations = annotations_of(self._servers, call, context) if tool else {}
        shown = None if asked.shown is None else params_shown(replace(call, params=asked.shown))
        return ApprovalNeed(
            portal=self._portal,
            subject=caller.key,
            email=caller.email,
            client=context.source.client_id,
            run=context.run_id,
            call=context.number,
            server=call.server,
            tool=call.name if tool else call.method,
            arguments=params_shown(asked.sent),
            shown=shown,
            rule=asked.rule,
            destructive=tool and hint(annotations, "destructiveHint"),
            method=call.method,
        )

    async def _granted(self, need: ApprovalNeed, context: CallContext) -> bool:
        """Whether a remembered approval is good for the call. It has one use less then."""
        assert self._approvals is not None
        grant = await self._approvals.granted(need)
        if grant is None:
            return False
        context.facts.policy, context.facts.approval = need.rule.policy, grant
        return True

    async def _used(self, approval: Approval, need: ApprovalNeed, context: CallContext) -> bool:
        """Whether the approval was good for this call. If the call does not run, it is good for the next try."""
        approvals = self._approvals
        assert approvals is not None
        if not await approvals.use(approval.id, approval.digest, need.rule.revision):
            return False

        async def give_back() -> None:
            # Otherwise it is used, and people are asked once more.
            with suppress(StateError):
                await approvals.give_back(approval.id, approval.digest, need.rule.revision)

        facts = context.facts
        facts.policy, facts.approval, facts.give_back = need.rule.policy, approval.id, give_back
        return True

    async def _next_round(
        self, earlier: ApprovedRound, asked: AskedCall, need: ApprovalNeed, context: CallContext
    ) -> Denial | None:
        """A denial unless the call may go on in another round."""
        approvals, facts = self._approvals, context.facts
        facts.approved, facts.judged = asked.parts, asked.judged
        try:
            facts.shown = await digest_sent(asked.sent)
        except ApprovalImpossible as error:
            return Denial(str(error), need.rule.policy)
        if approvals is not None and await approvals.again(earlier.approval, need, earlier.rounds):

            async def give_back() -> None:
                with suppress(StateError):
                    await approvals.again(earlier.approval, need, earlier.rounds, back=True)

            facts.policy, facts.approval, facts.give_back = need.rule.policy, earlier.approval, give_back
            facts.rounds = earlier.rounds + 1
            return None
        if approvals is not None and await self._granted(need, context):
            return None
        name = _name(asked.sent)
        words = f"This round of the call of {name} was made already, or what approved it does not hold any more."
        return Denial(f"{words} The round did not run. Make the call anew, with its arguments alone.", need.rule.policy)

    async def _decided(self, approval: Approval, call: Call, context: CallContext) -> Approval:
        """The approval once people have decided.

        Raises:
            ApprovalRequired: the caller does not wait.
        """
        assert self._approvals is not None
        url = self._page(approval.id)
        if context.on_wait is None:
            words = (
                f"{_who(approval)} to approve this call of {_name(call)} first: {url} It did not run. Once it is "
                f"approved, make the same call again, with the same arguments."
            )
            policy = approval.rule.policy
            raise ApprovalRequired(words, policy=policy, approval=approval.id, url=url, server=call.server)
        text = f"{_who(approval)} to approve a call of {_name(call)}"
        async with context.on_wait(Waiting(text, url, kind="approval", repeatable=True)):
            return await self._approvals.ended(approval)


def _end_in_words(approval: Approval, call: Call) -> str | None:
    """Why there is no approval, for the agent: without the addresses of those who decide."""
    match approval.state:
        case "denied":
            denial = approval.denial
            own = denial is not None and denial.subject == approval.subject
            who = "The person behind this call" if own else "An approver"
            why = f": {denial.comment}" if denial is not None and denial.comment else "."
            ending = "It did not run. Do not make it again unless the person asks for that."
            return f"{who} has denied this call of {_name(call)}{why} {ending}"
        case "expired":
            again = "It did not run. Make the call again to have it asked for once more."
            return f"This call of {_name(call)} was not approved and made in time. {again}"
        case "withdrawn":
            return f"This call of {_name(call)} is not wanted any more. It did not run."
        case _:
            return None


def _who(approval: Approval) -> str:
    rule = approval.rule
    name = repr(rule.policy_name or rule.policy)
    who = "the person behind this call has" if rule.by != "group" else "others have"
    return f"By the policy {name} {who}" + (", and the person too," if rule.also_person else "")


def _name(call: Call) -> str:
    """What people and agents read of the target: the tool, and nothing of the arguments."""
    name = call.name if call.method == "tools/call" else call.method
    return f"{call.server}.{_shown(name)}"


def _shown(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:_MAX_NAME])
