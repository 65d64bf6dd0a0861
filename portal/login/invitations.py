"""Invitations: an administrator names an address; the person with the link chooses a password and becomes one too.

A link is a token of the document's own portal. It works once, for three days, and is stored as a hash. The inviting
administrator sees it once, and it is mailed to the address if there is a mail server.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

import structlog

from portal.login.administrators import (
    ADMINISTRATOR,
    INVITATION,
    INVITATION_LINK,
    MAX_ACCOUNTS,
    AccountError,
    AddressTaken,
    Administrator,
    Check,
    InvitationDocument,
    LinkDocument,
    ResetLink,
    Role,
    TooManyAccounts,
    make_account,
    unchecked,
)
from portal.login.passwords import Passwords
from portal.notices import Mail, MailFailed, Message, normal_email
from portal.state import Broken, NotFound, Store, Stored, Transaction, utc_now

LIFETIME = timedelta(days=3)
INVITATION_PATH, RESET_PATH = "/login/invitation", "/login/reset"


class AddressInvalid(AccountError):
    """The address is not an e-mail address."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation that is not accepted yet. After `expires_at` its link does not work until it is renewed. `role` is
    None if the invitation cannot be read."""

    id: str
    email: str
    expires_at: datetime
    created_at: datetime
    created_by: str
    modified_at: datetime
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation with the token of its link, which is known only here."""

    invitation: Invitation
    token: str = field(repr=False)

    @property
    def path(self) -> str:
        return link_path(INVITATION_PATH, self.token)


