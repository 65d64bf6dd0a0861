"""A tool caller that tells, while a program runs, what is called with what, what comes back and when."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from codemode import Catalog, ToolCall, ToolCaller, ToolDenied, ToolFailed, ToolReturned

Emit = Callable[[dict[str, object]], None]

SHOWN_CHARS = 20_000
"""Of one call's arguments or result; the program itself gets all of it."""
SHOWN_IN_ALL = 2_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One call as it left and what came back."""

    call: ToolCall
    path: str
    outcome: ToolReturned | ToolFailed | ToolDenied


class Watched:
    """Wraps the caller of one run. `seen` are the finished calls, in the order in which they ended."""

    def __init__(self, caller: ToolCaller, catalog: Catalog, emit: Emit) -> None:
        self.seen: list[Seen] = []
        self._caller = caller
        self._catalog = catalog
        self._emit = emit
        self._began = time.perf_counter()
        self._room = SHOWN_IN_ALL

    async def call_tool(self, call: ToolCall) -> ToolReturned | ToolFailed | ToolDenied:
        path = self._catalog.names.path(call.server, call.tool)
        at = self._elapsed()
        self._emit({"type": "call", "seq": call.seq, "tool": path, "at": at, "arguments": self._shown(call.arguments)})
        outcome = await self._caller.call_tool(call)
        self.seen.append(Seen(call, path, outcome))
        status, value = _status(outcome)
        ms = round(self._elapsed() - at, 3)
        self._emit({"type": "settled", "seq": call.seq, "status": status, "ms": ms, "result": self._shown(value)})
        return outcome

    def _elapsed(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 3)

    def _shown(self, value: object) -> str:
        text = shown(value, min(SHOWN_CHARS, self._room))
        self._room = max(0, self._room - len(text))
        return text


def shown(value: object, limit: int) -> str:
    """A value as indented JSON, its end cut off past `limit` characters and that said."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except RecursionError:
        text = "… nested too deeply to be shown"
    return text if len(text) <= limit else f"{text[:limit]}\n… {len(text) - limit:,} more characters"


def content_of(result: dict[str, object]) -> object:
    """What a tool's result says: structured content, else its one text (read, when it is JSON), else the blocks."""
    if "structuredContent" in result:
        return result["structuredContent"]
    content = result.get("content")
    texts = [block.get("text") for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    if len(texts) != 1 or not isinstance(texts[0], str):
        return content
    try:
        return json.loads(texts[0]) if texts[0].lstrip()[:1] in "[{" else texts[0]
    except (ValueError, RecursionError):
        return texts[0]


def _status(outcome: ToolReturned | ToolFailed | ToolDenied) -> tuple[str, object]:
    if isinstance(outcome, ToolReturned):
        return ("error" if outcome.result.get("isError") is True else "ok"), content_of(outcome.result)
    if isinstance(outcome, ToolDenied):
        return "denied", outcome.reason
    return "error", {"message": outcome.message, "code": outcome.code, "data": outcome.data}
