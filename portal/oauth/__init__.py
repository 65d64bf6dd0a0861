"""The portal as OAuth 2.1 authorization server and its own resource server; service tokens; signed assertions."""

from portal.oauth.admission import Admit
from portal.oauth.assertions import Assertions
from portal.oauth.authentication import Authentication, Enrich
from portal.oauth.clients import Clients, Fetch
from portal.oauth.grants import Grants
from portal.oauth.logins import Logins, LoginSignals, end_departed
from portal.oauth.metadata import WellKnown, well_known
from portal.oauth.redirects import split_redirect
from portal.oauth.routes import FORMS, Authority, AuthorizationServer
from portal.oauth.saas import SaasProvider
from portal.oauth.service_tokens import DEFAULT_DURATION, ServiceTokens, shown_document
from portal.oauth.settings import OAuthSettings, read_oauth_settings
from portal.oauth.signing import SETTINGS, SigningKeys
from portal.oauth.verification import Verifier

__all__ = [
    "DEFAULT_DURATION",
    "FORMS",
    "SETTINGS",
    "Admit",
    "Assertions",
    "Authentication",
    "Authority",
    "AuthorizationServer",
    "Clients",
    "Enrich",
    "Fetch",
    "Grants",
    "LoginSignals",
    "Logins",
    "OAuthSettings",
    "SaasProvider",
    "ServiceTokens",
    "SigningKeys",
    "Verifier",
    "WellKnown",
    "end_departed",
    "read_oauth_settings",
    "shown_document",
    "split_redirect",
    "well_known",
]
