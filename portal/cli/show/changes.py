"""Shows what a command is going to write into files: a diff without secrets, for a terminal or a program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from portal.clients import FileEdit, Restoring, shown_diff

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def print_change(console: Console, path: Path, before: str, after: str | None, *, there: bool) -> None:
    """The file, and what changes in it. `after` is None if the file is removed."""
    what = "" if there else " (new)"
    console.print(Text(f"{short_path(path)}{' is removed' if after is None else what}", style="bold"), soft_wrap=True)
    for line in shown_diff(before, after or "", path.suffix):
        console.print(Text(line, style=_STYLES.get(line[:1], "")), soft_wrap=True)


def print_edits(console: Console, edits: Iterable[FileEdit]) -> None:
    for edit in edits:
        file = edit.content.file
        print_change(console, file.path, file.text, edit.text, there=file.data is not None)


def print_restoring(console: Console, files: Iterable[Restoring]) -> None:
    for one in files:
        if one.changes:
            print_change(console, one.file.path, one.file.text, one.text, there=True)


def print_sentences(console: Console, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        console.print(Text(sentence, style="yellow"), soft_wrap=True)


def edit_json(edit: FileEdit) -> Mapping[str, object]:
    """For a program: the file, whether it is new, and the same diff."""
    file = edit.content.file
    return {
        "file": str(file.path),
        "new": file.data is None,
        "diff": shown_diff(file.text, edit.text, file.path.suffix),
    }


def short_path(path: Path) -> str:
    """A path as a person writes it: from here, or from the home."""
    for base, sign in ((Path.cwd(), "."), (Path.home(), "~")):
        if path.is_relative_to(base):
            return f"{sign}/{path.relative_to(base)}"
    return str(path)
