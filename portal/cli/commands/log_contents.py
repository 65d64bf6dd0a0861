"""`codemode logs show`: one row of the log, with what is kept of its call, opened with the key of the database."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from rich.text import Text

from portal.app import events_of_command, keys_of
from portal.cli.commands.logs import opened_log
from portal.cli.exits import CommandError, Exit
from portal.cli.session import load
from portal.cli.show.console import consoles
from portal.cli.show.log_rows import as_document
from portal.config import Config
from portal.logs import RowName, event, find, read_content
from portal.state import KeyRing, KeysUnusable, SecretUnreadable

BY = "codemode logs show"


async def show_content(config: Path | None, id: int, *, as_json: bool) -> Exit:
    """Print the row of this id, and what is kept of its call. That it was opened is a row itself."""
    stdout, stderr = consoles()
    async with opened_log(config, stderr, quiet=as_json) as (database, _):
        found = await database.read(partial(find, id=id))
        if found is None:
            raise CommandError(f"The log has no row {id}. `codemode logs --json` shows the ids.")
        _, document = load(config, stderr, quiet=True)
        keys = keys_of_document(document)
        content: dict[str, object] | None = None
        if keys is not None:
            try:
                read = partial(read_content, name=RowName(found.instance, found.number), keys=keys)
                content = await database.read(read)
            except (SecretUnreadable, KeysUnusable) as error:
                raise CommandError(f"What is kept of this call cannot be opened: {error}.") from error
    if content is not None:
        async with events_of_command(document) as events:
            row = event("change", "OPEN", name=f"logs/{id}")
            events.write(row._replace(identity=BY))
    shown = {**as_document(found), **(content or {})}
    if as_json:
        stdout.print_json(data=shown, indent=None)
        return Exit.OK
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        stdout.print(Text.assemble((f"{name}: ", "dim"), text), soft_wrap=True)
    if content is None:
        stderr.print(Text("Nothing of its arguments, results or program is kept (portal.logs.contents).", style="dim"))
    return Exit.OK


def keys_of_document(document: Config) -> KeyRing | None:
    """The keys that seal what this configuration keeps; None if there are none: a command makes no key.

    Raises:
        CommandError: they cannot be read.
    """
    if not document.portal.has_store:
        return None
    file = keys_of(document.portal.state)
    try:
        return KeyRing.open(file) if file.exists() else None
    except KeysUnusable as error:
        raise CommandError(str(error)) from error
