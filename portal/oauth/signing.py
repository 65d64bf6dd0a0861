"""The portal's own signing keys: ES256, the private part encrypted in the store, the public part published.

A new key replaces the current one every six weeks, or as often as the stored settings say, or on request. The former
key stays published for longer than anything signed with it is valid: others keep copies of the key set.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol
from pydantic import AwareDatetime

from portal.objects import Document
from portal.state import Broken, Kept, Kind, Store, utc_now

Jwk = dict[str, str | list[str]]
"""A key as JSON (RFC 7517)."""


class KeyDocument(Document):
    """The public part of a key, as a JWK; `retires_at` is None while it signs."""

    public: Jwk
    retires_at: AwareDatetime | None


class KeySettings(Document):
    """How often keys are rotated."""

    key_rotation_interval_days: int


SIGNING_KEY = Kind("signing_key", KeyDocument)
KEY_SETTINGS, KEY_SETTINGS_ID = Kind("settings", KeySettings), "keys"
ALGORITHM = "ES256"
ROTATED_EVERY = timedelta(days=42)
PUBLISHED_AFTERWARDS = timedelta(days=7)
MAX_VALID_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair, the private part as PEM. `retires_at` is when it is no longer published; None while it signs."""

    kid: str
    public: Jwk
    private: str = field(repr=False)
    made_at: datetime
    retires_at: datetime | None = None


class SigningKeys:
    """Makes keys, signs with the current one, and verifies what any published one signed."""

    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._keys = Kept(store, {SIGNING_KEY.name}, self._read)
        self._interval = Kept(store, {KEY_SETTINGS.name}, lambda: read_rotation_interval(store))

    def close(self) -> None:
        self._keys.close()
        self._interval.close()

    async def current(self) -> SigningKey:
        """The key to sign with: a new one if there is none, or the last one is due."""
        signing = [key for key in await self._keys.get() if key.retires_at is None]
        interval = await self.rotation_interval()
        if signing and not self._is_due(signing[-1].made_at, interval):
            return signing[-1]
        return await self._rotate("rotation", interval)

    async def rotate(self, *, by: str) -> SigningKey:
        """Make a new key, which signs from now on."""
        return await self._rotate(by)

    async def rotation_interval(self) -> timedelta:
        """How long a key signs."""
        return await self._interval.get()

    async def _rotate(self, by: str, due_after: timedelta | None = None) -> SigningKey:
        """With `due_after`, only if no other process has made a new key since this one read the keys."""
        kid = secrets.token_hex(16)
        new = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": ALGORITHM})
        document = KeyDocument(public=new.as_dict(private=False), retires_at=None)
        retires_at = self._now() + PUBLISHED_AFTERWARDS
        async with self._store.transaction() as transaction:
            signing = [one for one in await transaction.list(SIGNING_KEY) if one.document.retires_at is None]
            if due_after and signing and not self._is_due(signing[-1].created_at, due_after):
                kid = signing[-1].id
            else:
                for former in signing:
                    retired = former.document.model_copy(update={"retires_at": retires_at})
                    await transaction.replace(SIGNING_KEY, former.id, retired, by=by)
                await transaction.create(SIGNING_KEY, kid, document, by=by, secret=new.as_pem(private=True))
        # The store may not have told yet of a key that another process made.
        self._keys.forget()
        return next(key for key in await self._keys.get() if key.kid == kid)

    async def key_set(self) -> dict[str, list[Jwk]]:
        """The JWK Set to publish (RFC 7517), the newest key first."""
        await self.current()
        return {"keys": [key.public for key in reversed(await self._keys.get()) if self._is_published(key)]}

    async def sign(self, claims: dict[str, object]) -> str:
        """A JWT of these claims (RFC 7519), signed with the current key."""
        key = await self.current()
        header = {"alg": ALGORITHM, "kid": key.kid}
        return jwt.encode(header, claims, ECKey.import_key(key.private), algorithms=[ALGORITHM])

    async def verify(self, token: str, *, issuer: str, audience: list[str]) -> dict[str, object] | None:
        """The claims of a JWT that we signed for this issuer and one of these audiences, or None if it is not valid.

        It must name a published key, and have `exp`, `iat`, `iss` and `aud`; it is valid for 24 hours at most.
        """
        if not audience:
            return None
        published = {key.kid: key.public for key in await self._keys.get() if self._is_published(key)}

        def key_of(signature: GuestProtocol) -> ECKey:
            return ECKey.import_key(published[str(signature.headers().get("kid"))])

        required = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "values": audience},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            claims = jwt.decode(token, key_of, algorithms=[ALGORITHM]).claims
            required.validate(claims)
        except (JoseError, LookupError, ValueError, TypeError, RecursionError):
            # Joserfc raises TypeError for a header that is not an object, and lets the errors of JSON through.
            return None
        exp, iat = claims["exp"], claims["iat"]
        # Joserfc also accepts fractions, and years that no clock reaches.
        if type(exp) is not int or type(iat) is not int or not 0 < exp - iat <= MAX_VALID_SECONDS:
            return None
        return claims

    def _is_due(self, made_at: datetime, every: timedelta) -> bool:
        return self._now() - made_at >= every

    def _is_published(self, key: SigningKey) -> bool:
        return key.retires_at is None or self._now() < key.retires_at

    async def _read(self) -> tuple[SigningKey, ...]:
        keys: list[SigningKey] = []
        for stored in await self._store.list(SIGNING_KEY):
            private = await self._store.secret(SIGNING_KEY, stored.id)
            document = stored.document
            keys.append(
                SigningKey(
                    stored.id, document.public, (private or b"").decode(), stored.created_at, document.retires_at
                )
            )
        return tuple(keys)


async def read_rotation_interval(store: Store) -> timedelta:
    """How long a key signs, by the stored settings or by default."""
    stored = await store.find(KEY_SETTINGS, KEY_SETTINGS_ID)
    if stored is None or isinstance(stored, Broken):
        return ROTATED_EVERY
    return timedelta(days=stored.document.key_rotation_interval_days)
