"""The portal's own signing keys: ES256, the private part encrypted in the store, the public ones for everybody.

A new key is made every six weeks, or when asked for. The former one stays published for as long as anything signed with
it may be shown, and longer: for who keeps a copy of the key set.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import jwt
from joserfc.jwk import ECKey

from portal.login.sessions import utc_now
from portal.state import Store

KIND = "signing_key"
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
    def __init__(
        self, store: Store, now: Callable[[], datetime] = utc_now, rotated_every: timedelta = ROTATED_EVERY
    ) -> None:
        self._store = store
        self._now = now
        self._rotated_every = rotated_every
        self._kept: list[SigningKey] | None = None
        self._forget = store.subscribe(self._changed)

    def close(self) -> None:
        self._forget()

    async def current(self) -> SigningKey:
        """The key to sign with, made when there is none or the last one is old enough."""
        keys = [key for key in await self._keys() if key.retires_at is None]
        if not keys or self._now() - keys[-1].made_at >= self._rotated_every:
            return await self.rotate(by="rotation")
        return keys[-1]

    async def rotate(self, *, by: str) -> SigningKey:
        """A new key from now on."""
        kid = secrets.token_hex(16)
        made = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": ALGORITHM})
        document = {"public": made.as_dict(private=False), "retires_at": None}
        retires_at = (self._now() + PUBLISHED_AFTERWARDS).isoformat()
        async with self._store.transaction() as transaction:
            for stored in await transaction.list(KIND):
                if stored.document["retires_at"] is None:
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

    def _published(self, key: SigningKey) -> bool:
        return key.retires_at is None or self._now() < key.retires_at

    async def _keys(self) -> list[SigningKey]:
        if self._kept is None:
            found: list[SigningKey] = []
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
            self._kept = found
        return self._kept

    def _changed(self, kinds: frozenset[str] | set[str]) -> None:
        if KIND in kinds:
            self._kept = None
