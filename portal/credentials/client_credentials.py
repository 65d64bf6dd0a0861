"""The credential of a server whose tokens the portal asks for in its own name (RFC 6749 4.4). Nobody signs in."""

from __future__ import annotations

import time

from portal.credentials.client_authentication import authenticated, configured_client
from portal.credentials.discovery import Discovered, resource_member
from portal.credentials.requested import RequestedCredential
from portal.credentials.tokens import AccessToken, request_token


class ClientCredentials(RequestedCredential):
    """Implements `Credential`."""

    async def _ask(self, found: Discovered, scope: str) -> AccessToken:
        oauth = self._oauth
        form = {**oauth.parameters, "grant_type": "client_credentials", **resource_member(oauth, found.resource)}
        form |= {"scope": scope} if scope else {}
        sent, headers = authenticated(configured_client(oauth), form, found.server, int(time.time()))
        return await request_token(self._outbound, found.server.token_endpoint, sent, headers, oauth.secrets)
