"""What tells apart an entry of the configuration document from the same entry that was there before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    op.create_table(
        "document_stamps",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("stamp", sa.String(32), nullable=False),
        sa.Column("gone_at", sa.BigInteger),
    )
