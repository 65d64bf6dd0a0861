"""What the portal remembers: objects with encrypted secrets, tokens as hashes, in SQLite or PostgreSQL.

Its chapter is `README.md`. It knows what a document is, and nothing of what documents mean.
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.state.approval_row import (
    APPROVAL_GRANTS,
    APPROVAL_NOTICES,
    APPROVALS,
    WEBHOOK_TARGET,
    ApprovalChange,
    ApprovalCounts,
    ApprovalFilter,
    ApprovalGrant,
    ApprovalRow,
    NoticeBatch,
    NoticeEnd,
)
from portal.state.clock import Clock, utc_now
from portal.state.errors import (
    AlreadyExists,
    Conflict,
    DocumentBroken,
    DocumentInvalid,
    KeysUnusable,
    Misused,
    NotFound,
    RunsFull,
    RunTaken,
    RunTooLarge,
    SecretUnreadable,
    StateError,
    StateUnavailable,
    StateUnusable,
    StoreHealth,
)
from portal.state.following import Follower, Kept, KeptByKey, background
from portal.state.kinds import Kind, plain
from portal.state.label_read import LABELS_READ, LabelRead
from portal.state.run_states import LIVE, EndState, ParkReason, RunEvent, RunState, next_state
from portal.state.run_values import (
    RUNS,
    CallEffect,
    CallEnd,
    CallStart,
    CallState,
    EndOfRun,
    FinishedRun,
    Parking,
    RunCandidate,
    RunClaim,
    RunDocument,
    RunFilter,
    StoredCall,
    StoredResume,
    StoredRun,
    Verdict,
    WaitOfRun,
)

if TYPE_CHECKING:
    from portal.state.approval_notice_rows import ApprovalNoticeRows
    from portal.state.approval_rows import ApprovalRows
    from portal.state.credentials import CredentialKey, CredentialRows, StoredCredential
    from portal.state.database import begin_sqlite, make_private_file, parse_url
    from portal.state.envelope import Key, Place, rewrap, seal, unseal
    from portal.state.grant_rows import GrantRows
    from portal.state.inspection import SchemaState, copy_sqlite, lock_holder, schema_state
    from portal.state.keys import KeyRing
    from portal.state.label_rows import LabelRows
    from portal.state.objects import KEEP, Broken, Found, Idle, Keep, Scan, Stored
    from portal.state.run_rows import RunLimits, RunRows
    from portal.state.store import Store, Transaction
    from portal.state.tokens import Family, Token, Tokens
    from portal.state.trouble import is_failure, reason_of
else:
    # A portal without identity starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "KEEP": "objects",
            "ApprovalNoticeRows": "approval_notice_rows",
            "ApprovalRows": "approval_rows",
            "GrantRows": "grant_rows",
            "Broken": "objects",
            "CredentialKey": "credentials",
            "CredentialRows": "credentials",
            "Family": "tokens",
            "Found": "objects",
            "Idle": "objects",
            "Keep": "objects",
            "Key": "envelope",
            "KeyRing": "keys",
            "Place": "envelope",
            "LabelRows": "label_rows",
            "begin_sqlite": "database",
            "copy_sqlite": "inspection",
            "lock_holder": "inspection",
            "schema_state": "inspection",
            "SchemaState": "inspection",
            "is_failure": "trouble",
            "make_private_file": "database",
            "parse_url": "database",
            "reason_of": "trouble",
            "rewrap": "envelope",
            "seal": "envelope",
            "unseal": "envelope",
            "RunLimits": "run_rows",
            "RunRows": "run_rows",
            "Scan": "objects",
            "Store": "store",
            "Stored": "objects",
            "StoredCredential": "credentials",
            "Token": "tokens",
            "Tokens": "tokens",
            "Transaction": "store",
        },
    )

__all__ = [
    "APPROVALS",
    "APPROVAL_GRANTS",
    "APPROVAL_NOTICES",
    "KEEP",
    "LABELS_READ",
    "LIVE",
    "RUNS",
    "WEBHOOK_TARGET",
    "AlreadyExists",
    "ApprovalChange",
    "ApprovalCounts",
    "ApprovalFilter",
    "ApprovalGrant",
    "ApprovalNoticeRows",
    "ApprovalRow",
    "ApprovalRows",
    "Broken",
    "CallEffect",
    "CallEnd",
    "CallStart",
    "CallState",
    "Clock",
    "Conflict",
    "CredentialKey",
    "CredentialRows",
    "DocumentBroken",
    "DocumentInvalid",
    "EndOfRun",
    "EndState",
    "Family",
    "FinishedRun",
    "Follower",
    "Found",
    "GrantRows",
    "Idle",
    "Keep",
    "Kept",
    "KeptByKey",
    "Key",
    "KeyRing",
    "KeysUnusable",
    "Kind",
    "LabelRead",
    "LabelRows",
    "Misused",
    "NotFound",
    "NoticeBatch",
    "NoticeEnd",
    "ParkReason",
    "Parking",
    "Place",
    "RunCandidate",
    "RunClaim",
    "RunDocument",
    "RunEvent",
    "RunFilter",
    "RunLimits",
    "RunRows",
    "RunState",
    "RunTaken",
    "RunTooLarge",
    "RunsFull",
    "Scan",
    "SchemaState",
    "SecretUnreadable",
    "StateError",
    "StateUnavailable",
    "StateUnusable",
    "Store",
    "StoreHealth",
    "Stored",
    "StoredCall",
    "StoredCredential",
    "StoredResume",
    "StoredRun",
    "Token",
    "Tokens",
    "Transaction",
    "Verdict",
    "WaitOfRun",
    "background",
    "begin_sqlite",
    "copy_sqlite",
    "is_failure",
    "lock_holder",
    "make_private_file",
    "next_state",
    "parse_url",
    "plain",
    "reason_of",
    "rewrap",
    "schema_state",
    "seal",
    "unseal",
    "utc_now",
]
