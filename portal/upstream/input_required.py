"""Answering a modern upstream's `input_required` for a downstream that does not speak it.

In 2026-07-28 a server asks by *returning* questions; the client repeats the call with the answers. For a legacy client
or a program the portal plays that client: each question goes to `CallContext.on_request`, as a legacy server's would.
Source: MCP 2026-07-28, "Multi Round-Trip Requests".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp_types import METHOD_NOT_FOUND
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.errors import RpcError, UpstreamError
from portal.upstream.context import CallContext
from portal.upstream.transports.link import MAX_QUESTIONS

MAX_ROUNDS = 10

Ask = Callable[[Mapping[str, Any], CallContext], Awaitable[dict[str, Any]]]


def needs_answers(result: Mapping[str, Any], context: CallContext) -> bool:
    """Whether `result` is a question that the downstream cannot be handed as it is."""
    return result.get("resultType") == "input_required" and context.protocol not in MODERN_PROTOCOL_VERSIONS


async def complete(
    call: Ask, params: Mapping[str, Any], result: dict[str, Any], context: CallContext
) -> dict[str, Any]:
    """Answer and repeat until there is a result.

    Raises:
        UpstreamError: nobody can answer, or there is no end to the questions.
    """
    for _ in range(MAX_ROUNDS):
        if not needs_answers(result, context):
            return result
        asked = result.get("inputRequests")
        again = dict(params)
        if isinstance(asked, dict) and asked:
            again["inputResponses"] = await _answers(asked, context)
        if (state := result.get("requestState")) is not None:
            again["requestState"] = state
        result = await call(again, context)
    raise UpstreamError(f"the tool still asks for input after {MAX_ROUNDS} rounds")


async def _answers(asked: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
    if context.on_request is None:
        raise UpstreamError("the tool asks for input, and there is nobody to answer")
    if len(asked) > MAX_QUESTIONS:
        raise UpstreamError(f"the tool asks {len(asked)} questions at once; the limit is {MAX_QUESTIONS}")
    answers: dict[str, Any] = {}
    for key, question in asked.items():
        method = question.get("method") if isinstance(question, dict) else None
        if not isinstance(method, str):
            raise RpcError(METHOD_NOT_FOUND, "the tool asks for input in a form that cannot be read")
        params = question.get("params")
        answers[key] = await context.on_request(method, params if isinstance(params, dict) else {})
    return answers
