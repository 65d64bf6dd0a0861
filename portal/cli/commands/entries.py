"""`codemode remove`, `enable` and `disable`: changes of a server that is in the configuration document."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from rich.console import Console
from rich.text import Text

from portal.cli.document_change import (
    APPLIES,
    ChangeOptions,
    OpenDocument,
    no_such_server,
    open_to_change,
    show_difference,
)
from portal.cli.exits import CommandError, Exit
from portal.cli.show.console import consoles
from portal.config import enabling, server_id, with_member, without_member
from portal.errors import ConfigError

Deed = Literal["remove", "enable", "disable"]
_DONE: Mapping[Deed, str] = {"remove": "removed", "enable": "enabled", "disable": "disabled"}


async def change_entry(deed: Deed, name: str, options: ChangeOptions) -> Exit:
    """Take the server out of the document, or turn it on or off."""
    stdout, stderr = consoles()
    opened = open_to_change(options, stderr)
    found = opened.place.named(name)
    if found is None:
        raise no_such_server(opened, name)
    try:
        text = _changed(deed, found, opened)
        if text != opened.file.text:
            _require_usable(opened, text, found)
    except ConfigError as error:
        raise CommandError(str(error)) from error
    changes = text != opened.file.text
    if changes and not options.json:
        show_difference(opened, text, stdout)
    if changes and not options.dry_run:
        opened.write(text)
    _say(deed, found, opened, text, options, stdout)
    return Exit.OK


def _changed(deed: Deed, name: str, opened: OpenDocument) -> str:
    path = (*opened.place.path, name)
    if deed == "remove":
        return without_member(opened.file.text, opened.suffix, path, file=opened.name)
    entry = opened.place.entries[name]
    if not isinstance(entry, dict):
        fix = f"Write the server, or remove it: `codemode remove {server_id(name)}`."
        raise ConfigError("is no server.", file=opened.name, key=".".join(path), fix=fix)
    member = enabling(entry, enabled=deed == "enable")
    if member is None:
        return opened.file.text
    return with_member(opened.file.text, opened.suffix, (*path, member[0]), member[1], file=opened.name)


def _require_usable(opened: OpenDocument, text: str, name: str) -> None:
    """Refuse what would make a document unusable that is not so already, or is so only by other servers.

    Raises:
        CommandError: something else in the document needs the server.
    """
    try:
        opened.parsed(text, os.environ)
    except ConfigError as after:
        if after.key.startswith(f"{opened.place.path[-1]}."):
            return
        try:
            opened.parsed(opened.file.text, os.environ)
        except ConfigError:
            return
        raise CommandError(f"Without {name} the document could not be used. {after} Nothing was written.") from after


def _say(deed: Deed, name: str, opened: OpenDocument, text: str, options: ChangeOptions, stdout: Console) -> None:
    changes = text != opened.file.text
    if options.json:
        stdout.print_json(
            data={
                "file": opened.name,
                "written": changes and not options.dry_run,
                "section": opened.place.key,
                "name": name,
                "id": server_id(name),
                "diff": opened.difference(text),
            }
        )
        return
    if not changes:
        line = f"{name} is {_DONE[deed]} already."
    elif options.dry_run:
        line = "Nothing was written (--dry-run)."
    else:
        line = f"{name} is {_DONE[deed]}. {APPLIES}"
    stdout.print(Text(line), soft_wrap=True)
