"""Everything that can go wrong on the way to an upstream server, and whose fault it is.

    PortalError
      ConfigError                 the document the operator wrote
      InputError                  another file that somebody wrote or saved
      StartError                  what the portal needs to start
      CallError                   a call through the portal that has no result
        StoreUnavailable          the portal's own database does not answer
        ServerUnknown             nothing of that name is configured
        CallDenied                the gate said no
          OverQuota               as many calls as a quota allows have been made
          ApprovalRequired        people have to approve the call first
        UpstreamError             the upstream, or the road to it
          RpcError                it answered with a JSON-RPC error (relayed word for word)
          UpstreamUnavailable     not connected: the call did not leave
            UpstreamCrowded       as many calls of it are under way as may be
          AuthorizationRequired   it answered 401 or 403, or there is no token to show
            LoginRequired         the person behind the call has to log in to it
          SessionExpired          it no longer knows our session: the call did not run
          UpstreamTimeout         no answer in time
          OutcomeUnknown          the connection was lost while the call ran
          ResponseInvalid         what came back is not MCP
          ResponseTooLarge        what came back is over the limit

Codes of our own are in the range JSON-RPC over MCP leaves to implementations (-32000 to -32019).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Literal

Ran = Literal["no", "yes", "unknown"]
Outcome = Literal["ok", "tool_error", "error", "denied", "timeout", "unavailable", "cancelled"]

INVALID_PARAMS = -32602
REQUEST_TIMEOUT = -32001
UNAVAILABLE = -32010
OUTCOME_UNKNOWN = -32011
RESPONSE_INVALID = -32012
RESPONSE_TOO_LARGE = -32013
DENIED = -32014
AUTHORIZATION_REQUIRED = -32015
SESSION_EXPIRED = -32016
NO_ROOM = -32017


class PortalError(Exception):
    """Any error the portal names itself."""


class InputError(PortalError):
    """A file that a developer wrote or saved cannot be used. The message names the file and says why."""


class StartError(PortalError):
    """The portal cannot start, or a command cannot open what it needs. The message says why and what to do."""


class ConfigError(PortalError):
    """The configuration cannot be used. `str()` says the file, the key, what is wrong there and what to do."""

    def __init__(self, problem: str, *, file: str, key: str = "", fix: str = "") -> None:
        self.problem = problem
        self.file = file
        self.key = key
        self.fix = fix
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}" + (f" {fix}" if fix else ""))


class CallError(PortalError):
    """A call that has no result: `code`, `message` and `data` are what a JSON-RPC client is told.

    `ran` says whether the upstream may have acted on it: "no", "yes" or "unknown". `outcome` is its word in a record.
    """

    code: int = -32603
    ran: Ran = "unknown"
    outcome: Outcome = "error"

    def __init__(self, message: str, *, server: str = "", data: Any = None) -> None:
        self.message = message
        self.server = server
        self.data = data
        super().__init__(message)

    @property
    def full_message(self) -> str:
        """The message for somebody who may not know which server was called."""
        return self.message


class ServerUnknown(CallError):
    code = INVALID_PARAMS
    ran: Ran = "no"


class StoreUnavailable(CallError):
    """The portal's own database does not answer. `seconds` is when to try again."""

    code = UNAVAILABLE
    outcome: Outcome = "unavailable"

    def __init__(self, message: str, *, ran: Ran, seconds: int) -> None:
        super().__init__(message, data={"reason": "store", "ran": ran, "retryAfter": seconds})
        self.ran = ran


class CallDenied(CallError):
    """The gate refused. `policy` names the rule, when there is one. `details` are further members of `data`."""

    code = DENIED
    ran: Ran = "no"
    outcome: Outcome = "denied"

    def __init__(
        self,
        reason: str,
        *,
        policy: str | None = None,
        server: str = "",
        ran: Ran = "no",
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            reason, server=server, data={**({"policy": policy} if policy else {}), **(details or {})} or None
        )
        self.reason = reason
        self.policy = policy
        self.ran = ran
        self.details = details


class OverQuota(CallDenied):
    """As many calls have been made as the quota `policy` allows. `seconds` is when to try again."""

    def __init__(self, reason: str, *, policy: str, seconds: int, server: str = "") -> None:
        details = {"reason": "quota", "retryAfter": seconds}
        super().__init__(reason, policy=policy, server=server, details=details)
        self.seconds = seconds


