"""The envelope of every answer, in the shape of Cloudflare's API, and the pages of a list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, Field

from portal.admin.api.errors import BROKEN, Problem, broken_message
from portal.state import Broken

Result = TypeVar("Result")
Info = TypeVar("Info")

MAX_PER_PAGE = 1000


class ErrorSource(BaseModel):
    pointer: str


class ErrorEntry(BaseModel):
    code: int
    message: str
    source: ErrorSource | None = None


class EnvelopeMessage(BaseModel):
    code: int
    message: str


class PageInfo(BaseModel):
    page: int
    per_page: int
    count: int
    total_count: int
    total_pages: int


class Success(BaseModel, Generic[Result]):
    result: Result
    success: Literal[True] = True
    errors: tuple[ErrorEntry, ...] = ()
    messages: tuple[EnvelopeMessage, ...] = ()


class SuccessPage(Success[Result], Generic[Result]):
    result_info: PageInfo


class SuccessWith(Success[Result], Generic[Result, Info]):
    """A page that is not found by its number: `result_info` says how to go on."""

    result_info: Info


class FailureEnvelope(BaseModel):
    result: None = None
    success: Literal[False] = False
    errors: tuple[ErrorEntry, ...]
    messages: tuple[EnvelopeMessage, ...] = ()


class Paging(BaseModel):
    """The query parameters of a list."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    per_page: Annotated[int, Field(ge=1, le=MAX_PER_PAGE)] = 50
    search: Annotated[str, Field(max_length=256)] = ""


def failure(problems: Sequence[Problem]) -> dict[str, object]:
    entries = tuple(
        ErrorEntry(
            code=problem.code,
            message=problem.message,
            source=ErrorSource(pointer=problem.pointer) if problem.pointer else None,
        )
        for problem in problems
    )
    return FailureEnvelope(errors=entries).model_dump(mode="json", exclude_none=True) | {"result": None}


@dataclass(frozen=True, slots=True)
class ListAnswer(Generic[Result]):
    """The items of a list, and the stored objects missing from it because they cannot be read."""

    items: Sequence[Result]
    broken: Sequence[Broken] = ()


@dataclass(frozen=True, slots=True)
class InfoAnswer:
    """The items of a page, and what is said about it."""

    items: Sequence[object]
    info: BaseModel


@dataclass(frozen=True, slots=True)
class DoneAnswer:
    """The result of something that was done, and what is said about it. `id` is whom or what it was about."""

    result: BaseModel
    info: BaseModel
    id: str = ""


def listing_of(result: object) -> ListAnswer[object]:
    """The result of an operation that lists, as a `ListAnswer`.

    Raises:
        TypeError: `result` is not a list.
    """
    if isinstance(result, ListAnswer):
        return result
    if not isinstance(result, list | tuple):
        raise TypeError("an operation that lists did not return a list")
    return ListAnswer(result)


def success(result: object, broken: Sequence[Broken] = ()) -> dict[str, object]:
    """The envelope of a result. Its messages name the objects that could not be read."""
    messages = [{"code": BROKEN, "message": broken_message(each)} for each in broken]
    return {"result": result, "success": True, "errors": [], "messages": messages}


def page(items: Sequence[Result], paging: Paging) -> tuple[Sequence[Result], PageInfo]:
    """The items on the requested page, and the position of that page in the whole list."""
    start = (paging.page - 1) * paging.per_page
    selection = items[start : start + paging.per_page]
    info = PageInfo(
        page=paging.page,
        per_page=paging.per_page,
        count=len(selection),
        total_count=len(items),
        total_pages=math.ceil(len(items) / paging.per_page),
    )
    return selection, info
