"""Local administrators: accounts of the instance itself, so that it needs no identity provider to start.

The first one claims the instance with a one-time link that only the console of the server shows. Later ones are invited
(`invitations`). Every portal knows the same accounts; a link is good at the portal that offered it.

Whether an account may be made or removed is decided in the transaction that does it: at no moment are there two of one
address, or nobody who could sign in.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from portal.errors import PortalError
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login.passwords import Passwords
from portal.login.sessions import EVERYWHERE
from portal.state import Store, Stored, Transaction, utc_now

KIND = "admin"
CLAIM = "claim"
CLAIM_LASTS = timedelta(hours=24)
RESET = "reset"
RESET_LASTS = timedelta(hours=1)
MAX_ACCOUNTS = 1000
IDP = LOCAL_ACCOUNTS


class AccountError(PortalError):
    """A change of local accounts that is refused; it did not happen."""


class AddressTaken(AccountError):
    """There is an administrator with this address, or an invitation for it."""


class LastAdministrator(AccountError):
    """Without this one nobody could sign in as administrator."""


class TooManyAccounts(AccountError):
    """There are `MAX_ACCOUNTS` administrators and invitations."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """One account. `has_password` is false from a reset until its link is used: nobody signs in with it meanwhile.

    `revision` is that of the stored account, which every change of it counts up.
    """

    id: str
    email: str
    name: str
    has_password: bool
    revision: int
    created_at: datetime
    created_by: str
    modified_at: datetime

    @property
    def identity(self) -> Identity:
        return Identity(
            id=f"{IDP}:{self.id}",
            email=self.email,
            name=self.name,
            idp_id=IDP,
            idp_type=IDP,
            login_method=IDP,
            auth_methods=("pwd",),
        )


@dataclass(frozen=True, slots=True)
class ResetLink:
    """A one-time token with which this administrator chooses a new password."""

    administrator: Administrator
    token: str = field(repr=False)
    expires_at: datetime


class Administrators:
    """The accounts in the store. Its tokens are those of the portal whose claim and reset links these are."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def exist(self) -> bool:
        return bool(await self._store.list(KIND))

    async def list(self) -> list[Administrator]:
        """All of them, in order of their creation."""
        return [_administrator(stored) for stored in await self._store.list(KIND)]

    async def find(self, email: str) -> Administrator | None:
        """The one with this address, in upper or lower case, or None."""
        return next((one for one in await self.list() if one.email == _normal(email)), None)

    async def create(self, email: str, name: str, password: str, *, by: str) -> Identity:
        """
        Raises:
            AddressTaken: there is one with this address.
        """
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            made = await make_account(transaction, str(uuid.uuid4()), email, name, password_hash, by=by)
        return made.identity

    # The first one

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

    async def claim(self, token: str, email: str, name: str, password: str) -> Administrator | None:
        """Make the first administrator. None if the link was used, has expired, or there is an administrator."""
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            used = await transaction.tokens.consume(CLAIM, token)
            # In the same transaction: two portals may each have offered a link.
            if used is None or used.reused or await transaction.list(KIND):
                return None
            return await make_account(transaction, str(uuid.uuid4()), email, name, password_hash, by="claim")

    # Signing in

    async def sign_in(self, email: str, password: str) -> Administrator | None:
        """The account with this address and password, or None, after the same time, if there is none.

        A caller that issues something to it asks `stands` afterwards.
        """
        accounts = await self._store.list(KIND)
        account = next((one for one in accounts if one.document["email"] == _normal(email)), None)
        stored = str(account.document.get("password_hash") or "") if account is not None else ""
        if not await self._passwords.match(stored or None, password) or account is None:
            return None
        return _administrator(account)

    async def stands(self, administrator: Administrator) -> bool:
        """Whether the account is as it was read. If not, it may have been removed, or given another password, and a
        session or code issued since must not be given out: the change could not end it before it was there."""
        stored = await self._store.get(KIND, administrator.id)
        return stored is not None and stored.revision == administrator.revision

    # Removing, and new passwords

    async def remove(self, id: str, *, by: str) -> Administrator:
        """Remove an account with its sessions and grants, and the invitations that it made.

        Raises:
            LastAdministrator: nobody else could sign in.
            NotFound: there is no such account.
        """
        async with self._store.transaction() as transaction:
            removed = _administrator(await transaction.delete(KIND, id, by=by))
            if not any(one.document.get("password_hash") for one in await transaction.list(KIND)):
                raise LastAdministrator("the last administrator who can sign in stays; invite another first")
            await _end_logins(transaction, removed.identity)
            # Who is removed may still have a link in hand that makes another administrator.
            await withdraw_invitations_by(transaction, removed.identity.id, by=by)
        return removed

    async def set_password(self, id: str, password: str, *, by: str) -> Administrator:
        """Another password. Every session and grant of the account ends, and every reset link.

        Raises:
            NotFound: there is no such account.
        """
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            return await _change_password(transaction, id, password_hash, by=by)

    async def offer_reset(self, id: str, *, by: str) -> ResetLink:
        """A link with which the administrator chooses a password. The present one, every session, every grant and every
        earlier link end now.

        Raises:
            NotFound: there is no such account.
        """
        token, expires_at = secrets.token_urlsafe(32), self._now() + RESET_LASTS
        async with self._store.transaction() as transaction:
            changed = await _change_password(transaction, id, "", by=by)
            subject = changed.identity.id
            await transaction.tokens.issue(RESET, token, subject=subject, document={"id": id}, expires_at=expires_at)
        return ResetLink(changed, token, expires_at)

    async def resettable(self, token: str) -> Administrator | None:
        """Whose password this reset token would change now; None if it was used, has expired, or was replaced."""
        found = await self._store.tokens.find(RESET, token) if token else None
        if found is None or found.used_at is not None:
            return None
        stored = await self._store.get(KIND, str(found.document["id"]))
        return _administrator(stored) if stored is not None else None

    async def reset(self, token: str, password: str) -> Administrator | None:
        """The administrator, whose password it is now; None if the token was used, has expired, or was replaced."""
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            used = await transaction.tokens.consume(RESET, token)
            if used is None or used.reused:
                return None
            id = str(used.document["id"])
            if await transaction.get(KIND, id) is None:
                return None
            return await _change_password(transaction, id, password_hash, by="reset link")


