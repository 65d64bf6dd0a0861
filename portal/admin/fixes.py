"""What an administrator does next about a server: one action, for a program, and a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from portal.objects import AuthType
from portal.servers import Fault

if TYPE_CHECKING:
    from portal.admin.credentials import AuthenticationStatus
    from portal.admin.upstreams import Observed

FixAction = Literal[
    "wait",
    "sync",
    "log_in",
    "approve",
    "edit_credentials",
    "edit_url",
    "change_auth_type",
    "start_server",
    "start_program",
    "replace_server",
    "edit_document",
    "edit_configuration",
]


class Fix(BaseModel):
    """The next thing to do about a server. `words` is a sentence for people.

    `wait`: nothing. `sync`: POST `/sync`. `log_in`: POST `/login`. `approve`: GET `/pins`, then POST `/pins/approve`.
    `edit_credentials`: PUT with `auth_credentials` or `client_secret`. `edit_document`: of an API, PUT with
    `openapi_url` or `openapi_document`. `edit_url`, `change_auth_type` and `replace_server`: make the server again,
    with another URL, another `auth_type`, or as it was. `start_server`: at the
    server, not here. `start_program` and `edit_configuration`: in the document of the operator.
    """

    action: FixAction
    words: str


# The words of `portal.upstream` for what went wrong before a server could answer.
_WRONG_NAME = ("host name cannot be resolved", "leads to an address", "address is one no server may have")
_NOT_THERE = ("cannot be reached",)
_NO_PROGRAM = ("cannot be started",)
_NO_TLS = ("TLS failed",)
_NO_DOCUMENT = ("its document",)
_NOT_MCP = (404, 405, 406, 410)
_BUSY = (408, 429)


def fix_of(
    observed: Observed,
    auth_type: AuthType,
    authentication: AuthenticationStatus,
    *,
    fault: Fault = "",
    login_ends: bool = False,
) -> Fix | None:
    """What to do about a server in this state, None where all is well. `fault` says why it is not even configured;
    `login_ends` that the portal's own login ends soon."""
    if fault:
        return _of_fault(fault, observed.error or "")
    logs_in = auth_type == "oauth" and authentication in ("required", "manual", "stale")
    if observed.status in ("error", "stale"):
        return _of_problem(observed, auth_type, logs_in)
    if logs_in:
        again = " again" if authentication == "stale" else ""
        return Fix(action="log_in", words=f"Log the portal in to the server{again}: nobody has, or it ended.")
    if auth_type == "bearer" and authentication == "required":
        return Fix(action="edit_credentials", words="Give the server its credentials: it has none.")
    if observed.waiting_approvals:
        count = observed.waiting_approvals
        what = "1 definition waits" if count == 1 else f"{count} definitions wait"
        return Fix(action="approve", words=f"{what} for approval: read the differences, and approve what is right.")
    if login_ends:
        return Fix(
            action="log_in",
            words="The portal's login at the server ends soon, and no refresh moves that: log in again.",
        )
    if observed.status == "waiting":
        return Fix(
            action="wait", words="The portal is connecting for the first time, or no portal of this process serves it."
        )
    return None


def fix_in_document(observed: Observed) -> Fix | None:
    """What to do about a server of the operator's document in this state, None where all is well."""
    fix = fix_of(observed, "unauthenticated", "not_required")
    if fix is None or fix.action in ("wait", "start_server", "start_program", "approve", "sync"):
        return fix
    status = observed.error_details.status_code if observed.error_details is not None else None
    if fix.action == "edit_document":
        words = "Correct `openapi`, `url` or `server` of the server in the configuration document, as the reason says."
    elif status in (401, 403):
        words = f"The server answers {status}: correct its headers or its oauth in the configuration document."
    else:
        words = "Correct the URL of the server in the configuration document."
    return Fix(action="edit_configuration", words=words)


def _of_fault(fault: Fault, problem: str) -> Fix:
    if fault == "credentials":
        return Fix(action="edit_credentials", words=f"Give the server its credentials again: {problem}.")
    if fault == "left_out":
        return Fix(action="edit_configuration", words=f"Another id, or another URL, is wanted: {problem}.")
    return Fix(action="replace_server", words=f"Delete the server and make it again: {problem}.")


def _of_problem(observed: Observed, auth_type: AuthType, logs_in: bool) -> Fix:
    reason = observed.error or ""
    status = observed.error_details.status_code if observed.error_details is not None else None
    if _says(reason, _NO_DOCUMENT):
        words = "Give the server another OpenAPI document, or correct this one where it is; then sync."
        return Fix(action="edit_document", words=words)
    if status in (401, 403):
        return _of_refusal(auth_type, status, logs_in)
    if status in _NOT_MCP:
        words = f"The server answers {status}: at this URL is no MCP server. Make the server again with the right URL."
        return Fix(action="edit_url", words=words)
    if status in _BUSY or (status is not None and status >= 500):
        words = f"The server answers {status}, so it is at fault itself. It is tried again; sync tries at once."
        return Fix(action="sync", words=words)
    if _says(reason, _NO_PROGRAM):
        return Fix(action="start_program", words="Correct the command of the server in the configuration document.")
    if _says(reason, _WRONG_NAME):
        return Fix(action="edit_url", words="Check the host name. The URL is changed by making the server again.")
    if _says(reason, _NOT_THERE):
        return Fix(
            action="start_server", words="Nothing answers there. Start the server, or open the way to it; then sync."
        )
    if _says(reason, _NO_TLS):
        return Fix(action="start_server", words="Its certificate does not hold. Mend that at the server; then sync.")
    if logs_in:
        return Fix(action="log_in", words="Log the portal in to the server.")
    return Fix(action="sync", words="The portal tries again by itself; sync tries at once.")


def _of_refusal(auth_type: AuthType, status: int, logs_in: bool) -> Fix:
    if auth_type == "oauth":
        if status == 401 or logs_in:
            return Fix(
                action="log_in",
                words=f"The server answers {status} without a login that serves: log in.",
            )
        words = "The server answers 403 to the portal's login: log in again with more permissions, or as somebody else."
        return Fix(action="log_in", words=words)
    if auth_type == "bearer":
        words = f"The server answers {status} to the stored credentials: replace them."
        return Fix(action="edit_credentials", words=words)
    words = f"The server answers {status}, so it wants a login. Make it again with the auth_type oauth or bearer."
    return Fix(action="change_auth_type", words=words)


def _says(reason: str, parts: tuple[str, ...]) -> bool:
    return any(part in reason for part in parts)
