"""The key of all hashes of detection: the same after a restart, and for every process of one database."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from portal.objects import DLP_KEY, DlpKeyDocument
from portal.state import AlreadyExists, SecretUnreadable

if TYPE_CHECKING:
    from portal.state import KeyRing, Store

_ID = "hashes"
_SIZE = 32


async def detection_key(store: Store) -> bytes:
    """The key of this database, drawn at random when it is first asked for.

    Raises:
        StateError: it cannot be read or made.
    """
    if (key := await store.secret(DLP_KEY, _ID)) is None:
        try:
            await store.create(DLP_KEY, _ID, DlpKeyDocument(), by="first start", secret=secrets.token_bytes(_SIZE))
        except AlreadyExists:
            # Another process was faster.
            pass
        key = await store.secret(DLP_KEY, _ID)
    if key is None:
        raise SecretUnreadable("the key of detection has no secret; its lists have to be uploaded again")
    return key


def key_of_ring(ring: KeyRing) -> bytes:
    """The key where there is no database: derived from a key file."""
    return hmac.digest(ring.newest.material, b"detection", "sha256")
