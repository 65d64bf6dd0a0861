"""Service tokens: credentials of programs, sent as `CF-Access-Client-Id` and `CF-Access-Client-Secret`.

The object is Cloudflare's; of the secret only a SHA-256 is kept, which is enough for 256 random bits. After a rotation
the former secret holds until `previous_client_secret_expires_at`, when one was given.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from portal.config import read_duration
from portal.identity import Identity
from portal.state import Store, Stored, utc_now

KIND = "service_token"
ID_HEADER, SECRET_HEADER = b"cf-access-client-id", b"cf-access-client-secret"
FOREVER = "forever"
DEFAULT_DURATION = "8760h"
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\.access")
_HASHES = ("secret_sha256", "previous_secret_sha256")


@dataclass(frozen=True, slots=True)
class Made:
    """A service token with its secret, which is known at this moment only."""

    stored: Stored
    client_secret: str


class ServiceTokens:
    """Creates, rotates and recognises them. To revoke one is to delete its object."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._kept: dict[str, Stored] | None = None
        self._forget = store.subscribe(self._changed)

    def close(self) -> None:
        self._forget()

    async def create(self, name: str, *, by: str, duration: str = DEFAULT_DURATION) -> Made:
        """
        Raises:
            ValueError: the duration is not one.
        """
        secret = secrets.token_hex(32)
        document = {
            "name": name,
            "client_id": f"{secrets.token_hex(16)}.access",
            "duration": duration,
            "expires_at": self._expiry(duration),
            "client_secret_version": 1,
            "secret_sha256": _hash(secret),
        }
        return Made(await self._store.create(KIND, str(uuid.uuid4()), document, by=by), secret)

    async def rotate(self, id: str, *, by: str, previous_until: datetime | None = None) -> Made | None:
        """A new secret; the former one holds until then, or no longer. None when there is no such token."""
        stored = await self._store.get(KIND, id)
        if stored is None:
            return None
        secret = secrets.token_hex(32)
        document = {
            **stored.document,
            "secret_sha256": _hash(secret),
            "client_secret_version": int(stored.document.get("client_secret_version", 1)) + 1,
            "previous_secret_sha256": stored.document["secret_sha256"] if previous_until else None,
            "previous_client_secret_expires_at": _text(previous_until) if previous_until else None,
        }
        return Made(await self._store.replace(KIND, id, document, by=by, revision=stored.revision), secret)

    async def refresh(self, id: str, *, by: str) -> Stored | None:
        """The same token for its duration again, from now. None when there is no such token."""
        stored = await self._store.get(KIND, id)
        if stored is None:
            return None
        document = {**stored.document, "expires_at": self._expiry(str(stored.document["duration"]))}
        return await self._store.replace(KIND, id, document, by=by, revision=stored.revision)

    async def verify(self, client_id: str, client_secret: str) -> Identity | None:
        """Who shows these; None when they are not a token's, or it has expired."""
        if not _CLIENT_ID.fullmatch(client_id) or not 0 < len(client_secret) <= 200:
            return None
        if self._kept is None:
            self._kept = {str(one.document["client_id"]): one for one in await self._store.list(KIND)}
        stored = self._kept.get(client_id)
        if stored is None or not self._holds(stored.document, _hash(client_secret)):
            return None
        return Identity(service_token_id=stored.id, common_name=client_id, name=str(stored.document["name"]))

    def _holds(self, document: Mapping[str, Any], shown: str) -> bool:
        now = self._now()
        if _past(document.get("expires_at"), now):
            return False
        current = hmac.compare_digest(str(document["secret_sha256"]), shown)
        previous = document.get("previous_secret_sha256")
        if current or not isinstance(previous, str):
            return current
        return hmac.compare_digest(previous, shown) and not _past(document["previous_client_secret_expires_at"], now)

    def _expiry(self, duration: str) -> str | None:
        if duration == FOREVER:
            return None
        lasts = read_duration(duration)
        if lasts <= timedelta(0):
            raise ValueError("duration must be longer than nothing")
        return _text(self._now() + lasts)

    def _changed(self, kinds: frozenset[str] | set[str]) -> None:
        if KIND in kinds:
            self._kept = None


def shown_document(stored: Stored) -> dict[str, Any]:
    """The token as the API shows it: without what its secret could be checked against."""
    return {"id": stored.id, **{name: value for name, value in stored.document.items() if name not in _HASHES}}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _past(moment: object, now: datetime) -> bool:
    return isinstance(moment, str) and datetime.fromisoformat(moment) <= now
