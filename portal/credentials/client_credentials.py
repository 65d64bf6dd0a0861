"""The credential of a server whose tokens the portal asks for in its own name (RFC 6749 4.4).

Nobody signs in and nothing is stored: a new token is asked for whenever one is needed. A token that is nearly at its
end is replaced while it still serves, so that only the first call waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from portal.config import HttpServer, UpstreamOAuth
from portal.credentials.challenge import INSUFFICIENT_SCOPE, Challenge, read_challenge, union
from portal.credentials.client_authentication import RegisteredClient, authenticated, read_private_key
from portal.credentials.discovery import Discovered, canonical_resource, discover
from portal.credentials.metadata import ServerMetadata
from portal.credentials.outbound import Outbound
from portal.credentials.token_source import Held, TokenSource
from portal.credentials.tokens import request_token
from portal.errors import AuthorizationRequired

# A server that refuses a token as soon as it is issued does not want it.
REFUSED_AGAIN_SECONDS = 5.0
MAX_STEP_UPS = 5


class ClientCredentials:
    """Implements `Credential`. `clock` gives seconds that only go up."""

    advice = ""

    def __init__(
        self,
        config: HttpServer,
        oauth: UpstreamOAuth,
        *,
        outbound: Outbound | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._oauth = oauth
        self._outbound = outbound or Outbound(config.url, allow_private=oauth.allow_private)
        self._clock = clock
        self._challenge: Challenge | None = None
        self._discovered: Discovered | None = None
        # The scope to ask for next, and the last with which a token was issued.
        self._scope = self._issued_scope = oauth.scope
        self._step_ups = 0
        self._replaced = float("-inf")
        self._log = structlog.get_logger("portal.credentials").bind(server=config.id)
        self._source = TokenSource(self._fetch, clock, self._log, self._failed)

    @property
    def secrets(self) -> Sequence[str]:
        return (held.access,) if (held := self._source.held) is not None else ()

    async def aclose(self) -> None:
        await self._source.aclose()
        await self._outbound.aclose()

    async def headers(self) -> Mapping[str, str]:
        """Implements `Credential`. Empty until the server has refused a request: its challenge says where to ask."""
        if self._source.held is None and self._challenge is None and self._oauth.token_endpoint is None:
            return {}
        return (await self._source.token()).headers

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Implements `Credential`: a new token after a 401, one for more scopes where the challenge asks for them."""
        challenge = read_challenge(refused.challenge)
        held = self._source.held
        if held is not None and sent != held.headers:
            return True
        if refused.status == 403:
            if challenge.error != INSUFFICIENT_SCOPE or not self._step_up(challenge.scope):
                return False
        else:
            if held is not None and self._clock() < self._replaced + REFUSED_AGAIN_SECONDS:
                return False
            if held is not None:
                self._replaced = self._clock()
                # Who issues the server's tokens may have changed.
                self._discovered = None
            self._source.forget()
            if self._challenge is None or challenge.resource_metadata:
                self._challenge = challenge
        # A request that was under way may have been for less than a challenge has asked for since.
        while (await self._source.next()).scope != self._scope:
            pass
        return True

    def _step_up(self, scope: str) -> bool:
        """Whether a token for more scopes than so far is worth asking for."""
        wanted = union(self._scope, scope)
        if wanted == self._scope or self._step_ups >= MAX_STEP_UPS:
            return False
        self._scope = wanted
        self._step_ups += 1
        return True

    def _failed(self) -> None:
        # What was discovered may be what is wrong, and so may the scope that was added.
        self._discovered = None
        self._scope = self._issued_scope

    async def _fetch(self) -> Held:
        oauth = self._oauth
        if self._discovered is None:
            self._discovered = await self._discover()
        found = self._discovered
        self._scope = self._scope or found.scope
        resource = {"send": found.resource, "omit": ""}.get(oauth.resource, oauth.resource)
        scope = self._scope
        form = {**oauth.parameters, "grant_type": "client_credentials", "resource": resource, "scope": scope}
        written = {name: value for name, value in form.items() if value}
        issuer, endpoint = found.server.issuer, found.server.token_endpoint
        sent, headers = authenticated(self._client(), written, found.server, int(time.time()))
        token = await request_token(self._outbound, endpoint, sent, headers, oauth.secrets)
        self._log.info("an access token was issued", issuer=issuer, scope=token.scope or scope, seconds=token.lifetime)
        self._issued_scope = scope
        return Held.of(token.access, scope, token.lifetime, self._clock())

    async def _discover(self) -> Discovered:
        endpoint = self._oauth.token_endpoint
        if endpoint is not None:
            server = ServerMetadata(issuer=self._oauth.issuer or endpoint, token_endpoint=endpoint)
            return Discovered(canonical_resource(self._config.url), "", server)
        return await discover(self._outbound, self._config.url, self._challenge or Challenge(), self._oauth.issuer)

    def _client(self) -> RegisteredClient:
        oauth = self._oauth
        return RegisteredClient(
            id=oauth.client_id,
            secret=oauth.client_secret,
            key=read_private_key(oauth.private_key, oauth.key_id) if oauth.private_key else None,
            algorithm=oauth.algorithm,
            method=oauth.token_endpoint_auth_method,
        )
