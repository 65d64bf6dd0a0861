"""A mistake that a check finds in a program, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from codemode.run import Failure

UNKNOWN_TOOL, MISSING_AWAIT, SYNTAX = "unknown-tool", "missing-await", "syntax"
MAX_FINDINGS = 20
MAX_MESSAGE_CHARS = 500
_FAILURES = {
    # The same error that running the program would have thrown.
    UNKNOWN_TOOL: ("exception", "UnknownToolError"),
    SYNTAX: ("syntax", "SyntaxError"),
    MISSING_AWAIT: ("type", "MissingAwaitError"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake, with its place, 1-based in the program's own text.

    `code` is one of the words above, or TypeScript's own, `TS2345`. `stub` is the signature of the tool it is about.
    """

    line: int
    column: int
    code: str
    message: str
    stub: str | None = None

    def as_dict(self) -> dict[str, Any]:
        members = {"line": self.line, "column": self.column, "code": self.code, "message": self.message}
        return members if self.stub is None else {**members, "stub": self.stub}

    def as_line(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"

    def as_failure(self) -> Failure:
        """The failure of a program that is not run for this mistake."""
        kind, name = _FAILURES.get(self.code, ("type", "TypeCheckError"))
        return Failure(kind, name, self.message, self.line, self.column)


def place(program: str, offset: int) -> tuple[int, int]:
    """The line and the column of an offset, both 1-based and inside the text."""
    offset = max(0, min(offset, len(program)))
    return program.count("\n", 0, offset) + 1, offset - program.rfind("\n", 0, offset)
