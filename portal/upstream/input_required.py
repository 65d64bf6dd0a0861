"""Answers `input_required` of a modern upstream for a downstream that cannot.

In 2026-07-28 a server asks by *returning* questions, and the client repeats the call with the answers. The portal does
that for legacy clients and programs: each question goes to `CallContext.on_request`, as that of a legacy server does.
Source: MCP 2026-07-28, "Multi Round-Trip Requests".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from portal.errors import ResponseInvalid, UpstreamError
from portal.upstream.context import CallContext, OnRequest
from portal.upstream.transports.link import MAX_QUESTIONS

ASKS = "input_required"
"""The `resultType` of a result that has questions."""
MAX_ROUNDS = 10

Ask = Callable[[Mapping[str, object], CallContext], Awaitable[dict[str, object]]]


async def complete(
    call: Ask, params: Mapping[str, object], result: dict[str, object], context: CallContext
) -> dict[str, object]:
    """The final result of a call: questions are answered and the call is repeated, at most `MAX_ROUNDS` times.

    A downstream that can answer them itself gets the result with the questions.

    Raises:
        UpstreamError: no client can answer, a question is malformed, or the server still asks after the last round.
        RpcError: the client refuses to answer.
    """
    if context.protocol in MODERN_PROTOCOL_VERSIONS:
        return result
    for _ in range(MAX_ROUNDS):
        if result.get("resultType") != ASKS:
            return result
        questions = result.get("inputRequests")
        again = dict(params)
        if isinstance(questions, dict) and questions:
            again["inputResponses"] = await _answers(questions, context)
        if (state := result.get("requestState")) is not None:
            again["requestState"] = state
        result = await call(again, context)
    raise UpstreamError(f"the tool still asks for input after {MAX_ROUNDS} rounds")


async def _answers(questions: Mapping[str, object], context: CallContext) -> dict[str, object]:
    if context.on_request is None:
        methods = {str(one.get("method")) for one in questions.values() if isinstance(one, dict)}
        needed = ", ".join(sorted(f"`{method.partition('/')[0][:100]}`" for method in methods))
        raise UpstreamError(
            "the tool asks for input and did not go on, for there is nobody to answer: no client, or one that has not "
            f"declared {needed}"
        )
    if len(questions) > MAX_QUESTIONS:
        raise UpstreamError(f"the tool asks {len(questions)} questions at once; the limit is {MAX_QUESTIONS}")
    answers: dict[str, object] = {}
    for key, question in questions.items():
        answers[key] = await answer_to(question, context.on_request)
    return answers


async def answer_to(question: object, ask: OnRequest) -> Mapping[str, object]:
    """The answer to one of the questions (`inputRequests`).

    Raises:
        ResponseInvalid: it is malformed.
        RpcError: the client refuses to answer.
    """
    method = question.get("method") if isinstance(question, dict) else None
    if not isinstance(question, dict) or not isinstance(method, str):
        raise ResponseInvalid("the tool asks for input in a form that cannot be read")
    params = question.get("params")
    return await ask(method, params if isinstance(params, dict) else {})
