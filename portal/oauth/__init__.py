"""The portal as OAuth 2.1 authorization server and its own resource server; service tokens; signed assertions."""

from portal.oauth.admission import Admit, refusal_of
from portal.oauth.assertions import Assertions
from portal.oauth.authentication import Authentication, Enrich, with_endpoint
from portal.oauth.clients import Clients, Fetch, document_fetches, fetch_document
from portal.oauth.forgetting import forget_clients
from portal.oauth.grants import REFRESH, Grants
from portal.oauth.held import HeldGrant, HeldGrants
from portal.oauth.logins import Logins, LoginSignals, end_departed
from portal.oauth.people import KnownPerson, known_person
from portal.oauth.redirects import may_come_back, split_redirect
from portal.oauth.routes import (
    AGENT_ID,
    CONTINUE_PATH,
    ELICITATION_ID,
    ENDPOINTS,
    FORMS,
    SERVERS_PATH,
    Authority,
    AuthorizationServer,
    WaitingAgent,
)
from portal.oauth.saas import SaasProvider
from portal.oauth.service_tokens import (
    DEFAULT_DURATION,
    SERVICE_TOKEN,
    ServiceTokenDocument,
    ServiceTokens,
    identity_of_token,
    shown_document,
)
from portal.oauth.settings import OAuthSettings, read_oauth_settings
from portal.oauth.signing import KEY_SETTINGS, KEY_SETTINGS_ID, KeySettings, SigningKeys
from portal.oauth.strangers import Strangers
from portal.oauth.uses import Uses
from portal.oauth.verification import Verifier

__all__ = [
    "AGENT_ID",
    "CONTINUE_PATH",
    "DEFAULT_DURATION",
    "ELICITATION_ID",
    "ENDPOINTS",
    "FORMS",
    "KEY_SETTINGS",
    "KEY_SETTINGS_ID",
    "REFRESH",
    "SERVERS_PATH",
    "SERVICE_TOKEN",
    "Admit",
    "Assertions",
    "Authentication",
    "Authority",
    "AuthorizationServer",
    "Clients",
    "Enrich",
    "Fetch",
    "Grants",
    "HeldGrant",
    "HeldGrants",
    "KeySettings",
    "KnownPerson",
    "LoginSignals",
    "Logins",
    "OAuthSettings",
    "SaasProvider",
    "ServiceTokenDocument",
    "ServiceTokens",
    "SigningKeys",
    "Strangers",
    "Uses",
    "Verifier",
    "WaitingAgent",
    "document_fetches",
    "end_departed",
    "fetch_document",
    "forget_clients",
    "identity_of_token",
    "known_person",
    "may_come_back",
    "read_oauth_settings",
    "refusal_of",
    "shown_document",
    "split_redirect",
    "with_endpoint",
]
