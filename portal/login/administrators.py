"""Local administrators: accounts of the instance itself, so that it needs no identity provider to start.

The first administrator claims the instance with a one-time link that only the server's console shows. Later ones are
invited (`invitations`). Every portal has the same accounts; a link works at the portal that offered it.

The transaction that creates, changes or removes an account also checks that it may: at no moment do two accounts have
the same address, or is there no owner who can sign in.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from pydantic import Field

from portal.errors import PortalError
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.login.passwords import Passwords
from portal.login.sessions import EVERYWHERE, PERSON
from portal.objects import Document
from portal.state import Broken, Kind, NotFound, Store, Stored, Transaction, utc_now

Role = Literal["owner", "admin", "auditor"]
"""What an administrator may do: everything; everything but to change administrators, API tokens and account settings;
to read."""
ROLES: tuple[Role, ...] = get_args(Role)
"""The roles, the highest first."""


Check = Callable[[Transaction], Awaitable[None]]
"""Sees the transaction of a change before the change, and raises where it must not be made."""


async def unchecked(transaction: Transaction) -> None:
    """Lets every change be made."""


class AccountDocument(Document):
    """A local account; `email` is in lower case. `password_hash` is "" from a reset until its link is used. An account
    of before there were roles has none: it had everything."""

    email: str
    name: str = ""
    password_hash: str = Field("", repr=False)
    role: Role = "owner"


class LinkDocument(Document):
    """An empty document: only the token matters."""


class ResetDocument(Document):
    """`id` is the id of the account."""

    id: str


class InvitationDocument(Document):
    """`email` is in lower case; `expires_at` is an ISO 8601 time. The account that is made of it has this role."""

    email: str
    expires_at: datetime
    role: Role = "owner"


ADMINISTRATOR = Kind("admin", AccountDocument)
INVITATION = Kind("invitation", InvitationDocument)
INVITATION_LINK = Kind("invitation", LinkDocument)
"""The tokens in the links of invitations; their subject is the invitation's id."""
CLAIM = Kind("claim", LinkDocument)
RESET = Kind("reset", ResetDocument)
CLAIM_LIFETIME = timedelta(hours=24)
RESET_LIFETIME = timedelta(hours=1)
MAX_ACCOUNTS = 1000
IDP = LOCAL_ACCOUNTS


class AccountError(PortalError):
    """A change of local accounts was refused and did not happen."""


class AddressTaken(AccountError):
    """An administrator or invitation has this address already."""


class LastAdministrator(AccountError):
    """Nobody else could sign in as owner."""


class TooManyAccounts(AccountError):
    """There are already `MAX_ACCOUNTS` administrators and invitations."""


@dataclass(frozen=True, slots=True)
class Administrator:
    """One account. `has_password` is false from a reset until its link is used: nobody can sign in with it meanwhile.

    `role` is None for an account that cannot be read. `revision` is that of the stored account, which grows with every
    change.
    """

    id: str
    email: str
    name: str
    has_password: bool
    revision: int
    created_at: datetime
    created_by: str
    modified_at: datetime
    role: Role | None = None

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
    """A one-time token that lets this administrator choose a new password."""

    administrator: Administrator
    token: str = field(repr=False)
    expires_at: datetime


