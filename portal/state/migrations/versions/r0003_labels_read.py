"""What callers have read of what is labelled, for the rules of data flow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    op.create_table(
        "labels_read",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("person", sa.String(512), nullable=False),
        sa.Column("client", sa.String(512), nullable=False),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("portal", sa.String(512), nullable=False),
        sa.Column("server", sa.String(512), nullable=False),
        sa.Column("tool", sa.String(512), nullable=False),
        sa.Column("read_at", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.create_index("labels_read_by_person", "labels_read", ["person"])
    op.create_index("labels_read_by_number", "labels_read", ["number"])
    op.create_index("labels_read_by_end", "labels_read", ["until"])
