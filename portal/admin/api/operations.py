"""An operation of the API: its path, permission, body and result. Routes and OpenAPI are built from these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pydantic import BaseModel, Field

from portal.admin.api.answers import Paging
from portal.admin.api.permissions import Area

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
B = TypeVar("B", bound=BaseModel)


class Uploaded(BaseModel):
    """The body of an operation that takes bytes, as they came."""

    content: bytes = Field(repr=False)


class NoBody(BaseModel):
    """The body of an operation without parameters: an empty object, or nothing."""


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """Who makes the request. `by` is recorded with every change; `permissions` are those of the API token."""

    by: str
    permissions: frozenset[str]
    token_id: str = ""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request: authenticated, permitted and validated."""

    caller: ApiCaller
    account_id: str
    path: Mapping[str, str]
    body: BaseModel | None = None
    paging: Paging = field(default_factory=Paging)

    @property
    def by(self) -> str:
        return self.caller.by

    def read(self, model: type[B]) -> B:
        """The body, as the model that the operation declares.

        Raises:
            TypeError: the operation declares another model.
        """
        if not isinstance(self.body, model):
            raise TypeError(f"the body is {type(self.body).__name__}, not {model.__name__}")
        return self.body


Handler = Callable[[ApiRequest], Awaitable[object]]
"""Returns the result; for an operation that lists, a `ListAnswer` or a sequence."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is below `/accounts/{account_id}`. `result` is the model of the result, or of one item if `listed`.

    With `area` None any valid token may call it. It needs the write permission unless the method is GET; `reading`
    overrides that. `status` is the HTTP status of success. A list that is `whole` has all items unless the request asks
    for a page: its clients do not know pages.
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
    whole: bool = False

    @property
    def writing(self) -> bool:
        return self.method != "GET" if self.reading is None else not self.reading
