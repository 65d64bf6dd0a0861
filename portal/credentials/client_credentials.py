"""The credential of a server whose tokens the portal asks for in its own name (RFC 6749 4.4).

Nobody signs in and nothing is stored: a new token is asked for whenever one is needed. A token that is nearly at its
end is replaced while it still serves, so that only the first call waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from portal.config import HttpServer, UpstreamOAuth
from portal.credentials.challenge import INSUFFICIENT_SCOPE, Challenge, read_challenge, union
from portal.credentials.client_authentication import authenticated, configured_client
from portal.credentials.discovery import Discovered, discover, resource_member
from portal.credentials.errors import NoAnswer
from portal.credentials.grants import State
from portal.credentials.outbound import Outbound
from portal.credentials.presets import scope_without_a_wish, with_preset
from portal.credentials.token_source import Held, TokenSource
from portal.credentials.tokens import request_token
from portal.errors import AuthorizationRequired

MAX_STEP_UPS = 5


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


class ClientCredentials:
    """Implements `Credential`. `clock` gives seconds that only go up."""

    advice = ""

    def __init__(
        self,
        config: HttpServer,
        oauth: UpstreamOAuth,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._oauth = oauth
        self._outbound = Outbound(config.url, allow_private=oauth.allow_private)
        self._clock = clock
        self._challenge: Challenge | None = None
        self._discovered: Discovered | None = None
        # The scope to ask for next, and the last with which a token was issued.
        self._scope = self._issued_scope = oauth.scope
        self._step_ups = 0
        self._log = structlog.get_logger("portal.credentials").bind(server=config.id)
        self._source = TokenSource(self._fetch, clock, self._log, steady=clock, failed=self._failed)

    @property
    def present(self) -> bool:
        return True

    @property
    def secrets(self) -> Sequence[str]:
        return self._source.shown

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
        if self._source.replaces(sent):
            return True
        if refused.status == 403:
            if challenge.error != INSUFFICIENT_SCOPE or not self._step_up(challenge.scope):
                return False
        else:
            was_held = self._source.held is not None
            if not self._source.drop():
                return False
            if was_held:
                # Who issues the server's tokens may have changed.
                self._discovered = None
            if self._challenge is None or challenge.resource_metadata:
                self._challenge = challenge
        # A request that was under way may have been for less than a challenge has asked for since.
        while (await self._source.next()).scope != self._scope:
            pass
        return True

    def _step_up(self, scope: str) -> bool:
        """Whether a token for more scopes than so far is worth asking for. What an administrator wrote is the most."""
        if self._oauth.scope:
            return False
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
        challenge = self._challenge or Challenge()
        found = self._discovered or await discover(self._outbound, self._config.url, challenge, self._oauth)
        self._discovered = found
        oauth = with_preset(self._oauth, found.server.issuer, self._config.url)
        self._scope = self._scope or found.scope or scope_without_a_wish(found.server.issuer, found.resource)
        scope = self._scope
        form = {**oauth.parameters, "grant_type": "client_credentials", **resource_member(oauth, found.resource)}
        form |= {"scope": scope} if scope else {}
        issuer, endpoint = found.server.issuer, found.server.token_endpoint
        sent, headers = authenticated(configured_client(oauth), form, found.server, int(time.time()))
        token = await request_token(self._outbound, endpoint, sent, headers, oauth.secrets)
        self._log.info("an access token was issued", issuer=issuer, scope=token.scope or scope, seconds=token.lifetime)
        self._issued_scope = scope
        return Held.of(token.access, scope, token.lifetime, self._clock())
