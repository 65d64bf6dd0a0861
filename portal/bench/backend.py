"""The backend of a run, which answers its calls (live servers, mocks or a recording), and a journal of the calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from codemode import CallOutcome, Catalog, Pace, ToolCall, ToolCaller


@dataclass(frozen=True)
class Backend:
    """Answers the calls of one run. `pace` is its clock, or None for the real one.

    `finish` is awaited at the end of the run, also if it fails. `correct_times` may replace the times of the calls in
    the answer. `notes` are messages for the developer.
    """

    catalog: Catalog
    caller: ToolCaller
    pace: Pace | None = None
    finish: Callable[[], Awaitable[None]] | None = None
    correct_times: Callable[[list[dict[str, object]]], None] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class MadeCall:
    """One call of a program. `outcome` is None while the call is in flight, and stays None if it is cancelled.

    `path` is `server.tool` in identifiers; `server` and `tool` are the configured id and the raw name.
    """

    seq: int
    path: str
    server: str
    tool: str
    arguments: dict[str, object]
    outcome: CallOutcome | None = None


class SessionJournal:
    """A `ToolCaller` that forwards calls to another and keeps them in `calls`."""

    def __init__(self, caller: ToolCaller, catalog: Catalog) -> None:
        self.calls: list[MadeCall] = []
        self._caller = caller
        self._catalog = catalog

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        path = self._catalog.names.path(call.server, call.tool)
        record = MadeCall(call.seq, path, call.server, call.tool, call.arguments)
        self.calls.append(record)
        record.outcome = await self._caller.call_tool(call)
        return record.outcome
