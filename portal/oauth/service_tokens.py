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

from pydantic import AwareDatetime, Field

from portal.config import read_duration
from portal.identity import Identity
from portal.objects import Document
from portal.state import Kept, Kind, Store, Stored, Transaction, utc_now

ID_HEADER, SECRET_HEADER = b"cf-access-client-id", b"cf-access-client-secret"
FOREVER = "forever"
DEFAULT_DURATION = "8760h"
MAX_SECRET = 200
_CLIENT_ID = re.compile(r"[0-9a-f]{32}\.access")


class PreviousSecret(Document):
    """The secret before the last rotation, and until when it is valid besides the new one."""

    sha256: str = Field(repr=False)
    expires_at: AwareDatetime


class ServiceTokenDocument(Document):
    """`client_secret_version` counts the secrets there were."""

    name: str
    client_id: str
    duration: str
    expires_at: AwareDatetime | None
    client_secret_version: int
    secret_sha256: str = Field(repr=False)
    previous: PreviousSecret | None = None


def one_previous_secret(members: dict[str, object]) -> dict[str, object]:
    """0 -> 1: the secret before the last one was two members, of which either could be missing or null. So could the
    number of the secret."""
    sha256 = members.pop("previous_secret_sha256", None)
    expires_at = members.pop("previous_client_secret_expires_at", None)
    previous = {"sha256": sha256, "expires_at": expires_at} if sha256 and expires_at else None
    return {"client_secret_version": 1, "expires_at": None, **members, "previous": previous}


SERVICE_TOKEN = Kind("service_token", ServiceTokenDocument, upgrades=[one_previous_secret])


@dataclass(frozen=True, slots=True)
class NewServiceToken:
    """A service token and its secret, which cannot be shown again."""

    stored: Stored[ServiceTokenDocument]
    client_secret: str


def identity_of_token(stored: Stored[ServiceTokenDocument]) -> Identity:
    """Who comes in with this service token."""
    return Identity(service_token_id=stored.id, common_name=stored.document.client_id, name=stored.document.name)


class ServiceTokens:
    """Creates, rotates and verifies them.

    Deleting the object revokes the token: at once in this process, in the others when their stores tell of it.
    """

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._by_client_id = Kept(store, {SERVICE_TOKEN.name}, self._read)

    def close(self) -> None:
        self._by_client_id.close()

    async def create(self, name: str, *, by: str, duration: str = DEFAULT_DURATION) -> NewServiceToken:
        """A new token, valid for `duration` from now: "8760h", or "forever".

        Raises:
            ValueError: `duration` is not a duration, or not longer than nothing.
        """
        secret = secrets.token_hex(32)
        document = ServiceTokenDocument(
            name=name,
            client_id=f"{secrets.token_hex(16)}.access",
            duration=duration,
            expires_at=self._expiry(duration),
            client_secret_version=1,
            secret_sha256=_hash(secret),
        )
        return NewServiceToken(await self._store.create(SERVICE_TOKEN, str(uuid.uuid4()), document, by=by), secret)

    async def rotate(self, id: str, *, by: str, previous_until: datetime | None = None) -> NewServiceToken | None:
        """The token with a new secret, or None if there is no token `id`.

        The former secret is valid until `previous_until`; without it, it is invalid at once.
        """
        stored = await self._store.get(SERVICE_TOKEN, id)
        if stored is None:
            return None
        secret = secrets.token_hex(32)
        before = stored.document
        previous = PreviousSecret(sha256=before.secret_sha256, expires_at=previous_until) if previous_until else None
        document = before.model_copy(
            update={
                "secret_sha256": _hash(secret),
                "client_secret_version": before.client_secret_version + 1,
                "previous": previous,
            }
        )
        replaced = await self._store.replace(SERVICE_TOKEN, id, document, by=by, revision=stored.revision)
        return NewServiceToken(replaced, secret)

    async def refresh(self, id: str, *, by: str) -> Stored[ServiceTokenDocument] | None:
        """The token, valid for its duration from now on, or None if there is no token `id`."""
        stored = await self._store.get(SERVICE_TOKEN, id)
        if stored is None:
            return None
        document = stored.document.model_copy(update={"expires_at": self._expiry(stored.document.duration)})
        return await self._store.replace(SERVICE_TOKEN, id, document, by=by, revision=stored.revision)

    async def change(
        self, transaction: Transaction, id: str, *, by: str, name: str | None = None, duration: str | None = None
    ) -> Stored[ServiceTokenDocument] | None:
        """The token with this name, and valid for this duration from now on, or None if there is no token `id`. What is
        None stays.

        Raises:
            ValueError: `duration` is not a duration, or not longer than nothing.
        """
        stored = await transaction.get(SERVICE_TOKEN, id)
        if stored is None:
            return None
        changes: dict[str, object] = {"name": name} if name else {}
        if duration:
            changes |= {"duration": duration, "expires_at": self._expiry(duration)}
        return await transaction.replace(SERVICE_TOKEN, id, stored.document.model_copy(update=changes), by=by)

    async def verify(self, client_id: str, client_secret: str) -> Identity | None:
        """The identity of the program with these credentials, or None if no token has them or the token expired."""
        if not _CLIENT_ID.fullmatch(client_id) or not 0 < len(client_secret) <= MAX_SECRET:
            return None
        stored = (await self._by_client_id.get()).get(client_id)
        if stored is None or not self._is_valid(stored.document, _hash(client_secret)):
            return None
        return identity_of_token(stored)

    async def _read(self) -> Mapping[str, Stored[ServiceTokenDocument]]:
        return {stored.document.client_id: stored for stored in await self._store.list(SERVICE_TOKEN)}

    def _is_valid(self, document: ServiceTokenDocument, secret_sha256: str) -> bool:
        now = self._now()
        if document.expires_at is not None and document.expires_at <= now:
            return False
        if hmac.compare_digest(document.secret_sha256, secret_sha256):
            return True
        previous = document.previous
        return (
            previous is not None and hmac.compare_digest(previous.sha256, secret_sha256) and now < previous.expires_at
        )

    def _expiry(self, duration: str) -> datetime | None:
        if duration == FOREVER:
            return None
        length = read_duration(duration)
        if length <= timedelta(0):
            raise ValueError("duration must be longer than nothing")
        return (self._now() + length).astimezone(UTC).replace(microsecond=0)


def shown_document(stored: Stored[ServiceTokenDocument]) -> dict[str, object]:
    """The token as the API shows it: without the hashes of its secrets."""
    members = SERVICE_TOKEN.members(stored.document)
    return {"id": stored.id, **{name: value for name, value in members.items() if name not in _HASHED}}


_HASHED = ("secret_sha256", "previous")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
