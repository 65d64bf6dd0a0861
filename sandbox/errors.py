"""Errors: one tree that says whose fault it was.

    SandboxError
    ├── GuestError         the program's: GuestSyntaxError, GuestException, Deadlock
    ├── LimitExceeded      the program's, by asking for too much: one class per limit
    └── EngineError        ours

Guest and limit errors travel as values inside `Failed`; only EngineError is raised.
"""

from __future__ import annotations


class SandboxError(Exception):
    """The root of everything this package raises or returns as an error."""


class _ProgramError(SandboxError):
    """`kind`: the stable name of the failure. `name`, `stack`, `line` and `column` (from 1) are the program's own."""

    kind = "exception"

    def __init__(
        self,
        message: str,
        *,
        name: str | None = None,
        line: int | None = None,
        column: int | None = None,
        stack: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.line = line
        self.column = column
        self.stack = stack

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.message))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, name={self.name!r}, line={self.line}, column={self.column})"


class GuestError(_ProgramError):
    """The program's own fault."""


class GuestSyntaxError(GuestError):
    """The program does not compile."""

    kind = "syntax"


class GuestException(GuestError):
    """The program threw, or its result cannot leave the isolate."""

    kind = "exception"


class Deadlock(GuestError):
    """The program awaits a promise that nothing can settle any more."""

    kind = "deadlock"


class LimitExceeded(_ProgramError):
    """The program used more than its limits allow."""


class CpuTimeExceeded(LimitExceeded):
    kind = "cpu_time"


class WallTimeExceeded(LimitExceeded):
    kind = "wall_time"


class MemoryExceeded(LimitExceeded):
    kind = "memory"


class StackExceeded(LimitExceeded):
    kind = "stack"


class CallsExceeded(LimitExceeded):
    kind = "calls"


class SizeExceeded(LimitExceeded):
    """The result, the arguments of a call or the source are too large."""

    kind = "size"


class EngineError(SandboxError):
    """The fault of this package, or of its caller."""


class GuestAbiError(EngineError):
    """The guest broke its contract: it trapped by itself, or wrote what cannot be read. The isolate is spent."""


class LocalStateError(EngineError):
    """The caller broke the contract, for example by resuming a program that has not started."""


class IsolateClosed(EngineError):
    """The isolate was closed, perhaps while it ran."""


class ForeignImage(EngineError):
    """A frozen program or image is of another build, or damaged."""


class WorkerDied(EngineError):
    """The process that held the isolate is gone."""


class Overloaded(EngineError):
    """No isolate is free, or the queue for one is full. `own`: the part of its identity is used up, and there may be
    room for others."""

    def __init__(self, message: str = "", *, own: bool = False) -> None:
        super().__init__(message)
        self.own = own


PROGRAM_ERRORS: dict[str, type[GuestError] | type[LimitExceeded]] = {
    error.kind: error
    for error in (
        GuestSyntaxError,
        GuestException,
        Deadlock,
        CpuTimeExceeded,
        WallTimeExceeded,
        MemoryExceeded,
        StackExceeded,
        CallsExceeded,
        SizeExceeded,
    )
}
