"""Brings the tables of a database to those of this program, and refuses a database that is ahead of it."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from portal.state.errors import StateUnusable


def migrate(connection: Connection) -> None:
    """Run the missing steps inside the connection's transaction, which must hold the lock of writers.

    Raises:
        StateUnusable: the database has a step this program does not know.
    """
    config = _config()
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    at = MigrationContext.configure(connection).get_current_heads()
    newer = sorted(set(at) - known)
    if newer:
        raise StateUnusable(
            f"the database was last used by a newer codemode (its step {newer[0][:40]!r} is not known here). "
            "Use that version again, or a copy of the database from before."
        )
    if set(at) != set(scripts.get_heads()):
        command.upgrade(config, "head")


def is_current(connection: Connection) -> bool:
    """Whether the tables are those of this program, so that there is nothing to do."""
    at = MigrationContext.configure(connection).get_current_heads()
    return bool(at) and set(at) == set(_scripts().get_heads())


def is_migrated(connection: Connection) -> bool:
    """Whether there are tables of this program, of whichever version."""
    return bool(MigrationContext.configure(connection).get_current_heads())


def is_ahead(connection: Connection) -> bool:
    """Whether the tables are of a newer program."""
    at = MigrationContext.configure(connection).get_current_heads()
    return bool(set(at) - {script.revision for script in _scripts().walk_revisions()})


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "portal.state:migrations")
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
