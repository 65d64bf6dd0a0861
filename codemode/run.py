"""The record of one run, as plain values: the driver fills it in, the answer is made from it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from codemode.returned import KEPT_RESULTS, Returned
from sandbox import EngineError, GuestError, LimitExceeded, LogLine, Overloaded

MOST_CAUSES = 50
_CUT_BYTES = 4_000  # the isolate cuts a message at 4,096 bytes, and half a character less
_NEVER_CALLED = re.compile(
    r"The program defines ([\w$]+) and never calls it; it was not called because it takes arguments\."
)
_NAMES = {"syntax": "SyntaxError", "deadlock": "Deadlock"}


@dataclass(slots=True)
class RunCall:
    """One tool call. `status`: ok, error, denied, cancelled or pending. `at`: milliseconds from the start of the run to
    the call; `ms`: milliseconds that it took. `run`: the earlier run that made the call, if this one took it over.
    `line`: where the program makes it, from 1; 0 where that is not known. Agents do not read it."""

    seq: int
    tool: str
    at: float
    status: str = "pending"
    ms: float = 0.0
    run: str = ""
    line: int = 0

    def as_dict(self) -> dict[str, Any]:
        call = {"seq": self.seq, "tool": self.tool, "status": self.status, "at": self.at, "ms": self.ms}
        return {**call, "run": self.run} if self.run else call


@dataclass(frozen=True, slots=True)
class Rejection:
    """A call that ended in a `ToolError`: its tool, and what the error carries in addition to its message.

    `about_arguments`: the arguments do not match the schema, so the call never left; the message names the tool.
    """

    name: ClassVar[str] = "ToolError"

    tool: str
    message: str
    code: int | None = None
    data: Any = None
    about_arguments: bool = False


@dataclass(frozen=True, slots=True)
class UnknownName:
    """An `UnknownToolError`: the program read `codemode.<path>`, which does not exist.

    `nearest` holds the paths that the message suggests; `signed`: it shows their signatures, or why there is nothing.
    """

    name: ClassVar[str] = "UnknownToolError"

    message: str
    path: str
    nearest: tuple[str, ...] = ()
    signed: bool = False


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The failure of an earlier run, which the program got in place of its result."""

    message: str
    name: str
    failure: Failure


Cause: TypeAlias = Rejection | UnknownName | RunFailed
"""An error of ours that a program gets, and that ends the program unless it catches it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed. `kind` is one of a stable set of words; the position is 1-based in the program's own text.

    `cause`: the error of ours that ended the program, if one did.
    """

    kind: str
    name: str
    message: str
    line: int | None = None
    column: int | None = None
    stack: str | None = None
    cause: Cause | None = None

    @classmethod
    def of(cls, error: GuestError | LimitExceeded, causes: Iterable[Cause] = ()) -> Failure:
        """The failure of a program that ended with `error`. `causes`: the errors of ours that it got, in order."""
        if isinstance(error, LimitExceeded):
            name = type(error).__name__
        else:
            name = error.name or _NAMES.get(error.kind, "Error")
        cause = _cause(name, error.message, causes) if error.kind == "exception" else None
        if isinstance(cause, RunFailed):
            of_run = cause.failure
            return cls(of_run.kind, name, error.message, error.line, error.column, error.stack, of_run.cause)
        return cls(error.kind, name, error.message, error.line, error.column, error.stack, cause)

    @classmethod
    def of_engine(cls, error: EngineError) -> Failure:
        """The failure for an error of the sandbox: "denied" if the caller's own part is used up, else our fault."""
        kind = "denied" if isinstance(error, Overloaded) and error.own else "engine"
        return cls(kind, type(error).__name__, str(error) or "the sandbox failed")


@dataclass(slots=True)
class Run:
    """Everything about one run. Without a `failure` it completed, with a `value` unless that was undefined.

    `emitted` are MCP content blocks. `causes` are the last errors of ours that the program got, `returned` the
    last results of tools. `check` is the result
    of a check before the run, as the agent reads it, and `notes` are the same in words. `note` is what the agent should
    know in addition to the result, such as which part of its text was the program.
    """

    id: str
    program: str
    value: Any = None
    has_value: bool = False
    failure: Failure | None = None
    logs: list[LogLine] = field(default_factory=list)
    calls: list[RunCall] = field(default_factory=list)
    emitted: list[dict[str, Any]] = field(default_factory=list)
    causes: deque[Cause] = field(default_factory=lambda: deque(maxlen=MOST_CAUSES))
    returned: deque[Returned] = field(default_factory=lambda: deque(maxlen=KEPT_RESULTS))
    check: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    note: str | None = None
    entered: bool = False

    def cancel_pending(self) -> None:
        """Record as cancelled the calls that have no answer: none will come."""
        for call in self.calls:
            if call.status == "pending":
                call.status = "cancelled"


def _cause(name: str, message: str, causes: Iterable[Cause]) -> Cause | None:
    """The last of the errors that has this name and message.

    Only the name and the message of an error leave the isolate, so two errors with equal ones cannot be distinguished.
    """
    matches = [one for one in causes if one.name == name and _is_same(one.message, message)]
    return matches[-1] if matches else None


def _is_same(whole: str, received: str) -> bool:
    """Whether a message that left the isolate, perhaps cut, is this one. The isolate adds the causes of an error."""
    received = received.partition("\ncaused by: ")[0] if "\ncaused by: " not in whole else received
    return whole == received or (len(received.encode()) > _CUT_BYTES and whole.startswith(received))


def is_of_isolate(line: LogLine) -> bool:
    """Whether a log line is the isolate's own, about a function that it does not call."""
    return never_called(line) is not None


def never_called(line: LogLine) -> str | None:
    """The function that the isolate does not call, and that a log line of its own is about; None for other lines."""
    found = _NEVER_CALLED.fullmatch(line.text) if line.level == "warn" else None
    return None if found is None else found[1]
