"""Runs that have ended stay until the log is known to have their row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    op.add_column("runs", sa.Column("log_due", sa.BigInteger))
    op.create_index("runs_by_log", "runs", ["log_due"])
