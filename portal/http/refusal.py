"""How the portal says no: one JSON shape for every refusal, before MCP and beside it.

The shape is a JSON-RPC 2.0 error (section 5.1) whatever the path, because that is what MCP clients read from a body
with a status of 400 and above, so the sentence reaches the person who can act on it. OAuth endpoints are the exception:
their clients read the errors of OAuth.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
from mcp_types import INVALID_REQUEST
from starlette.responses import Response
from starlette.types import Scope

from portal.errors import UNAVAILABLE, PortalError
from portal.shares import Full


@dataclass(eq=False, slots=True)
class Refusal(PortalError):
    """A request refused at the edge. `reason` and `data` are stable and for programs, `message` is for people."""

    status: int
    reason: str
    message: str
    code: int = INVALID_REQUEST
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


def no_room(full: Full, what: str, seconds: int) -> Refusal:
    """The refusal where a cap, or the caller's part of it, is used up, with when to come back. `what` is a plural."""
    headers = {"Retry-After": str(seconds)}
    if full.own:
        text = f"You have {full.most} {what} here, as many as one may have. Try again in {seconds} s."
        return Refusal(429, full.reason, f"{text} Nothing ran.", headers=headers)
    text = f"All {full.most} {what} of this portal are taken. Try again in {seconds} s."
    return Refusal(503, full.reason, f"{text} Nothing ran.", headers=headers)


def unavailable(message: str, seconds: int, ran: str) -> Refusal:
    """The refusal while the database does not answer, with when to come back. `ran` is "no" or "unknown"."""
    headers = {"Retry-After": str(seconds), "Cache-Control": "no-store"}
    return Refusal(503, "store", message, UNAVAILABLE, headers, {"ran": ran, "retryAfter": seconds})


NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_NOT_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def refuse_oauth(refusal: Refusal) -> Response:
    """The HTTP answer for a refusal at an OAuth endpoint (RFC 6749 section 5.2): a body of another kind is an
    `invalid_request` with the status 400, and a 503 is `temporarily_unavailable` as at the authorization endpoint."""
    code = "temporarily_unavailable" if refusal.status == 503 else "invalid_request"
    body = {"error": code, "error_description": _NOT_DESCRIPTION.sub("'", refusal.message)}
    status = 400 if refusal.status == 415 else refusal.status
    return Response(orjson.dumps(body), status, {**refusal.headers, **NO_STORE}, media_type="application/json")


IS_OAUTH = "portal.http.is_oauth"
"""The key of the ASGI scope under which the guard says which paths read the errors of OAuth."""


def answer_to(scope: Scope, refusal: Refusal) -> Response:
    """The HTTP answer for a refusal of this request, in the form that its clients read."""
    is_oauth: Callable[[str], bool] | None = scope.get(IS_OAUTH)
    return refuse_oauth(refusal) if is_oauth is not None and is_oauth(scope["path"]) else refuse(refusal)


def unrouted(status: int, method: str, path: str) -> str:
    """What is wrong with a request that was refused with this status before anything of the portal took it, in our own
    words: those of the libraries are for programmers."""
    shown = path[:100] if path.isprintable() else repr(path)[1:101]
    match status:
        case 404:
            return f"There is nothing at {shown}."
        case 405:
            return f"{shown} does not take {method[:20]}."
        case 400:
            return f"The request for {shown} cannot be read: it has too many fields, or is not of the form it says."
    return f"The request for {shown} was refused with the status {status}."


def refuse(refusal: Refusal, request_id: str | int | None = None) -> Response:
    """The HTTP answer for a refusal, with the JSON-RPC id of the request where it is known."""
    error = {"code": refusal.code, "message": refusal.message, "data": {"reason": refusal.reason, **refusal.data}}
    body = orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": error})
    return Response(body, refusal.status, {**NO_STORE, **refusal.headers}, media_type="application/json")
