"""Asks the person at the terminal before something is written. Without a terminal only an option answers."""

from __future__ import annotations

import sys

import typer

from portal.cli.exits import CommandError
from portal.cli.show.console import printable

MOST_ANSWERS = 5


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool, default: bool = True) -> bool:
    """Whether to go on. With `yes` nobody is asked.

    Raises:
        CommandError: nobody can be asked.
        KeyboardInterrupt: the person ended the command.
    """
    if yes:
        return True
    if not can_ask():
        raise CommandError("Nothing was written: there is no terminal to ask at. Give --yes to write what is shown.")
    try:
        return typer.confirm(printable(question), default=default, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def choose(question: str, count: int, *, yes: bool, default: str = "all") -> list[int]:
    """The numbers, from 0, that the person chooses among `count`: `all`, `none`, or such as `1,3-5`.

    Raises:
        CommandError: nobody can be asked, or no answer could be read.
        KeyboardInterrupt: the person ended the command.
    """
    if yes or not count:
        return numbers_in(default, count) or []
    if not can_ask():
        raise CommandError("Nothing was written: there is no terminal to ask at. Give --yes to take the defaults.")
    for _ in range(MOST_ANSWERS):
        try:
            answer = typer.prompt(f"{question} (all, none, or numbers such as 1,3-5)", default=default, err=True)
        except typer.Abort:
            raise KeyboardInterrupt from None
        found = numbers_in(str(answer), count)
        if found is not None:
            return found
        typer.echo(f"Write all, none, or numbers from 1 to {count}.", err=True)
    raise CommandError("Nothing was written: no answer could be read.")


def numbers_in(answer: str, count: int) -> list[int] | None:
    """The numbers, from 0, in an answer; None if it cannot be read."""
    words = answer.replace(",", " ").lower().split()
    if words in (["all"], ["a"]):
        return list(range(count))
    if words in (["none"], ["n"], []):
        return []
    found: set[int] = set()
    for word in words:
        first, dash, last = word.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            return None
        low, high = int(first), int(last) if dash else int(first)
        if not 1 <= low <= high <= count:
            return None
        found.update(range(low - 1, high))
    return sorted(found)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 6
