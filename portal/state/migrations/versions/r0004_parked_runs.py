"""Runs that outlive their process: parked ones, their calls and resumes, approvals and those that are remembered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    _runs()
    _approvals()


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("portal", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("client", sa.String(512), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("wake_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("approvals", sa.BigInteger, nullable=False),
        sa.Column("again", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("sealed", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("kid", sa.String(16)),
    )
    op.create_index("runs_by_wake", "runs", ["wake_at"])
    op.create_index("runs_by_lease", "runs", ["lease_until"])
    op.create_index("runs_by_subject", "runs", ["subject", "portal", "created_at"])
    op.create_index("runs_by_portal", "runs", ["portal", "created_at"])
    op.create_index("runs_by_room", "runs", ["portal", "state", "size"])
    op.create_index("runs_by_expiry", "runs", ["expires_at"])
    op.create_index("runs_by_kid", "runs", ["kid"])
    op.create_table(
        "run_calls",
        sa.Column("run", sa.String(64), primary_key=True),
        sa.Column("call", sa.BigInteger, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("server", sa.String(512), nullable=False),
        sa.Column("tool", sa.String(512), nullable=False),
        sa.Column("effect", sa.String(12), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("arguments", sa.LargeBinary(32), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("us", sa.BigInteger, nullable=False),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("kid", sa.String(16)),
    )
    op.create_index("run_calls_by_kid", "run_calls", ["kid"])
    op.create_table(
        "run_resumes",
        sa.Column("run", sa.String(64), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("kid", sa.String(16)),
    )
    op.create_index("run_resumes_by_kid", "run_resumes", ["kid"])


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("portal", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("client", sa.String(512), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("call", sa.BigInteger, nullable=False),
        sa.Column("server", sa.String(512), nullable=False),
        sa.Column("tool", sa.String(512), nullable=False),
        sa.Column("arguments", sa.LargeBinary(32), nullable=False),
        sa.Column("policy", sa.String(512), nullable=False),
        sa.Column("policy_revision", sa.String(64), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("decided_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("kid", sa.String(16)),
    )
    op.create_index("approvals_by_state", "approvals", ["state", "expires_at"])
    op.create_index("approvals_by_run", "approvals", ["run", "call"])
    op.create_index("approvals_by_subject", "approvals", ["subject", "created_at"])
    op.create_index("approvals_by_end", "approvals", ["ended_at"])
    op.create_index("approvals_by_kid", "approvals", ["kid"])
    op.create_table(
        "approval_grants",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("portal", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("client", sa.String(512), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("server", sa.String(512), nullable=False),
        sa.Column("tool", sa.String(512), nullable=False),
        sa.Column("policy", sa.String(512), nullable=False),
        sa.Column("policy_revision", sa.String(64), nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("uses_left", sa.BigInteger),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("granted_by", sa.String(512), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_index("approval_grants_by_subject", "approval_grants", ["subject", "tool"])
    op.create_index("approval_grants_by_end", "approval_grants", ["until"])
