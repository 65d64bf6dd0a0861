"""Service tokens: credentials of programs, sent as `CF-Access-Client-Id` and `CF-Access-Client-Secret`.

The object is Cloudflare's. The store has only the SHA-256 of a secret, which is enough for 256 random bits. After a
rotation the former secret is valid until `previous_client_secret_expires_at`, if the rotation set it.
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
from portal.state import Kept, Store, Stored, utc_now

SERVICE_TOKEN = "service_token"
ID_HEADER, SECRET_HEADER = b"cf-access-client-id", b"cf-access-client-secret"
FOREVER = "forever"
DEFAULT_DURATION = "8760h"
MAX_SECRET = 200
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\.access")
_HASHES = ("secret_sha256", "previous_secret_sha256")


@dataclass(frozen=True, slots=True)
class NewServiceToken:
    """A service token and its secret, which cannot be shown again."""

    stored: Stored
    client_secret: str


class ServiceTokens:
    """Creates, rotates and verifies them.

    Deleting the object revokes the token: at once in this process, in the others when their stores tell of it.
    """

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._by_client_id = Kept(store, {SERVICE_TOKEN}, self._read)

    def close(self) -> None:
        self._by_client_id.close()

    async def create(self, name: str, *, by: str, duration: str = DEFAULT_DURATION) -> NewServiceToken:
        """A new token, valid for `duration` from now: "8760h", or "forever".

        Raises:
            ValueError: `duration` is not a duration, or not longer than nothing.
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
        return NewServiceToken(await self._store.create(SERVICE_TOKEN, str(uuid.uuid4()), document, by=by), secret)

    async def rotate(self, id: str, *, by: str, previous_until: datetime | None = None) -> NewServiceToken | None:
        """The token with a new secret, or None if there is no token `id`.

        The former secret is valid until `previous_until`; without it, it is invalid at once.
        """
        stored = await self._store.get(SERVICE_TOKEN, id)
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
        replaced = await self._store.replace(SERVICE_TOKEN, id, document, by=by, revision=stored.revision)
        return NewServiceToken(replaced, secret)

    async def refresh(self, id: str, *, by: str) -> Stored | None:
        """The token, valid for its duration from now on, or None if there is no token `id`."""
        stored = await self._store.get(SERVICE_TOKEN, id)
        if stored is None:
            return None
        document = {**stored.document, "expires_at": self._expiry(str(stored.document["duration"]))}
        return await self._store.replace(SERVICE_TOKEN, id, document, by=by, revision=stored.revision)

    async def verify(self, client_id: str, client_secret: str) -> Identity | None:
        """The identity of the program with these credentials, or None if no token has them or the token expired."""
        if not _CLIENT_ID.fullmatch(client_id) or not 0 < len(client_secret) <= MAX_SECRET:
            return None
        stored = (await self._by_client_id.get()).get(client_id)
        if stored is None or not self._is_valid(stored.document, _hash(client_secret)):
            return None
        return Identity(service_token_id=stored.id, common_name=client_id, name=str(stored.document["name"]))

    async def _read(self) -> Mapping[str, Stored]:
        return {str(stored.document["client_id"]): stored for stored in await self._store.list(SERVICE_TOKEN)}

    def _is_valid(self, document: Mapping[str, Any], secret_sha256: str) -> bool:
        now = self._now()
        if _is_past(document.get("expires_at"), now):
            return False
        if hmac.compare_digest(str(document["secret_sha256"]), secret_sha256):
            return True
        previous = document.get("previous_secret_sha256")
        if not isinstance(previous, str) or not hmac.compare_digest(previous, secret_sha256):
            return False
        return not _is_past(document["previous_client_secret_expires_at"], now)

    def _expiry(self, duration: str) -> str | None:
        if duration == FOREVER:
            return None
        length = read_duration(duration)
        if length <= timedelta(0):
            raise ValueError("duration must be longer than nothing")
        return _text(self._now() + length)


def shown_document(stored: Stored) -> dict[str, Any]:
    """The token as the API shows it: without the hashes of its secrets."""
    return {"id": stored.id, **{name: value for name, value in stored.document.items() if name not in _HASHES}}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _is_past(moment: object, now: datetime) -> bool:
    return isinstance(moment, str) and datetime.fromisoformat(moment) <= now
