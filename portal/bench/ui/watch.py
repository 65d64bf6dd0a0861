"""A tool caller that emits an event for each call of a running program and for each result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from codemode import Catalog, ToolCall, ToolCaller, ToolDenied, ToolFailed, ToolReturned

Emit = Callable[[dict[str, object]], None]

SHOWN_CHARS = 20_000
"""Characters of one call's arguments or result in an event. The program gets all of it."""
SHOWN_IN_ALL = 2_000_000


@dataclass(frozen=True, slots=True)
class FinishedCall:
    """A call and its outcome. `path` is `server.tool` in identifiers."""

    call: ToolCall
    path: str
    outcome: ToolReturned | ToolFailed | ToolDenied


class CallWatcher:
    """Wraps the caller of one run. `finished` has its finished calls, in the order of their ends."""

    def __init__(self, caller: ToolCaller, catalog: Catalog, emit: Emit) -> None:
        self.finished: list[FinishedCall] = []
        self._caller = caller
        self._catalog = catalog
        self._emit = emit
        self._began = time.perf_counter()
        self._room = SHOWN_IN_ALL

    async def call_tool(self, call: ToolCall) -> ToolReturned | ToolFailed | ToolDenied:
        path = self._catalog.names.path(call.server, call.tool)
        at = self._elapsed()
        self._emit(
            {"type": "call", "seq": call.seq, "tool": path, "at": at, "arguments": self._bounded(call.arguments)}
        )
        outcome = await self._caller.call_tool(call)
        self.finished.append(FinishedCall(call, path, outcome))
        status, value = _status(outcome)
        ms = round(self._elapsed() - at, 3)
        self._emit({"type": "settled", "seq": call.seq, "status": status, "ms": ms, "result": self._bounded(value)})
        return outcome

    def _elapsed(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 3)

    def _bounded(self, value: object) -> str:
        text = bounded_json(value, min(SHOWN_CHARS, self._room))
        self._room = max(0, self._room - len(text))
        return text


def bounded_json(value: object, limit: int) -> str:
    """A value as indented JSON, at most `limit` characters and a note about the rest."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except RecursionError:
        text = "… nested too deeply to be shown"
    return text if len(text) <= limit else f"{text[:limit]}\n… {len(text) - limit:,} more characters"


def content_of(result: dict[str, object]) -> object:
    """The value of a tool's result: structured content, else its only text (parsed if it is JSON), else the blocks."""
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
