"""A change of the configuration document by a command: shown as a diff without secrets, checked, and written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.cli.config_file import config_to_write, find_config
from portal.cli.exits import CommandError
from portal.config import (
    Config,
    DocumentFile,
    ServerPlace,
    document_in,
    open_document,
    parse_config,
    replace_document,
    server_place,
    shown_difference,
    with_member,
)
from portal.errors import ConfigError

APPLIES = "A portal that is running with this file takes it up by itself."


@dataclass(frozen=True, slots=True)
class ChangeOptions:
    """What the commands that change the document have in common."""

    config: Path | None
    dry_run: bool
    json: bool


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """A document that is to be changed, with the place of its servers."""

    file: DocumentFile
    content: Mapping[str, object]
    place: ServerPlace

    @property
    def name(self) -> str:
        """The file as a person in this folder writes it."""
        try:
            return str(self.file.path.relative_to(Path.cwd()))
        except ValueError:
            return str(self.file.path)

    @property
    def suffix(self) -> str:
        return self.file.path.suffix

    def with_server(self, name: str, entry: object) -> str:
        """The text with this entry as a server, in the place of another one of that name."""
        section: object = self.content
        for key in self.place.path:
            section = section.get(key) if isinstance(section, Mapping) else None
        if section is None:
            # Null counts as not written.
            return with_member(self.file.text, self.suffix, self.place.path, {name: entry}, file=self.name)
        return with_member(self.file.text, self.suffix, (*self.place.path, name), entry, file=self.name)

    def parsed(self, text: str, environment: Mapping[str, str]) -> Config:
        """The configuration in a text of this document.

        Raises:
            ConfigError: it cannot be used.
        """
        content, folder = document_in(text, self.suffix, self.name), self.file.path.parent
        return parse_config(content, file=self.name, env=environment, folder=folder)

    def difference(self, text: str) -> str:
        """What changes, without secrets; "" if nothing of it is seen."""
        return shown_difference(self.file.text, text, self.suffix, self.name, was_there=self.file.data is not None)

    def write(self, text: str) -> None:
        """Put the text into the file.

        Raises:
            CommandError: it cannot be written, or has changed meanwhile.
        """
        try:
            replace_document(self.file, text)
        except ConfigError as error:
            raise CommandError(f"{error} Nothing was written.") from error


def open_to_change(options: ChangeOptions, stderr: Console, *, make: bool = False) -> OpenDocument:
    """The document of a command that changes it. With `make` it need not be there.

    Raises:
        CommandError: there is none, or it is no document.
    """
    find = config_to_write if make else find_config
    path = find(options.config, Path.cwd(), os.environ)
    try:
        file = open_document(path)
        content = document_in(file.text, path.suffix, str(path))
    except ConfigError as error:
        raise CommandError(str(error)) from error
    opened = OpenDocument(file, content, server_place(content, path))
    if not options.json and options.config is None and file.data is not None:
        stderr.print(Text(f"Using {opened.name}", style="dim"), soft_wrap=True)
    return opened


def show_difference(opened: OpenDocument, text: str, stdout: Console) -> None:
    """Print what changes."""
    shown = opened.difference(text)
    if not shown and text != opened.file.text:
        stdout.print(Text("Only values change that are not shown.", style="dim"))
    for line in shown.splitlines():
        stdout.print(Text(line, style=_style(line)), soft_wrap=True)


def no_such_server(opened: OpenDocument, name: str) -> CommandError:
    """The error of a command about a server that the document does not have."""
    near = opened.place.nearest(name)
    known = ", ".join(list(opened.place.entries)[:20]) or "none"
    hint = f"did you mean {near!r}?" if near is not None else f"it has: {known}."
    return CommandError(f"{opened.name} has no server {name!r}; {hint}")


def _style(line: str) -> str:
    kinds: Sequence[tuple[str, str]] = (("---", "bold"), ("+++", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
    return next((style for start, style in kinds if line.startswith(start)), "")
