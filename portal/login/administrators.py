"""Local administrators: accounts of the portal itself, so that it needs no identity provider to start.

The first one claims the portal with a one-time link that only the console of the server shows.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login.passwords import Passwords
from portal.state import Store, utc_now

KIND = "admin"
CLAIM = "claim"
CLAIM_LASTS = timedelta(hours=24)
IDP = LOCAL_ACCOUNTS


class Administrators:
    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def exist(self) -> bool:
        return bool(await self._store.list(KIND))

    async def offer_claim(self) -> str | None:
        """A fresh claim token while there is no administrator; earlier ones end. None once there is one."""
        if await self.exist():
            return None
        await self._store.tokens.revoke_subject(CLAIM, kinds=(CLAIM,))
        token = secrets.token_urlsafe(32)
        await self._store.tokens.issue(CLAIM, token, subject=CLAIM, document={}, expires_at=self._now() + CLAIM_LASTS)
        return token

    async def claimable(self, token: str) -> bool:
        found = await self._store.tokens.find(CLAIM, token) if token else None
        return found is not None and found.used_at is None and not await self.exist()

    async def claim(self, token: str, email: str, name: str, password: str) -> Identity | None:
        """Make the first administrator; None when the link was used before, has expired, or comes too late."""
        password_hash = await self._passwords.hash(password)
        consumed = await self._store.tokens.consume(CLAIM, token)
        if consumed is None or consumed.reused or await self.exist():
            return None
        return await self._create(email, name, password_hash, by="claim")

    async def create(self, email: str, name: str, password: str, *, by: str) -> Identity:
        return await self._create(email, name, await self._passwords.hash(password), by=by)

    async def sign_in(self, email: str, password: str) -> Identity | None:
        account = next(
            (found for found in await self._store.list(KIND) if found.document["email"] == _normal(email)), None
        )
        stored = str(account.document["password_hash"]) if account is not None else None
        if not await self._passwords.match(stored, password) or account is None:
            return None
        return _identity(account.id, account.document["email"], account.document["name"])

    async def _create(self, email: str, name: str, password_hash: str, *, by: str) -> Identity:
        account = str(uuid.uuid4())
        document = {"email": _normal(email), "name": name, "password_hash": password_hash}
        await self._store.create(KIND, account, document, by=by)
        return _identity(account, document["email"], name)


def _normal(email: str) -> str:
    return email.strip().lower()


def _identity(account: str, email: str, name: str) -> Identity:
    return Identity(
        id=f"{IDP}:{account}",
        email=email,
        name=name,
        idp_id=IDP,
        idp_type=IDP,
        login_method=IDP,
        auth_methods=("pwd",),
    )
