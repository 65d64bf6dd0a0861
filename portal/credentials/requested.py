"""The credential of a server whose tokens are asked for without a login there, whenever one is needed.

No token of the server is stored. One that is nearly at its end is replaced while it still serves, so that only the
first call waits. In whose name it is asked for, and with what, is the subject of the modules that build on this one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import structlog

from portal.config import HttpServer, UpstreamOAuth
from portal.credentials.challenge import INSUFFICIENT_SCOPE, Challenge, read_challenge, union
from portal.credentials.client_authentication import authenticated, configured_client
from portal.credentials.discovery import Discovered, discover, resource_member
from portal.credentials.outbound import Outbound
from portal.credentials.presets import scope_without_a_wish, with_preset
from portal.credentials.token_source import Held, TokenSource
from portal.credentials.tokens import AccessToken
from portal.errors import AuthorizationRequired

MAX_STEP_UPS = 5


class RequestedCredential(ABC):
    """Implements `Credential`. `subject` is whose it is, "" for the portal's own; `clock` gives seconds that only go
    up. Closing waits `patience` seconds for a request that is under way.
    """

    advice = ""

    def __init__(
        self,
        config: HttpServer,
        oauth: UpstreamOAuth,
        *,
        subject: str = "",
        clock: Callable[[], float] = time.monotonic,
        patience: float = 0.0,
    ) -> None:
        self._config = config
        self._oauth = oauth
        self._outbound = Outbound.allowed_by(oauth, config.url)
        self._clock = clock
        self._challenge: Challenge | None = None
        self._discovered: Discovered | None = None
        # The scope to ask for next, and the last with which a token was issued.
        self._scope = self._issued_scope = oauth.scope
        self._step_ups = 0
        self._log = structlog.get_logger("portal.credentials").bind(server=config.id)
        if subject:
            self._log = self._log.bind(subject=subject)
        self._source = TokenSource(self._fetch, clock, self._log, steady=clock, failed=self._failed, patience=patience)

    @property
    def present(self) -> bool:
        return True

    @property
    def secrets(self) -> Sequence[str]:
        return self._source.shown

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

    def _configured_for(self, found: Discovered) -> UpstreamOAuth:
        """What is configured, with what is known of the authorization server that was found."""
        return with_preset(self._oauth, found.server.issuer, self._config.url)

    def _signed(
        self, oauth: UpstreamOAuth, found: Discovered, scope: str, members: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The form and the headers of a request for a token of this scope, in which the portal shows that it is the
        client of `oauth`. `members` are those of the grant.

        Raises:
            Misconfigured: the portal cannot show it.
        """
        form = {**oauth.parameters, **members, **resource_member(oauth, found.resource)}
        form |= {"scope": scope} if scope else {}
        return authenticated(configured_client(oauth), form, found.server, int(time.time()))

    @abstractmethod
    async def _ask(self, found: Discovered, scope: str) -> AccessToken:
        """A token for this resource and scope ("" for no wish) from the authorization server that was found.

        Raises:
            CredentialError: there is none. The text says why and what to do.
        """

    async def _fetch(self) -> Held:
        challenge = self._challenge or Challenge()
        found = self._discovered or await discover(self._outbound, self._config.url, challenge, self._oauth)
        self._discovered = found
        self._scope = self._scope or found.scope or scope_without_a_wish(found.server.issuer, found.resource)
        scope = self._scope
        token = await self._ask(found, scope)
        granted = token.scope or scope
        self._log.info("an access token was issued", issuer=found.server.issuer, scope=granted, seconds=token.lifetime)
        self._issued_scope = scope
        return Held.of(token.access, scope, token.lifetime, self._clock())
