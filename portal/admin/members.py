"""The administrators of the portal and the people invited to become one: `members`.

A member is `accepted` (has a local account) or `pending` (has an invitation link). Its id stays the same when it
accepts. A member has one role, which says what they may do.

Whoever gives somebody a role, or a link with which they come in, gives away what the role may. They must have it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator

from portal.admin.api.answers import ListAnswer
from portal.admin.api.application import AdminSettings
from portal.admin.api.collection import Removed
from portal.admin.api.errors import conflict, forbidden, in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, NoBody, Operation
from portal.admin.api.permissions import ACCOUNT, permissions_of_role
from portal.admin.api.revisions import Mark, Reader, Revised, mark_of
from portal.admin.roles import ShownRole, role_of_id, shown_role
from portal.login import (
    ADMINISTRATOR,
    INVITATION,
    RESET_PATH,
    ROLES,
    AccountError,
    AddressInvalid,
    AddressTaken,
    Administrator,
    Administrators,
    Invitation,
    Invitations,
    NewInvitation,
    Passwords,
    ResetLink,
    Role,
    link_path,
)
from portal.state import Broken, Clock, NotFound, Store, Stored

PATH = "/members"
Result = TypeVar("Result")


class RoleLink(BaseModel):
    """A role by its id. Cloudflare's SDK sends an id where it invites, and a role as it is listed where it changes."""

    id: Annotated[str, Field(max_length=64)]


