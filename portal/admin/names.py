"""Whom the keys name that are recorded with changes and calls: `access/ai-controls/names` (ours).

A key is that of an identity, or of an API token. What is not known any more has no name, and is no error.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from portal.admin.api.operations import ApiRequest, Operation
from portal.admin.api.permissions import API_TOKENS, ORGANIZATION
from portal.admin.tokens import API_TOKEN, KEY_PREFIX
from portal.identity import Identity
from portal.login import People, person_id
from portal.state import Store, Stored

PATH = "/access/ai-controls/names"
MAX_KEYS, MAX_KEY = 100, 512


class NamesQuery(BaseModel):
    """The keys, one a line. Of more than `MAX_KEYS` the others are left out."""

    keys: Annotated[str, Field(max_length=MAX_KEYS * (MAX_KEY + 1))] = ""


class ShownName(BaseModel):
    """Whom a key names. `name` is the e-mail address of a person, or their name where they have none; or what an API
    token is called. Of nobody who is known `kind` is "unknown". `id` is that of `access/users` or `tokens`."""

    key: str
    kind: Literal["person", "api_token", "unknown"]
    name: str = ""
    id: str = ""


class NameOperations:
    def __init__(self, store: Store, people: People) -> None:
        self._store = store
        self._people = people

    def operations(self) -> list[Operation]:
        say = "Say whom keys name"
        return [
            Operation("GET", PATH, say, self._list, ShownName, ORGANIZATION, listed=True, whole=True, query=NamesQuery)
        ]

    async def _list(self, request: ApiRequest) -> list[ShownName]:
        keys = dict.fromkeys(line for line in request.asked(NamesQuery).keys.splitlines() if line)
        return [await self._name(request, key) for key in [*keys][:MAX_KEYS]]

    async def _name(self, request: ApiRequest, key: str) -> ShownName:
        if len(key) > MAX_KEY or not key.isprintable():
            return ShownName(key=key, kind="unknown")
        if key.startswith(KEY_PREFIX):
            id = key.removeprefix(KEY_PREFIX)
            may = API_TOKENS.allows(request.caller.permissions, writing=False)
            token = await self._store.find(API_TOKEN, id) if may else None
            if not isinstance(token, Stored):
                return ShownName(key=key, kind="unknown")
            return ShownName(key=key, kind="api_token", name=token.document.name, id=id)
        identity = await self._people.known(key)
        if identity is None:
            return ShownName(key=key, kind="unknown")
        name = identity.email or identity.name or key
        return ShownName(key=key, kind="person", name=name, id=person_id(Identity(id=key)))
