"""Waits for the task that a modern upstream makes of a call, so that the call has its result like any other.

A server may make one only where the request declares the extension `io.modelcontextprotocol/tasks`. That is so where
the downstream client has declared it: it gets a task of the portal's own if it has to wait.
Source: the extension's specification, "Task Polling", "Task Update Requests", "Task Cancellation".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from portal.errors import ResponseInvalid, RpcError, UpstreamError
from portal.upstream.context import CallContext
from portal.upstream.input_required import answer_to
from portal.upstream.transports.link import MAX_QUESTIONS

TASK: Final = "task"
"""The `resultType` of a result that is a task."""
MAX_TASK_ID: Final = 4096
_LEAST_POLL, _MOST_POLL, _POLL = 0.1, 30.0, 1.0
_CANCEL_SECONDS = 5.0
_INTERNAL_ERROR = -32603

Request = Callable[[str, Mapping[str, object]], Awaitable[dict[str, object]]]


async def task_result(request: Request, created: Mapping[str, object], context: CallContext) -> dict[str, object]:
    """The result of a call of which the server has made the task `created`. If the call is cancelled, so is the task.

    Raises:
        RpcError: the call has failed, or the client refuses to answer what it asks.
        UpstreamError: the server has cancelled it, asks what nobody can answer, or says what cannot be read.
    """
    id = created.get("taskId")
    if not isinstance(id, str) or not 0 < len(id) <= MAX_TASK_ID:
        raise ResponseInvalid(f"the server made a task without an id of at most {MAX_TASK_ID} characters")
    named, answered, task = {"taskId": id}, set[str](), created
    try:
        while True:
            await asyncio.sleep(_pause(task))
            task = await request("tasks/get", named)
            status = task.get("status")
            if status == "completed" and isinstance(result := task.get("result"), dict):
                return result
            if status == "failed":
                raise _error(task.get("error"))
            if status == "cancelled":
                raise UpstreamError("the server has cancelled the call")
            if status == "input_required":
                answers = await _answers(task.get("inputRequests"), context, answered)
                if answers:
                    await request("tasks/update", {**named, "inputResponses": answers})
            elif status != "working":
                raise ResponseInvalid("the server says what becomes of a task in a form that cannot be read")
    except (asyncio.CancelledError, RpcError, UpstreamError):
        # If the task has ended, this does nothing.
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await request("tasks/cancel", named)
        raise


async def _answers(questions: object, context: CallContext, answered: set[str]) -> dict[str, object]:
    """The answers to those questions that are new. Each name is asked once (a task uses none twice)."""
    new = {key: one for key, one in questions.items() if key not in answered} if isinstance(questions, dict) else {}
    if not new:
        return {}
    if context.on_request is None:
        raise UpstreamError("the call asks for input and did not go on, for there is nobody to answer")
    if len(answered) + len(new) > MAX_QUESTIONS:
        raise UpstreamError(f"the call asks more than {MAX_QUESTIONS} questions")
    asking = [asyncio.ensure_future(answer_to(one, context.on_request)) for one in new.values()]
    try:
        found = await asyncio.gather(*asking)
    finally:
        for each in asking:
            each.cancel()
    answered.update(new)
    return dict(zip(new, found, strict=True))


def _pause(task: Mapping[str, object]) -> float:
    """Seconds until the task is asked for again: as the server suggests, within bounds."""
    suggested = task.get("pollIntervalMs")
    seconds = suggested / 1000 if isinstance(suggested, int | float) and not isinstance(suggested, bool) else _POLL
    return min(_MOST_POLL, max(_LEAST_POLL, seconds))


def _error(error: object) -> RpcError:
    found = error if isinstance(error, dict) else {}
    code, message = found.get("code"), found.get("message")
    return RpcError(code if isinstance(code, int) else _INTERNAL_ERROR, str(message or ""), found.get("data"))