def _links(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    return [{"id": one} if isinstance(one, str) else one for one in value]


def _known(links: tuple[RoleLink, ...]) -> tuple[RoleLink, ...]:
    if len(links) > 1:
        raise ValueError("must be one role: the higher ones include the others")
    if any(role_of_id(link.id) is None for link in links):
        raise ValueError("must be the id of a role: GET /roles lists them")
    return links


RoleLinks = Annotated[tuple[RoleLink, ...], Field(max_length=100), BeforeValidator(_links), AfterValidator(_known)]


class _MemberChange(BaseModel):
    policies: Annotated[tuple[object, ...], Field(max_length=100)] = ()

    @field_validator("policies")
    @classmethod
    def _empty(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if value:
            raise ValueError("must be empty: what a member may do is said by the role")
        return value


class MemberBody(_MemberChange):
    """The person to invite. Without a role they become an `admin`."""

    email: Annotated[str, Field(min_length=3, max_length=254)]
    roles: RoleLinks = ()
    status: str | None = None

    @field_validator("status")
    @classmethod
    def _not_accepted(cls, value: str | None) -> str | None:
        if value not in (None, "pending"):
            raise ValueError("must be pending: a person becomes an administrator by accepting")
        return value


class MemberReplacement(_MemberChange):
    """What changes of a member: the role."""

    roles: Annotated[RoleLinks, Field(min_length=1)]


class User(BaseModel):
    email: str
    first_name: str | None = None


class ShownMember(BaseModel):
    """`expires_at` is the end of the invitation's link; None for an administrator."""

    id: str
    email: str
    status: Literal["accepted", "pending"]
    user: User
    roles: tuple[ShownRole, ...] = ()
    expires_at: datetime | None = None
    created_at: datetime
    created_by: str
    updated_at: datetime


class MemberLink(BaseModel):
    """`url` is shown only here, and is a path if the portal's address is unknown. `mailed`: a mail server took it."""

    url: str
    expires_at: datetime
    mailed: bool


class NewMember(ShownMember):
    invitation: MemberLink


class ResetMember(ShownMember):
    reset: MemberLink


class MemberOperations:
    def __init__(self, store: Store, clock: Clock, settings: AdminSettings) -> None:
        self._store = store
        passwords = Passwords()
        self._administrators = Administrators(store, passwords, clock)
        self._invitations = Invitations(store, passwords, clock)
        self._settings = settings

    def operations(self) -> list[Operation]:
        item, area, one = PATH + "/{id}", ACCOUNT, ShownMember
        of = Revised("member", self._store, _mark)
        renew, reset = f"{item}/invitation", f"{item}/reset"
        change = "Change the role of an administrator or invitation"
        ended = "End the password and every session of an administrator, and make a link for a new one"
        return [
            Operation("GET", PATH, "List administrators and invitations", self._list, one, area, listed=True),
            Operation("POST", PATH, "Invite an administrator", self._invite, NewMember, area, MemberBody, status=201),
            Operation("GET", item, "Show an administrator or invitation", self._get, one, area, of=of),
            Operation("PUT", item, change, self._change, one, area, MemberReplacement, of=of),
            Operation("PATCH", item, change, self._change, one, area, MemberReplacement, of=of),
            Operation("DELETE", item, "Remove an administrator or invitation", self._delete, Removed, area, of=of),
            Operation(
                "POST", renew, "Make a new invitation link", self._renew, NewMember, area, NoBody, body_required=False
            ),
            Operation("POST", reset, ended, self._reset, ResetMember, area, NoBody, body_required=False),
            Operation("GET", "/roles", "List roles", self._roles, ShownRole, area, listed=True),
            Operation("GET", "/roles/{id}", "Show a role", self._role, ShownRole, area),
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

    async def _roles(self, request: ApiRequest) -> list[ShownRole]:
        return [shown_role(role) for role in ROLES]

    async def _role(self, request: ApiRequest) -> ShownRole:
        role = role_of_id(request.path["id"])
        if role is None:
            raise not_found("role")
        return shown_role(role)

    async def _invite(self, request: ApiRequest) -> NewMember:
        body = request.read(MemberBody)
        role = _role_in(body.roles) or "admin"
        _require_grantable(request, role)
        return await self._delivered(
            await _api_errors(lambda: self._invitations.invite(body.email, by=request.by, role=role))
        )

    async def _renew(self, request: ApiRequest) -> NewMember:
        id = request.path["id"]
        await self._require_held(request)
        return await self._delivered(await _api_errors(lambda: self._invitations.renew(id, by=request.by)))

    async def _change(self, request: ApiRequest) -> ShownMember:
        id, role = request.path["id"], _role_in(request.read(MemberReplacement).roles)
        assert role is not None, "the body has one"
        await self._require_held(request)
        _require_grantable(request, role)
        try:
            return _pending(
                await self._invitations.change_role(id, role, by=request.by, check=request.require_unchanged)
            )
        except NotFound:
            change = self._administrators.change_role
            check = request.require_unchanged
            return _accepted(await _api_errors(lambda: change(id, role, by=request.by, check=check)))

    async def _reset(self, request: ApiRequest) -> ResetMember:
        id = request.path["id"]
        await self._require_held(request)
        reset = self._administrators.offer_reset
        link: ResetLink = await _api_errors(lambda: reset(id, by=request.by, keeping_one=True))
        delivery = self._settings.delivery
        mailed = await delivery.send_reset(link)
        url = delivery.url(link_path(RESET_PATH, link.token))
        shown = MemberLink(url=url, expires_at=link.expires_at, mailed=mailed)
        return ResetMember(**_accepted(link.administrator).model_dump(), reset=shown)

    async def _require_held(self, request: ApiRequest) -> None:
        """Raises AdminError: 403 if the caller lacks a permission that this member has."""
        id = request.path["id"]
        for found in (await self._store.find(INVITATION, id), await self._store.find(ADMINISTRATOR, id)):
            if isinstance(found, Stored):
                _require_grantable(request, found.document.role)

    async def _delete(self, request: ApiRequest) -> Removed:
        id = request.path["id"]
        # The invitation first: if it is accepted in between, the administrator with the same id is removed next.
        try:
            await self._invitations.revoke(id, by=request.by, check=request.require_unchanged)
        except NotFound:
            check = request.require_unchanged
            await _api_errors(lambda: self._administrators.remove(id, by=request.by, check=check))
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
        link = MemberLink(url=delivery.url(new.path), expires_at=new.invitation.expires_at, mailed=mailed)
        return NewMember(**_pending(new.invitation).model_dump(), invitation=link)


async def _mark(reader: Reader, path: Mapping[str, str], body: BaseModel | None) -> Mark | None:
    """The state of an invitation, or of the account that it has become."""
    if (invitation := await reader.find(INVITATION, path["id"])) is not None:
        return mark_of(invitation)
    account = await reader.find(ADMINISTRATOR, path["id"])
    return None if account is None else mark_of(account)


def _require_grantable(request: ApiRequest, role: Role) -> None:
    """Raises AdminError: 403 if the caller lacks a permission of this role."""
    if not permissions_of_role(role) <= request.caller.permissions:
        raise forbidden(f"Authentication error: the caller has not all the permissions of the role {role}")


def _role_in(links: tuple[RoleLink, ...]) -> Role | None:
    return role_of_id(links[0].id) if links else None


def _roles_of(role: Role | None) -> tuple[ShownRole, ...]:
    return () if role is None else (shown_role(role),)


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
        roles=_roles_of(administrator.role),
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
        roles=_roles_of(invitation.role),
        expires_at=invitation.expires_at,
        created_at=invitation.created_at,
        created_by=invitation.created_by,
        updated_at=invitation.modified_at,
    )
