"""The credential of a server whose tokens the portal asks for in its own name (RFC 6749 4.4).

Nobody signs in and nothing is stored: a new token is asked for whenever one is needed. A token that is nearly at its
end is replaced while it still serves, so that only the first call waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from portal.config import HttpServer, UpstreamOAuth
from portal.credentials.challenge import Challenge, read_challenge, union
from portal.credentials.client_authentication import RegisteredClient, authenticated, read_private_key
from portal.credentials.discovery import Discovered, canonical_resource, discover
from portal.credentials.errors import CredentialError, NoAnswer
from portal.credentials.metadata import ServerMetadata
from portal.credentials.outbound import Outbound
from portal.credentials.tokens import AccessToken, request_token
from portal.errors import AuthorizationRequired, UpstreamUnavailable

# The part of a token's life after which it is replaced.
RENEW_AT = 0.8
# A token this close to its end may end on its way to the server.
_MARGIN_SECONDS = 5.0
# Seconds until an authorization server is asked again after it failed.
AFTER_NO_ANSWER, AFTER_REFUSAL = 5.0, 30.0
# A server that refuses a token as soon as it is issued does not want it.
_REFUSED_AGAIN_SECONDS = 5.0
MAX_STEP_UPS = 5
_INSUFFICIENT_SCOPE = "insufficient_scope"


@dataclass(frozen=True, slots=True)
class _Held:
    """A token, the scope it was asked for with, and two times of the clock: when it is due for renewal, and when it
    ends. Without a known lifetime it serves until the server refuses it."""

    token: AccessToken
    scope: str
    due: float
    ends: float

    @classmethod
    def of(cls, token: AccessToken, scope: str, issued: float) -> _Held:
        if (lifetime := token.lifetime) is None:
            return cls(token, scope, float("inf"), float("inf"))
        due, ends = lifetime * RENEW_AT, max(lifetime - _MARGIN_SECONDS, lifetime / 2)
        return cls(token, scope, issued + due, issued + ends)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"authorization": f"Bearer {self.token.access}"}


class ClientCredentials:
    """Implements `Credential`. `clock` gives seconds that only go up."""

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
        self._held: _Held | None = None
        self._replaced = -_REFUSED_AGAIN_SECONDS
        self._fetching: asyncio.Task[_Held] | None = None
        self._failure: CredentialError | None = None
        self._again = 0.0
        self._log = structlog.get_logger("portal.credentials").bind(server=config.id)

    @property
    def secrets(self) -> Sequence[str]:
        return (self._held.token.access,) if self._held is not None else ()

    async def aclose(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._outbound.aclose()

    async def headers(self) -> Mapping[str, str]:
        """Implements `Credential`. Empty until the server has refused a request: its challenge says where to ask."""
        held, now = self._held, self._clock()
        if held is not None and now < held.ends:
            if now >= held.due and now >= self._again:
                self._start()
            return held.headers
        if held is None and self._challenge is None and self._oauth.token_endpoint is None:
            return {}
        return (await self._fetched()).headers

    async def renew(self, sent: Mapping[str, str], refused: AuthorizationRequired) -> bool:
        """Implements `Credential`: a new token after a 401, one for more scopes where the challenge asks for them."""
        challenge = read_challenge(refused.challenge)
        held = self._held
        if held is not None and sent != held.headers:
            return True
        if refused.status == 403:
            if challenge.error != _INSUFFICIENT_SCOPE or not self._step_up(challenge.scope):
                return False
        else:
            if held is not None and self._clock() < self._replaced + _REFUSED_AGAIN_SECONDS:
                return False
            if held is not None:
                self._replaced = self._clock()
                # Who issues the server's tokens may have changed.
                self._discovered = None
            self._held = None
            if self._challenge is None or challenge.resource_metadata:
                self._challenge = challenge
        await self._fetched()
        return True

    def _step_up(self, scope: str) -> bool:
        """Whether a token for more scopes than so far is worth asking for."""
        wanted = union(self._scope, scope)
        if wanted == self._scope or self._step_ups >= MAX_STEP_UPS:
            return False
        self._scope = wanted
        self._step_ups += 1
        return True

    async def _fetched(self) -> _Held:
        """The token of the request that is under way, or of a new one. Callers share it, and none can cancel it.

        Raises:
            UpstreamUnavailable: there is none, or the last request failed a moment ago.
        """
        if self._fetching is None and self._failure is not None and self._clock() < self._again:
            raise _unavailable(self._failure)
        try:
            while True:
                held = await asyncio.shield(self._start())
                # A request that was under way may have been for less than a challenge has asked for since.
                if held.scope == self._scope:
                    return held
        except CredentialError as error:
            raise _unavailable(error) from error

    def _start(self) -> asyncio.Task[_Held]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(), name=f"token for {self._config.id}")
            self._fetching.add_done_callback(self._ended)
        return self._fetching

    def _ended(self, task: asyncio.Task[_Held]) -> None:
        self._fetching = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._held, self._failure = task.result(), None
            self._issued_scope = self._held.scope
            return
        if isinstance(error, CredentialError):
            self._failure = error
            self._log.warning("no access token for a server", reason=str(error))
        else:
            self._failure = CredentialError(f"asking for an access token failed ({type(error).__name__})")
            self._log.error("asking for an access token failed", exc_info=error)
        self._again = self._clock() + (AFTER_NO_ANSWER if isinstance(error, NoAnswer) else AFTER_REFUSAL)
        # What was discovered may be what is wrong, and so may the scope that was added.
        self._discovered = None
        self._scope = self._issued_scope

    async def _fetch(self) -> _Held:
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
        return _Held.of(token, scope, self._clock())

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


def _unavailable(error: CredentialError) -> UpstreamUnavailable:
    return UpstreamUnavailable(f"there is no access token for it: {error}")
