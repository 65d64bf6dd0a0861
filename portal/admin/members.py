"""The administrators of the portal, and who is invited to be one: `members`.

A member is `accepted`, somebody with a local account, or `pending`, somebody who has a link. It keeps its id when it
accepts. All of them may do the same: there are no roles.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, field_validator

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import conflict, in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, NoBody, Operation
from portal.admin.api.permissions import ACCOUNT
from portal.login import (
    ADMINISTRATOR,
    INVITATION,
    AccountError,
    AddressInvalid,
    AddressTaken,
    Administrator,
    Administrators,
    Invitation,
    Invitations,
    NewInvitation,
    Passwords,
)
from portal.state import Broken, Clock, NotFound, Store

PATH = "/members"
Result = TypeVar("Result")


class MemberBody(BaseModel):
    """Who is invited. Cloudflare's SDK sends `roles`, which are empty here."""

    email: Annotated[str, Field(min_length=3, max_length=254)]
    roles: Annotated[tuple[object, ...], Field(max_length=100)] = ()
    policies: Annotated[tuple[object, ...], Field(max_length=100)] = ()
    status: str | None = None

    @field_validator("roles", "policies")
    @classmethod
    def _none(cls, given: tuple[object, ...]) -> tuple[object, ...]:
        if given:
            raise ValueError("must be empty: every administrator may do the same")
        return given

    @field_validator("status")
    @classmethod
    def _not_accepted(cls, given: str | None) -> str | None:
        if given not in (None, "pending"):
            raise ValueError("must be pending: somebody is administrator once they have accepted")
        return given


class User(BaseModel):
    email: str
    first_name: str | None = None


class ShownMember(BaseModel):
    """`expires_at` is when the link of an invitation ends."""

    id: str
    email: str
    status: Literal["accepted", "pending"]
    user: User
    roles: tuple[str, ...] = ()
    expires_at: datetime | None = None
    created_at: datetime
    created_by: str
    updated_at: datetime


class InvitationLink(BaseModel):
    """`url` is shown this once; it is a path where the portal's address is not known. `mailed`: a server took it."""

    url: str
    expires_at: datetime
    mailed: bool


class NewMember(ShownMember):
    invitation: InvitationLink


class MemberOperations:
    def __init__(self, store: Store, clock: Clock, settings: AdminSettings) -> None:
        self._store = store
        passwords = Passwords()
        self._administrators = Administrators(store, passwords, clock)
        self._invitations = Invitations(store, passwords, clock)
        self._settings = settings

    def operations(self) -> list[Operation]:
        one, area = PATH + "/{id}", ACCOUNT
        renew = f"{one}/invitation"
        return [
            Operation("GET", PATH, "List administrators and invitations", self._list, ShownMember, area, listed=True),
            Operation("POST", PATH, "Invite an administrator", self._invite, NewMember, area, MemberBody, status=201),
            Operation("GET", one, "Show an administrator or invitation", self._get, ShownMember, area),
            Operation("DELETE", one, "Remove an administrator or invitation", self._delete, Removed, area),
            Operation("POST", renew, "Make the link again", self._renew, NewMember, area, NoBody, body_required=False),
        ]

    async def _list(self, asked: ApiRequest) -> ListAnswer[ShownMember]:
        wanted, members = asked.paging.search.lower(), await self._all()
        shown = [one for one in members if wanted in one.email or wanted in (one.user.first_name or "").lower()]
        return ListAnswer(shown, await self._broken())

    async def _get(self, asked: ApiRequest) -> ShownMember:
        id = asked.path["id"]
        if found := next((one for one in await self._all() if one.id == id), None):
            return found
        if broken := next((one for one in await self._broken() if one.id == id), None):
            raise broken.error
        raise not_found("member")

    async def _invite(self, asked: ApiRequest) -> NewMember:
        body = asked.read(MemberBody)
        return await self._delivered(await _in_words(lambda: self._invitations.invite(body.email, by=asked.by)))

    async def _renew(self, asked: ApiRequest) -> NewMember:
        return await self._delivered(await _in_words(lambda: self._invitations.renew(asked.path["id"], by=asked.by)))

    async def _delete(self, asked: ApiRequest) -> Removed:
        id = asked.path["id"]
        # An invitation first: accepted in between, it is the administrator who is removed, by the same id.
        try:
            await self._invitations.revoke(id, by=asked.by)
        except NotFound:
            await _in_words(lambda: self._administrators.remove(id, by=asked.by))
        return Removed(id=id)

    async def _all(self) -> list[ShownMember]:
        # Invitations first, here too: who accepts in between is read once more, and not missed.
        pending = {one.id: _pending(one) for one in await self._invitations.list()}
        accepted = {one.id: _accepted(one) for one in await self._administrators.list()}
        return [*accepted.values(), *(one for id, one in pending.items() if id not in accepted)]

    async def _broken(self) -> list[Broken]:
        accounts, invitations = await self._store.scan(ADMINISTRATOR), await self._store.scan(INVITATION)
        return [*accounts.broken, *invitations.broken]

    async def _delivered(self, made: NewInvitation) -> NewMember:
        delivery = self._settings.delivery
        mailed = await delivery.send(made)
        link = InvitationLink(url=delivery.url(made.path), expires_at=made.invitation.expires_at, mailed=mailed)
        return NewMember(**_pending(made.invitation).model_dump(), invitation=link)


async def _in_words(change: Callable[[], Awaitable[Result]]) -> Result:
    try:
        return await change()
    except AddressInvalid as error:
        raise invalid(str(error), "/email") from None
    except AddressTaken as error:
        raise conflict(str(error)) from None
    except AccountError as error:
        raise in_use(str(error)) from None
    except NotFound:
        raise not_found("member") from None


def _accepted(one: Administrator) -> ShownMember:
    return ShownMember(
        id=one.id,
        email=one.email,
        status="accepted",
        user=User(email=one.email, first_name=one.name),
        created_at=one.created_at,
        created_by=one.created_by,
        updated_at=one.modified_at,
    )


def _pending(one: Invitation) -> ShownMember:
    return ShownMember(
        id=one.id,
        email=one.email,
        status="pending",
        user=User(email=one.email),
        expires_at=one.expires_at,
        created_at=one.created_at,
        created_by=one.created_by,
        updated_at=one.modified_at,
    )
