"""An operation of the API: its path, permission, body and result. Routes and OpenAPI are built from these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pydantic import BaseModel, Field

from portal.admin.api.answers import Paging
from portal.admin.api.permissions import Area
from portal.admin.api.revisions import Expected, Revised
from portal.state import Store, Transaction

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
CallerVia = Literal["browser", "api", "cli"]
B = TypeVar("B", bound=BaseModel)


class Uploaded(BaseModel):
    """The body of an operation that takes bytes, as they came."""

    content: bytes = Field(repr=False)


class NoBody(BaseModel):
    """The body of an operation without parameters: an empty object, or nothing."""


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """Who makes the request. `by` is recorded with every change; `permissions` are those of the API
    token, which is called `name`.

    `person` is the key of the person who acts: of the session of a browser, or for whom the token was made. It is ""
    for a caller that stands for nobody, as most tokens do. `via` is how the request comes."""

    by: str
    permissions: frozenset[str]
    token_id: str = ""
    name: str = ""
    person: str = ""
    via: CallerVia = "api"


async def _always() -> None:
    """What is answered at once is permitted once."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request: authenticated, permitted and validated.

    `permitted` is for what lasts: it raises an `AdminError` when the caller may not do this any more. `expected` is the
    state in which the caller takes the object to be, None for any.
    """

    caller: ApiCaller
    account_id: str
    path: Mapping[str, str]
    body: BaseModel | None = None
    paging: Paging = field(default_factory=Paging)
    query: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    permitted: Callable[[], Awaitable[None]] = _always
    expected: Expected | None = None

    @property
    def by(self) -> str:
        return self.caller.by

    @asynccontextmanager
    async def transaction(self, store: Store) -> AsyncIterator[Transaction]:
        """The transaction of the change that is asked for, if the object is still as the caller takes it to be.

        Raises:
            AdminError: 412, somebody else has changed it.
        """
        async with store.transaction() as transaction:
            await self.require_unchanged(transaction)
            yield transaction

    async def require_unchanged(self, transaction: Transaction) -> None:
        """
        Raises:
            AdminError: 412, the object is not as the caller takes it to be.
        """
        if self.expected is not None:
            await self.expected.check(transaction, self.path, self.body)

    def read(self, model: type[B]) -> B:
        """The body, as the model that the operation declares.

        Raises:
            TypeError: the operation declares another model.
        """
        return _as(model, self.body)

    def asked(self, model: type[B]) -> B:
        """The parameters of the query, as the model that the operation declares.

        Raises:
            TypeError: the operation declares another model.
        """
        return _as(model, self.query)


def _as(model: type[B], found: BaseModel | None) -> B:
    if not isinstance(found, model):
        raise TypeError(f"this is {type(found).__name__}, not {model.__name__}")
    return found


Handler = Callable[[ApiRequest], Awaitable[object]]
"""Returns the result; for an operation that lists, a `ListAnswer` or a sequence; with `info`, an `InfoAnswer`, or a
`DoneAnswer` if it is `single`. An operation with another `media_type` returns the response."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is below `/accounts/{account_id}`. `result` is the model of the result, or of one item if `listed`, or if
    there is a model of the `info` about a page. `query` is the model of the parameters in the URL.

    With `area` None any valid token may call it. It needs the write permission unless the method is GET; `reading`
    overrides that. `status` is the HTTP status of success. A list that is `whole` has all items unless the request asks
    for a page: its clients do not know pages. With `single` the `info` is about one result. `of` is what it shows or
    changes: such an operation has an `ETag`, or takes `If-Match` and makes its change in `ApiRequest.transaction`. A
    body that may be `large` may be as large as an upload.
    """

    method: Method
    path: str
    summary: str
    handler: Handler
    result: type[BaseModel]
    area: Area | None
    body: type[BaseModel] | None = None
    listed: bool = False
    reading: bool | None = None
    body_required: bool = True
    status: int = 200
    query: type[BaseModel] | None = None
    info: type[BaseModel] | None = None
    media_type: str = "application/json"
    whole: bool = False
    single: bool = False
    of: Revised | None = None
    large: bool = False

    @property
    def writing(self) -> bool:
        return self.method != "GET" if self.reading is None else not self.reading
