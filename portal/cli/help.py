"""The help of the commands as a person reads it: arguments by the names in their usage line, without Python's types."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand

Function = TypeVar("Function", bound=Callable[..., object])
_RANGE = re.compile(r"(\d+)<=x<=(\d+)")


class HelpFormatter(Protocol):
    """The part of click's formatter that is used here."""

    def section(self, name: str) -> AbstractContextManager[None]: ...
    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None: ...


class ReadableCommand(TyperCommand):
    """A command whose arguments are `FILE`, `[SERVER]` or `[TOOL]...`, in the usage line and in the list below it."""

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        arguments = [usage_of(one) for one in self.get_params(ctx) if isinstance(one, TyperArgument)]
        return ["[OPTIONS]", *arguments]

    def format_options(self, ctx: typer.Context, formatter: HelpFormatter) -> None:  # type: ignore[override]
        arguments: list[tuple[str, str]] = []
        options: list[tuple[str, str]] = []
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is None:
                continue
            if isinstance(one, TyperArgument):
                arguments.append((_name(one), one.help or ""))
            else:
                options.append((record[0], _RANGE.sub(r"\1 to \2", record[1])))
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class CommandLine(typer.Typer):
    """A Typer application whose commands are `ReadableCommand`s."""

    def command(self, name: str | None = None) -> Callable[[Function], Function]:  # type: ignore[override]
        return super().command(name, cls=ReadableCommand)


def usage_of(argument: TyperArgument) -> str:
    """An argument in a usage line. Brackets say that it may be left out, dots that there may be several."""
    name = _name(argument)
    if "[" in name:
        return name
    shown = name if argument.required else f"[{name}]"
    return f"{shown}..." if argument.nargs != 1 else shown


def _name(argument: TyperArgument) -> str:
    return argument.metavar or argument.name.upper()
