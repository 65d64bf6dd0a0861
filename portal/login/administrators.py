"""Local administrators: accounts of the instance itself, so that it needs no identity provider to start.

The first one claims the instance with a one-time link that only the console of the server shows. Later ones are invited
(`invitations`). Every portal knows the same accounts; a link is good at the portal that offered it.

Whether an account may be made or removed is decided in the transaction that does it: at no moment are there two of one
address, or nobody who could sign in.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import Field

from portal.errors import PortalError
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login.passwords import Passwords
from portal.login.sessions import EVERYWHERE
from portal.objects import Document
from portal.state import Broken, Kind, NotFound, Store, Stored, Transaction, utc_now


class AccountDocument(Document):
    """A local account; `email` is in lower case. `password_hash` is "" from a reset until its link is used."""

    email: str
    name: str = ""
    password_hash: str = Field("", repr=False)


class LinkDocument(Document):
    """Nothing: the token alone is what counts."""


class ResetDocument(Document):
    """`id` is that of the account."""

    id: str


class InvitationDocument(Document):
    """`email` is in lower case; `expires_at` is a time of ISO 8601."""

    email: str
    expires_at: datetime


ADMINISTRATOR = Kind("admin", AccountDocument)
INVITATION = Kind("invitation", InvitationDocument)
INVITATION_LINK = Kind("invitation", LinkDocument)
"""The tokens in the links of invitations; their subject is the invitation's id."""
CLAIM = Kind("claim", LinkDocument)
RESET = Kind("reset", ResetDocument)
CLAIM_LASTS = timedelta(hours=24)
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
        """Whether there is an account. One that cannot be read counts: else the next claim would take the portal."""
        found = await self._store.scan(ADMINISTRATOR)
        return bool(found.stored or found.broken)

    async def list(self) -> list[Administrator]:
        """All of them, in order of their creation."""
        return [_administrator(stored) for stored in await self._store.list(ADMINISTRATOR)]

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
        await self._store.tokens.revoke_subject(CLAIM.name, kinds=(CLAIM.name,))
        token = secrets.token_urlsafe(32)
        expires_at = self._now() + CLAIM_LASTS
        await self._store.tokens.issue(CLAIM, token, subject=CLAIM.name, document=LinkDocument(), expires_at=expires_at)
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
            if used is None or used.reused or await _any_account(transaction):
                return None
            return await make_account(transaction, str(uuid.uuid4()), email, name, password_hash, by="claim")

    # Signing in

    async def sign_in(self, email: str, password: str) -> Administrator | None:
        """The account with this address and password, or None, after the same time, if there is none.

        A caller that issues something to it asks `stands` afterwards.
        """
        accounts = await self._store.list(ADMINISTRATOR)
        account = next((one for one in accounts if one.document.email == _normal(email)), None)
        stored = account.document.password_hash if account is not None else ""
        if not await self._passwords.match(stored or None, password) or account is None:
            return None
        return _administrator(account)

    async def stands(self, administrator: Administrator) -> bool:
        """Whether the account is as it was read. If not, it may have been removed, or given another password, and a
        session or code issued since must not be given out: the change could not end it before it was there."""
        stored = await self._store.find(ADMINISTRATOR, administrator.id)
        return isinstance(stored, Stored) and stored.revision == administrator.revision

    # Removing, and new passwords

    async def remove(self, id: str, *, by: str) -> Administrator:
        """Remove an account with its sessions and grants, and the invitations that it made.

        Raises:
            LastAdministrator: nobody else could sign in.
            NotFound: there is no such account.
        """
        async with self._store.transaction() as transaction:
            removed = _administrator(await transaction.delete(ADMINISTRATOR, id, by=by))
            if not any(one.document.password_hash for one in await transaction.list(ADMINISTRATOR)):
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
            await transaction.tokens.issue(
                RESET, token, subject=subject, document=ResetDocument(id=id), expires_at=expires_at
            )
        return ResetLink(changed, token, expires_at)

    async def resettable(self, token: str) -> Administrator | None:
        """Whose password this reset token would change now; None if it was used, has expired, or was replaced."""
        found = await self._store.tokens.find(RESET, token) if token else None
        if found is None or found.used_at is not None:
            return None
        stored = await self._store.find(ADMINISTRATOR, found.document.id)
        return _administrator(stored) if isinstance(stored, Stored) else None

    async def reset(self, token: str, password: str) -> Administrator | None:
        """The administrator, whose password it is now; None if the token was used, has expired, or was replaced."""
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            used = await transaction.tokens.consume(RESET, token)
            if used is None or used.reused:
                return None
            id = used.document.id
            if not isinstance(await transaction.find(ADMINISTRATOR, id), Stored):
                return None
            return await _change_password(transaction, id, password_hash, by="reset link")


async def make_account(
    transaction: Transaction, id: str, email: str, name: str, password_hash: str, *, by: str
) -> Administrator:
    """
    Raises:
        AddressTaken: there is an administrator with this address.
    """
    address = _normal(email)
    if any(one.document.email == address for one in await transaction.list(ADMINISTRATOR)):
        raise AddressTaken("there is an administrator with this address")
    document = AccountDocument(email=address, name=name, password_hash=password_hash)
    return _administrator(await transaction.create(ADMINISTRATOR, id, document, by=by))


async def withdraw_invitations_by(transaction: Transaction, inviter: str, *, by: str) -> None:
    """Delete the invitations that this identity made, with their links."""
    for invitation in await transaction.list(INVITATION):
        if invitation.created_by == inviter or invitation.modified_by == inviter:
            await transaction.delete(INVITATION, invitation.id, by=by)
            await transaction.tokens.revoke_subject(invitation.id, kinds=(INVITATION.name,))


async def _change_password(transaction: Transaction, id: str, password_hash: str, *, by: str) -> Administrator:
    stored = await transaction.get(ADMINISTRATOR, id)
    if stored is None:
        raise NotFound(ADMINISTRATOR.name, id)
    # Other members of the document, such as a role that a newer program has written, stay.
    document = stored.document.model_copy(update={"password_hash": password_hash})
    changed = _administrator(await transaction.replace(ADMINISTRATOR, id, document, by=by))
    await _end_logins(transaction, changed.identity)
    return changed


async def _any_account(transaction: Transaction) -> bool:
    """Whether there is an account. One that cannot be read counts: else the next claim would take the portal."""
    found = await transaction.scan(ADMINISTRATOR)
    return bool(found.stored or found.broken)


async def _end_logins(transaction: Transaction, identity: Identity) -> None:
    await transaction.tokens.revoke_subject(identity.id, kinds=(*EVERYWHERE, RESET.name))


def _normal(email: str) -> str:
    return email.strip().lower()


def _administrator(found: Stored[AccountDocument] | Broken) -> Administrator:
    """An account as it was read. Of one that cannot be read only the id is known; it can be removed all the same."""
    if isinstance(found, Broken):
        return Administrator(found.id, "", "", False, found.revision, found.modified_at, "", found.modified_at)
    document = found.document
    return Administrator(
        found.id,
        document.email,
        document.name,
        bool(document.password_hash),
        found.revision,
        found.created_at,
        found.created_by,
        found.modified_at,
    )
