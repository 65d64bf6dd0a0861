"""Exit codes of the `codemode` command, and the error that carries one out of a command."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the shell sees. 1 is about the program, 2 about the command line, 3 about an upstream, 4 about ourselves."""

    OK = 0
    PROGRAM_FAILED = 1
    USAGE = 2
    UPSTREAM = 3
    INTERNAL = 4
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on: `message` is one clear sentence for standard error, `code` what to exit with."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
