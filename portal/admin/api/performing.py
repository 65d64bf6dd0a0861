"""Performs operations: who may, with which body, how it ends, and the row that the log keeps of it.

There is one way into an operation, whether a request brings it over HTTP or a page of the console in this process.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from portal.admin.api import errors
from portal.admin.api.answers import Paging
from portal.admin.api.changes import MAX_IN_PATH, change_row
from portal.admin.api.errors import AdminError, Problem
from portal.admin.api.operations import ApiCaller, ApiRequest, Operation
from portal.admin.api.revisions import Mark
from portal.logs import EventSink
from portal.misfits import fitted, misfits
from portal.state import (
    AlreadyExists,
    Conflict,
    DocumentBroken,
    DocumentInvalid,
    NotFound,
    StateError,
    StateUnavailable,
)

MAX_PROBLEMS = 20
IN_FORCE_SECONDS = 1.0
FAILED = AdminError(500, [Problem(errors.FAULT, "the portal failed on this request")])
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

InForce = Callable[[float], Awaitable[None]]


def _unnoted(mark: Mark) -> None:
    """Nobody asks for the state of what is shown."""


@dataclass(frozen=True, slots=True)
class Performance:
    """One performance of an operation. `names` are the ids in its path, `ip` is where the request comes from.

    `caller` says who makes the request, `asked` what they ask for. `elsewhere`: the request names another account.
    `noted` is told of the state of what is shown, before the answer is made.
    """

    operation: Operation
    names: Mapping[str, str]
    ip: str
    caller: Callable[[], Awaitable[ApiCaller]]
    asked: Callable[[ApiCaller], Awaitable[ApiRequest]]
    elsewhere: bool = False
    noted: Callable[[Mark], None] = _unnoted


async def perform(
    wanted: Performance,
    answered: Callable[[object], T],
    events: EventSink,
    in_force: InForce,
) -> T:
    """The answer to an operation, which `answered` makes of the result when it is in force. `events` takes the row of
    a change or of a refusal.

    Raises:
        AdminError: it was refused, or it failed for a reason that the caller can do something about.
    """
    operation, caller = wanted.operation, None
    at = time.time_ns() // 1000

    def note(result: object = None, error: AdminError | None = None) -> None:
        row = change_row(operation, wanted.names, caller, ip=wanted.ip, at=at, result=result, error=error)
        if row is not None:
            events.write(row)

    try:
        caller = await wanted.caller()
        if wanted.elsewhere:
            # The same answer for every other account, so that nobody learns which accounts exist.
            raise errors.forbidden("Authentication error: the token does not belong to this account")
        require_allowed(operation, caller)
        if any(len(name) > MAX_IN_PATH or not name.isprintable() for name in wanted.names.values()):
            raise errors.not_found("the object")
        request = await wanted.asked(caller)
        mark = await _mark(operation, request)
        result = await operation.handler(request)
        if mark is not None:
            wanted.noted(mark)
        if operation.writing:
            # Who has just denied somebody may rely on it when the answer comes.
            await in_force(IN_FORCE_SECONDS)
        answer = answered(result)
    except AdminError as error:
        note(error=error)
        raise
    except StateError as error:
        refused = _refusal(error)
        if refused is None:
            note(error=FAILED)
            raise
        note(error=refused)
        raise refused from error
    except Exception:
        note(error=FAILED)
        raise
    note(result)
    return answer


async def _mark(operation: Operation, request: ApiRequest) -> Mark | None:
    """The state of what an operation shows. It is read before what is shown: an older state with newer content only
    refuses a change that could have been made, a newer state with older content would undo somebody's."""
    if operation.method != "GET" or operation.of is None:
        return None
    mark = await operation.of.read(request.path)
    if mark is not None and request.expected is not None:
        request.expected.require(mark)
    return mark


def require_allowed(operation: Operation, caller: ApiCaller) -> None:
    """
    Raises:
        AdminError: the permissions of the caller do not include this operation.
    """
    if operation.area is not None and not operation.area.allows(caller.permissions, writing=operation.writing):
        raise errors.forbidden()


def validated(model: type[M], data: Mapping[str, object]) -> M:
    """The model that these members make.

    Raises:
        AdminError: they do not fit; each problem points to the member at fault.
    """
    try:
        return fitted(model, data)
    except ValidationError as error:
        found = misfits(error, data)
    except RecursionError:
        raise errors.invalid("the body is nested too deep") from None
    problems = [Problem(errors.INVALID, one.problem, _pointer(one.place)) for one in found[:MAX_PROBLEMS]]
    raise AdminError(400, problems)


def paging_of(operation: Operation, query: Mapping[str, str], whole: int) -> Paging:
    """The page of a list that a query asks for; of a list that is `whole`, all of it, up to so many items."""
    if not operation.listed:
        return Paging()
    paging = validated(Paging, dict(query))
    if operation.whole and "page" not in query and "per_page" not in query:
        return paging.model_copy(update={"per_page": whole})
    return paging


def _pointer(location: Sequence[int | str]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)[:512]


def _refusal(error: StateError) -> AdminError | None:
    """What the state refuses, as an error of this API; None if the portal is at fault."""
    match error:
        case StateUnavailable():
            problem = Problem(errors.UNAVAILABLE, error.words)
            return AdminError(503, [problem], {"retry-after": str(error.seconds)})
        case NotFound():
            return errors.not_found(error.kind.replace("_", " "))
        case AlreadyExists():
            return errors.conflict(f"a {error.kind.replace('_', ' ')} with that id exists already")
        case Conflict():
            return errors.conflict(str(error))
        case DocumentBroken():
            message = f"the stored {error.kind.replace('_', ' ')} {error.id!r} cannot be read ({error.reason}); "
            return AdminError(409, [Problem(errors.BROKEN, message + "replace or delete it")])
        case DocumentInvalid():
            return errors.invalid(str(error))
        case _:
            return None
