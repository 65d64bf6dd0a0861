"""Objects, tokens, counters of changes, the audit trail, and facts about the database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    op.create_table(
        "objects",
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("id", sa.String(512), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("kid", sa.String(16)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String(512), nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("modified_by", sa.String(512), nullable=False),
    )
    op.create_index("objects_by_age", "objects", ["kind", "created_at", "id"])
    op.create_index("objects_by_kid", "objects", ["kid"])
    op.create_table(
        "tokens",
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("client", sa.String(512), nullable=False),
        sa.Column("family", sa.String(512), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_index("tokens_by_subject", "tokens", ["subject"])
    op.create_index("tokens_by_family", "tokens", ["family"])
    op.create_index("tokens_by_expiry", "tokens", ["expires_at"])
    op.create_table(
        "changes",
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(512), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("id", sa.String(512), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("audit_by_object", "audit", ["kind", "id"])
    op.create_table(
        "facts",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
