"""Credentials of upstream servers, with the lease of the process that renews one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    op.create_table(
        "credentials",
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("server", sa.String(512), nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("leased_until", sa.BigInteger),
        sa.Column("leased_by", sa.String(64)),
    )
    op.create_index("credentials_by_subject", "credentials", ["subject"])
    op.create_index("credentials_by_server", "credentials", ["server"])
    op.create_index("credentials_by_kid", "credentials", ["kid"])
