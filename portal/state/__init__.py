"""What the portal remembers: objects with encrypted secrets, tokens as hashes, in SQLite or PostgreSQL.

Its chapter is `README.md`. It knows what a document is, and nothing of what documents mean.
"""

from typing import TYPE_CHECKING

from portal.lazy import lazily
from portal.state.clock import Clock, utc_now
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
from portal.state.following import Follower, Kept, KeptByKey, background

if TYPE_CHECKING:
    from portal.state.keys import KeyRing
    from portal.state.objects import KEEP, Keep, Stored
    from portal.state.store import Store, Transaction
    from portal.state.tokens import Token, Tokens
else:
    # A portal without identity starts without a database library: that saves half a second.
    __getattr__ = lazily(
        __name__,
        {
            "KEEP": "objects",
            "Keep": "objects",
            "KeyRing": "keys",
            "Store": "store",
            "Stored": "objects",
            "Token": "tokens",
            "Tokens": "tokens",
            "Transaction": "store",
        },
    )

__all__ = [
    "KEEP",
    "AlreadyExists",
    "Clock",
    "Conflict",
    "DocumentInvalid",
    "Follower",
    "Keep",
    "Kept",
    "KeptByKey",
    "KeyRing",
    "KeysUnusable",
    "Misused",
    "NotFound",
    "SecretUnreadable",
    "StateError",
    "StateUnavailable",
    "StateUnusable",
    "Store",
    "Stored",
    "Token",
    "Tokens",
    "Transaction",
    "background",
    "utc_now",
]
