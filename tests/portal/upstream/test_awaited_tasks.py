"""The task that a server makes of a call is waited for, and whatever a hostile server says of it ends the call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from portal.errors import ResponseInvalid, RpcError, UpstreamError
from portal.upstream.awaited_tasks import MAX_TASK_ID, task_result
from portal.upstream.context import CallContext

pytestmark = pytest.mark.anyio
CREATED = {"taskId": "t", "status": "working", "pollIntervalMs": 0}


class Server:
    """Says one state after the other, the last one again and again."""

    def __init__(self, *states: Mapping[str, Any]) -> None:
        self.states = list(states)
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    async def request(self, method: str, params: Mapping[str, object]) -> dict[str, object]:
        self.asked.append((method, params))
        if method != "tasks/get":
            return {}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"pollIntervalMs": -5, **state}

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]


async def test_a_call_has_the_result_of_its_task_and_each_question_is_asked_once() -> None:
    questions: list[str] = []

    async def on_request(method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        questions.append(method)
        return {"action": "accept"}

    asks = {"status": "input_required", "inputRequests": {"k": {"method": "elicitation/create", "params": {}}}}
    server = Server(asks, asks, {"status": "completed", "result": {"content": []}})
    assert await task_result(server.request, CREATED, CallContext(on_request=on_request)) == {"content": []}
    assert questions == ["elicitation/create"]
    assert server.methods == ["tasks/get", "tasks/update", "tasks/get", "tasks/get"]
    assert server.asked[1][1] == {"taskId": "t", "inputResponses": {"k": {"action": "accept"}}}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"status": "failed", "error": {"code": -32603, "message": "panic"}}, RpcError),
        ({"status": "failed", "error": "panic"}, RpcError),
        ({"status": "cancelled"}, UpstreamError),
        ({"status": "completed"}, ResponseInvalid),
        ({"status": ["working"]}, ResponseInvalid),
        ({"status": "input_required", "inputRequests": {"k": {"method": "roots/list"}}}, UpstreamError),
        ({"status": "input_required", "inputRequests": {str(n): {} for n in range(5000)}}, UpstreamError),
    ],
)
async def test_whatever_else_becomes_of_it_the_call_has_an_error_and_the_task_is_cancelled(
    state: Mapping[str, Any], error: type[UpstreamError]
) -> None:
    server = Server(state)
    with pytest.raises(error):
        await task_result(server.request, CREATED, CallContext())
    assert server.methods == ["tasks/get", "tasks/cancel"]


@pytest.mark.parametrize("id", [None, "", 7, "x" * (MAX_TASK_ID + 1)])
async def test_a_task_without_a_usable_id_is_refused(id: object) -> None:
    server = Server({"status": "working"})
    with pytest.raises(ResponseInvalid):
        await task_result(server.request, {**CREATED, "taskId": id}, CallContext())
    assert server.asked == []


async def test_a_call_that_is_cancelled_cancels_its_task() -> None:
    server = Server({"status": "working"})
    work = asyncio.create_task(task_result(server.request, CREATED, CallContext()))
    while not server.asked:
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait({work})
    assert work.cancelled() and server.methods[-1] == "tasks/cancel"
