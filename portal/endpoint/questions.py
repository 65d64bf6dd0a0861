"""Calls in which an upstream may ask the user something, between any two generations of MCP.

A 2025 client is asked in the middle of its request. A 2026-07-28 client is answered `input_required` and calls again
with the answers (SEP-2322): an upstream of its own generation does that itself and is passed through, while a call to
a 2025 upstream, which waits for its answer, is parked here between the rounds.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.calls import Call, Caller
from portal.endpoint.generations import deliverable
from portal.endpoint.login_prompts import LoginPrompts
from portal.endpoint.request import CAPABILITIES, ClientRequest, own_result, require_capability
from portal.errors import ResponseInvalid
from portal.upstream import CallContext

PARK_SECONDS = 600.0
MAX_PARKED = 1000
MAX_ROUNDS = 10
_PARKED, _UPSTREAM = "portal:", "upstream:"


@dataclass(slots=True)
class Question:
    method: str
    params: Mapping[str, Any]
    answer: asyncio.Future[Mapping[str, Any]]

    def as_input_request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"method": self.method}
        return {**request, "params": dict(self.params)} if self.params else request


@dataclass(slots=True, eq=False)
class ParkedCall:
    """A call to a 2025 upstream that outlives the request which made it, while the user thinks.

    `request` is the client's latest one, and `asking` the question it was answered with.
    """

    request: ClientRequest
    questions: asyncio.Queue[Question] = field(default_factory=asyncio.Queue)
    asking: Question | None = None
    task: asyncio.Task[dict[str, Any]] | None = None
    expiry: asyncio.TimerHandle | None = None

    async def ask(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        require_capability(self.request.context.client, method)
        question = Question(method, params, asyncio.get_running_loop().create_future())
        self.questions.put_nowait(question)
        return await question.answer

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        on_progress = self.request.context.on_progress
        if on_progress is not None:
            await on_progress(progress, total, message)


class Questions:
    """Makes the calls whose upstream may ask back. `protocol_of` gives an upstream's protocol version."""

    def __init__(self, protocol_of: Callable[[str], str | None], logins: LoginPrompts) -> None:
        self._protocol_of = protocol_of
        self._logins = logins
        self._parked: dict[str, ParkedCall] = {}
        self._tasks: set[asyncio.Task[dict[str, Any]]] = set()

    async def answer(self, request: ClientRequest, caller: Caller, call: Call) -> dict[str, Any]:
        """As `call`: the result as the portal's own, which the client can read. A login that it needs is asked for.

        Raises:
            ResponseInvalid: there is nothing in the result that the client could read.
        """
        result = own_result(await self._logins.answer(request, call, partial(self.call, request, caller)))
        return await deliverable(request.generation, call, result)

    async def call(self, request: ClientRequest, caller: Caller, call: Call) -> dict[str, Any]:
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
            return await self._resume(request, state.removeprefix(_PARKED), call.params.get("inputResponses"))
        if isinstance(state, str):
            call = replace(call, params={**call.params, "requestState": state.removeprefix(_UPSTREAM)})
        if context.client is None or not context.client.interactive:
            return await _call_for_silent_client(caller, call, context)
        if self._protocol_of(call.server) in MODERN_PROTOCOL_VERSIONS:
            return _marked(await caller.call(call, context))
        parked = ParkedCall(request)
        on_progress = parked.progress if context.on_progress is not None else None
        context = replace(context, on_request=parked.ask, on_progress=on_progress)
        parked.task = asyncio.create_task(caller.call(call, context))
        self._tasks.add(parked.task)
        parked.task.add_done_callback(self._tasks.discard)
        return await self._wait(secrets.token_urlsafe(16), parked)

    def close(self) -> None:
        """Stop every parked call."""
        for parked in tuple(self._parked.values()):
            self._stop(parked)
        self._parked.clear()

    async def _wait(self, key: str, parked: ParkedCall) -> dict[str, Any]:
        """Wait until the call is done or asks. A client that leaves meanwhile stops it."""
        assert parked.task is not None
        next_question = asyncio.create_task(parked.questions.get())
        try:
            await asyncio.wait({parked.task, next_question}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._stop(parked)
            raise
        finally:
            next_question.cancel()
        if parked.task.done():
            return parked.task.result()
        parked.asking = next_question.result()
        return self._park(key, parked)

    def _park(self, key: str, parked: ParkedCall) -> dict[str, Any]:
        assert parked.asking is not None
        if len(self._parked) >= MAX_PARKED:
            self._stop(parked)
            raise MCPError(
                INVALID_PARAMS, "Too many calls are waiting for an answer from their users; try again later."
            )
        self._parked[key] = parked
        parked.expiry = asyncio.get_running_loop().call_later(PARK_SECONDS, self._expire, key)
        return {
            "resultType": "input_required",
            "inputRequests": {"answer": parked.asking.as_input_request()},
            "requestState": _PARKED + key,
        }

    async def _resume(self, request: ClientRequest, key: str, responses: Any) -> dict[str, Any]:
        parked = self._parked.get(key)
        if parked is None or parked.asking is None or parked.request.context.identity != request.context.identity:
            raise MCPError(INVALID_PARAMS, "The call this answers is no longer waiting. Call the tool again.")
        answer = responses.get("answer") if isinstance(responses, Mapping) else None
        # Taken out first: a second answer to the same question must not find it.
        del self._parked[key]
        if parked.expiry is not None:
            parked.expiry.cancel()
        parked.request = request
        if not isinstance(answer, Mapping):
            return self._park(key, parked)
        if not parked.asking.answer.done():
            parked.asking.answer.set_result(answer)
        return await self._wait(key, parked)

    def _expire(self, key: str) -> None:
        parked = self._parked.pop(key, None)
        if parked is not None:
            self._stop(parked)

    @staticmethod
    def _stop(parked: ParkedCall) -> None:
        if parked.task is not None:
            parked.task.cancel()
        if parked.asking is not None:
            parked.asking.answer.cancel()
        while not parked.questions.empty():
            parked.questions.get_nowait().answer.cancel()


async def _call_for_silent_client(caller: Caller, call: Call, context: CallContext) -> dict[str, Any]:
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
    raise ResponseInvalid(f"the server has not answered the call after {MAX_ROUNDS} rounds", server=call.server)


def _marked(result: dict[str, Any]) -> dict[str, Any]:
    """Mark an upstream's own state, so that no upstream can make up the state of a parked call."""
    state = result.get("requestState")
    return {**result, "requestState": _UPSTREAM + state} if isinstance(state, str) else result
