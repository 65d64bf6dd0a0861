"""Work in which an upstream may ask the user something, between any two generations of MCP.

A 2025 client is asked in the middle of its request. A 2026-07-28 client is answered `input_required` and calls again
with the answers (SEP-2322). An upstream of its own generation does that itself and is passed through. What waits for
its answers, a call to a 2025 upstream or a program, is held here between the rounds.
"""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY, InputRequest
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from codemode import Waiting
from portal.calls import Call, Caller
from portal.endpoint.approval_prompts import ApprovalPrompts
from portal.endpoint.generations import deliverable
from portal.endpoint.login_prompts import LoginPrompts
from portal.endpoint.own_parked import owner_of
from portal.endpoint.request import CAPABILITIES, ClientRequest, own_result, require_capability
from portal.endpoint.under_way import size_of
from portal.errors import INVALID_PARAMS as WRONG_PARAMS
from portal.errors import NO_ROOM, ResponseInvalid, RpcError
from portal.exact import encode
from portal.shares import Full, Shares, holder_of
from portal.upstream import ApprovedRound, CallContext, OnRequest

PARK_SECONDS = 600.0
MAX_PARKED, MAX_PARKED_FOR_EACH = 1000, 100
"""Calls and programs that wait between two rounds for an answer of their users."""
MAX_OPEN_BYTES, MAX_OPEN_BYTES_FOR_EACH = 256 * 1024 * 1024, 32 * 1024 * 1024
"""The questions that nobody has answered yet, and the requests that wait for it, in bytes."""
COME_BACK_SECONDS = 60
"""Seconds after which a call for which there was no room may be made again."""
PARKING_SECONDS = 10.0
"""How long a client waits for its program to be parked before it is told that it goes on without it."""
MAX_ROUNDS = 10
MAX_QUESTIONS, MAX_QUESTION_BYTES = 16, 4 * 1024 * 1024
"""How many questions one round has, and how many bytes together. The others come in the next one."""
RUN_STATE = "run:"
"""Before the state of a parked run that its client is asked about. Nothing of it is held here."""
_PARKED, _UPSTREAM, _ROUND = "portal:", "upstream:", "round:"
_OF_ROUNDS = ("inputResponses", "requestState")
_INPUT_REQUEST: TypeAdapter[object] = TypeAdapter(InputRequest)
_INPUT_REQUESTS: TypeAdapter[object] = TypeAdapter(tuple[dict[str, InputRequest] | None, str | None])

Result = dict[str, Any]


@dataclass(slots=True, eq=False)
class Question:
    """`request` is the question as an `inputRequests` entry has it, of `size` bytes."""

    request: dict[str, object]
    size: int
    answer: asyncio.Future[Mapping[str, object]]


