"""What the portal shows its upstream servers to be let in: access tokens and where they come from, stored headers."""

from typing import TYPE_CHECKING

from portal.credentials.auth_credentials import AuthCredentials, read_auth_credentials, stored_oauth, upstream_oauth
from portal.credentials.challenge import Challenge, read_challenge
from portal.credentials.client_credentials import ClientCredentials, OwnToken
from portal.credentials.credentials import ServerCredentials, may_log_in
from portal.credentials.endings import LEAD, Ending, ending, ends_at
from portal.credentials.errors import CredentialError
from portal.credentials.granted import GrantedCredential
from portal.credentials.grants import (
    OWN,
    SIGN_IN,
    STATES,
    CredentialDocument,
    SealedGrant,
    State,
    fits,
    state_of,
)
from portal.credentials.headers import CredentialsInvalid, open_secret, read_headers, read_scheme_values
from portal.credentials.outbound import Outbound, origin_of
from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.credentials.by_sign_in import IdentityAssertion, TokenExchange
    from portal.credentials.code_grant import PendingLogin, begin_login, challenge_of, complete_login
    from portal.credentials.kept import KeptLogin, kept_login, resumed_login
    from portal.credentials.login_requests import (
        LoginRequest,
        LoginRequestDocument,
        end_login_request,
        find_login_request,
        open_login_requests,
        request_login,
    )
    from portal.credentials.logins import (
        TakenBack,
        forget_login,
        log_out,
        save_login,
        scope_of,
        stored_logins,
        take_back,
    )
    from portal.credentials.notices import CredentialNotices
    from portal.credentials.registration import PortalClient
    from portal.credentials.shown import FixedToken, own_login, shown_token
    from portal.credentials.sign_ins import forget_sign_ins, keep_sign_in
else:
    # Logins are kept in a database, whose library is slow to import, and so is the room of logins.
    __getattr__ = lazily(
        __name__,
        {
            "CredentialNotices": "notices",
            "IdentityAssertion": "by_sign_in",
            "KeptLogin": "kept",
            "LoginRequest": "login_requests",
            "LoginRequestDocument": "login_requests",
            "PendingLogin": "code_grant",
            "PortalClient": "registration",
            "TakenBack": "logins",
            "TokenExchange": "by_sign_in",
            "begin_login": "code_grant",
            "challenge_of": "code_grant",
            "complete_login": "code_grant",
            "end_login_request": "login_requests",
            "find_login_request": "login_requests",
            "forget_login": "logins",
            "forget_sign_ins": "sign_ins",
            "keep_sign_in": "sign_ins",
            "kept_login": "kept",
            "log_out": "logins",
            "open_login_requests": "login_requests",
            "request_login": "login_requests",
            "resumed_login": "kept",
            "save_login": "logins",
            "FixedToken": "shown",
            "own_login": "shown",
            "shown_token": "shown",
            "scope_of": "logins",
            "stored_logins": "logins",
            "take_back": "logins",
        },
    )

__all__ = [
    "LEAD",
    "OWN",
    "SIGN_IN",
    "STATES",
    "AuthCredentials",
    "Challenge",
    "ClientCredentials",
    "CredentialDocument",
    "CredentialError",
    "CredentialNotices",
    "CredentialsInvalid",
    "Ending",
    "FixedToken",
    "GrantedCredential",
    "IdentityAssertion",
    "KeptLogin",
    "LoginRequest",
    "LoginRequestDocument",
    "Outbound",
    "OwnToken",
    "PendingLogin",
    "PortalClient",
    "SealedGrant",
    "ServerCredentials",
    "State",
    "TakenBack",
    "TokenExchange",
    "begin_login",
    "challenge_of",
    "complete_login",
    "end_login_request",
    "ending",
    "ends_at",
    "find_login_request",
    "fits",
    "forget_login",
    "forget_sign_ins",
    "keep_sign_in",
    "kept_login",
    "log_out",
    "may_log_in",
    "open_login_requests",
    "open_secret",
    "origin_of",
    "own_login",
    "read_auth_credentials",
    "read_challenge",
    "read_headers",
    "read_scheme_values",
    "request_login",
    "resumed_login",
    "save_login",
    "scope_of",
    "shown_token",
    "state_of",
    "stored_logins",
    "stored_oauth",
    "take_back",
    "upstream_oauth",
]
