"""The errors of the admin API: each has an HTTP status and a code that clients can distinguish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from portal.errors import PortalError
from portal.state import Broken

AUTHENTICATION = 10000
NO_ROUTE = 7003
BAD_METHOD = 7001
INVALID = 12130
NOT_FOUND = 11021
CONFLICT = 12132
IN_USE = 12139
BROKEN = 12141
PRECONDITION = 12142
TOO_LARGE = 10013
LIMITED = 971
UNAVAILABLE = 10001
FAULT = 10002


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of `errors`. `pointer` is a JSON pointer to the member of the body at fault, or ""."""

    code: int
    message: str
    pointer: str = ""


class AdminError(PortalError):
    """An error answer of the admin API. No message quotes a value of the request."""

    def __init__(self, status: int, problems: Sequence[Problem], headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.problems = tuple(problems)
        self.headers = headers or {}
        super().__init__("; ".join(problem.message for problem in problems))


def invalid(message: str, pointer: str = "") -> AdminError:
    return AdminError(400, [Problem(INVALID, message, pointer)])


def not_found(noun: str) -> AdminError:
    return AdminError(404, [Problem(NOT_FOUND, f"{noun} not found")])


def conflict(message: str) -> AdminError:
    return AdminError(409, [Problem(CONFLICT, message)])


def unauthenticated() -> AdminError:
    return AdminError(401, [Problem(AUTHENTICATION, "Authentication error")])


def forbidden(message: str = "Authentication error: the token has no permission for this") -> AdminError:
    return AdminError(403, [Problem(AUTHENTICATION, message)])


def in_use(message: str) -> AdminError:
    return AdminError(409, [Problem(IN_USE, message)])


def broken(unreadable: Broken) -> AdminError:
    """The error for a stored object whose document cannot be read. It can be replaced or deleted."""
    return AdminError(409, [Problem(BROKEN, broken_message(unreadable))])


def broken_message(unreadable: Broken) -> str:
    """Names the stored object that cannot be read and the reason, without quoting its content."""
    noun = unreadable.kind.replace("_", " ")
    return f"the stored {noun} {unreadable.id!r} cannot be read ({unreadable.problem}); replace or delete it"
