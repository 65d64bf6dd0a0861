"""What answers the calls of one run: live servers, mocks or a recording; and a note of every call made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from codemode import CallOutcome, Catalog, Pace, ToolCall, ToolCaller


@dataclass(frozen=True)
class Backend:
    """For one run. `pace` None is the real clock. `finish` is awaited when the run has ended, whatever its end.

    `corrected` may replace the times of the calls in the answer, where the real ones mean nothing.
    """

    catalog: Catalog
    caller: ToolCaller
    pace: Pace | None = None
    finish: Callable[[], Awaitable[None]] | None = None
    corrected: Callable[[list[dict[str, object]]], None] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Made:
    """One call that left the program: `outcome` is None while it is under way, and stays so when it was cancelled.

    `path` is `server.tool` in identifiers; `server` and `tool` are the configured id and the raw name.
    """

    seq: int
    path: str
    server: str
    tool: str
    arguments: dict[str, object]
    outcome: CallOutcome | None = None


class Observed:
    """A `ToolCaller` that notes the calls which pass through it."""

    def __init__(self, caller: ToolCaller, catalog: Catalog) -> None:
        self.made: list[Made] = []
        self._caller = caller
        self._catalog = catalog

    async def call_tool(self, call: ToolCall) -> CallOutcome:
        path = self._catalog.names.path(call.server, call.tool)
        made = Made(call.seq, path, call.server, call.tool, call.arguments)
        self.made.append(made)
        made.outcome = await self._caller.call_tool(call)
        return made.outcome