class Invitations:
    """The invitations in the store. The store's tokens belong to the portal that accepts them."""

    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def list(self) -> list[Invitation]:
        """All invitations, including expired ones, in order of creation."""
        return [_invitation(stored) for stored in await self._store.list(INVITATION)]

    async def invite(self, email: str, *, by: str, role: Role = "admin") -> NewInvitation:
        """An invitation to become an administrator of this role.

        Raises:
            AddressInvalid: that is not an e-mail address.
            AddressTaken: there is an administrator with this address, or an invitation for it.
            TooManyAccounts: there are already `MAX_ACCOUNTS`.
        """
        address = normal_email(email)
        if address is None:
            raise AddressInvalid("that is not an e-mail address")
        async with self._store.transaction() as transaction:
            accounts, invitations = await transaction.scan(ADMINISTRATOR), await transaction.scan(INVITATION)
            if any(stored.document.email == address for stored in accounts.stored):
                raise AddressTaken("there is an administrator with this address")
            if any(stored.document.email == address for stored in invitations.stored):
                raise AddressTaken("this address is invited already; make its link again, or revoke the invitation")
            if sum(len(scan.stored) + len(scan.broken) for scan in (accounts, invitations)) >= MAX_ACCOUNTS:
                raise TooManyAccounts(f"there are {MAX_ACCOUNTS} administrators and invitations")
            document = InvitationDocument(email=address, expires_at=self._expiry(), role=role)
            stored = await transaction.create(INVITATION, str(uuid.uuid4()), document, by=by)
            return await self._with_link(transaction, _invitation(stored))

    async def renew(self, id: str, *, by: str) -> NewInvitation:
        """The invitation with a new link. The earlier link ends.

        Raises:
            NotFound: there is no such invitation.
        """
        async with self._store.transaction() as transaction:
            stored = await transaction.get(INVITATION, id)
            if stored is None:
                raise NotFound(INVITATION.name, id)
            document = stored.document.model_copy(update={"expires_at": self._expiry()})
            renewed = _invitation(await transaction.replace(INVITATION, id, document, by=by))
            await transaction.tokens.revoke_subject(id, kinds=(INVITATION.name,))
            return await self._with_link(transaction, renewed)

    async def change_role(self, id: str, role: Role, *, by: str, check: Check = unchecked) -> Invitation:
        """The invitation, for this role. Its link stays. `check` sees the transaction before the change.

        Raises:
            NotFound: there is no such invitation.
        """
        async with self._store.transaction() as transaction:
            stored = await transaction.get(INVITATION, id)
            if stored is None:
                raise NotFound(INVITATION.name, id)
            await check(transaction)
            document = stored.document.model_copy(update={"role": role})
            return _invitation(await transaction.replace(INVITATION, id, document, by=by))

    async def revoke(self, id: str, *, by: str, check: Check = unchecked) -> Invitation:
        """Take an invitation back. `check` sees the transaction before that.

        Raises:
            NotFound: there is no such invitation.
        """
        async with self._store.transaction() as transaction:
            await check(transaction)
            revoked = _invitation(await transaction.delete(INVITATION, id, by=by))
            await transaction.tokens.revoke_subject(id, kinds=(INVITATION.name,))
            return revoked

    async def acceptable(self, token: str) -> Invitation | None:
        """The invitation that this token can accept now; None if the token is used, expired or revoked."""
        link = await self._store.tokens.find(INVITATION_LINK, token) if token else None
        if link is None or link.used_at is not None:
            return None
        stored = await self._store.find(INVITATION, link.subject)
        return _invitation(stored) if isinstance(stored, Stored) else None

    async def accept(self, token: str, name: str, password: str) -> Administrator | None:
        """The new administrator. None if the token is used, expired or revoked, or the address has an administrator."""
        password_hash = await self._passwords.hash(password)
        try:
            async with self._store.transaction() as transaction:
                consumed = await transaction.tokens.consume(INVITATION_LINK, token)
                if consumed is None or consumed.reused:
                    return None
                by = f"{INVITATION.name}:{consumed.subject}"
                stored = await transaction.find(INVITATION, consumed.subject)
                if not isinstance(stored, Stored):
                    return None  # The address cannot be read, so nobody can accept it.
                invitation = _invitation(stored)
                await transaction.delete(INVITATION, invitation.id, by=by)
                # The account gets the id of the invitation, so that a member keeps its id when it accepts.
                return await make_account(
                    transaction,
                    invitation.id,
                    invitation.email,
                    name or invitation.email,
                    password_hash,
                    by=by,
                    role=stored.document.role,
                )
        except (NotFound, AddressTaken):
            return None

    def _expiry(self) -> datetime:
        return self._now() + LIFETIME

    async def _with_link(self, transaction: Transaction, invitation: Invitation) -> NewInvitation:
        token = secrets.token_urlsafe(32)
        await transaction.tokens.issue(
            INVITATION_LINK, token, subject=invitation.id, document=LinkDocument(), expires_at=invitation.expires_at
        )
        return NewInvitation(invitation, token)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How links are sent to people.

    `origin` is the address of the document's own portal, or "" if it is unknown: a link is then a path. `mail` is
    None if no mail server is configured. `portal` returns the current name of the portal.
    """

    origin: str = ""
    mail: Mail | None = None
    portal: Callable[[], Awaitable[str]] | None = None

    def url(self, path: str) -> str:
        return self.origin + path

    async def send(self, new: NewInvitation) -> bool:
        """Send the link to the address. Returns whether a mail server accepted it; the log has the reason if not."""
        url, invitation = self.url(new.path), new.invitation
        return await self._send("an invitation", invitation.id, lambda portal: letter_of(invitation, url, portal))

    async def send_reset(self, link: ResetLink) -> bool:
        """As `send`, the link with which an administrator chooses a new password."""
        url = self.url(link_path(RESET_PATH, link.token))
        whom = link.administrator.id
        return await self._send("a link for a new password", whom, lambda portal: letter_of_reset(link, url, portal))

    async def _send(self, what: str, id: str, letter: Callable[[str], Message]) -> bool:
        if self.mail is None or not self.origin:
            return False
        name = await self.portal() if self.portal is not None else ""
        try:
            await self.mail.send(letter(name))
        except MailFailed as error:
            log = structlog.get_logger("portal.login")
            log.error(f"{what} could not be sent", id=id, reason=str(error))
            return False
        return True


def letter_of(invitation: Invitation, url: str, portal: str) -> Message:
    """The mail to the invited person. `portal` is the name of the portal."""
    name = _subject_of(portal)
    return Message(
        invitation.email,
        f"You are invited to administer {name}",
        f"You are invited to be an administrator of {name}. Choose a password here:\n\n{url}\n\n"
        f"The link works once, until {_moment(invitation.expires_at)}. If you did not expect this, do nothing: without "
        "the link nobody becomes administrator in your name.\n",
    )


def letter_of_reset(link: ResetLink, url: str, portal: str) -> Message:
    """The mail to an administrator whose password was ended. `portal` is the name of the portal."""
    name = _subject_of(portal)
    return Message(
        link.administrator.email,
        f"Choose a new password for {name}",
        f"An administrator of {name} has ended your password and signed you out. Choose a new one here:\n\n{url}\n\n"
        f"The link works once, until {_moment(link.expires_at)}.\n",
    )


def _subject_of(portal: str) -> str:
    # A subject has one line (RFC 5322 section 2.2).
    return " ".join(portal.split()) or "a portal"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


def link_path(path: str, token: str) -> str:
    return f"{path}?{urlencode({'token': token})}"


def _invitation(stored: Stored[InvitationDocument] | Broken) -> Invitation:
    if isinstance(stored, Broken):
        return Invitation(stored.id, "", stored.modified_at, stored.modified_at, "", stored.modified_at)
    return Invitation(
        stored.id,
        stored.document.email,
        stored.document.expires_at,
        stored.created_at,
        stored.created_by,
        stored.modified_at,
        stored.document.role,
    )
