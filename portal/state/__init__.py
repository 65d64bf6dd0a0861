"""What the portal remembers: objects with encrypted secrets, tokens as hashes, in SQLite or PostgreSQL.

Its chapter is `README.md`. It knows what a document is, and nothing of what documents mean.
"""

from portal.state.errors import (
    AlreadyExists,
    Conflict,
    DocumentInvalid,
    KeysUnusable,
    Misused,
    NotFound,
    SecretUnreadable,
    StateError,
    StateUnavailable,
    StateUnusable,
)
from portal.state.keys import KeyRing
from portal.state.objects import KEEP, Keep, Stored
from portal.state.rotation import Rotation
from portal.state.store import AuditEntry, Store, Transaction
from portal.state.tokens import Token, Tokens

__all__ = [
    "KEEP",
    "AlreadyExists",
    "AuditEntry",
    "Conflict",
    "DocumentInvalid",
    "Keep",
    "KeyRing",
    "KeysUnusable",
    "Misused",
    "NotFound",
    "Rotation",
    "SecretUnreadable",
    "StateError",
    "StateUnavailable",
    "StateUnusable",
    "Store",
    "Stored",
    "Token",
    "Tokens",
    "Transaction",
]
