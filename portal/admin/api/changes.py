"""The rows of the log about the admin API: every change, made or refused, and every refusal of a caller. Pure.

A row says who, which operation on which object, and how it ended, never a value: `method` is the HTTP method, `name`
the path with the ids in it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from portal.admin.api.errors import AdminError
from portal.admin.api.operations import ApiCaller, Operation
from portal.errors import Outcome
from portal.logs import Kind, LogRow, event

MAX_IN_PATH = 256
_OUTCOMES: Mapping[int, Outcome] = {401: "denied", 403: "denied", 429: "denied", 503: "unavailable"}


def change_row(
    operation: Operation,
    path: Mapping[str, str],
    caller: ApiCaller | None,
    *,
    ip: str = "",
    at: int,
    result: object = None,
    error: AdminError | None = None,
) -> LogRow | None:
    """The row of a request, which began `at` (microseconds since 1970); None for one that reads and was allowed to.
    `caller` is None where nobody is known by the token."""
    status = 200 if error is None else error.status
    outcome: Outcome = "ok" if error is None else _OUTCOMES.get(status, "error")
    if not operation.writing and outcome != "denied":
        return None
    kind: Kind = "change" if operation.writing and caller is not None else "refusal"
    row = event(
        kind,
        operation.method,
        outcome,
        ip=ip,
        name=_object(operation, path if caller is not None else {}, result),
        client="" if caller is None else caller.name,
        reason="" if error is None else str(error),
    )
    us = max(0, time.time_ns() // 1000 - at)
    return row._replace(at=at, us=us, identity="" if caller is None else caller.by)


def _object(operation: Operation, path: Mapping[str, str], result: object) -> str:
    """What a request is about: the path, with the ids of the request and of what it has made."""
    parts = [_filled(part, path) for part in operation.path.split("/")]
    if operation.method == "POST" and "{" not in operation.path:
        made = getattr(result, "id", None) or getattr(result, "uid", None)
        parts += [made] if isinstance(made, str) else []
    return "/".join(parts)


def _filled(part: str, path: Mapping[str, str]) -> str:
    value = path.get(part.strip("{}").partition(":")[0], "") if part.startswith("{") else ""
    return value if value and len(value) <= MAX_IN_PATH and value.isprintable() else part
