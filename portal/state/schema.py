"""The tables. Every change of them is a migration beside this file; a test holds that both say the same."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
)

from portal.state.documents import is_storable

MOST = 2**57
"""Larger than any number that is stored: microseconds of the year 6000."""


class Number(TypeDecorator[int]):
    """A number, or None if it is `optional`. What a damaged row has in its place is read as 0."""

    impl = BigInteger
    cache_ok = True

    def __init__(self, optional: bool = False) -> None:
        super().__init__()
        self.optional = optional

    def process_result_value(self, value: object, dialect: Dialect) -> int | None:
        if type(value) is int and -MOST < value < MOST:
            return value
        return None if self.optional and value is None else 0


class Bytes(TypeDecorator[bytes]):
    """Bytes. What a damaged row has in their place is read as none."""

    impl = LargeBinary
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[object], bytes | None]:
        return lambda value: bytes(value) if isinstance(value, bytes) else None if value is None else b""


metadata = MetaData()

# Times are microseconds since 1970 in UTC: the same to every database. Texts that are compared are short and bounded.
objects = Table(
    "objects",
    metadata,
    Column("kind", String(40), primary_key=True),
    Column("id", String(512), primary_key=True),
    Column("revision", Number(), nullable=False),
    Column("document", Text, nullable=False),
    Column("secret", Bytes),
    Column("kid", String(16)),
    Column("created_at", Number(), nullable=False),
    Column("created_by", String(512), nullable=False),
    Column("modified_at", Number(), nullable=False),
    Column("modified_by", String(512), nullable=False),
    Index("objects_by_age", "kind", "created_at", "id"),
    Index("objects_by_kid", "kid"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("kind", String(40), primary_key=True),
    Column("digest", Bytes(32), primary_key=True),
    Column("subject", String(512), nullable=False),
    Column("client", String(512), nullable=False),
    Column("family", String(512), nullable=False),
    Column("document", Text, nullable=False),
    Column("issued_at", Number(), nullable=False),
    Column("expires_at", Number(), nullable=False),
    Column("used_at", Number(optional=True)),
    Index("tokens_by_subject", "subject"),
    Index("tokens_by_family", "family"),
    Index("tokens_by_expiry", "expires_at"),
)

# Credentials of upstream servers. `digest` is the SHA-256 of the five columns after it.
credentials = Table(
    "credentials",
    metadata,
    Column("kind", String(40), primary_key=True),
    Column("digest", Bytes(32), primary_key=True),
    Column("subject", String(512), nullable=False),
    Column("server", String(512), nullable=False),
    Column("issuer", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("version", Number(), nullable=False),
    Column("document", Text, nullable=False),
    Column("secret", Bytes, nullable=False),
    Column("kid", String(16), nullable=False),
    Column("modified_at", Number(), nullable=False),
    Column("leased_until", Number(optional=True)),
    Column("leased_by", String(64)),
    Index("credentials_by_subject", "subject"),
    Index("credentials_by_server", "server"),
    Index("credentials_by_kid", "kid"),
)

# Which labels callers have read. `digest` is the SHA-256 of person, client and label; `number` grows with each writing.
labels_read = Table(
    "labels_read",
    metadata,
    Column("digest", Bytes(32), primary_key=True),
    Column("person", String(512), nullable=False),
    Column("client", String(512), nullable=False),
    Column("label", String(64), nullable=False),
    Column("portal", String(512), nullable=False),
    Column("server", String(512), nullable=False),
    Column("tool", String(512), nullable=False),
    Column("read_at", Number(), nullable=False),
    Column("until", Number(), nullable=False),
    Column("number", Number(), nullable=False),
    Index("labels_read_by_person", "person"),
    Index("labels_read_by_number", "number"),
    Index("labels_read_by_end", "until"),
)

# Runs that have been parked. `document` is what may be shown of one; `secret` is its checkpoint, or its result after
# its end, sealed under the revision `sealed`. `revision` fences: whoever claims a run takes the next one, and every
# later write names it. `size` counts the bytes kept of it, here and below. `approvals` is how many it waited for as it
# was parked; `again` says that what it waits for came while it ran; `attempts` counts claims since it last got on.
# `log_due` is when to look whether the log has the row of one that has ended, None where that is known.
runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("portal", String(512), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("client", String(512), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("revision", Number(), nullable=False),
    Column("owner", String(64)),
    Column("lease_until", Number(optional=True)),
    Column("created_at", Number(), nullable=False),
    Column("updated_at", Number(), nullable=False),
    Column("wake_at", Number(optional=True)),
    Column("expires_at", Number(), nullable=False),
    Column("size", Number(), nullable=False),
    Column("approvals", Number(), nullable=False),
    Column("again", Number(), nullable=False),
    Column("attempts", Number(), nullable=False),
    Column("sealed", Number(), nullable=False),
    Column("document", Text, nullable=False),
    Column("secret", Bytes),
    Column("kid", String(16)),
    Column("log_due", Number(optional=True)),
    Index("runs_by_wake", "wake_at"),
    Index("runs_by_lease", "lease_until"),
    Index("runs_by_subject", "subject", "portal", "created_at"),
    Index("runs_by_portal", "portal", "created_at"),
    Index("runs_by_room", "portal", "state", "size"),
    Index("runs_by_expiry", "expires_at"),
    Index("runs_by_kid", "kid"),
    Index("runs_by_log", "log_due"),
)

# The calls of a parked run, by the id that its program gave each; written ahead of their effects. `secret` has the
# arguments until there is a settlement, or the answer that somebody gave for a call whose outcome nobody knew.
run_calls = Table(
    "run_calls",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("call", Number(), primary_key=True),
    Column("seq", Number(), nullable=False),
    Column("server", String(512), nullable=False),
    Column("tool", String(512), nullable=False),
    Column("effect", String(12), nullable=False),
    Column("state", String(12), nullable=False),
    Column("revision", Number(), nullable=False),
    Column("arguments", Bytes(32), nullable=False),
    Column("at", Number(), nullable=False),
    Column("us", Number(), nullable=False),
    Column("secret", Bytes),
    Column("kid", String(16)),
    Index("run_calls_by_kid", "kid"),
)

# How a parked run went on since its checkpoint: `secret` has the time that it read, and the settlements that it got.
run_resumes = Table(
    "run_resumes",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("number", Number(), primary_key=True),
    Column("revision", Number(), nullable=False),
    Column("secret", Bytes),
    Column("kid", String(16)),
    Index("run_resumes_by_kid", "kid"),
)

# Requests for the approval of one exact call. `arguments` is the SHA-256 of its canonical arguments, `secret` has them
# until soon after `ended_at`.
approvals = Table(
    "approvals",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("portal", String(512), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("client", String(512), nullable=False),
    Column("run", String(64), nullable=False),
    Column("call", Number(), nullable=False),
    Column("server", String(512), nullable=False),
    Column("tool", String(512), nullable=False),
    Column("arguments", Bytes(32), nullable=False),
    Column("policy", String(512), nullable=False),
    Column("policy_revision", String(64), nullable=False),
    Column("state", String(12), nullable=False),
    Column("revision", Number(), nullable=False),
    Column("created_at", Number(), nullable=False),
    Column("expires_at", Number(), nullable=False),
    Column("decided_at", Number(optional=True)),
    Column("ended_at", Number(optional=True)),
    Column("document", Text, nullable=False),
    Column("secret", Bytes),
    Column("kid", String(16)),
    Column("noted_at", Number(optional=True)),
    Index("approvals_by_state", "state", "expires_at"),
    Index("approvals_by_note", "state", "noted_at"),
    Index("approvals_by_run", "run", "call"),
    Index("approvals_by_subject", "subject", "created_at"),
    Index("approvals_by_end", "ended_at"),
    Index("approvals_by_kid", "kid"),
)

# Who is told that an approval waits for people, and whether they were: `target` is an address, or "" for the webhook.
approval_notices = Table(
    "approval_notices",
    metadata,
    Column("approval", String(64), primary_key=True),
    Column("target", String(320), primary_key=True),
    Column("portal", String(512), nullable=False),
    Column("state", String(12), nullable=False),
    Column("batch", String(64), nullable=False),
    Column("tries", Number(), nullable=False),
    Column("due_at", Number(), nullable=False),
    Column("told_at", Number(optional=True)),
    Index("approval_notices_by_due", "state", "due_at"),
    Index("approval_notices_by_target", "target", "told_at"),
    Index("approval_notices_by_batch", "batch"),
)

# Approvals that are remembered: so many further calls of a tool by a person need none until an end.
approval_grants = Table(
    "approval_grants",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("portal", String(512), nullable=False),
    Column("subject", String(512), nullable=False),
    Column("client", String(512), nullable=False),
    Column("run", String(64), nullable=False),
    Column("server", String(512), nullable=False),
    Column("tool", String(512), nullable=False),
    Column("policy", String(512), nullable=False),
    Column("policy_revision", String(64), nullable=False),
    Column("expression", Text, nullable=False),
    Column("uses_left", Number(optional=True)),
    Column("until", Number(), nullable=False),
    Column("granted_by", String(512), nullable=False),
    Column("created_at", Number(), nullable=False),
    Index("approval_grants_by_subject", "subject", "tool"),
    Index("approval_grants_by_end", "until"),
)

# What tells apart an entry of the configuration document from the same entry that was there before: `digest` is the
# SHA-256 of its text, and `gone_at` since when no document that was loaded has it.
document_stamps = Table(
    "document_stamps",
    metadata,
    Column("digest", Bytes(32), primary_key=True),
    Column("stamp", String(32), nullable=False),
    Column("gone_at", Number(optional=True)),
)

# One row a kind: how often something of it was changed. What other processes look at.
changes = Table(
    "changes",
    metadata,
    Column("kind", String(40), primary_key=True),
    Column("revision", Number(), nullable=False),
)

# Who changed which object when; never what it said.
audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Number(), nullable=False),
    Column("by", String(512), nullable=False),
    Column("action", String(16), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("id", String(512), nullable=False),
    Column("revision", Number(), nullable=False),
    Index("audit_by_object", "kind", "id"),
)

# What is known of the database itself: `kid`, the key new secrets are wrapped with.
facts = Table(
    "facts",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)


def named(column: Column[str], text: str) -> ColumnElement[bool]:
    """Whether a row has this text, which may come from anybody. No row has one that cannot be stored."""
    return column == text if is_storable(text) else false()