class Administrators:
    """The accounts in the store. The store's tokens belong to the portal that offers the claim and reset links."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def exist(self) -> bool:
        """Whether there is an account. An unreadable one counts, or the next claim would take over the portal."""
        scan = await self._store.scan(ADMINISTRATOR)
        return bool(scan.stored or scan.broken)

    async def list(self) -> list[Administrator]:
        """All administrators, in order of creation."""
        return [_administrator(stored) for stored in await self._store.list(ADMINISTRATOR)]

    async def find(self, email: str) -> Administrator | None:
        """The administrator with this address, ignoring case, or None."""
        return next(
            (administrator for administrator in await self.list() if administrator.email == _normalized(email)), None
        )

    async def create(self, email: str, name: str, password: str, *, by: str, role: Role = "owner") -> Identity:
        """
        Raises:
            AddressTaken: there is one with this address.
        """
        password_hash, id = await self._passwords.hash(password), str(uuid.uuid4())
        async with self._store.transaction() as transaction:
            administrator = await make_account(transaction, id, email, name, password_hash, by=by, role=role)
        return administrator.identity

    # The first one

    async def offer_claim(self) -> str | None:
        """A new claim token, which revokes the earlier ones; None if there is an administrator."""
        if await self.exist():
            return None
        await self._store.tokens.revoke_subject(CLAIM.name, kinds=(CLAIM.name,))
        token = secrets.token_urlsafe(32)
        expires_at = self._now() + CLAIM_LIFETIME
        await self._store.tokens.issue(CLAIM, token, subject=CLAIM.name, document=LinkDocument(), expires_at=expires_at)
        return token

    async def claimable(self, token: str) -> bool:
        """Whether this claim token can create the first administrator now."""
        claim = await self._store.tokens.find(CLAIM, token) if token else None
        return claim is not None and claim.used_at is None and not await self.exist()

    async def claim(self, token: str, email: str, name: str, password: str) -> Administrator | None:
        """The first administrator, created now. None if the token is used or expired, or there is an administrator."""
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            consumed = await transaction.tokens.consume(CLAIM, token)
            # Checked in the same transaction, because two portals may each have offered a link.
            if consumed is None or consumed.reused or await _any_account(transaction):
                return None
            return await make_account(transaction, str(uuid.uuid4()), email, name, password_hash, by="claim")

    # Signing in

    async def sign_in(self, email: str, password: str) -> Administrator | None:
        """The account with this address and password, or None. A miss takes as long as a match.

        A caller that issues a session or code to the account must check `is_unchanged` afterwards.
        """
        accounts = await self._store.list(ADMINISTRATOR)
        account = next((one for one in accounts if one.document.email == _normalized(email)), None)
        stored = account.document.password_hash if account is not None else ""
        if not await self._passwords.match(stored or None, password) or account is None:
            return None
        return _administrator(account)

    async def is_unchanged(self, administrator: Administrator) -> bool:
        """Whether the account has not changed since it was read.

        If it has, it may be removed or have a new password, and a session or code issued since must not be given out:
        it did not exist yet when the change ended the others.
        """
        stored = await self._store.find(ADMINISTRATOR, administrator.id)
        return isinstance(stored, Stored) and stored.revision == administrator.revision

    # Roles, removing, and new passwords

    async def change_role(self, id: str, role: Role, *, by: str, check: Check = unchecked) -> Administrator:
        """The administrator with this role. What they are signed in with goes on, and may do what the role may. Of who
        is an owner no more the invitations end that they made. `check` sees the transaction before the change.

        Raises:
            LastAdministrator: nobody else could sign in as owner.
            NotFound: there is no such account.
        """
        async with self._store.transaction() as transaction:
            stored = await transaction.get(ADMINISTRATOR, id)
            if stored is None:
                raise NotFound(ADMINISTRATOR.name, id)
            await check(transaction)
            document = stored.document.model_copy(update={"role": role})
            changed = _administrator(await transaction.replace(ADMINISTRATOR, id, document, by=by))
            if stored.document.role == "owner" and role != "owner":
                await _require_an_owner(transaction)
                # An invitation that they made may be one for an owner, and its link in their hands.
                await revoke_invitations_by(transaction, changed.identity.id, by=by)
        return changed

    async def remove(self, id: str, *, by: str, check: Check = unchecked) -> Administrator:
        """Remove an account with its sessions and grants, and the invitations that it made. `check` sees the
        transaction before that.

        Raises:
            LastAdministrator: nobody else could sign in as owner.
            NotFound: there is no such account.
        """
        async with self._store.transaction() as transaction:
            await check(transaction)
            removed = _administrator(await transaction.delete(ADMINISTRATOR, id, by=by))
            if removed.role in ("owner", None):
                await _require_an_owner(transaction)
            await _end_logins(transaction, removed.identity)
            await transaction.tokens.revoke_subject(removed.identity.id, kinds=(PERSON.name,))
            # Otherwise the removed administrator could still accept an invitation of their own.
            await revoke_invitations_by(transaction, removed.identity.id, by=by)
        return removed

    async def set_password(self, id: str, password: str, *, by: str) -> Administrator:
        """Set a new password, and end every session, grant and reset link of the account.

        Raises:
            NotFound: there is no such account.
        """
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            return await _change_password(transaction, id, password_hash, by=by)

    async def offer_reset(self, id: str, *, by: str, keeping_one: bool = False) -> ResetLink:
        """A link that lets the administrator choose a password. It ends the current password, and every session,
        grant and earlier link. With `keeping_one` the last owner who can sign in keeps the password.

        Raises:
            LastAdministrator: nobody else could sign in as owner.
            NotFound: there is no such account.
        """
        token, expires_at = secrets.token_urlsafe(32), self._now() + RESET_LIFETIME
        async with self._store.transaction() as transaction:
            changed = await _change_password(transaction, id, "", by=by)
            if keeping_one and changed.role == "owner":
                await _require_an_owner(transaction)
            subject = changed.identity.id
            await transaction.tokens.issue(
                RESET, token, subject=subject, document=ResetDocument(id=id), expires_at=expires_at
            )
        return ResetLink(changed, token, expires_at)

    async def resettable(self, token: str) -> Administrator | None:
        """The administrator whose password this token can change now; None if it is used, expired or replaced."""
        link = await self._store.tokens.find(RESET, token) if token else None
        if link is None or link.used_at is not None:
            return None
        stored = await self._store.find(ADMINISTRATOR, link.document.id)
        return _administrator(stored) if isinstance(stored, Stored) else None

    async def reset(self, token: str, password: str) -> Administrator | None:
        """The administrator with the new password; None if the token is used, expired or replaced."""
        password_hash = await self._passwords.hash(password)
        async with self._store.transaction() as transaction:
            consumed = await transaction.tokens.consume(RESET, token)
            if consumed is None or consumed.reused:
                return None
            id = consumed.document.id
            if not isinstance(await transaction.find(ADMINISTRATOR, id), Stored):
                return None
            return await _change_password(transaction, id, password_hash, by="reset link")


async def role_of_account(store: Store, identity: Identity) -> Role | None:
    """The role of this local account now; None for anybody else, and where the account is gone or cannot be read."""
    scheme, _, id = identity.id.partition(":")
    if scheme != IDP or identity.idp_id != IDP:
        return None
    found = await store.find(ADMINISTRATOR, id)
    return found.document.role if isinstance(found, Stored) else None


async def make_account(
    transaction: Transaction, id: str, email: str, name: str, password_hash: str, *, by: str, role: Role = "owner"
) -> Administrator:
    """
    Raises:
        AddressTaken: there is an administrator with this address.
    """
    address = _normalized(email)
    if any(one.document.email == address for one in await transaction.list(ADMINISTRATOR)):
        raise AddressTaken("there is an administrator with this address")
    document = AccountDocument(email=address, name=name, password_hash=password_hash, role=role)
    return _administrator(await transaction.create(ADMINISTRATOR, id, document, by=by))


async def revoke_invitations_by(transaction: Transaction, inviter: str, *, by: str) -> None:
    """Delete the invitations that this identity created or renewed, with their links."""
    for invitation in await transaction.list(INVITATION):
        if invitation.created_by == inviter or invitation.modified_by == inviter:
            await transaction.delete(INVITATION, invitation.id, by=by)
            await transaction.tokens.revoke_subject(invitation.id, kinds=(INVITATION.name,))


async def _change_password(transaction: Transaction, id: str, password_hash: str, *, by: str) -> Administrator:
    stored = await transaction.get(ADMINISTRATOR, id)
    if stored is None:
        raise NotFound(ADMINISTRATOR.name, id)
    # Unknown members of the document stay: a newer version may have written them.
    document = stored.document.model_copy(update={"password_hash": password_hash})
    changed = _administrator(await transaction.replace(ADMINISTRATOR, id, document, by=by))
    await _end_logins(transaction, changed.identity)
    return changed


async def _any_account(transaction: Transaction) -> bool:
    """Whether there is an account. An unreadable one counts, or the next claim would take over the portal."""
    scan = await transaction.scan(ADMINISTRATOR)
    return bool(scan.stored or scan.broken)


async def _require_an_owner(transaction: Transaction) -> None:
    """Raises `LastAdministrator` where no owner could sign in after this transaction."""
    accounts = [stored.document for stored in await transaction.list(ADMINISTRATOR)]
    if not any(account.role == "owner" and account.password_hash for account in accounts):
        raise LastAdministrator("the last owner who can sign in stays one; make another owner first")


async def _end_logins(transaction: Transaction, identity: Identity) -> None:
    await transaction.tokens.revoke_subject(identity.id, kinds=(*EVERYWHERE, RESET.name))


def _normalized(email: str) -> str:
    return email.strip().lower()


def _administrator(entry: Stored[AccountDocument] | Broken) -> Administrator:
    """The account in a stored object. If it cannot be read, only its id is known, which is enough to remove it."""
    if isinstance(entry, Broken):
        return Administrator(entry.id, "", "", False, entry.revision, entry.modified_at, "", entry.modified_at)
    document = entry.document
    return Administrator(
        entry.id,
        document.email,
        document.name,
        bool(document.password_hash),
        entry.revision,
        entry.created_at,
        entry.created_by,
        entry.modified_at,
        document.role,
    )
