"""Lists of addresses that policies refer to by `email_list` and `ip_list`: `gateway/lists`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from portal.admin.api.collection import Check, Collection, Removed
from portal.admin.api.errors import in_use, invalid, not_found
from portal.admin.api.operations import Asked, Operation
from portal.admin.api.permissions import ZERO_TRUST
from portal.admin.policies import Name
from portal.login import normal_email
from portal.state import Clock, Store, Transaction

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

    @model_validator(mode="after")
    def _holds_what_it_says(self) -> ListBody:
        if (unfit := first_unfit(self.type, self.items)) is not None:
            raise ValueError(f"items[{unfit}] is not of type {self.type}")
        return self


class ListReplacement(BaseModel):
    """What is left out stays as it is; what a list is of cannot be changed."""

    name: Name
    description: Text | None = None
    items: Items | None = None


class ListChange(BaseModel):
    """`remove` are values."""

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


class Lists(Collection):
    """Of the types Cloudflare has, those that policies of a portal can ask for."""

    kind, path, noun, area = "list", "/gateway/lists", "list", ZERO_TRUST
    body, shown = ListBody, WholeList

    def __init__(self, store: Store, check: Check, clock: Clock) -> None:
        super().__init__(store, check)
        self._clock = clock

    def operations(self) -> list[Operation]:
        one, area = self.path + "/{id}", self.area
        return [
            Operation("GET", self.path, "List lists", self.list, ShownList, area, listed=True),
            Operation("POST", self.path, "Make a list", self.create, WholeList, area, ListBody),
            Operation("GET", one, "Show a list", self.get, WholeList, area),
            Operation("GET", f"{one}/items", "List what is in it", self._items, ShownItem, area, listed=True),
            Operation("PUT", one, "Replace a list", self.replace, WholeList, area, ListReplacement),
            Operation("PATCH", one, "Put something into a list, or out of it", self._edit, WholeList, area, ListChange),
            Operation("DELETE", one, "Remove a list", self.delete, Removed, area),
        ]

    def document(self, body: Any, before: Mapping[str, Any] | None) -> dict[str, Any]:
        known = before or {"items": [], "type": body.type, "description": ""}
        items = known["items"] if body.items is None else self._dated(body.items, known["items"])
        description = known["description"] if body.description is None else body.description
        return _fitting({"name": body.name, "type": known["type"], "description": description, "items": [*items]})

    def show(self, stored: Any) -> WholeList:
        dates = {"created_at": stored.created_at, "updated_at": stored.modified_at}
        said = {**stored.document, "id": stored.id, "count": len(stored.document["items"]), **dates}
        return WholeList.model_validate({"description": "", **said, "items": _shown_items(stored)})

    async def list(self, asked: Asked) -> list[Any]:
        return [ShownList(**one.model_dump(exclude={"items"})) for one in await super().list(asked)]

    async def delete(self, asked: Asked) -> Removed:
        async with self._store.transaction() as transaction:
            await _require_unused(transaction, asked.path["id"])
            return Removed(id=(await transaction.delete(self.kind, asked.path["id"], by=asked.by)).id)

    async def _items(self, asked: Asked) -> Sequence[ShownItem]:
        wanted = asked.paging.search.lower()
        whole: WholeList = await self.get(asked)
        return [item for item in whole.items if wanted in item.value.lower()]

    async def _edit(self, asked: Asked) -> WholeList:
        body: ListChange = asked.body
        gone = {value.lower() for value in body.remove}
        async with self._store.transaction() as transaction:
            stored = await transaction.get(self.kind, asked.path["id"])
            if stored is None:
                raise not_found(self.noun)
            items = [item for item in stored.document["items"] if item["value"].lower() not in gone]
            there = {item["value"].lower() for item in items}
            new = [item for item in body.append if item.value.lower() not in there]
            document = _fitting({**stored.document, "items": [*items, *self._dated(new, ())]})
            replaced = await transaction.replace(self.kind, stored.id, document, by=asked.by)
        return self.show(replaced)

    def _dated(self, items: Iterable[ItemBody], before: Iterable[Mapping[str, Any]]) -> Sequence[Any]:
        """Each value once, with the time at which it came into the list."""
        since, now = {item["value"]: item.get("created_at") for item in before}, self._clock().isoformat()
        values = {item.value: item for item in items}
        return [{**item.model_dump(), "created_at": since.get(value) or now} for value, item in values.items()]


def first_unfit(kind: Kind, items: Iterable[ItemBody]) -> int | None:
    """The position of the first item that is none of this type."""
    fits = _is_network if kind == "IP" else lambda value: normal_email(value) is not None
    return next((place for place, item in enumerate(items) if not fits(item.value)), None)


def _fitting(document: dict[str, Any]) -> dict[str, Any]:
    """The document, if a list may be so. Raises AdminError."""
    unfit = first_unfit(document["type"], [ItemBody.model_validate(item) for item in document["items"]])
    if unfit is not None:
        raise invalid(f"an item is not of type {document['type']}", f"/items/{unfit}")
    if len(document["items"]) > MAX_ITEMS:
        raise in_use(f"a list has at most {MAX_ITEMS} items")
    return document


def _is_network(value: str) -> bool:
    try:
        return bool(ipaddress.ip_network(value, strict=False))
    except ValueError:
        return False


def _shown_items(stored: Any) -> list[dict[str, Any]]:
    return [{"created_at": stored.created_at, **item} for item in stored.document["items"]]


async def _require_unused(transaction: Transaction, id: str) -> None:
    for kind in ("policy", "group", "app"):
        for holder in await transaction.list(kind):
            for ruled in (holder.document, *holder.document.get("policies", ())):
                if id in _lists_of(ruled):
                    raise in_use(f"{holder.document['name']!r} uses this list")


def _lists_of(ruled: Mapping[str, Any]) -> set[str]:
    rules = [rule for part in ("include", "require", "exclude") for rule in ruled.get(part, ())]
    return {rule[name]["id"] for rule in rules for name in ("email_list", "ip_list") if name in rule}
