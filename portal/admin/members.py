"""The administrators of the portal and the people invited to become one: `members`.

A member is `accepted` (has a local account) or `pending` (has an invitation link). Its id stays the same when it
accepts. There are no roles: every administrator has the same permissions.
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
    """The person to invite. Cloudflare's SDK sends `roles`; they must be empty here."""

    email: Annotated[str, Field(min_length=3, max_length=254)]
    roles: Annotated[tuple[object, ...], Field(max_length=100)] = ()
    policies: Annotated[tuple[object, ...], Field(max_length=100)] = ()
    status: str | None = None

    @field_validator("roles", "policies")
    @classmethod
    def _empty(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if value:
            raise ValueError("must be empty: every administrator has the same permissions")
        return value

    @field_validator("status")
    @classmethod
    def _not_accepted(cls, value: str | None) -> str | None:
        if value not in (None, "pending"):
            raise ValueError("must be pending: a person becomes an administrator by accepting")
        return value


class User(BaseModel):
    email: str
    first_name: str | None = None


class ShownMember(BaseModel):
    """`expires_at` is the end of the invitation's link; None for an administrator."""

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
    """`url` is shown only here, and is a path if the portal's address is unknown. `mailed`: a mail server took it."""

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
        item, area = PATH + "/{id}", ACCOUNT
        renew = f"{item}/invitation"
        return [
            Operation("GET", PATH, "List administrators and invitations", self._list, ShownMember, area, listed=True),
            Operation("POST", PATH, "Invite an administrator", self._invite, NewMember, area, MemberBody, status=201),
            Operation("GET", item, "Show an administrator or invitation", self._get, ShownMember, area),
            Operation("DELETE", item, "Remove an administrator or invitation", self._delete, Removed, area),
            Operation(
                "POST", renew, "Make a new invitation link", self._renew, NewMember, area, NoBody, body_required=False
            ),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownMember]:
        search, members = request.paging.search.lower(), await self._all()
        matches = [one for one in members if search in one.email or search in (one.user.first_name or "").lower()]
        return ListAnswer(matches, await self._broken())

    async def _get(self, request: ApiRequest) -> ShownMember:
        id = request.path["id"]
        if member := next((one for one in await self._all() if one.id == id), None):
            return member
        if broken := next((one for one in await self._broken() if one.id == id), None):
            raise broken.error
        raise not_found("member")

    async def _invite(self, request: ApiRequest) -> NewMember:
        body = request.read(MemberBody)
        return await self._delivered(await _api_errors(lambda: self._invitations.invite(body.email, by=request.by)))

    async def _renew(self, request: ApiRequest) -> NewMember:
        return await self._delivered(
            await _api_errors(lambda: self._invitations.renew(request.path["id"], by=request.by))
        )

    async def _delete(self, request: ApiRequest) -> Removed:
        id = request.path["id"]
        # The invitation first: if it is accepted in between, the administrator with the same id is removed next.
        try:
            await self._invitations.revoke(id, by=request.by)
        except NotFound:
            await _api_errors(lambda: self._administrators.remove(id, by=request.by))
        return Removed(id=id)

    async def _all(self) -> list[ShownMember]:
        # Invitations first here too: a member who accepts in between is read twice instead of not at all.
        pending = {one.id: _pending(one) for one in await self._invitations.list()}
        accepted = {one.id: _accepted(one) for one in await self._administrators.list()}
        return [*accepted.values(), *(one for id, one in pending.items() if id not in accepted)]

    async def _broken(self) -> list[Broken]:
        accounts, invitations = await self._store.scan(ADMINISTRATOR), await self._store.scan(INVITATION)
        return [*accounts.broken, *invitations.broken]

    async def _delivered(self, new: NewInvitation) -> NewMember:
        delivery = self._settings.delivery
        mailed = await delivery.send(new)
        link = InvitationLink(url=delivery.url(new.path), expires_at=new.invitation.expires_at, mailed=mailed)
        return NewMember(**_pending(new.invitation).model_dump(), invitation=link)


async def _api_errors(change: Callable[[], Awaitable[Result]]) -> Result:
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


def _accepted(administrator: Administrator) -> ShownMember:
    return ShownMember(
        id=administrator.id,
        email=administrator.email,
        status="accepted",
        user=User(email=administrator.email, first_name=administrator.name),
        created_at=administrator.created_at,
        created_by=administrator.created_by,
        updated_at=administrator.modified_at,
    )


def _pending(invitation: Invitation) -> ShownMember:
    return ShownMember(
        id=invitation.id,
        email=invitation.email,
        status="pending",
        user=User(email=invitation.email),
        expires_at=invitation.expires_at,
        created_at=invitation.created_at,
        created_by=invitation.created_by,
        updated_at=invitation.modified_at,
    )
