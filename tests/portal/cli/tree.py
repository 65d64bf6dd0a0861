"""The tree of commands, as it is put together: each command with its words, its parameters and its examples."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typer.main import get_command

from portal.cli.app import EXAMPLES, app

PROGRAM = "codemode"
ROOT = get_command(app)


@dataclass(frozen=True)
class CommandNode:
    """A command or a group. `words` are those after `codemode`."""

    words: tuple[str, ...]
    command: Any

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def is_group(self) -> bool:
        return hasattr(self.command, "commands")

    @property
    def runs(self) -> bool:
        """Whether it does something by itself; a group may only have commands."""
        return not self.is_group or self.command.invoke_without_command

    @property
    def parameters(self) -> list[Any]:
        return list(self.command.params)

    @property
    def options(self) -> set[str]:
        return {name for one in self.parameters for name in one.opts}

    @property
    def examples(self) -> list[str]:
        """The lines of the help that are examples, without comments."""
        text = inspect.cleandoc(self.command.help or "") + ("\n\n" + EXAMPLES.strip("\n") if not self.words else "")
        return [
            line.strip()
            for block in text.split("\n\n")
            if block.lstrip("\n").startswith("\b")
            for line in block.split("\n")
            if "codemode " in line and not line.strip().startswith("Configuration")
        ]


def nodes(command: Any = ROOT, words: tuple[str, ...] = ()) -> Iterator[CommandNode]:
    """Every command and group, from the top."""
    yield CommandNode(words, command)
    for name, one in getattr(command, "commands", {}).items():
        yield from nodes(one, (*words, name))


NODES = list(nodes())


def invocations(line: str) -> list[list[str]]:
    """The words after `codemode` each time that a line of a shell runs it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    runs: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|;&()"):
            runs.append([])
        else:
            runs[-1].append(word)
    found = []
    for run in runs:
        # Before it: variables, and `npx` or a path to the command.
        at = next((number for number, word in enumerate(run) if word == PROGRAM), None)
        if at is not None:
            words = run[at + 1 :]
            end = next((number for number, word in enumerate(words) if word in (">", ">>", "<", "2>")), len(words))
            found.append(words[:end])
    return found


def accepted(words: list[str]) -> tuple[str, ...]:
    """The words of the command that takes these words, as the command line reads them. Nothing is run.

    Raises what the command line would raise.
    """
    command: Any = ROOT
    context: Any = None
    path: tuple[str, ...] = ()
    rest = words
    while True:
        context = command.make_context(path[-1] if path else PROGRAM, list(rest), parent=context)
        if not hasattr(command, "commands"):
            return path
        left = [*context._protected_args, *context.args]
        if not left:
            assert command.invoke_without_command, f"codemode {' '.join(path)} needs a command"
            return path
        name, command, rest = command.resolve_command(context, left)
        path = (*path, name)
