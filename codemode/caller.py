"""The one way out of this floor: whoever runs a program brings a `ToolCaller`, and every tool call goes through it.

Policy, credentials, transports and records live behind it; nothing here knows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a program. `server` is the configured id, `tool` the raw name; `seq` counts from 1 within the run."""

    run_id: str
    seq: int
    server: str
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """The tool answered. `result` is the raw MCP `CallToolResult` as a dict; an `isError` one belongs here too."""

    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """The call failed on its way: a protocol error (with the JSON-RPC `code` and `data`) or a transport error."""

    message: str
    code: int | None = None
    data: Any = None


@dataclass(frozen=True, slots=True)
class ToolDenied:
    """The call was not allowed to leave. `reason` is shown to the program, with the `policy` that decided."""

    reason: str
    policy: str | None = None


CallOutcome = ToolReturned | ToolFailed | ToolDenied


class ToolCaller(Protocol):
    async def call_tool(self, call: ToolCall) -> CallOutcome:
        """Make the call. Failures are values; a cancelled call must stop what it does upstream."""