@dataclass(slots=True, eq=False)
class HeldWork:
    """Work that outlives the request which began it, while the user thinks.

    `request` is the client's latest one, and `since` when it came, by the clock of the event loop. `between_rounds`: it
    asks by `input_required`; other work asks in the middle of its request, if the client can be asked. `away`: the
    latest request is answered, so nothing can be sent on it. `open` are the questions without an answer, by the name
    that the client knows them by: no name is used twice. `holder` is whose part it takes; `room` is that for the bytes
    of questions.

    `patience` are the seconds after which it becomes a task, None where it does not; it has become one when it
    `is_task`, and `on_change` is called then when something is asked or answered. `id` is that of its run, if it has
    one, and `waits` are what that waits for; `is_parking` says whether it is about to be stored. It is `stored` once it
    goes on from the database.
    """

    request: ClientRequest
    since: float
    between_rounds: bool = False
    away: bool = False
    open: dict[str, Question] = field(default_factory=dict)
    names: int = 0
    holder: str = ""
    room: Shares | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Result] | None = None
    expiry: asyncio.TimerHandle | None = None
    patience: float | None = None
    is_task: bool = False
    on_change: Callable[[], None] = lambda: None
    id: str = ""
    waits: Callable[[], Sequence[Waiting]] = tuple
    is_parking: Callable[[], bool] = lambda: False
    stored: bool = False

    @classmethod
    def of(cls, request: ClientRequest, *, between_rounds: bool = False, room: Shares | None = None) -> "HeldWork":
        now, holder = asyncio.get_running_loop().time(), holder_of(request.principal)
        return cls(request, now, between_rounds, holder=holder, room=room)

    @property
    def on_request(self) -> OnRequest | None:
        """Asks the client; None if it answers nothing."""
        if not self.between_rounds:
            return self.request.context.on_request
        client = self.request.context.client
        return self.ask if client is not None and client.interactive else None

    @property
    def becomes_task(self) -> bool:
        """Whether its client takes a task for it, now or later."""
        return self.is_task or self.patience is not None

    def left(self) -> float | None:
        """For how many seconds its client waits before it becomes a task; None where it does not."""
        if self.patience is None:
            return None
        # What is stored by then is a task that outlives this process.
        patience = self.patience + (PARKING_SECONDS if self.is_parking() else 0.0)
        return max(0.0, self.since + patience - asyncio.get_running_loop().time())

    async def ask(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """The client's answer, in a later round.

        Raises:
            RpcError: the client has not declared to answer such a question, nobody could read it, or there is no room
                for it.
        """
        require_capability(self.request.context.client, method, params)
        request, size = _input_request(method, params)
        with self._taken(size):
            question = Question(request, size, asyncio.get_running_loop().create_future())
            self.names += 1
            name = f"answer-{self.names}"
            self.open[name] = question
            self.asked.set()
            self.on_change()
            try:
                return await question.answer
            finally:
                self.open.pop(name, None)
                self.on_change()

    @contextmanager
    def _taken(self, size: int) -> Iterator[None]:
        """A block in which a question of so many bytes is open.

        Raises:
            RpcError: there is no room for it.
        """
        if self.room is None:
            yield
            return
        try:
            self.room.take(self.holder, size)
        except Full as full:
            whose = "of this user " if full.own else ""
            text = (
                f"The questions {whose}without an answer have {full.most:,} bytes, as many as may be. Nobody was asked."
            )
            raise RpcError(NO_ROOM, text, full.data(COME_BACK_SECONDS)) from None
        try:
            yield
        finally:
            self.room.give_back(self.holder, size)

    @property
    def may_tell_progress(self) -> bool:
        """Whether this request, or a later one, may have asked for progress."""
        return self.between_rounds or self.request.context.on_progress is not None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        on_progress = self.request.context.on_progress
        if on_progress is not None and not self.away:
            await on_progress(progress, total, message)

    async def log(self, params: Mapping[str, object]) -> None:
        on_log = self.request.context.on_log
        if on_log is not None and not self.away:
            await on_log(params)

    def take(self, request: ClientRequest, responses: object) -> None:
        """The client has come back, with answers to some of the open questions."""
        self.request, self.since, self.away = request, asyncio.get_running_loop().time(), False
        self.answer(responses)
        self.asked.clear()
        if self.unanswered:
            self.asked.set()

    def answer(self, responses: object) -> None:
        """The client's answers to some of the open questions. Others are ignored."""
        for name, answer in responses.items() if isinstance(responses, Mapping) else ():
            question = self.open.get(name) if isinstance(name, str) else None
            if question is not None and isinstance(answer, Mapping) and not question.answer.done():
                question.answer.set_result(answer)

    @property
    def unanswered(self) -> dict[str, Question]:
        return {name: question for name, question in self.open.items() if not question.answer.done()}

    def round(self) -> dict[str, object]:
        """The questions for the client to answer next, by their names."""
        requests: dict[str, object] = {}
        room = MAX_QUESTION_BYTES
        for name, question in self.unanswered.items():
            room -= question.size
            if requests and (room < 0 or len(requests) == MAX_QUESTIONS):
                break
            requests[name] = question.request
        return requests

    async def answers(self, asked: Mapping[str, object]) -> dict[str, object]:
        """The client's answers to the questions of a result (`inputRequests`), all of which it is asked at once.

        Raises:
            RpcError: as `ask`.
        """

        async def answer(one: object) -> Mapping[str, object]:
            question = one if isinstance(one, Mapping) else {}
            params = question.get("params")
            return await self.ask(str(question.get("method")), params if isinstance(params, Mapping) else {})

        asking = [asyncio.ensure_future(answer(one)) for one in asked.values()]
        try:
            return dict(zip(asked, await asyncio.gather(*asking), strict=True))
        finally:
            for one in asking:
                one.cancel()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
        for question in tuple(self.open.values()):
            question.answer.cancel()


Work = Callable[[HeldWork], Awaitable[Result]]
Again = Callable[[str, HeldWork], Awaitable[Result]]


class KeepsTasks(Protocol):
    """Keeps work that goes on without its request (`portal.endpoint.tasks`)."""

    def patience(self, request: ClientRequest) -> float | None: ...

    def keep(self, held: HeldWork) -> Result | None: ...


class Questions:
    """Does the work in which an upstream may ask back. `protocol_of` gives an upstream's protocol version."""

    def __init__(
        self,
        protocol_of: Callable[[str], str | None],
        logins: LoginPrompts,
        approvals: ApprovalPrompts,
        tasks: KeepsTasks | None = None,
    ) -> None:
        """Without `tasks` every request is waited for."""
        self._keeper = tasks
        self._protocol_of = protocol_of
        self._logins = logins
        self._approvals = approvals
        self._parked: dict[str, HeldWork] = {}
        self._room = Shares(MAX_PARKED, MAX_PARKED_FOR_EACH)
        self._bytes = Shares(MAX_OPEN_BYTES, MAX_OPEN_BYTES_FOR_EACH)
        self._tasks: set[asyncio.Task[Result]] = set()

    async def prompted(
        self, request: ClientRequest, call: Call, attempt: Callable[[Call], Awaitable[Result]]
    ) -> Result:
        """The result of `attempt`, or what asks for the login that it needs (`LoginPrompts.answer`)."""
        return await self._logins.answer(request, call, attempt)

    async def answer(self, request: ClientRequest, caller: Caller, call: Call) -> Result:
        """As `call`: the result as the portal's own, which the client can read. A login or an approval that it needs is
        asked for.

        Raises:
            ResponseInvalid: there is nothing in the result that the client could read.
        """
        if call.method == "tools/call" and self._patience(request) is not None:
            return await self._answer_or_task(request, caller, call)
        return await self._answered(request, caller, call)

    async def _answered(
        self, request: ClientRequest, caller: Caller, call: Call, waits_on: Callable[[], bool] = lambda: False
    ) -> Result:
        result = own_result(await self._admitted(request, call, partial(self.call, request, caller), waits_on))
        return await deliverable(request.generation, call, result)

    async def _answer_or_task(self, request: ClientRequest, caller: Caller, call: Call) -> Result:
        """As `answer`, for a request that becomes a task if it takes long. Until then questions are asked by
        `input_required`, and later by the task."""
        state = call.params.get("requestState")
        if isinstance(state, str) and state.startswith(_PARKED):
            result = own_result(await self._resume(request, state.removeprefix(_PARKED)))
            return await deliverable(request.generation, call, result)

        async def work(held: HeldWork) -> Result:
            again, plain = call, {key: value for key, value in call.params.items() if key not in _OF_ROUNDS}
            for _ in range(MAX_ROUNDS):
                result = await self._round(held, caller, again)
                asked = result.get("inputRequests")
                if result.get("resultType") != "input_required" or not held.is_task:
                    return result
                answers = await held.answers(asked if isinstance(asked, Mapping) else {})
                state = {"requestState": result["requestState"]} if "requestState" in result else {}
                again = replace(call, params={**plain, "inputResponses": answers, **state})
            raise ResponseInvalid(f"the server still asks after {MAX_ROUNDS} rounds", server=call.server)

        return await self._begin(request, work)

    async def _round(self, held: HeldWork, caller: Caller, call: Call) -> Result:
        """A call, or one round of it."""
        context = held.request.context
        on_progress = held.progress if context.on_progress is not None else None
        asking = replace(context, on_progress=on_progress, on_log=held.log, on_request=held.on_request)
        request = replace(held.request, context=asking)

        def waits_on() -> bool:
            return held.becomes_task

        if held.on_request is None or self._protocol_of(call.server) in MODERN_PROTOCOL_VERSIONS:
            return await self._answered(request, caller, call, waits_on)
        if isinstance(state := call.params.get("requestState"), str):
            call, asking = _of_round(call, asking, state)

        async def attempt(call: Call) -> Result:
            return _marked(call, await caller.call(call, asking), asking)

        result = own_result(await self._admitted(request, call, attempt, waits_on))
        return await deliverable(request.generation, call, result)

    async def _admitted(
        self,
        request: ClientRequest,
        call: Call,
        attempt: Callable[[Call], Awaitable[Result]],
        waits_on: Callable[[], bool],
    ) -> Result:
        """The result of `attempt`, or what asks for the approval or the login that it needs."""

        async def with_login(call: Call) -> Result:
            return await self._logins.answer(request, call, attempt)

        return await self._approvals.answer(request, call, with_login, waits_on=waits_on)

    async def call(self, request: ClientRequest, caller: Caller, call: Call) -> Result:
        """The upstream's raw result, or an `input_required` one that leads back here.

        Raises:
            CallError: as the caller raises.
            MCPError: the client cannot answer what the upstream asks.
        """
        context = request.context
        if request.session is not None:
            return await caller.call(call, context)
        state = call.params.get("requestState")
        if isinstance(state, str) and state.startswith(_PARKED):
            return await self._resume(request, state.removeprefix(_PARKED))
        if isinstance(state, str):
            call, context = _of_round(call, context, state)
        if context.client is None or not context.client.interactive:
            return await _call_for_silent_client(caller, call, context)
        if self._protocol_of(call.server) in MODERN_PROTOCOL_VERSIONS:
            return _marked(call, await caller.call(call, context), context)

        async def work(held: HeldWork) -> Result:
            on_progress = held.progress if context.on_progress is not None else None
            asking = replace(context, on_request=held.ask, on_progress=on_progress, on_log=held.log)
            return _marked(call, await caller.call(call, asking), asking)

        return await self._begin(request, work)

    async def hold(self, request: ClientRequest, work: Work, again: Again) -> Result:
        """The result of `work` for this request, or an `input_required` one that leads back here.

        Work for a 2026-07-28 client that can answer questions gets them by `HeldWork.ask`, and goes on between the
        rounds. A client that leaves in a round stops it. `again` is the work for a client that comes back for a parked
        run.

        Raises:
            MCPError: the client comes back for what is not held.
        """
        if request.session is not None:
            return await work(HeldWork.of(request))
        state = request.params.get("requestState")
        if isinstance(state, str) and state.startswith(RUN_STATE):
            return await self._begin(request, partial(again, state))
        if isinstance(state, str):
            return await self._resume(request, state.removeprefix(_PARKED))
        client = request.context.client
        if self._patience(request) is None and (client is None or not client.interactive):
            return await work(HeldWork.of(request))
        return await self._begin(request, work)

    def close(self) -> None:
        """Stop all that is held."""
        for key in tuple(self._parked):
            self._expire(key)

    def _patience(self, request: ClientRequest) -> float | None:
        return None if self._keeper is None else self._keeper.patience(request)

    async def _begin(self, request: ClientRequest, work: Work) -> Result:
        held = HeldWork.of(request, between_rounds=True, room=self._bytes)
        held.patience = self._patience(request)

        async def do() -> Result:
            return await work(held)

        held.task = asyncio.create_task(do())
        self._tasks.add(held.task)
        held.task.add_done_callback(self._ended)
        return await self._wait(held)

    async def _wait(self, held: HeldWork) -> Result:
        """Wait until the work is done, asks, or becomes a task. A client that leaves meanwhile stops it."""
        assert held.task is not None
        waits_on = False
        while not held.task.done():
            asks = asyncio.ensure_future(held.asked.wait())
            try:
                left = None if waits_on else held.left()
                await asyncio.wait({held.task, asks}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                held.stop()
                raise
            finally:
                asks.cancel()
            if not held.task.done() and held.unanswered:
                return self._park(held)
            if not held.task.done() and not waits_on and held.left() == 0.0:
                # What is stored ends by itself now. Where there is no room for a task the client waits on.
                waits_on = True
                if not held.stored and self._keeper is not None:
                    if (task := self._keeper.keep(held)) is not None:
                        return task
                    held.patience = None
            held.asked.clear()  # what was asked has ended with its call
        return held.task.result()

    def _park(self, held: HeldWork) -> Result:
        size = size_of(held.request.scope)
        if (full := self._room.full_for(held.holder) or self._bytes.full_for(held.holder, size)) is not None:
            held.stop()
            whose = "calls of yours" if full.own else "calls"
            raise MCPError(
                NO_ROOM,
                f"As many {whose} wait for an answer of their users as may be. This one was stopped; it may have had "
                f"effects. Answer some, or try again in {COME_BACK_SECONDS} s.",
                full.data(COME_BACK_SECONDS),
            )
        self._room.take(held.holder)
        self._bytes.take(held.holder, size)
        key = secrets.token_urlsafe(16)
        self._parked[key] = held
        held.away = True
        held.expiry = asyncio.get_running_loop().call_later(PARK_SECONDS, self._expire, key)
        return {
            "resultType": "input_required",
            "inputRequests": held.round(),
            "requestState": _PARKED + key,
        }

    async def _resume(self, request: ClientRequest, key: str) -> Result:
        held = self._parked.get(key)
        if held is None or owner_of(held.request) != owner_of(request):
            raise MCPError(INVALID_PARAMS, "The call this answers is no longer waiting. Call the tool again.")
        # Each round has a key of its own: a second answer to the same question must not find it.
        self._unpark(key)
        if held.expiry is not None:
            held.expiry.cancel()
        held.take(request, request.params.get("inputResponses"))
        held.patience = self._patience(request)
        return await self._wait(held)

    def _ended(self, task: asyncio.Task[Result]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its client may never come for it

    def _expire(self, key: str) -> None:
        held = self._unpark(key)
        if held is not None:
            held.stop()

    def _unpark(self, key: str) -> HeldWork | None:
        """What is held under this key, and is held no longer."""
        held = self._parked.pop(key, None)
        if held is not None:
            self._room.give_back(held.holder)
            self._bytes.give_back(held.holder, size_of(held.request.scope))
        return held


def _input_request(method: str, params: Mapping[str, object]) -> tuple[dict[str, object], int]:
    """A question as the client reads it, and its bytes.

    Raises:
        RpcError: it is not one of the protocol, so the client could read nothing of the answer that has it; or too
            large.
    """
    own = {name: value for name, value in params.items() if name != "_meta"}
    request: dict[str, object] = {"method": method, **({"params": own} if own else {})}
    try:
        _INPUT_REQUEST.validate_python(request, by_name=False)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"The question ({method[:100]}) is not one of the protocol, at {place[:200]}. Nobody was asked."
        raise RpcError(WRONG_PARAMS, message) from None
    if (size := len(encode(request))) > MAX_QUESTION_BYTES:
        message = f"The question has {size:,} bytes, at most {MAX_QUESTION_BYTES:,} are passed on. Nobody was asked."
        raise RpcError(WRONG_PARAMS, message)
    return request, size


async def _call_for_silent_client(caller: Caller, call: Call, context: CallContext) -> Result:
    """A call for a client that has declared to answer nothing. Rounds without a question need no client.

    Raises:
        MCPError: the upstream asks something.
        ResponseInvalid: there is no end to the rounds.
    """
    for _ in range(MAX_ROUNDS):
        result = await caller.call(call, context)
        if result.get("resultType") != "input_required":
            return result
        requests = result.get("inputRequests")
        if isinstance(requests, Mapping) and requests:
            methods = [str(request.get("method")) for request in requests.values() if isinstance(request, Mapping)]
            required: dict[str, Any] = {CAPABILITIES.get(method, "elicitation"): {} for method in methods}
            message = "The tool asks for input, and this client has declared nothing that could give it."
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, message, {"requiredCapabilities": required})
        if (state := result.get("requestState")) is not None:
            call = replace(call, params={**call.params, "requestState": state})
        if context.facts.approval:
            context = replace(context, approved=ApprovedRound(context.facts.approval, context.facts.rounds))
    raise ResponseInvalid(f"the server has not answered the call after {MAX_ROUNDS} rounds", server=call.server)


def _marked(call: Call, result: Result, context: CallContext) -> Result:
    """Mark an upstream's own state, so that no upstream can make up the state of a parked call. With it goes what has
    approved the call: its next round needs no other approval.

    Raises:
        ResponseInvalid: the upstream asks what no client could read.
    """
    if result.get("resultType") != "input_required":
        return result
    state, facts = result.get("requestState"), context.facts
    try:
        _INPUT_REQUESTS.validate_python([result.get("inputRequests"), state], by_name=False)
    except ValidationError:
        raise ResponseInvalid("the server asks for input in a form that cannot be read", server=call.server) from None
    if facts.approval:
        return {**result, "requestState": _ROUND + json.dumps([facts.approval, facts.rounds, state])}
    return {**result, "requestState": _UPSTREAM + state} if isinstance(state, str) else result


def _of_round(call: Call, context: CallContext, state: str) -> tuple[Call, CallContext]:
    """A call that comes back with this state, which this portal has sealed, as its upstream knows it.

    Raises:
        MCPError: the state is of a program. No server sees it.
    """
    if not state.startswith((_UPSTREAM, _ROUND)):
        raise MCPError(
            INVALID_PARAMS, "The state that this call comes back with is of another one. Call the tool again."
        )
    inner: str | None = state.removeprefix(_UPSTREAM)
    if state.startswith(_ROUND):
        approval, rounds, inner = json.loads(state.removeprefix(_ROUND))
        context = replace(context, approved=ApprovedRound(approval, rounds))
    params = {key: value for key, value in call.params.items() if key != "requestState"}
    return replace(call, params=params if inner is None else {**params, "requestState": inner}), context
