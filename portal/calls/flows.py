"""Data flow of one call: may it be made after what was read, by whose approval, and what counts as read by it.

An approval is of the params, under one rule, after reading these labels: what was read later is asked about anew, and
an answer to a question of the server is in no approval.

A result counts as read when it is handed over, an error of the server too: it may say anything. So do progress, log
messages and questions, which come before the result. A call that is refused, or did not run, reads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from portal.access import ApprovalRule, digest_of
from portal.calls.gate import WITHOUT_CONTENT, Call
from portal.errors import DENIED, CallDenied, CallError, ResponseTooLarge, RpcError, UpstreamError, UpstreamTimeout
from portal.flows import FlowRefusal, Flows, LabelledCall, denial_text, policy_name, reason_to_ask
from portal.upstream import CallContext, CallFacts, OnLog, OnProgress, OnRequest

# Their words are the portal's own, and nothing came back.
_WITHOUT_WORDS = (UpstreamTimeout, ResponseTooLarge)


def flow_of(flows: Flows | None, call: Call, context: CallContext, *, portal: str, holder: str) -> CallFlow | None:
    """The data flow of a call; None if what it is for has no labels."""
    if flows is None or not flows.settings.servers or call.method in WITHOUT_CONTENT:
        return None
    # By the name that is sent, which is what the server will run.
    tool = str(call.params.get("name", call.name)) if call.method == "tools/call" else ""
    labelled = flows.labelled(
        person=holder,
        client=context.source.client_id,
        portal=portal,
        server=call.server,
        tool=tool,
        name=call.name,
        run=context.read,
    )
    return None if labelled is None else CallFlow(flows, labelled)


class CallFlow:
    """One call of something that has labels."""

    def __init__(self, flows: Flows, call: LabelledCall) -> None:
        self._flows = flows
        self._call = call
        self._unanswered: CallDenied | None = None
        self._facts: CallFacts | None = None

    @property
    def labels(self) -> frozenset[str]:
        return self._call.labels

    def asks(self) -> list[ApprovalRule] | None:
        """What the call needs, by the rules that would refuse it now; None if one of them asks nobody.

        Raises:
            StoreUnavailable: it cannot be known whether one would.
        """
        refusals = self._flows.refused(self._call)
        rules = [self._asked(refused) for refused in refusals]
        found = [rule for rule in rules if rule is not None]
        return found if len(found) == len(rules) else None

    def admit(self, approved: Collection[str] = ()) -> None:
        """`approved` are the revisions of the rules that people let the call pass.

        Raises:
            CallDenied: a rule does not allow the call.
            StoreUnavailable: it cannot be known whether one does, or what it reads could not be written.
        """

        def passes(refused: FlowRefusal) -> bool:
            rule = self._asked(refused)
            return rule is not None and rule.revision in approved

        if (refused := self._flows.admit(self._call, passes)) is not None:
            kind = "a call of" if self._call.tool else "a request to"
            raise self._denial(refused, f"{kind} {self._name}")

    async def hand_over(self) -> None:
        """Note what is read.

        Raises:
            StoreUnavailable, CallDenied: it could not be noted, and must not be handed over.
        """
        await self._flows.hand_over(self._call)

    async def failed(self, error: UpstreamError) -> None:
        """Note what is read with an error.

        Raises:
            StoreUnavailable: it could not be noted, and must not be handed over.
            CallDenied: the call has failed because a question was not answered.
        """
        if error.ran != "no" and not isinstance(error, _WITHOUT_WORDS):
            await self.hand_over()
        if self._unanswered is not None:
            raise self._unanswered from error

    def guarded(self, context: CallContext) -> CallContext:
        """The context for the request: what the server says during the call is read, and no answer goes out that a
        rule forbids."""
        self._facts = context.facts
        return replace(
            context,
            on_progress=None if context.on_progress is None else self._progress(context.on_progress),
            on_log=None if context.on_log is None else self._log(context.on_log),
            on_request=None if context.on_request is None else self._ask(context.on_request),
        )

    @property
    def _name(self) -> str:
        return f"{self._call.server}.{self._call.tool}" if self._call.tool else self._call.server

    def _asked(self, refused: FlowRefusal) -> ApprovalRule | None:
        """What people are asked about the call by a rule that refuses it. It is another after reading other labels."""
        rule, call = refused.asks, self._call
        if not isinstance(rule, ApprovalRule):
            return None
        labels = [sorted(one.label for one in refused.read), sorted(refused.labels)]
        why = reason_to_ask(refused, server=call.server, portal=call.portal, told=not call.by_stranger)
        return replace(rule, revision=digest_of([rule.revision, labels]), because=(why,))

    def _denial(self, refused: FlowRefusal, what: str) -> CallDenied:
        call = self._call
        told = not call.by_stranger
        reason = denial_text(refused, what=what, portal=call.portal, told=told, now=self._flows.now())
        return CallDenied(reason, policy=policy_name(refused.rule), server=call.server)

    def _progress(self, on_progress: OnProgress) -> OnProgress:
        async def tell(progress: float, total: float | None, message: str | None) -> None:
            if await self._noted():
                await on_progress(progress, total, message)

        return tell

    def _log(self, on_log: OnLog) -> OnLog:
        async def tell(params: Mapping[str, object]) -> None:
            if await self._noted():
                await on_log(params)

        return tell

    async def _noted(self) -> bool:
        """Whether it was noted that something is read. If not, it is left out; the call itself goes on."""
        try:
            await self.hand_over()
        except CallError:
            return False
        return True

    def _ask(self, on_request: OnRequest) -> OnRequest:
        async def ask(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
            if not await self._noted():
                raise RpcError(DENIED, "The portal cannot pass on a question now.")
            self._require_answer_allowed()
            answer = await on_request(method, params)
            # Meanwhile something may have been read, and be in the answer.
            self._require_answer_allowed()
            return answer

        return ask

    def _require_answer_allowed(self) -> None:
        """
        Raises:
            RpcError: for the server, which is not told what was read. The caller is told when the call has failed.
        """
        try:
            refusals = self._flows.refused(self._call)
        except CallError:
            raise RpcError(DENIED, "The portal cannot pass on an answer now.") from None
        if refusals:
            # Whoever approves a call has not seen the answer.
            refused = replace(refusals[0], asks=None)
            self._unanswered = self._denial(refused, f"an answer to a question of {self._name}")
            self._unanswered.ran = "yes"
            if self._facts is not None:
                self._facts.policy = policy_name(refused.rule)
            raise RpcError(DENIED, "The portal does not pass on an answer.")
