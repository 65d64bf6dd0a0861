"""What a person does through the operations of the API in this process, without HTTP and without a token.

The same operations, permissions, checks, rows of the log and errors as over HTTP (`performing`): a page of the console
has no other way to read or to change anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, RootModel

from portal.admin.api import answers
from portal.admin.api.answers import DoneAnswer, InfoAnswer, PageInfo, listing_of
from portal.admin.api.application import AdminSettings
from portal.admin.api.errors import broken_message
from portal.admin.api.operations import ApiCaller, ApiRequest, Method, NoBody, Operation
from portal.admin.api.performing import Performance, paging_of, perform, require_allowed, validated
from portal.admin.api.revisions import Marks

MAX_ITEMS = 1_000
M = TypeVar("M", bound=BaseModel)
I = TypeVar("I", bound=BaseModel)  # noqa: E741
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[M]):
    """A page of a list. `broken` says which stored objects are missing because they cannot be read, `unreadable` has
    their ids."""

    items: Sequence[M]
    info: PageInfo
    broken: Sequence[str] = ()
    unreadable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class KeyedPage(Generic[M, I]):
    """A page that is not found by its number: `info` says how to go on."""

    items: Sequence[M]
    info: I


class Operations:
    """The operations of an account, by method and path."""

    def __init__(self, operations: Sequence[Operation], account_id: str, settings: AdminSettings) -> None:
        self._by_name = {(one.method, one.path): one for one in operations}
        self._account_id = account_id
        self._settings = settings

    def of(self, caller: Callable[[], Awaitable[ApiCaller]], ip: str, marks: Marks | None = None) -> Actions:
        """The actions of a caller who is at this address. `caller` says who that is and what they may do by now,
        `marks` what they have read.

        Raises (`caller`):
            AdminError: they may do nothing.
        """
        return Actions(self, caller, ip, Marks() if marks is None else marks)

    def find(self, method: Method, path: str) -> Operation:
        """
        Raises:
            KeyError: there is no such operation.
        """
        return self._by_name[method, path]

    async def perform(
        self,
        operation: Operation,
        caller: Callable[[], Awaitable[ApiCaller]],
        ip: str,
        names: Mapping[str, str],
        body: Mapping[str, object] | None,
        query: Mapping[str, str],
        answered: Callable[[object], T],
        marks: Marks,
    ) -> T:
        # What leaves the rest of an object as it is takes nothing for granted that was read of the whole.
        regarded = operation.of if operation.method != "PATCH" or operation.of and operation.of.in_part else None
        expected = marks.expected(regarded) if regarded is not None and operation.writing else None

        async def permitted() -> None:
            require_allowed(operation, await caller())

        async def asked(known: ApiCaller) -> ApiRequest:
            model = operation.body
            sent = None if model is None or model is NoBody and body is None else validated(model, body or {})
            if model is NoBody and sent is None:
                sent = NoBody()
            paging = paging_of(operation, _paging(query), MAX_ITEMS)
            parameters = None if operation.query is None else validated(operation.query, query)
            return ApiRequest(known, self._account_id, names, sent, paging, parameters, {}, permitted, expected)

        wanted = Performance(operation, names, ip, caller, asked, noted=marks.note)
        answer = await perform(wanted, answered, self._settings.events, self._settings.in_force)
        if expected is not None and expected.checked is not None:
            marks.forget(expected.checked.object)
        return answer

    async def remember(
        self, operation: Operation, names: Mapping[str, str], body: Mapping[str, object], marks: Marks
    ) -> None:
        model = operation.body
        sent = None if model is None or model is NoBody else validated(model, body)
        if operation.of is not None and (mark := await operation.of.read(names, sent)) is not None:
            marks.note(mark)


class Actions:
    """The operations as one person may use them. Paths are those of the operations, with their parameters in braces:
    `await actions.show(ShownServer, "/access/ai-controls/mcp/servers/{id}", id="docs")`.

    Each raises `AdminError` where the same request over HTTP would be answered with an error. What is shown is noted in
    the `marks`, and a change of it is refused if somebody else has changed it since.
    """

    def __init__(
        self, operations: Operations, caller: Callable[[], Awaitable[ApiCaller]], ip: str, marks: Marks
    ) -> None:
        self.marks = marks
        self._operations = operations
        self._caller = caller
        self._ip = ip

    async def show(self, model: type[M], path: str, query: Mapping[str, str] | None = None, **names: str) -> M:
        """The result of a reading operation."""
        return await self._do("GET", path, names, None, query or {}, lambda result: _one(model, result))

    async def list(
        self, model: type[M], path: str, query: Mapping[str, str] | None = None, **names: str
    ) -> NumberedPage[M]:
        """A page of a list; the whole list, up to `MAX_ITEMS`, where `query` asks for no page."""
        asked = dict(query or {})
        asked.setdefault("per_page", str(MAX_ITEMS))
        paging = paging_of(self._operations.find("GET", path), _paging(asked), MAX_ITEMS)

        def answered(result: object) -> NumberedPage[M]:
            listing = listing_of(result)
            items, info = answers.page(listing.items, paging)
            broken = [broken_message(one) for one in listing.broken]
            ids = [one.id for one in listing.broken]
            return NumberedPage([_one(model, item) for item in items], info, broken, ids)

        return await self._do("GET", path, names, None, asked, answered)

    async def keyed(
        self, model: type[M], info: type[I], path: str, query: Mapping[str, str] | None = None, **names: str
    ) -> KeyedPage[M, I]:
        """A page of an operation whose answer has a model of `info`."""

        def answered(result: object) -> KeyedPage[M, I]:
            if not isinstance(result, InfoAnswer):
                raise TypeError(f"{path} does not answer with pages by key")
            return KeyedPage([_one(model, item) for item in result.items], _one(info, result.info))

        return await self._do("GET", path, names, None, query or {}, answered)

    async def change(self, method: Method, path: str, body: Mapping[str, object] | None = None, **names: str) -> object:
        """Do something; its result."""
        return await self._do(method, path, names, body, {}, lambda result: result)

    async def made(
        self, model: type[M], method: Method, path: str, body: Mapping[str, object] | None = None, **names: str
    ) -> M:
        """Do something whose result matters."""
        return await self._do(method, path, names, body, {}, lambda result: _one(model, result))

    async def told(
        self, info: type[I], method: Method, path: str, body: Mapping[str, object] | None = None, **names: str
    ) -> I:
        """Do something of which more is said than its result: that."""

        def answered(result: object) -> I:
            if not isinstance(result, DoneAnswer):
                raise TypeError(f"{path} says no more than its result")
            return _one(info, result.info)

        return await self._do(method, path, names, body, {}, answered)

    async def remember(self, method: Method, path: str, body: Mapping[str, object] | None = None, **names: str) -> None:
        """Note the state of what this change would change: of a part of an object that is shown as a whole. To be
        called before it is shown. Nothing is changed."""
        await self._operations.remember(self._operations.find(method, path), names, body or {}, self.marks)

    async def _do(
        self,
        method: Method,
        path: str,
        names: Mapping[str, str],
        body: Mapping[str, object] | None,
        query: Mapping[str, str],
        answered: Callable[[object], T],
    ) -> T:
        operation = self._operations.find(method, path)
        return await self._operations.perform(
            operation, self._caller, self._ip, names, body, query, answered, self.marks
        )


def _one(model: type[M], result: object) -> M:
    """The result as its model, also where the operation has made members of it already.

    Raises:
        TypeError: the operation answers with another model.
    """
    if isinstance(result, dict):
        return model.model_validate(result)
    if not isinstance(result, model):
        if issubclass(model, RootModel):
            # An operation that answers with one of several models declares them together.
            return model(result)
        raise TypeError(f"the result is {type(result).__name__}, not {model.__name__}")
    return result


def _paging(query: Mapping[str, str]) -> Mapping[str, str]:
    return {name: query[name] for name in ("page", "per_page", "search") if name in query}
