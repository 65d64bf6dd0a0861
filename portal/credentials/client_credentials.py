"""The credential of a server whose tokens the portal asks for in its own name (RFC 6749 4.4). Nobody signs in."""

from __future__ import annotations

from dataclasses import dataclass

from portal.credentials.discovery import Discovered
from portal.credentials.errors import NoAnswer
from portal.credentials.grants import State
from portal.credentials.requested import RequestedCredential
from portal.credentials.tokens import AccessToken, request_token


@dataclass(frozen=True, slots=True)
class OwnToken:
    """The state of a token that the portal asks for in its own name, in the words of `STATES`, with the reason if it is
    not "ready". `lives` is whether there is a token that has not ended."""

    state: State
    reason: str
    issuer: str
    client_id: str
    scope: str
    lives: bool


class ClientCredentials(RequestedCredential):
    """Implements `Credential`."""

    @property
    def token(self) -> OwnToken | None:
        """How it stands with the token; None before the first was asked for."""
        held, failure, now = self._source.held, self._source.failure, self._clock()
        lives = held is not None and now < held.ends
        if failure is None and held is None:
            return None
        state: State = "expiring" if held is not None and now >= held.due else "ready"
        if failure is not None:
            state = "unknown" if isinstance(failure, NoAnswer) else "misconfigured"
        issuer = self._discovered.server.issuer if self._discovered is not None else self._oauth.issuer or ""
        return OwnToken(state, str(failure or ""), issuer, self._oauth.client_id, self._issued_scope, lives)

    async def _ask(self, found: Discovered, scope: str) -> AccessToken:
        oauth = self._configured_for(found)
        sent, headers = self._signed(oauth, found, scope, {"grant_type": "client_credentials"})
        return await request_token(self._outbound, found.server.token_endpoint, sent, headers, oauth.secrets)
