"""The help of the commands as a person reads it: arguments by the names in their usage line, without Python's types,
commands by what people do with them; and what was meant where a command is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Protocol, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command_name
from typer.models import CommandInfo

from portal.cli.sections import REST, SECTIONS

Function = TypeVar("Function", bound=Callable[..., object])
_RANGE = re.compile(r"(\d+)<=x<=(\d+)")
_CHOICES = re.compile(r"<([\w-]+(?:\|[\w-]+)+)>")
# Longer than a line: a summary goes on in the next line, and is never cut.
_SUMMARY = 1000


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
        write_sections(formatter, parameter_rows(self.get_params(ctx), ctx))

    def get_short_help_str(self, limit: int = 0) -> str:
        return super().get_short_help_str(_SUMMARY)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        with plain_errors():
            return super().parse_args(ctx, args)


class ReadableGroup(TyperGroup):
    """A group whose help has its commands in sections, and that says which command may be meant by a word."""

    def format_options(self, ctx: typer.Context, formatter: HelpFormatter) -> None:  # type: ignore[override]
        write_sections(formatter, parameter_rows(self.get_params(ctx), ctx))
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: typer.Context, formatter: HelpFormatter) -> None:  # type: ignore[override]
        rows = {
            name: command.get_short_help_str()
            for name in self.list_commands(ctx)
            if not (command := self.commands[name]).hidden
        }
        if ctx.parent is not None:
            write_sections(formatter, {"Commands": list(rows.items())})
            return
        wide = max(map(len, rows), default=0)  # The summaries of all sections begin at the same column.
        sections = {
            title: [(f"{name:<{wide}}", rows.pop(name)) for name in names if name in rows]
            for title, names in SECTIONS.items()
        }
        write_sections(formatter, {**sections, REST: [(f"{name:<{wide}}", text) for name, text in rows.items()]})

    def get_short_help_str(self, limit: int = 0) -> str:
        return super().get_short_help_str(_SUMMARY)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        with plain_errors():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: typer.Context, args: list[str]):  # type: ignore[no-untyped-def, override]
        try:
            return super().resolve_command(ctx, args)
        except typer.TyperException as error:
            if not args[0].startswith("-"):
                from portal.cli.nearest import unknown_command

                root, *groups = reversed(list(_above(ctx)))
                words = [str(one.info_name) for one in groups]
                error.message = unknown_command(args[0], words, commands_by_group(root.command))
            raise


class CommandLine(typer.Typer):
    """A Typer application of `ReadableCommand`s and `ReadableGroup`s, whose help is plain text."""

    def __init__(
        self,
        *,
        name: str | None = None,
        help: str | None = None,
        no_args_is_help: bool = False,
        context_settings: dict[str, list[str]] | None = None,
        rich_markup_mode: None = None,
        cls: type[ReadableGroup] = ReadableGroup,
        subcommand_metavar: str | None = None,
    ) -> None:
        super().__init__(
            name=name,
            cls=cls,
            subcommand_metavar=subcommand_metavar,
            no_args_is_help=no_args_is_help,
            context_settings=context_settings,
            rich_markup_mode=rich_markup_mode,
            pretty_exceptions_enable=False,
            suggest_commands=False,
        )
        if help is not None:
            self.info.help = help

    def command(self, name: str | None = None) -> Callable[[Function], Function]:  # type: ignore[override]
        return super().command(name, cls=ReadableCommand)

    def with_only(self, words: Sequence[str]) -> CommandLine | None:
        """The same with no other command than the one that these words begin with; None if they begin with none.

        To read the options of all commands takes longer than most commands do.
        """
        if not words:
            return None
        found = copy(self)
        found.registered_commands = [one for one in self.registered_commands if _command_name(one) == words[0]]
        found.registered_groups = []
        for group in self.registered_groups:
            # The commands of a group without a name are those of the group that it is in.
            named = isinstance(group.name, str)
            below = group.typer_instance if not named or group.name == words[0] else None
            if isinstance(below, CommandLine) and (inner := below.with_only(words[1:] if named else words)) is not None:
                with_inner = copy(group)
                with_inner.typer_instance = inner
                found.registered_groups.append(with_inner)
        return found if found.registered_commands or found.registered_groups else None


@contextmanager
def plain_errors() -> Iterator[None]:
    """Says what is wrong with options and values in our words."""
    try:
        yield
    except typer.TyperException as error:
        message = error.message.removeprefix("Value error, ")
        message = message.removesuffix(", unable to parse string as an integer").replace(
            "valid integer", "whole number"
        )
        error.message = message.replace("Input should be", "it must be")
        if names := getattr(error, "possibilities", None):
            error.message += f". Did you mean {' or '.join(names)}?"
            error.possibilities = None  # type: ignore[attr-defined]
        raise


def usage_of(argument: TyperArgument) -> str:
    """An argument in a usage line. Brackets say that it may be left out, dots that there may be several."""
    name = _name(argument)
    if "[" in name:
        return name
    shown = name if argument.required else f"[{name}]"
    return f"{shown}..." if argument.nargs != 1 else shown


def parameter_rows(parameters: Sequence[object], ctx: typer.Context) -> dict[str, list[tuple[str, str]]]:
    """The names and texts of arguments and of options."""
    arguments: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    for one in parameters:
        if not isinstance(one, TyperArgument | TyperOption) or (record := one.get_help_record(ctx)) is None:
            continue
        if isinstance(one, TyperArgument):
            arguments.append((_name(one), one.help or ""))
        else:
            options.append((_CHOICES.sub(r"\1", record[0]), _RANGE.sub(r"\1 to \2", record[1])))
    return {"Arguments": arguments, "Options": options}


def write_sections(formatter: HelpFormatter, sections: dict[str, list[tuple[str, str]]]) -> None:
    """Write the sections that have rows."""
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def commands_by_group(command: object, words: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """The names of commands by the words of the group that they are in, "" for the top."""
    if not isinstance(command, TyperGroup):
        return {}
    found = {" ".join(words): list(command.commands)}
    for name, below in command.commands.items():
        found.update(commands_by_group(below, (*words, name)))
    return found


def _above(ctx: typer.Context) -> Iterator[typer.Context]:
    at: typer.Context | None = ctx
    while at is not None:
        yield at
        at = at.parent  # type: ignore[assignment]


def _command_name(command: CommandInfo) -> str:
    return command.name or get_command_name(command.callback.__name__ if command.callback is not None else "")


def _name(argument: TyperArgument) -> str:
    return argument.metavar or argument.name.upper()
