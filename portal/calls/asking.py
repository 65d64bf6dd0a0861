"""The questions that an upstream asks during a program's call: the call waits for a person meanwhile.

A question that the client cannot answer is refused to the upstream. The program reads why its call failed: an older
server tells in words of its own, which say nothing of the client.
"""

from __future__ import annotations

from collections.abc import Mapping

from codemode import OnWait, ToolFailed, ToolReturned, Waiting
from portal.errors import RpcError
from portal.upstream import OnRequest

_WORDS = {
    "sampling/createMessage": "The server asks the client's model for a text",
    "roots/list": "The server asks the client for its folders",
}
_TEXT_CHARS, _URL_CHARS = 1_000, 2_000


class Asking:
    """The questions of one call. `on_request` asks the client; without it there is nobody to ask."""

    def __init__(self, on_request: OnRequest | None, on_wait: OnWait | None) -> None:
        self._on_request = on_request
        self._on_wait = on_wait
        self._refused = ""

    @property
    def possible(self) -> bool:
        return self._on_request is not None

    async def ask(self, method: str, params: Mapping[str, object]) -> Mapping[str, object]:
        """The client's answer.

        Raises:
            RpcError: the client refuses to answer, or cannot.
        """
        assert self._on_request is not None
        try:
            if self._on_wait is None:
                return await self._on_request(method, params)
            async with self._on_wait(waiting_for(method, params)):
                return await self._on_request(method, params)
        except RpcError as error:
            self._refused = error.message
            raise

    def explained(self, outcome: ToolReturned | ToolFailed) -> ToolReturned | ToolFailed:
        """The outcome; that of a call that failed says also which question was refused."""
        if not self._refused:
            return outcome
        if isinstance(outcome, ToolFailed):
            if self._refused in outcome.message:
                return outcome
            return ToolFailed(f"{outcome.message}\n{self._refused}", outcome.code, outcome.data)
        if outcome.result.get("isError") is not True:
            return outcome
        content = outcome.result.get("content")
        note = {"type": "text", "text": self._refused}
        return ToolReturned({**outcome.result, "content": [*(content if isinstance(content, list) else []), note]})


def waiting_for(method: str, params: Mapping[str, object]) -> Waiting:
    """A question as a wait for the person who is asked."""
    message, url = params.get("message"), params.get("url")
    text = message if isinstance(message, str) and method == "elicitation/create" else _WORDS.get(method, method)
    page = url if isinstance(url, str) and len(url) <= _URL_CHARS else None
    return Waiting(text[:_TEXT_CHARS], page, asked=True)
