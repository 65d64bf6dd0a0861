"""A call that people have to approve: how its client learns of it, and how the call goes on.

    client                  the policy lets the person decide in it     the browser, or others
    shows forms             a form that decides                         the text with the link
    opens URLs              the URL of the page                         the URL of the page
    neither                 the text with the link                      the same

A client of 2025 is asked within its request, one of 2026-07-28 is answered `input_required` and comes back. Only a form
decides anything, and only what the policy lets a client decide: a client may answer by itself.
Source: MCP 2025-11-25 and 2026-07-28, "Elicitation"; 2026-07-28, "Multi Round-Trip Requests".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from portal.approvals import Approval, ApprovalError, Approvals, ApprovalUnknown, decided_in_client
from portal.calls import Call
from portal.endpoint.approval_forms import ANSWER, ApprovalQuestion, answer_in, plain_name, question_of
from portal.endpoint.login_prompts import (
    ELICIT,
    PATIENCE,
    PATIENCE_WITH_PROGRESS,
    PROGRESS_SECONDS,
    RUN_PATIENCE,
    Attempt,
    shows,
)
from portal.endpoint.request import ClientRequest, RawResult
from portal.errors import ApprovalRequired, RpcError
from portal.identity import Identity
from portal.shares import Full, Shares, holder_of
from portal.state import StateUnavailable
from portal.upstream import OnRequest

MOST_QUESTIONS = 16
"""Approvals that one client is asked for at once. The others come when these are decided."""
MOST_OPEN, MOST_OPEN_EACH = 5000, 500
"""Questions about approvals that clients have not answered, and those of one person."""
# How often the policies may change while one call is approved.
_MOST_ROUNDS = 10


@dataclass(slots=True, eq=False)
class _Asked:
    """What the client of one call has been asked. `answers` are those that it came back with and that are not read yet,
    by the id of the approval; `shown` are the approvals that it was asked about or has answered. `waits_on` is as in
    `answer`."""

    answers: dict[str, object]
    waits_on: Callable[[], bool]
    shown: set[str] = field(default_factory=set)


class ApprovalPrompts:
    """Asks the people behind clients for approvals. `page` gives the address of the page for one. Without `approvals`
    there are none to ask for."""

    def __init__(self, approvals: Approvals | None, page: Callable[[str], str]) -> None:
        self._approvals = approvals
        self._page = page
        self._asking: set[asyncio.Task[bool]] = set()
        self._room = Shares(MOST_OPEN, MOST_OPEN_EACH)

    async def answer(
        self, request: ClientRequest, call: Call, attempt: Attempt, *, waits_on: Callable[[], bool] = lambda: False
    ) -> RawResult:
        """The result of `attempt(call)`, or what asks for the approval that it needs. `waits_on`: the client waits for
        as long as it takes.

        Raises:
            ApprovalRequired: it is not decided while the client waits, which is told the link.
            CallError: as `attempt` raises.
        """
        if self._approvals is None:
            return await attempt(call)
        call, answers = _came_back(call)
        asked = _Asked(answers, waits_on)
        for _ in range(_MOST_ROUNDS):
            try:
                return await attempt(call)
            except ApprovalRequired as required:
                waits = await self._waits_after(request, required, asked)
                if isinstance(waits, Mapping):
                    return dict(waits)
                if not waits:
                    raise
        return await attempt(call)

    async def _waits_after(self, request: ClientRequest, required: ApprovalRequired, asked: _Asked) -> RawResult | bool:
        """Whether the approval is decided by now, or the result that has a client of 2026-07-28 ask for it."""
        id = required.approval
        if id in asked.answers:
            # Only this approval is decided here: an answer about the approval of another call does not count.
            asked.shown.add(id)
            is_at_page = await self.take(request, id, asked.answers.pop(id))
            return await (self._decided(request, id, asked) if is_at_page else self._decided_within(id, 0.0))
        if id in asked.shown:
            return False
        question = await self.question(request, id)
        if question is None:
            # Others may have decided just now.
            return bool(shows(request)) and await self._decided_within(id, 0.0)
        asked.shown.add(id)
        if request.modern:
            requests = {ANSWER + id: {"method": ELICIT, "params": dict(question.params)}}
            return {"resultType": "input_required", "inputRequests": requests}
        ask = request.context.on_request
        assert ask is not None, "a client of 2025 that shows something can be asked"
        asking = self.ask(request, question, ask)
        return asking is not None and await self._decided(request, id, asked, asking)

    async def question(self, request: ClientRequest, id: str) -> ApprovalQuestion | None:
        """What the client of a request is asked about an approval; None if it cannot show it, or nobody is asked any
        more."""
        assert self._approvals is not None
        channels, person = shows(request), request.principal
        if not channels or person is None or not person.logged_in:
            return None
        try:
            approval = await self._approvals.get(id)
            whose = approval.subject, approval.client
            if approval.state != "pending" or whose != (person.key, request.context.source.client_id):
                return None
            arguments = await self._approvals.arguments(id) if decided_in_client(approval) else None
        except ApprovalUnknown:
            return None
        return question_of(
            approval,
            arguments,
            self._page(id),
            forms="form" in channels,
            urls="url" in channels,
            modern=request.modern,
            signed_in=not person.by_credential,
        )

    async def take(self, request: ClientRequest, id: str, answer: object) -> bool:
        """Whether the person goes to the page to decide, by what the client has answered. A form that decides is
        decided with that, as far as the policy lets it."""
        assert self._approvals is not None
        question = await self.question(request, id)
        if question is None or not isinstance(answer, Mapping):
            return False
        if question.shown != "form":
            return answer.get("action") == "accept"
        with suppress(ApprovalError):
            decision = answer_in(await self._approvals.get(id), answer)
            if decision is not None:
                person: Identity | None = request.principal
                assert person is not None, "nobody else is asked"
                await self._approvals.answer(id, person, decision.approves, remember=decision.remember)
        return False

    async def questions(
        self, request: ClientRequest, approvals: Iterable[Approval], known: Collection[str] = ()
    ) -> dict[str, object]:
        """What a client of 2026-07-28 is asked about these approvals (`inputRequests`), but for those whose answers
        have a `known` key."""
        found: dict[str, object] = {}
        for one in approvals:
            if (key := ANSWER + one.id) in known or len(found) == MOST_QUESTIONS:
                continue
            if (question := await self.question(request, one.id)) is not None:
                found[key] = {"method": ELICIT, "params": dict(question.params)}
        return found

    async def take_all(self, request: ClientRequest, run: str, responses: object) -> set[str]:
        """Take what a client has answered about the approvals that a run waits for. Their ids."""
        taken = set[str]()
        if not isinstance(responses, Mapping) or not any(str(key).startswith(ANSWER) for key in responses):
            return taken
        for approval in await self.pending({run}):
            answer = responses.get(ANSWER + approval.id)
            if isinstance(answer, Mapping):
                taken.add(approval.id)
                await self.take(request, approval.id, answer)
        return taken

    def ask(self, request: ClientRequest, question: ApprovalQuestion, ask: OnRequest) -> asyncio.Task[bool] | None:
        """A task that asks the client and takes its answer, until the approval is not pending any more. Its result is
        whether to wait for a decision on the page. A client that cannot be asked after all is not waited for. None if
        the person has as many open questions as may be."""
        approvals, id, holder = self._approvals, question.approval, holder_of(request.principal)
        assert approvals is not None
        try:
            self._room.take(holder)
        except Full:
            return None

        async def answered() -> bool:
            try:
                answer = await ask(ELICIT, question.params)
            except RpcError:
                return False
            return await self.take(request, id, answer)

        async def until_decided() -> bool:
            asked = asyncio.ensure_future(answered())
            over = asyncio.ensure_future(self._over(id))
            try:
                await asyncio.wait({asked, over}, return_when=asyncio.FIRST_COMPLETED)
                if asked.done():
                    if not asked.result():
                        return False
                    await asyncio.wait({over}, timeout=RUN_PATIENCE)
                if question.shown == "url" and over.done() and request.session is not None:
                    # The client was given the URL, and hears that its person is through with it.
                    params = {"elicitationId": id}
                    await request.session.connection.notify("notifications/elicitation/complete", params)
                return True
            finally:
                asked.cancel()
                over.cancel()

        task = asyncio.create_task(until_decided(), name=f"asking for {id}")
        self._asking.add(task)
        task.add_done_callback(partial(self._answered, holder))
        return task

    def told(self, approvals: Iterable[Approval]) -> list[dict[str, str]]:
        """What an agent reads of the approvals that its program waits for."""
        return [
            {
                "id": one.id,
                "tool": f"{plain_name(one.server)}.{plain_name(one.tool)}",
                "url": self._page(one.id),
                "expiresAt": one.expires_at.isoformat(timespec="seconds"),
            }
            for one in approvals
        ]

    async def of_run(self, run: str) -> list[Approval]:
        """All approvals that a run has asked for, in the order of its calls."""
        return [] if self._approvals is None else await self._approvals.of_run(run)

    async def pending(self, runs: Collection[str]) -> list[Approval]:
        """The approvals that these runs wait for, in the order of their calls."""
        if self._approvals is None:
            return []
        found = [one for run in sorted(runs) for one in await self._approvals.listed(run=run, states=("pending",))]
        return sorted(found, key=lambda one: (one.created_at, one.call))

    async def with_approvals(self, answer: RawResult, runs: Collection[str]) -> RawResult:
        """The answer `paused` with the approvals that these runs wait for."""
        try:
            pending = await self.pending(runs)
        except StateUnavailable:
            return answer
        content = answer.get("structuredContent")
        if not pending or not isinstance(content, Mapping) or content.get("status") != "paused":
            return answer
        return {**answer, "structuredContent": {**content, "approvals": self.told(pending)}}

    def close(self) -> None:
        """Ask nobody any more."""
        for task in tuple(self._asking):
            task.cancel()

    async def _decided(
        self, request: ClientRequest, id: str, asked: _Asked, asking: asyncio.Task[bool] | None = None
    ) -> bool:
        """Whether people have decided while the client has patience. A question that is still open then stays so: its
        answer counts for the next try of the call."""
        on_progress = request.context.on_progress
        patience = PATIENCE if on_progress is None else PATIENCE_WITH_PROGRESS
        began = time.monotonic()
        deciding = asyncio.ensure_future(self._decided_within(id, RUN_PATIENCE))
        try:
            while True:
                left = began + patience - time.monotonic()
                if left <= 0 and not asked.waits_on():
                    return False
                seconds = min(left, PROGRESS_SECONDS) if left > 0 else PROGRESS_SECONDS
                waits_for = {deciding} if asking is None else {deciding, asking}
                await asyncio.wait(waits_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                if deciding.done():
                    return deciding.result()
                if asking is not None and asking.done():
                    if not asking.result():
                        # What the form has decided is decided by now.
                        return await self._decided_within(id, 0.0)
                    asking = None
                if on_progress is not None:
                    waited = round(time.monotonic() - began, 1)
                    await on_progress(waited, None, "waiting for the approval of this call")
        except asyncio.CancelledError:
            if asking is not None:
                asking.cancel()
            raise
        finally:
            deciding.cancel()

    async def _decided_within(self, id: str, seconds: float) -> bool:
        assert self._approvals is not None
        try:
            return (await self._approvals.changed(id, seconds)).state != "pending"
        except ApprovalUnknown:
            return False

    async def _over(self, id: str) -> None:
        """Returns when an approval is not pending any more."""
        assert self._approvals is not None
        with suppress(ApprovalUnknown):
            while (approval := await self._approvals.get(id)).state == "pending":
                await self._approvals.changed(id, approval.rule.seconds)

    def _answered(self, holder: str, task: asyncio.Task[bool]) -> None:
        self._asking.discard(task)
        self._room.give_back(holder)
        if not task.cancelled():
            task.exception()  # its request may have gone


def _came_back(call: Call) -> tuple[Call, dict[str, object]]:
    """The call without the answers to the portal's questions about approvals, and these by the id of the approval."""
    responses = call.params.get("inputResponses")
    if not isinstance(responses, Mapping) or not any(str(key).startswith(ANSWER) for key in responses):
        return call, {}
    own = {str(key): value for key, value in responses.items() if str(key).startswith(ANSWER)}
    others = {key: value for key, value in responses.items() if not str(key).startswith(ANSWER)}
    params = {key: value for key, value in call.params.items() if key != "inputResponses"}
    if others:
        params["inputResponses"] = others
    answers = {key.removeprefix(ANSWER): value for key, value in own.items()}
    return replace(call, params=params), dict(list(answers.items())[:MOST_QUESTIONS])
