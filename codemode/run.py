"""What happened in one run, as plain values: the driver fills them in, the answer is made from them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from sandbox import EngineError, GuestError, LimitExceeded, LogLine

MOST_REJECTED = 50
_NAMES = {"syntax": "SyntaxError", "deadlock": "Deadlock"}


@dataclass(slots=True)
class CallRecord:
    """One tool call. `status`: ok, error, denied, cancelled or pending; `at` and `ms` in milliseconds, `at` since the
    run began."""

    seq: int
    tool: str
    at: float
    status: str = "pending"
    ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {"seq": self.seq, "tool": self.tool, "status": self.status, "at": self.at, "ms": self.ms}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed. `kind` is the stable word; the position is 1-based in the program's own text."""

    kind: str
    name: str
    message: str
    line: int | None = None
    column: int | None = None
    stack: str | None = None

    @classmethod
    def of(cls, error: GuestError | LimitExceeded) -> Failure:
        if isinstance(error, LimitExceeded):
            name = type(error).__name__
        else:
            name = error.name or _NAMES.get(error.kind, "Error")
        return cls(error.kind, name, error.message, error.line, error.column, error.stack)

    @classmethod
    def of_engine(cls, error: EngineError) -> Failure:
        return cls("engine", type(error).__name__, str(error) or "the sandbox failed")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A call that ended in a `ToolError`, of the last ones: which tool, and what it said beside its message."""

    tool: str
    message: str
    code: int | None = None
    data: Any = None


@dataclass(slots=True)
class Run:
    """`failure` None: completed, with `value` unless it was undefined. `emitted` are MCP content blocks.

    `check` is what a check before the run said, as it is told to the agent, and `notes` the same in words.
    """

    id: str
    program: str
    value: Any = None
    has_value: bool = False
    failure: Failure | None = None
    logs: list[LogLine] = field(default_factory=list)
    calls: list[CallRecord] = field(default_factory=list)
    emitted: list[dict[str, Any]] = field(default_factory=list)
    rejected: deque[Rejected] = field(default_factory=lambda: deque(maxlen=MOST_REJECTED))
    check: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
