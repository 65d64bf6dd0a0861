"""Access tokens of requests: found by hash, kept for seconds, forgotten at once when any access token is revoked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from portal.oauth.grants import ACCESS, Grant, grant_of
from portal.oauth.uses import Uses
from portal.state import KeptByKey, StateUnavailable, Store, utc_now

KEPT_SECONDS = 5.0
GRACE_SECONDS = 60.0
"""So much longer a token that was good is taken while the store cannot be asked whether it still is."""
MAX_KEPT = 10_000
MAX_TOKEN = 512


@dataclass(frozen=True, slots=True)
class _Verified:
    """A grant, the time of the clock until which it is kept, and when its token expires."""

    grant: Grant
    until: float
    expires_at: datetime


class Verifier:
    """Finds the grant behind an access token. While it is kept, the same token gives the same object.

    `uses` notes when grants are used.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
        uses: Uses | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._uses = uses
        self._clock = clock
        # By the token's hash: the tokens themselves are not kept in memory either.
        self._verified: KeptByKey[bytes, _Verified | None] = KeptByKey(store, {ACCESS.name}, MAX_KEPT)

    def close(self) -> None:
        self._verified.close()

    async def verify(self, token: str) -> Grant | None:
        """The grant, or None if the token is unknown, has expired or was revoked."""
        if not 0 < len(token) <= MAX_TOKEN:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        verified = known = await self._verified.get(digest, lambda: self._find(token))
        if known is not None and not self._is_fresh(known):
            try:
                verified = await self._verified.again(digest, lambda: self._find(token))
            except StateUnavailable:
                # Not the one from before: tokens may have been revoked while this one was read.
                verified = self._verified.kept(digest)
                if verified is None or not self._is_fresh(verified, GRACE_SECONDS):
                    raise
        return None if verified is None else verified.grant

    async def _find(self, token: str) -> _Verified | None:
        found = await self._store.tokens.find(ACCESS, token)
        if found is None:
            return None
        if self._uses is not None:
            self._uses.note(found)
        return _Verified(grant_of(found), self._clock() + KEPT_SECONDS, found.expires_at)

    def _is_fresh(self, verified: _Verified, longer: float = 0.0) -> bool:
        return self._clock() < verified.until + longer and self._now() < verified.expires_at