INVITATION = "invitation"
"""The kind of invitations, and of the tokens in their links."""


async def make_account(
    transaction: Transaction, id: str, email: str, name: str, password_hash: str, *, by: str
) -> Administrator:
    """
    Raises:
        AddressTaken: there is an administrator with this address.
    """
    address = _normal(email)
    if any(one.document["email"] == address for one in await transaction.list(KIND)):
        raise AddressTaken("there is an administrator with this address")
    document = {"email": address, "name": name, "password_hash": password_hash}
    return _administrator(await transaction.create(KIND, id, document, by=by))


async def withdraw_invitations_by(transaction: Transaction, inviter: str, *, by: str) -> None:
    """Delete the invitations that this identity made, with their links."""
    for invitation in await transaction.list(INVITATION):
        if invitation.created_by == inviter or invitation.modified_by == inviter:
            await transaction.delete(INVITATION, invitation.id, by=by)
            await transaction.tokens.revoke_subject(invitation.id, kinds=(INVITATION,))


async def _change_password(transaction: Transaction, id: str, password_hash: str, *, by: str) -> Administrator:
    stored = await transaction.get(KIND, id)
    document: Mapping[str, Any] = stored.document if stored is not None else {}
    # What else a document says, such as a role that a newer program has written, stays.
    changed = _administrator(await transaction.replace(KIND, id, {**document, "password_hash": password_hash}, by=by))
    await _end_logins(transaction, changed.identity)
    return changed


async def _end_logins(transaction: Transaction, identity: Identity) -> None:
    await transaction.tokens.revoke_subject(identity.id, kinds=(*EVERYWHERE, RESET))


def _normal(email: str) -> str:
    return email.strip().lower()


def _administrator(stored: Stored) -> Administrator:
    document: Mapping[str, Any] = stored.document
    return Administrator(
        stored.id,
        str(document["email"]),
        str(document["name"]),
        bool(document.get("password_hash")),
        stored.revision,
        stored.created_at,
        stored.created_by,
        stored.modified_at,
    )
