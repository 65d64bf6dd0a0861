"""API tokens: their operations, and authentication without a read of the store for each request.

The store has only the SHA-256 of a token's value. The value is 256 random bits: a slower hash would not make it safer.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from portal.admin.api import errors
from portal.admin.api.answers import ListAnswer
from portal.admin.api.operations import ApiCaller, ApiRequest, NoBody, Operation
from portal.admin.api.permissions import (
    ALL,
    API_TOKENS,
    APPROVALS,
    AREAS,
    group_id,
    permission_of_id,
    permissions_of_ids,
)
from portal.admin.api.revisions import whole
from portal.objects import Document
from portal.state import Clock, Kept, Kind, NotFound, Store, Stored, Transaction, utc_now

PATH = "/tokens"
VALUE_PREFIX = "cmp_"
MOST_HOLDERS = 16
"""Who is noted to know the value of a token: those who are nearest to it, and the person from whom they all come."""
KEY_PREFIX = "api-token:"
"""Begins the key by which changes and the log know a token: its id follows."""
ACCOUNT = "com.cloudflare.api.account"


def _network(value: str) -> str:
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        raise ValueError("must be an IP address or network") from None


def _permission(value: str) -> str:
    if permission_of_id(value) is None:
        raise ValueError("is not a permission group; tokens/permission_groups lists them")
    return value


class PermissionGroup(BaseModel):
    id: Annotated[str, AfterValidator(_permission)]
    name: str | None = None


class TokenPolicy(BaseModel):
    """Allows or denies permissions. A denial overrides a grant."""

    id: Annotated[str, Field(max_length=64)] = Field(default_factory=lambda: secrets.token_hex(16))
    effect: Literal["allow", "deny"]
    permission_groups: Annotated[tuple[PermissionGroup, ...], Field(min_length=1, max_length=64)]
    resources: Annotated[dict[str, str | dict[str, str]], Field(max_length=16)]


class RequestIP(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    in_: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(alias="in", max_length=256)] = ()
    not_in: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(max_length=256)] = ()

    def allows(self, address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return not self.in_ and not self.not_in
        inside = not self.in_ or any(ip in ip_network(network) for network in self.in_)
        return inside and not any(ip in ip_network(network) for network in self.not_in)


class Condition(BaseModel):
    request_ip: RequestIP | None = None


class TokenBody(BaseModel):
    """The body of a request that creates or replaces a token."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    policies: Annotated[tuple[TokenPolicy, ...], Field(min_length=1, max_length=64)]
    condition: Condition | None = None
    expires_on: AwareDatetime | None = None
    not_before: AwareDatetime | None = None


class TokenReplacement(TokenBody):
    status: Literal["active", "disabled"] | None = None


class TokenDocument(Document):
    """A token without its value. `hash` is the SHA-256 of the value. `value_by` are the keys of who was given the
    value: of a person, or of a token with which a program asked for it and of who was given that one's. Without any it
    is who made the token. `person` is the key of the person whom it stands for, "" for one of the account."""

    name: str
    policies: tuple[TokenPolicy, ...]
    condition: Condition | None = None
    expires_on: AwareDatetime | None = None
    not_before: AwareDatetime | None = None
    status: Literal["active", "disabled"]
    hash: str = Field(repr=False)
    value_by: tuple[str, ...] = ()
    person: str = ""


API_TOKEN = Kind("api_token", TokenDocument)


class ShownToken(BaseModel):
    """`person` (ours) is the key of the person whom it stands for: with it, they decide about approvals."""

    id: str
    name: str
    status: Literal["active", "disabled", "expired"]
    policies: tuple[TokenPolicy, ...]
    condition: Condition | None = None
    issued_on: datetime
    modified_on: datetime
    expires_on: datetime | None = None
    not_before: datetime | None = None
    person: str = ""


class NewToken(ShownToken):
    """`value` is in this answer only."""

    value: str


