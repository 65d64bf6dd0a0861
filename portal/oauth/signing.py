"""The portal's own signing keys: ES256, the private part encrypted in the store, the public ones for everybody.

A new key is made every six weeks, or as often as the stored settings say, or when asked for. The former one stays
published for as long as anything signed with it may be shown, and longer: for who keeps a copy of the key set.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
from joserfc.jwk import ECKey

from portal.state import Store, utc_now

KIND = "signing_key"
SETTINGS = ("settings", "keys")
ALGORITHM = "ES256"
ROTATED_EVERY = timedelta(days=42)
PUBLISHED_AFTERWARDS = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair. `retires_at` is when it is no longer published; None while it signs."""

    kid: str
    public: dict[str, Any]
    private: str = field(repr=False)
    made_at: datetime
    retires_at: datetime | None = None


class SigningKeys:
    def __init__(self, store: Store, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._now = now
        self._kept: list[SigningKey] | None = None
        self._interval: timedelta | None = None
        # How often the store has told of a change: what was read meanwhile may be older, and is not kept.
        self._heard = 0
        self._forget = store.subscribe(self._changed)

    def close(self) -> None:
        self._forget()

    async def current(self) -> SigningKey:
        """The key to sign with, made when there is none or the last one is old enough."""
        signing = [key for key in await self._keys() if key.retires_at is None]
        every = await self.rotated_every()
        if signing and not self._is_due(signing[-1].made_at, every):
            return signing[-1]
        return await self._rotate("rotation", every)

    async def rotate(self, *, by: str) -> SigningKey:
        """A new key from now on."""
        return await self._rotate(by)

    async def rotated_every(self) -> timedelta:
        """What `access/keys` was told, kept until it is told something else."""
        if self._interval is not None:
            return self._interval
        heard, interval = self._heard, await read_rotation_interval(self._store)
        if heard == self._heard:
            self._interval = interval
        return interval

    async def _rotate(self, by: str, due_every: timedelta | None = None) -> SigningKey:
        """With `due_every`, only if nobody else has made a new key meanwhile."""
        kid = secrets.token_hex(16)
        made = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": ALGORITHM})
        document = {"public": made.as_dict(private=False), "retires_at": None}
        retires_at = (self._now() + PUBLISHED_AFTERWARDS).isoformat()
        async with self._store.transaction() as transaction:
            signing = [stored for stored in await transaction.list(KIND) if stored.document["retires_at"] is None]
            if due_every and signing and not self._is_due(signing[-1].created_at, due_every):
                kid = signing[-1].id
            else:
                for stored in signing:
                    await transaction.replace(KIND, stored.id, {**stored.document, "retires_at": retires_at}, by=by)
                await transaction.create(KIND, kid, document, by=by, secret=made.as_pem(private=True))
        self._kept = None
        return next(key for key in await self._keys() if key.kid == kid)

    async def key_set(self) -> dict[str, Any]:
        """The JWK Set to publish (RFC 7517), the newest first."""
        await self.current()
        return {"keys": [key.public for key in reversed(await self._keys()) if self._published(key)]}

    async def sign(self, claims: dict[str, Any], **header: Any) -> str:
        key = await self.current()
        return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"kid": key.kid, **header})

    async def verify(self, token: str, *, issuer: str, audience: list[str]) -> dict[str, Any] | None:
        """The claims of a token we signed ourselves; None when it does not hold."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next((key for key in await self._keys() if key.kid == kid and self._published(key)), None)
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(key.public, ALGORITHM).key,
                algorithms=[ALGORITHM],
                issuer=issuer,
                audience=audience,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        # PyJWT takes numbers written as text, and years that no clock reaches.
        times = [claims["exp"], claims["iat"]]
        whole = all(isinstance(moment, int) and not isinstance(moment, bool) for moment in times)
        return claims if whole and 0 < claims["exp"] - claims["iat"] <= 24 * 3600 else None

    def _is_due(self, made_at: datetime, every: timedelta) -> bool:
        return self._now() - made_at >= every

    def _published(self, key: SigningKey) -> bool:
        return key.retires_at is None or self._now() < key.retires_at

    async def _keys(self) -> list[SigningKey]:
        if self._kept is not None:
            return self._kept
        heard, found = self._heard, list[SigningKey]()
        for stored in await self._store.list(KIND):
            private = await self._store.secret(KIND, stored.id)
            retires = stored.document["retires_at"]
            found.append(
                SigningKey(
                    stored.id,
                    dict(stored.document["public"]),
                    (private or b"").decode(),
                    stored.created_at,
                    datetime.fromisoformat(retires) if retires else None,
                )
            )
        if heard == self._heard:
            self._kept = found
        return found

    def _changed(self, kinds: frozenset[str] | set[str]) -> None:
        self._heard += 1
        if KIND in kinds:
            self._kept = None
        if SETTINGS[0] in kinds:
            self._interval = None


async def read_rotation_interval(store: Store) -> timedelta:
    stored = await store.get(*SETTINGS)
    return timedelta(days=stored.document["key_rotation_interval_days"]) if stored else ROTATED_EVERY