class ApprovalRequired(CallDenied):
    """People have to approve the call first, at `url`. It did not run, and the same call runs once they have: it uses
    the approval `approval`."""

    def __init__(self, reason: str, *, policy: str, approval: str, url: str, server: str = "") -> None:
        details = {"reason": "approval_required", "approval": approval, "url": url}
        super().__init__(reason, policy=policy, server=server, details=details)
        self.approval = approval
        self.url = url


class UpstreamError(CallError):
    """The upstream, or the road to it. `status` is the HTTP status it answered with, if it answered over HTTP."""

    status: int | None = None

    @property
    def full_message(self) -> str:
        """The message with the name of the server whose fault it is."""
        name = repr(self.server)
        return self.message if not self.server or name in self.message else f"The server {name}: {self.message}"

    @property
    def quotes(self) -> bool:
        """Whether the message may have words of the server in it: it has answered, or why it cannot be reached is that
        it has."""
        cause = self.__cause__
        return self.status is not None or (isinstance(cause, UpstreamError) and cause.quotes)

    def in_other_words(self, message: str) -> UpstreamError:
        """The same error with another message."""
        other = copy(self)
        other.message, other.args = message, (message,)
        return other


class RpcError(UpstreamError):
    """The upstream answered with a JSON-RPC error: its code, message and data."""

    ran: Ran = "yes"

    def __init__(self, code: int, message: str, data: Any = None, *, server: str = "") -> None:
        super().__init__(message, server=server, data=data)
        self.code = code

    @property
    def full_message(self) -> str:
        """The server's own words. If it has none, that is said."""
        who = f"The server {self.server!r}" if self.server else "The server"
        return self.message or f"{who} answered with the error {self.code} and no message."


class UpstreamUnavailable(UpstreamError):
    code = UNAVAILABLE
    ran: Ran = "no"
    outcome: Outcome = "unavailable"


class UpstreamCrowded(UpstreamUnavailable):
    """As many calls of it are under way as may be, of this caller or of all. `data` says which (`reason`) and after how
    many seconds it may be tried again (`retryAfter`)."""

    code = NO_ROOM


class AuthorizationRequired(UpstreamError):
    """It wants a credential that the portal does not have. `status` is 401 or 403, or None if nothing was sent;
    `challenge` is the WWW-Authenticate header. `login_helps` says that a new login might bring the credential.
    """

    code = AUTHORIZATION_REQUIRED
    ran: Ran = "no"
    outcome: Outcome = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        challenge: str | None = None,
        server: str = "",
        login_helps: bool = True,
    ) -> None:
        super().__init__(message, server=server)
        self.status = status
        self.challenge = challenge
        self.login_helps = login_helps


class LoginRequired(AuthorizationRequired):
    """The server wants a login of the person behind the call, and there is none that would do. `subject` is that person
    (`Identity.key`), `login` says which login there was at that moment, "" for none: a later one is another. `reason`
    is the message without `advice` on where to log in.
    """

    def __init__(
        self, reason: str, *, advice: str, server: str, subject: str, login: str = "", status: int | None = None
    ) -> None:
        super().__init__(f"{reason}; {advice}" if advice else reason, status=status, server=server)
        self.reason = reason
        self.subject = subject
        self.login = login

    def in_other_words(self, message: str) -> LoginRequired:
        return LoginRequired(
            message,
            advice="",
            server=self.server,
            subject=self.subject,
            login=self.login,
            status=self.status,
        )


class SessionExpired(UpstreamError):
    code = SESSION_EXPIRED
    ran: Ran = "no"
    outcome: Outcome = "unavailable"


class UpstreamTimeout(UpstreamError):
    code = REQUEST_TIMEOUT
    outcome: Outcome = "timeout"


class OutcomeUnknown(UpstreamError):
    code = OUTCOME_UNKNOWN


class ResponseInvalid(UpstreamError):
    """`status` is the HTTP status where there was one."""

    code = RESPONSE_INVALID

    @property
    def quotes(self) -> bool:
        return True

    def __init__(self, message: str, *, status: int | None = None, server: str = "") -> None:
        super().__init__(message, server=server)
        self.status = status


class ResponseTooLarge(UpstreamError):
    code = RESPONSE_TOO_LARGE