class TokenStatus(BaseModel):
    id: str
    status: Literal["active", "disabled", "expired"]
    expires_on: datetime | None = None
    not_before: datetime | None = None


class TokenId(BaseModel):
    id: str


class TokenValue(RootModel[str]):
    """The new value, in this answer only."""


class ListedPermission(BaseModel):
    id: str
    name: str
    category: str = "cloudflare_one_and_zero_trust"
    is_selectable: bool = True
    scopes: tuple[str, ...] = (ACCOUNT,)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A stored token, ready to check requests against. `permissions` are those it has in this account."""

    token: ShownToken
    condition: RequestIP | None
    permissions: frozenset[str]


class ApiTokens:
    """The tokens of one account. This process refuses a deleted token at once, others within half a second."""

    def __init__(self, store: Store, account_id: str, clock: Clock = utc_now) -> None:
        self._store = store
        self._account_id = account_id
        self._clock = clock
        self._by_hash = Kept(store, {API_TOKEN.name}, self._read)

    async def authenticate(self, authorization: str, address: str) -> ApiCaller:
        """The caller whose token is in this Authorization header.

        Raises:
            AdminError: 401 if there is no token, or it is not valid for this address and time. It does not say which.
        """
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "bearer" or not value:
            raise errors.unauthenticated()
        token = (await self._by_hash.get()).get(_hash(value.strip()))
        if token is None or self._status(token.token) != "active":
            raise errors.unauthenticated()
        if token.condition is not None and not token.condition.allows(address):
            raise errors.unauthenticated()
        found = token.token
        return ApiCaller(f"{KEY_PREFIX}{found.id}", token.permissions, found.id, found.name, found.person)

    async def _read(self) -> Mapping[str, _Compiled]:
        return {stored.document.hash: self._compiled(stored) for stored in await self._store.list(API_TOKEN)}

    async def create(self, body: TokenBody, by: str, *, person: str = "") -> NewToken:
        """A new token, whose value is told to who has this key, or to the `person` for whom it stands.

        Raises:
            AdminError: 401, it is the key of a token that was taken back meanwhile.
        """
        value = VALUE_PREFIX + secrets.token_urlsafe(32)
        async with self._store.transaction() as transaction:
            told = (person,) if person else await _given_to(transaction, by)
            document = _document(body, "active", _hash(value), told, person)
            stored = await transaction.create(API_TOKEN, secrets.token_hex(16), document, by=by)
        return NewToken(**self._shown(stored).model_dump(), value=value)

    async def create_with_all(self, name: str, by: str) -> NewToken:
        """A new token with every permission: for the command line and the first administrator, not for the API."""
        return await self.create(TokenBody(name=name, policies=(self._allowing(ALL),)), by)

    async def create_for(self, name: str, person: str, by: str) -> NewToken:
        """A new token that stands for the person with this key, and with which they see and decide approvals: for the
        command line alone. Over the API nobody makes a token that is somebody."""
        policy = self._allowing({APPROVALS.read, APPROVALS.write})
        return await self.create(TokenBody(name=name, policies=(policy,)), by, person=person)

    def _allowing(self, permissions: Iterable[str]) -> TokenPolicy:
        groups = tuple(PermissionGroup(id=group_id(permission)) for permission in sorted(permissions))
        return TokenPolicy(effect="allow", permission_groups=groups, resources={f"{ACCOUNT}.{self._account_id}": "*"})

    async def standing_for(self, keys: Collection[str]) -> list[str]:
        """The ids of the tokens that stand for one of these people."""
        return [one.id for one in await self._store.list(API_TOKEN) if one.document.person in keys]

    async def known_to(self, key: str) -> list[ShownToken]:
        """The tokens whose value was given to who has this key (`Identity.key`), or to a program with such a token."""
        stored = await self._store.list(API_TOKEN)
        known = tokens_known_to(key, {one.id: _holders(one) for one in stored})
        return [self._shown(one) for one in stored if one.id in known]

    async def end(self, id: str, by: str) -> bool:
        """Take a token back. False if it is gone already."""
        try:
            await self._store.delete(API_TOKEN, id, by=by)
        except NotFound:
            return False
        return True

    def operations(self) -> list[Operation]:
        item, area = f"{PATH}/{{token_id}}", API_TOKENS
        of = whole(self._store, API_TOKEN, "API token", lambda path: path["token_id"])
        return [
            Operation("GET", PATH, "List API tokens", self._list, ShownToken, area, listed=True),
            Operation("POST", PATH, "Create an API token", self._create, NewToken, area, TokenBody),
            Operation("GET", "/tokens/verify", "Verify the token of this request", self._verify, TokenStatus, None),
            Operation(
                "GET",
                "/tokens/permission_groups",
                "List permissions",
                self._permissions,
                ListedPermission,
                area,
                listed=True,
            ),
            Operation("GET", item, "Show an API token", self._get, ShownToken, area, of=of),
            Operation("PUT", item, "Replace an API token", self._replace, ShownToken, area, TokenReplacement, of=of),
            Operation(
                "PUT",
                f"{item}/value",
                "Give an API token a new value",
                self._roll,
                TokenValue,
                area,
                NoBody,
                body_required=False,
                of=of,
            ),
            Operation("DELETE", item, "Delete an API token", self._delete, TokenId, area, of=of),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[ShownToken]:
        scan = await self._store.scan(API_TOKEN)
        return ListAnswer([self._shown(stored) for stored in scan.stored], scan.broken)

    async def _get(self, request: ApiRequest) -> ShownToken:
        return self._shown(await self._stored(request, self._store))

    async def _create(self, request: ApiRequest) -> NewToken:
        body = request.read(TokenBody)
        self._require_grantable(request.caller, body)
        return await self.create(body, request.by)

    async def _replace(self, request: ApiRequest) -> ShownToken:
        body = request.read(TokenReplacement)
        self._require_grantable(request.caller, body)
        async with request.transaction(self._store) as transaction:
            stored = await self._stored(request, transaction)
            # A caller may not activate a token that has more permissions than they have, either.
            self._require_grantable(request.caller, self._shown(stored))
            former = stored.document
            document = _document(body, body.status or former.status, former.hash, former.value_by, former.person)
            replaced = await transaction.replace(API_TOKEN, stored.id, document, by=request.by)
        return self._shown(replaced)

    async def _roll(self, request: ApiRequest) -> TokenValue:
        value = VALUE_PREFIX + secrets.token_urlsafe(32)
        async with request.transaction(self._store) as transaction:
            known = {"hash": _hash(value), "value_by": await _given_to(transaction, request.by)}
            stored = await self._stored(request, transaction)
            self._require_grantable(request.caller, self._shown(stored))
            if stored.document.person not in ("", request.caller.person):
                raise errors.forbidden("this token stands for a person: nobody else is given a value of it")
            await transaction.replace(API_TOKEN, stored.id, stored.document.model_copy(update=known), by=request.by)
        return TokenValue(value)

    async def _delete(self, request: ApiRequest) -> TokenId:
        async with request.transaction(self._store) as transaction:
            return TokenId(id=(await transaction.delete(API_TOKEN, request.path["token_id"], by=request.by)).id)

    async def _verify(self, request: ApiRequest) -> TokenStatus:
        stored = await self._store.get(API_TOKEN, request.caller.token_id)
        if stored is None:
            raise errors.unauthenticated()
        return TokenStatus.model_validate(self._shown(stored).model_dump())

    async def _permissions(self, request: ApiRequest) -> list[ListedPermission]:
        return [ListedPermission(id=group_id(name), name=name) for area in AREAS for name in (area.read, area.write)]

    async def _stored(self, request: ApiRequest, reader: Store | Transaction) -> Stored[TokenDocument]:
        stored = await reader.get(API_TOKEN, request.path["token_id"])
        if stored is None:
            raise errors.not_found("API token")
        return stored

    def _require_grantable(self, caller: ApiCaller, body: TokenBody | ShownToken) -> None:
        """Raises AdminError: 403 if the caller lacks a permission that the token would have."""
        if not _permissions_of(body.policies, self._account_id) <= caller.permissions:
            raise errors.forbidden("Authentication error: a token cannot grant permissions it does not hold")

    def _compiled(self, stored: Stored[TokenDocument]) -> _Compiled:
        # The stored status: `_status` applies the time of each request.
        token = _token(stored)
        condition = token.condition.request_ip if token.condition else None
        return _Compiled(token, condition, _permissions_of(token.policies, self._account_id))

    def _shown(self, stored: Stored[TokenDocument]) -> ShownToken:
        token = _token(stored)
        return token.model_copy(update={"status": self._status(token)})

    def _status(self, token: ShownToken) -> str:
        at = self._clock()
        if token.expires_on is not None and at >= token.expires_on:
            return "expired"
        if token.not_before is not None and at < token.not_before:
            return "disabled"
        return token.status


def tokens_known_to(key: str, holders: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The ids of the tokens that who has this key knows the value of. `holders` has who was given the value of each:
    people, and other tokens, with which a program asked for it."""
    known: set[str] = set()
    waiting = [key]
    while waiting:
        holder = waiting.pop()
        found = {id for id, by in holders.items() if holder in by and id not in known}
        known |= found
        waiting += [f"{KEY_PREFIX}{id}" for id in found]
    return frozenset(known)


