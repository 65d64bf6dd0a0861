"""Access tokens on the way in: looked up by hash, remembered for seconds, forgotten at once when any is revoked."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

from portal.oauth.grants import ACCESS, Grant, grant_of
from portal.state import Store, utc_now

REMEMBER_SECONDS = 5.0
MAX_REMEMBERED = 10_000
MAX_TOKEN = 512


class Verifier:
    """`verify` finds the grant behind an access token. The same token gives the same object while it is remembered."""

    def __init__(
        self, store: Store, now: Callable[[], datetime] = utc_now, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._now = now
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, datetime, Grant]] = OrderedDict()
        self._revocations = 0
        self._forget = store.subscribe(self._changed)

    def close(self) -> None:
        self._forget()

    async def verify(self, token: str) -> Grant | None:
        """None for a token that is unknown, has expired or was revoked."""
        if not 0 < len(token) <= MAX_TOKEN:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        if (known := self._known.get(digest)) is not None:
            until, expires_at, grant = known
            if self._clock() < until and self._now() < expires_at:
                return grant
            del self._known[digest]
        before = self._revocations
        found = await self._store.tokens.find(ACCESS, token)
        if found is None:
            return None
        grant = grant_of(found)
        # Revoked while we were reading: what was read may be older than that.
        if before == self._revocations:
            self._known[digest] = self._clock() + REMEMBER_SECONDS, found.expires_at, grant
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return grant

    def _changed(self, kinds: frozenset[str] | set[str]) -> None:
        if ACCESS in kinds:
            self._revocations += 1
            self._known.clear()
