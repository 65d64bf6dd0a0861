"""Who is told that an approval waits for people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("noted_at", sa.BigInteger))
    op.create_index("approvals_by_note", "approvals", ["state", "noted_at"])
    op.create_table(
        "approval_notices",
        sa.Column("approval", sa.String(64), primary_key=True),
        sa.Column("target", sa.String(320), primary_key=True),
        sa.Column("portal", sa.String(512), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("batch", sa.String(64), nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("told_at", sa.BigInteger),
    )
    op.create_index("approval_notices_by_due", "approval_notices", ["state", "due_at"])
    op.create_index("approval_notices_by_target", "approval_notices", ["target", "told_at"])
    op.create_index("approval_notices_by_batch", "approval_notices", ["batch"])
