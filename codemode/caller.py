"""The one way out of this package: every tool call goes through a `ToolCaller`, which the user of the package provides.

Policies, credentials, transports and records are the caller's; nothing here knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from codemode.waits import OnWait

PARKED = "parked"
"""With this message a call is cancelled that has not left and will be made again."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a program. `server` is the configured id, `tool` the raw name; `seq` counts from 1 within the run.
    `line` is where the program makes it, from 1 in its own text; 0 where that is not known.

    `id` is what the program knows the call by: the same when it is made again later.

    `unplanned`: the program keeps to a plan, and this call is not in it.

    A caller that has to wait for a person does so in a block of `on_wait`; without it the call fails. A call that is
    withdrawn there, because the run is parked, is cancelled with the message `PARKED`.
    """

    run_id: str
    seq: int
    server: str
    tool: str
    arguments: dict[str, Any]
    on_wait: OnWait | None = field(default=None, compare=False, repr=False)
    line: int = field(default=0, compare=False)
    id: int = field(default=0, compare=False)
    unplanned: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """The tool answered. `result` is the raw MCP `CallToolResult` as a dict, with or without `isError`."""

    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """The call failed on its way: a protocol error (with the JSON-RPC `code` and `data`) or a transport error.

    `kind` is a word that the program reads of it: "unknown_outcome" for a call of which nobody knows whether it ran.
    """

    message: str
    code: int | None = None
    data: Any = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ToolDenied:
    """The call was not allowed to leave. The program reads the `reason`, the name of the `policy` that decided, and the
    members of `data`, such as when to try again."""

    reason: str
    policy: str | None = None
    data: Mapping[str, Any] | None = None


CallOutcome = ToolReturned | ToolFailed | ToolDenied


class ToolCaller(Protocol):
    async def call_tool(self, call: ToolCall) -> CallOutcome:
        """Make the call. A failure is a value, not an exception. Cancelling the call must stop its work upstream."""
