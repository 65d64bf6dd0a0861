"""The exit codes of the `codemode` command, and the error that ends a command with one."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """An exit code. 1 is a failure of the program, 2 of the command line, 3 of an upstream server, 4 of codemode.

    The last two are those of the signals SIGINT and SIGPIPE: a command that was interrupted, and one whose output
    nobody reads any more, as in `codemode tools | head -1`.
    """

    OK = 0
    PROGRAM_FAILED = 1
    USAGE = 2
    UPSTREAM = 3
    INTERNAL = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


class CommandError(Exception):
    """A command cannot continue. `message` is one sentence for standard error, `code` the exit code."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class BrokenOutput(CommandError):
    """Standard output cannot be written: nobody reads it any more (then nothing is said), or there is no room."""
