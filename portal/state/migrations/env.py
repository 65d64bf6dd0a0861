"""Runs the steps over the connection that `portal.state.migrate` hands in, inside the transaction it opened."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
