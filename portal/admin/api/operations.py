"""One operation of the API: where it is, who may ask for it, what it takes and gives. Routes and OpenAPI come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from pydantic import BaseModel

from portal.admin.api.answers import Paging
from portal.admin.api.permissions import Area

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
B = TypeVar("B", bound=BaseModel)


class NoBody(BaseModel):
    """The body of an operation that takes none: an empty object, or nothing."""


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """Who asks. `by` is written into what is changed; `held` are the permissions."""

    by: str
    held: frozenset[str]
    token_id: str = ""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request, checked."""

    asker: ApiCaller
    account_id: str
    path: Mapping[str, str]
    body: BaseModel | None = None
    paging: Paging = field(default_factory=Paging)

    @property
    def by(self) -> str:
        return self.asker.by

    def read(self, model: type[B]) -> B:
        """The body, which the operation declares to be of this model.

        Raises:
            TypeError: it declares another.
        """
        if not isinstance(self.body, model):
            raise TypeError(f"the body is {type(self.body).__name__}, not {model.__name__}")
        return self.body


Handler = Callable[[ApiRequest], Awaitable[object]]
"""Gives the result; a `Listing` or a sequence for an operation that lists."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is below `/accounts/{account_id}`. `result` is the model of `result`, of one item when `listed`.

    `area` None: any valid token. `writing` follows the method unless it is said. `status` is that of success.
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

    @property
    def writing(self) -> bool:
        return self.method != "GET" if self.reading is None else not self.reading
