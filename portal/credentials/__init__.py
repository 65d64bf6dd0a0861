"""What the portal shows its upstream servers to be let in: access tokens and where they come from, stored headers."""

from typing import TYPE_CHECKING

from portal.credentials.challenge import Challenge, read_challenge
from portal.credentials.client_credentials import ClientCredentials
from portal.credentials.credentials import ServerCredentials, may_log_in
from portal.credentials.errors import CredentialError
from portal.credentials.granted import GrantedCredential
from portal.credentials.grants import OWN, SIGN_IN, STATES, CredentialDocument, SealedGrant, state_of
from portal.credentials.headers import CredentialsInvalid, open_secret, parse_as, parse_json, read_headers
from portal.credentials.outbound import Outbound, origin_of
from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.credentials.by_sign_in import IdentityAssertion, TokenExchange
    from portal.credentials.code_grant import PendingLogin, begin_login, challenge_of, complete_login
    from portal.credentials.kept import KeptLogin, kept_login, resumed_login
    from portal.credentials.logins import TakenBack, forget_login, log_out, save_login, stored_logins, take_back
    from portal.credentials.registration import PortalClient
    from portal.credentials.sign_ins import forget_sign_ins, keep_sign_in
else:
    # Logins are kept in a database, whose library is slow to import, and so is the room of logins.
    __getattr__ = lazily(
        __name__,
        {
            "IdentityAssertion": "by_sign_in",
            "KeptLogin": "kept",
            "PendingLogin": "code_grant",
            "PortalClient": "registration",
            "TakenBack": "logins",
            "TokenExchange": "by_sign_in",
            "begin_login": "code_grant",
            "challenge_of": "code_grant",
            "complete_login": "code_grant",
            "forget_login": "logins",
            "forget_sign_ins": "sign_ins",
            "keep_sign_in": "sign_ins",
            "kept_login": "kept",
            "log_out": "logins",
            "resumed_login": "kept",
            "save_login": "logins",
            "stored_logins": "logins",
            "take_back": "logins",
        },
    )

__all__ = [
    "OWN",
    "SIGN_IN",
    "STATES",
    "Challenge",
    "ClientCredentials",
    "CredentialDocument",
    "CredentialError",
    "CredentialsInvalid",
    "GrantedCredential",
    "IdentityAssertion",
    "KeptLogin",
    "Outbound",
    "PendingLogin",
    "PortalClient",
    "SealedGrant",
    "ServerCredentials",
    "TakenBack",
    "TokenExchange",
    "begin_login",
    "challenge_of",
    "complete_login",
    "forget_login",
    "forget_sign_ins",
    "keep_sign_in",
    "kept_login",
    "log_out",
    "may_log_in",
    "open_secret",
    "origin_of",
    "parse_as",
    "parse_json",
    "read_challenge",
    "read_headers",
    "resumed_login",
    "save_login",
    "state_of",
    "stored_logins",
    "take_back",
]
