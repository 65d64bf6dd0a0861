"""What is stored of a login at an upstream server, and the states that it goes through. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from portal.config import UpstreamOAuth
from portal.credentials.client_authentication import RegisteredClient, configured_client
from portal.credentials.discovery import covers, same_issuer
from portal.credentials.metadata import ServerMetadata
from portal.credentials.token_source import RENEW_AT
from portal.objects import Document
from portal.state import Kind, SecretUnreadable

if TYPE_CHECKING:
    from portal.state import CredentialKey, StoredCredential

OWN = ""
"""The subject of the portal's own credentials, which serve all its callers."""

State = Literal["absent", "connecting", "ready", "expiring", "refreshing", "unknown", "needs_reauth", "misconfigured"]
STATES: Mapping[State, str] = {
    "absent": "no login yet",
    "connecting": "a login is under way",
    "ready": "logged in",
    "expiring": "logged in; the token is replaced with the next call",
    "refreshing": "the token is being replaced",
    "unknown": "the authorization server did not answer; it is asked again with the next call",
    "needs_reauth": "a new login is needed",
    "misconfigured": "an administrator must change the configuration",
}
"""What each state means, for people."""


class Attempt(BaseModel):
    """A refresh that was begun: with which refresh token (its SHA-256), and for which time with this one."""

    model_config = ConfigDict(frozen=True)

    digest: str
    tries: int


class CredentialDocument(Document):
    """What is not secret of a credential. `scope` is what was asked for and not refused, `wanted_scope` what a server
    has asked for beyond it. `reason` says why the state is not "ready". Times are UTC; `expires_at`, the end of the
    token, is None where the authorization server does not say. `refreshable` is whether there is a refresh token.
    """

    state: Literal["ready", "refreshing", "unknown", "needs_reauth", "misconfigured"]
    reason: str = ""
    scope: str = ""
    wanted_scope: str = ""
    granted_at: AwareDatetime
    granted_by: str = ""
    issued_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    refreshable: bool = True
    attempt: Attempt | None = None


class SealedGrant(BaseModel):
    """What is sealed of a credential: its tokens, and everything that decides where they are sent.

    Of a sign-in at an identity provider `identity` is the ID token, and the access token ends at `access_ends_at`; None
    where the provider does not say.
    """

    model_config = ConfigDict(frozen=True)

    access: str = Field(repr=False)
    refresh: str = Field(default="", repr=False)
    server: ServerMetadata
    client_secret: str = Field(default="", repr=False)
    method: str = ""
    identity: str = Field(default="", repr=False)
    access_ends_at: AwareDatetime | None = None


def client_of(
    stored: StoredCredential[CredentialDocument], grant: SealedGrant, oauth: UpstreamOAuth | None
) -> RegisteredClient:
    """The client that a credential was given to. A secret of the configuration may be newer than the login's; one of
    another authorization server is not sent to that of the login.

    Raises:
        Misconfigured: the private key of the configuration is none.
    """
    if oauth is not None and oauth.client_id == stored.key.client and fits(stored.key, stored.key.resource, oauth):
        return configured_client(oauth)
    return RegisteredClient(stored.key.client, grant.client_secret, method=grant.method)


def unsealed(secret: bytes) -> SealedGrant:
    """The grant in the secret of a credential.

    Raises:
        SecretUnreadable: it is none.
    """
    try:
        return SealedGrant.model_validate_json(secret)
    except ValidationError:
        raise SecretUnreadable("the secret of a credential is not one of this program") from None


CREDENTIAL = Kind("upstream_credential", CredentialDocument)
"""A login at an upstream server. Its subject is whose login it is."""
SIGN_IN = Kind("sign_in", CredentialDocument)
"""What a person's sign-in at an identity provider left. Its server is the id of the provider."""


def fits(key: CredentialKey, url: str, oauth: UpstreamOAuth | None) -> bool:
    """Whether a credential is one for the server at `url`, as it is configured now: for its resource, of its issuer
    and of its client, where these are configured."""
    if not covers(key.resource, url):
        return False
    if oauth is None:
        return True
    # Whoever types endpoints in need not know the issuer; the token endpoint stands for it then.
    issuer = oauth.issuer or oauth.token_endpoint
    return (issuer is None or same_issuer(key.issuer, issuer)) and oauth.client_id in ("", key.client)


def state_of(stored: StoredCredential[CredentialDocument] | None, now: datetime) -> State:
    """The state of a credential at this time."""
    if stored is None:
        return "absent"
    document = stored.document
    if document.state == "refreshing" and (stored.leased_until is None or stored.leased_until <= now):
        # Whoever was replacing the token is gone, and nobody knows whether the request arrived.
        return "unknown"
    if document.state != "ready" or document.expires_at is None:
        return document.state
    return "expiring" if now >= due_at(document.issued_at, document.expires_at) else "ready"


def due_at(issued: datetime, expires: datetime) -> datetime:
    """When a token is to be replaced."""
    return issued + timedelta(seconds=(expires - issued).total_seconds() * RENEW_AT)