async def _given_to(transaction: Transaction, by: str) -> tuple[str, ...]:
    """Who is given a value that who has this key asks for. It outlives the token that was used.

    Raises:
        AdminError: 401, that token was taken back meanwhile: a value that it is told would outlive it unseen.
    """
    if not by.startswith(KEY_PREFIX):
        return (by,)
    used = await transaction.find(API_TOKEN, by.removeprefix(KEY_PREFIX))
    if used is None:
        raise errors.unauthenticated()
    found = tuple(dict.fromkeys((by, *(_holders(used) if isinstance(used, Stored) else ()))))
    return found if len(found) <= MOST_HOLDERS else (*found[: MOST_HOLDERS - 1], found[-1])


def _holders(stored: Stored[TokenDocument]) -> tuple[str, ...]:
    """The keys of who was given the value of a token."""
    return stored.document.value_by or (stored.created_by,)


def _document(
    body: TokenBody, status: Literal["active", "disabled"], hash: str, value_by: tuple[str, ...], person: str
) -> TokenDocument:
    return TokenDocument(
        name=body.name,
        policies=body.policies,
        condition=body.condition,
        expires_on=body.expires_on,
        not_before=body.not_before,
        status=status,
        hash=hash,
        value_by=value_by,
        person=person,
    )


def _token(stored: Stored[TokenDocument]) -> ShownToken:
    document = stored.document
    return ShownToken(
        id=stored.id,
        name=document.name,
        status=document.status,
        policies=document.policies,
        condition=document.condition,
        expires_on=document.expires_on,
        not_before=document.not_before,
        person=document.person,
        issued_on=stored.created_at,
        modified_on=stored.modified_at,
    )


def _permissions_of(policies: tuple[TokenPolicy, ...], account_id: str) -> frozenset[str]:
    granted: dict[str, set[str]] = {"allow": set(), "deny": set()}
    for policy in policies:
        here = {f"{ACCOUNT}.{account_id}", f"{ACCOUNT}.*"} & set(policy.resources)
        # A policy for other resources grants nothing here, and denies nothing.
        if here:
            granted[policy.effect] |= permissions_of_ids(group.id for group in policy.permission_groups)
    return frozenset(granted["allow"] - granted["deny"])


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
