"""Lists of addresses that policies refer to by `email_list` and `ip_list`: `gateway/lists`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationInfo, field_validator

from portal.admin.api.answers import ListAnswer
from portal.admin.api.collection import Check, Collection, Guard, Removed, unguarded
from portal.admin.api.errors import in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import ZERO_TRUST
from portal.admin.policies import Name
from portal.admin.roles import RoleRules, role_holders
from portal.notices import normal_email
from portal.objects import (
    APP,
    GROUP,
    LIST,
    POLICY,
    GroupDocument,
    ListDocument,
    ListItem,
    OwnPolicy,
    PolicyDocument,
    read_approval_groups,
    rules,
)
from portal.state import Clock, Store, Stored, Transaction

MAX_ITEMS = 5000
Text = Annotated[str, Field(max_length=256)]
Kind = Literal["EMAIL", "IP"]


class ItemBody(BaseModel):
    value: Annotated[str, Field(min_length=1, max_length=254)]
    description: Text = ""


class ShownItem(ItemBody):
    created_at: datetime


Items = Annotated[tuple[ItemBody, ...], Field(max_length=MAX_ITEMS)]


class ListBody(BaseModel):
    name: Name
    type: Kind
    description: Text = ""
    items: Items = ()

    @field_validator("items")
    @classmethod
    def _fit_the_type(cls, items: Items, info: ValidationInfo) -> Items:
        kind = info.data.get("type")
        if kind is not None and (misfit := first_misfit(kind, items)) is not None:
            raise ValueError(f"item {misfit + 1} is not of type {kind}")
        return items


class ListReplacement(BaseModel):
    """Members that are left out stay as they are. The type of a list cannot be changed."""

    name: Name
    description: Text | None = None
    items: Items | None = None


class ListChange(BaseModel):
    """`append` are items, `remove` are the values of items."""

    append: Items = ()
    remove: Annotated[tuple[Annotated[str, Field(max_length=254)], ...], Field(max_length=MAX_ITEMS)] = ()


class ShownList(BaseModel):
    id: str
    name: str
    type: Kind
    description: str = ""
    count: int
    created_at: AwareDatetime
    updated_at: AwareDatetime


class WholeList(ShownList):
    items: tuple[ShownItem, ...]


class ListOperations(Collection[BaseModel, ListDocument]):
    """Lists of the types that the policies of a portal can refer to."""

    kind, path, noun, area = LIST, "/gateway/lists", "list", ZERO_TRUST
    # POST takes `ListBody`, PUT `ListReplacement`: the type of a list cannot be changed.
    body: type[BaseModel] = BaseModel
    answer = WholeList

    def __init__(self, store: Store, check: Check, clock: Clock, guard: Guard = unguarded) -> None:
        super().__init__(store, check, guard)
        self._clock = clock

    def operations(self) -> list[Operation]:
        item, area, of = self.path + "/{id}", self.area, self.of
        return [
            Operation("GET", self.path, "List lists", self.list, ShownList, area, listed=True),
            Operation("POST", self.path, "Make a list", self.create, WholeList, area, ListBody),
            Operation("GET", item, "Show a list", self.get, WholeList, area, of=of),
            Operation("GET", f"{item}/items", "List the items of a list", self._items, ShownItem, area, listed=True),
            Operation("PUT", item, "Replace a list", self.replace, WholeList, area, ListReplacement, of=of),
            Operation(
                "PATCH",
                item,
                "Add items to a list and remove items from it",
                self._edit,
                WholeList,
                area,
                ListChange,
                of=of,
            ),
            Operation("DELETE", item, "Remove a list", self.delete, Removed, area, of=of),
        ]

    def document(self, body: BaseModel, before: ListDocument | None) -> ListDocument:
        """The document to store.

        Raises:
            AdminError: an item does not fit the list's type, or the type is unknown because the list cannot be read.
        """
        if isinstance(body, ListBody):
            items = self._dated(body.items, before.items if before is not None else ())
            return _validated(ListDocument(name=body.name, type=body.type, description=body.description, items=items))
        assert isinstance(body, ListReplacement)
        if before is None:
            raise invalid("the stored list cannot be read; delete it, and create it again")
        changes: dict[str, object] = {"name": body.name}
        if body.description is not None:
            changes["description"] = body.description
        if body.items is not None:
            changes["items"] = self._dated(body.items, before.items)
        return _validated(before.model_copy(update=changes))

    def show(self, stored: Stored[ListDocument]) -> WholeList:
        document = stored.document
        return WholeList(
            id=stored.id,
            name=document.name,
            type=document.type,
            description=document.description,
            count=len(document.items),
            created_at=stored.created_at,
            updated_at=stored.modified_at,
            items=tuple(
                ShownItem(
                    value=item.value, description=item.description, created_at=item.created_at or stored.created_at
                )
                for item in document.items
            ),
        )

    async def list(self, request: ApiRequest) -> ListAnswer[BaseModel]:
        scan = await super().list(request)
        return ListAnswer([ShownList(**item.model_dump(exclude={"items"})) for item in scan.items], scan.broken)

    async def create(self, request: ApiRequest) -> BaseModel:
        return self.show(await self.store(request, self.document(request.read(ListBody), None)))

    async def delete(self, request: ApiRequest) -> Removed:
        async with request.transaction(self._store) as transaction:
            await self._guard(transaction, request, self.kind.name, request.path["id"])
            await _require_unused(transaction, request.path["id"])
            return Removed(id=(await transaction.delete(LIST, request.path["id"], by=request.by)).id)

    async def _items(self, request: ApiRequest) -> Sequence[ShownItem]:
        search = request.paging.search.lower()
        stored = await self._store.get(LIST, request.path["id"])
        if stored is None:
            raise not_found(self.noun)
        return [item for item in self.show(stored).items if search in item.value.lower()]

    async def _edit(self, request: ApiRequest) -> WholeList:
        body = request.read(ListChange)
        removed = {value.lower() for value in body.remove}
        async with request.transaction(self._store) as transaction:
            stored = await transaction.get(LIST, request.path["id"])
            if stored is None:
                raise not_found(self.noun)
            await self._guard(transaction, request, self.kind.name, stored.id)
            items = [item for item in stored.document.items if item.value.lower() not in removed]
            present = {item.value.lower() for item in items}
            new = [item for item in body.append if item.value.lower() not in present]
            document = stored.document.model_copy(update={"items": (*items, *self._dated(new, ()))})
            replaced = await transaction.replace(LIST, stored.id, _validated(document), by=request.by)
        return self.show(replaced)

    def _dated(self, items: Iterable[ItemBody], before: Iterable[ListItem]) -> tuple[ListItem, ...]:
        """Each value once, with the time at which it was added."""
        since, now = {item.value: item.created_at for item in before}, self._clock()
        values = {item.value: item for item in items}
        return tuple(
            ListItem(value=value, description=item.description, created_at=since.get(value) or now)
            for value, item in values.items()
        )


def first_misfit(kind: Kind, items: Iterable[ItemBody | ListItem]) -> int | None:
    """The position of the first item that does not fit this type, or None."""
    fits = _is_network if kind == "IP" else lambda value: normal_email(value) is not None
    return next((place for place, item in enumerate(items) if not fits(item.value)), None)


def _validated(document: ListDocument) -> ListDocument:
    """The document itself.

    Raises:
        AdminError: an item does not fit the type, or there are more than `MAX_ITEMS`.
    """
    misfit = first_misfit(document.type, document.items)
    if misfit is not None:
        raise invalid(f"an item is not of type {document.type}", f"/items/{misfit}")
    if len(document.items) > MAX_ITEMS:
        raise in_use(f"a list has at most {MAX_ITEMS} items")
    return document


def _is_network(value: str) -> bool:
    try:
        return bool(ipaddress.ip_network(value, strict=False))
    except ValueError:
        return False


async def _require_unused(transaction: Transaction, id: str) -> None:
    holders: list[PolicyDocument | GroupDocument] = [one.document for one in await transaction.list(POLICY)]
    holders += [one.document for one in await transaction.list(GROUP)]
    if (user := next((one.name for one in holders if id in _lists_of(one)), None)) is not None:
        raise in_use(f"{user!r} uses this list")
    for name, role in await role_holders(transaction):
        if id in _lists_of(role):
            raise in_use(f"{name} uses this list")
    for app in await transaction.list(APP):
        if any(isinstance(policy, OwnPolicy) and id in _lists_of(policy) for policy in app.document.policies):
            raise in_use(f"{app.document.name!r} uses this list")


def _lists_of(holder: PolicyDocument | GroupDocument | RoleRules) -> set[str]:
    ids: set[str] = set()
    for rule in (*holder.include, *holder.require, *holder.exclude):
        if isinstance(rule, rules.EmailList):
            ids.add(rule.email_list.id)
        elif isinstance(rule, rules.IpList):
            ids.add(rule.ip_list.id)
    if isinstance(holder, PolicyDocument):
        ids |= {
            group.email_list_uuid for group in read_approval_groups(holder.approval_groups) if group.email_list_uuid
        }
    return ids
