"""Local administrators: accounts of the instance itself, so that it needs no identity provider to start.

The first one claims the instance with a one-time link that only the console of the server shows. Every portal knows the
same accounts; a link is good at the portal that offered it.
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
    """The accounts in the store. Its tokens are those of the portal whose claim links these are."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def exist(self) -> bool:
        return bool(await self._store.list(KIND))

    async def offer_claim(self) -> str | None:
        """A new claim token, and all earlier ones end; None if there is an administrator."""
        if await self.exist():
            return None
        await self._store.tokens.revoke_subject(CLAIM, kinds=(CLAIM,))
        token = secrets.token_urlsafe(32)
        await self._store.tokens.issue(CLAIM, token, subject=CLAIM, document={}, expires_at=self._now() + CLAIM_LASTS)
        return token

    async def claimable(self, token: str) -> bool:
        """Whether this claim token would make the first administrator now."""
        claim = await self._store.tokens.find(CLAIM, token) if token else None
        return claim is not None and claim.used_at is None and not await self.exist()

    async def claim(self, token: str, email: str, name: str, password: str) -> Identity | None:
        """Make the first administrator. None if the link was used, has expired, or there is an administrator."""
        password_hash = await self._passwords.hash(password)
        used = await self._store.tokens.consume(CLAIM, token)
        if used is None or used.reused or await self.exist():
            return None
        return await self._create(email, name, password_hash, by="claim")

    async def create(self, email: str, name: str, password: str, *, by: str) -> Identity:
        return await self._create(email, name, await self._passwords.hash(password), by=by)

    async def sign_in(self, email: str, password: str) -> Identity | None:
        """The person with this account, or None if there is no such account or the password is wrong."""
        accounts = await self._store.list(KIND)
        account = next((one for one in accounts if one.document["email"] == _normal(email)), None)
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
