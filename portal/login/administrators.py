"""Local administrators: accounts of the instance itself, so that it needs no identity provider to start.

The first one claims the instance with a one-time link that only the console of the server shows. Every portal knows the
same accounts; a link is good at the portal that offered it.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import Field

from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login.passwords import Passwords
from portal.objects import Document
from portal.state import Kind, Store, utc_now


class AccountDocument(Document):
    """A local account; `email` is in lower case."""

    email: str
    name: str = ""
    password_hash: str = Field(repr=False)


class ClaimDocument(Document):
    """Nothing: the token alone is what counts."""


ADMINISTRATOR = Kind("admin", AccountDocument)
CLAIM = Kind("claim", ClaimDocument)
CLAIM_LASTS = timedelta(hours=24)
IDP = LOCAL_ACCOUNTS


class Administrators:
    """The accounts in the store. Its tokens are those of the portal whose claim links these are."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def exist(self) -> bool:
        """Whether there is an account. One that cannot be read counts: else the next claim would take the portal."""
        found = await self._store.scan(ADMINISTRATOR)
        return bool(found.stored or found.broken)

    async def offer_claim(self) -> str | None:
        """A new claim token, and all earlier ones end; None if there is an administrator."""
        if await self.exist():
            return None
        await self._store.tokens.revoke_subject(CLAIM.name, kinds=(CLAIM.name,))
        token = secrets.token_urlsafe(32)
        expires_at = self._now() + CLAIM_LASTS
        await self._store.tokens.issue(
            CLAIM, token, subject=CLAIM.name, document=ClaimDocument(), expires_at=expires_at
        )
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
        accounts = await self._store.list(ADMINISTRATOR)
        account = next((one for one in accounts if one.document.email == _normal(email)), None)
        stored = account.document.password_hash if account is not None else None
        if not await self._passwords.match(stored, password) or account is None:
            return None
        return _identity(account.id, account.document.email, account.document.name)

    async def _create(self, email: str, name: str, password_hash: str, *, by: str) -> Identity:
        account = str(uuid.uuid4())
        document = AccountDocument(email=_normal(email), name=name, password_hash=password_hash)
        await self._store.create(ADMINISTRATOR, account, document, by=by)
        return _identity(account, document.email, name)


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
