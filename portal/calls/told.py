"""What a server asks and tells the client while its call is made passes the gate like the call itself.

A question, its answer, a message for the log, the words of a progress: each is content of its direction, by its own
method. What is denied is refused to the server (a question, an answer) or left out (the rest); the call goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from portal.calls.gate import Call, Denial, Gate, Members
from portal.errors import DENIED, RpcError
from portal.gateway import Direction
from portal.upstream import CallContext


def through_gate(gate: Gate, call: Call, context: CallContext) -> CallContext:
    """The context for the server of a call."""
    if not gate.screenings or (context.on_request is None and context.on_log is None and context.on_progress is None):
        return context
    told = _Told(gate, call, context)
    return replace(
        context,
        on_request=told.ask if context.on_request is not None else None,
        on_log=told.log if context.on_log is not None else None,
        on_progress=told.progress if context.on_progress is not None else None,
    )


class _Told:
    def __init__(self, gate: Gate, call: Call, context: CallContext) -> None:
        self._gate = gate
        self._call = call
        self._context = context

    async def ask(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """The client's answer.

        Raises:
            RpcError: the question or the answer may not pass, or the client does not answer.
        """
        assert self._context.on_request is not None
        question = await self._screened(method, params, "incoming")
        if isinstance(question, Denial):
            raise RpcError(DENIED, question.reason)
        answer = await self._screened(method, await self._context.on_request(method, question), "outgoing")
        if isinstance(answer, Denial):
            raise RpcError(DENIED, answer.reason)
        return answer

    async def log(self, params: Mapping[str, object]) -> None:
        assert self._context.on_log is not None
        entry = await self._screened("notifications/message", params, "incoming")
        if not isinstance(entry, Denial):
            await self._context.on_log(entry)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        assert self._context.on_progress is not None
        if message:
            words = await self._screened("notifications/progress", {"message": message}, "incoming")
            message = None if isinstance(words, Denial) else str(words.get("message"))
        await self._context.on_progress(progress, total, message)

    async def _screened(self, method: str, params: Mapping[str, object], direction: Direction) -> Members | Denial:
        return await self._gate.screened(dict(params), direction, replace(self._call, method=method), self._context)
