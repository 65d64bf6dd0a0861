"""The credentials of servers whose tokens come of a person's sign-in at the portal: they log in nowhere else.

Two ways. With an identity assertion the identity provider says to the server's authorization server who the person is,
and decides who may use it (MCP "Enterprise-Managed Authorization", ID-JAG). With a token exchange the authorization
server takes the identity provider's own token (RFC 8693). Nothing of what they are answered with is stored.

Source: io.modelcontextprotocol/enterprise-managed-authorization 4 and 5, RFC 8693 2, RFC 7523 2.1.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from portal.config import HttpServer, UpstreamOAuth
from portal.credentials.client_authentication import authenticated
from portal.credentials.discovery import Discovered, resource_member
from portal.credentials.errors import LoginNeeded, Misconfigured, NoStore, NotAllowed, Refused
from portal.credentials.outbound import origin_of
from portal.credentials.requested import RequestedCredential
from portal.credentials.sign_ins import SignIn, SubjectToken, provider_outbound
from portal.credentials.token_source import Held
from portal.credentials.tokens import AccessToken, Exchanged, exchange_token, read_jwt, readable_code, request_token
from portal.state import Clock, StateUnavailable, utc_now

if TYPE_CHECKING:
    from portal.state import Store

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_JWT_TOKEN = "urn:ietf:params:oauth:token-type:jwt"
# A new sign-in brings what the identity provider wants to see (OpenID Connect Core 3.1.2.6, RFC 9470 3).
_SIGN_IN_AGAIN = ("login_required", "interaction_required", "consent_required", "insufficient_user_authentication")
# What may be said of a token that is known no more (RFC 8693 2.2.2 has the first).
_OF_THE_TOKEN = ("invalid_request", "invalid_grant")
# A request that is cut off may lose tokens of the identity provider.
CLOSING_SECONDS = 5.0


class BySignIn(RequestedCredential):
    """Implements `Credential` for one person, `subject`, who signs in at the portal. `clock` gives seconds that only go
    up, `now` is the time that the identity provider's tokens live by.
    """

    def __init__(
        self,
        config: HttpServer,
        oauth: UpstreamOAuth,
        store: Store,
        subject: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Clock = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(config, oauth, subject=subject, clock=clock, patience=CLOSING_SECONDS)
        self._sign_in = SignIn(
            store,
            subject,
            oauth.identity_provider,
            oauth.subject_token,
            now=now,
            steady=clock,
            sleep=sleep,
        )
        self.subject = subject
        # The sign-in that the last token came of.
        self._begun: object = None
        self._has_asked = self._has_renewed = False

    @property
    def server(self) -> str:
        """The id of the server."""
        return self._config.id

    async def aclose(self) -> None:
        await super().aclose()
        await self._sign_in.aclose(CLOSING_SECONDS)

    async def reload(self) -> bool:
        """Look whether the person has signed in again, or out everywhere, since a token was asked for; whether they
        have. What came of the former sign-in is shown no more.

        Raises:
            StateUnavailable: it cannot be read.
        """
        if not self._has_asked or (begun := await self._sign_in.begun()) == self._begun:
            return False
        self._begun, self._has_renewed = begun, False
        self._source.retry()
        self._source.held = None
        return True

    async def _fetch(self) -> Held:
        self._has_asked = True
        while True:
            try:
                self._begun = begun = await self._sign_in.begun()
            except StateUnavailable as error:
                raise NoStore(error.words) from error
            held = await super()._fetch()
            # Otherwise the person has signed in again meanwhile, or out.
            if self._begun == begun:
                return held

    async def _with_subject_token(self, ask: Callable[[SubjectToken], Awaitable[Exchanged]]) -> Exchanged:
        """What a token of the sign-in is exchanged for. One that is refused is renewed, because it may be known no
        more; and not again before another is taken, because it may be the person who is refused."""
        subject = await self._sign_in.token()
        try:
            issued = await ask(subject)
        except Refused as error:
            if error.code not in _OF_THE_TOKEN or self._has_renewed or not self._sign_in.renew(subject.token):
                raise
            self._has_renewed = True
            issued = await ask(await self._sign_in.token())
        self._has_renewed = False
        return issued


class IdentityAssertion(BySignIn):
    """Tokens for an identity assertion (`id_jag`): for each token one is asked for at the identity provider."""

    async def _ask(self, found: Discovered, scope: str) -> AccessToken:
        oauth, provider = self._oauth, self._sign_in
        try:
            issued = await self._with_subject_token(lambda subject: self._assertion(subject, found, scope))
        except Refused as error:
            raise _by_provider(error, provider.name, found) from error
        # The identity provider may allow less than was asked for.
        scope = issued.scope or scope
        members = {"grant_type": JWT_BEARER, "assertion": issued.token}
        sent, headers = self._signed(oauth, found, scope, members)
        confidential = (*oauth.secrets, *pieces(issued.token))
        try:
            return await request_token(self._outbound, found.server.token_endpoint, sent, headers, confidential)
        except Refused as error:
            if error.code == "access_denied":
                raise _not_allowed(error, origin_of(found.server.token_endpoint)) from error
            raise Misconfigured(
                f"{error} It was shown an identity assertion of {provider.name}. An administrator must check "
                f"with its operator that it trusts that identity provider, and knows the client {oauth.client_id}."
            ) from error

    async def _assertion(self, subject: SubjectToken, found: Discovered, scope: str) -> Exchanged:
        """An identity assertion for the authorization server that was found, and for no other."""
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "requested_token_type": ID_JAG,
            "subject_token": subject.token,
            "subject_token_type": subject.kind,
            "audience": found.server.issuer,
            "resource": resource_member(self._oauth, found.resource).get("resource", found.resource),
            **({"scope": scope} if scope else {}),
        }
        sent, headers = authenticated(subject.client, form, subject.server, int(time.time()))
        confidential = (subject.client.secret, *pieces(subject.token))
        async with provider_outbound(subject.server) as outbound:
            issued = await exchange_token(outbound, subject.server.token_endpoint, sent, headers, confidential)
        if issued.kind != ID_JAG or not read_jwt(issued.token):
            kind = readable_code(issued.kind) or "no type"
            raise Misconfigured(
                f"{self._sign_in.name} answered with something else than an identity assertion ({kind}). An "
                "administrator must check with its operator that it has enterprise-managed authorization for "
                f"{found.server.issuer}."
            )
        return issued


class TokenExchange(BySignIn):
    """Tokens that the server's authorization server exchanges for one of the identity provider (`token_exchange`)."""

    async def _ask(self, found: Discovered, scope: str) -> AccessToken:
        oauth, endpoint = self._oauth, found.server.token_endpoint
        try:
            issued = await self._with_subject_token(lambda subject: self._exchanged(subject, found, scope))
        except Refused as error:
            if error.code == "access_denied":
                raise _not_allowed(error, origin_of(endpoint)) from error
            raise Misconfigured(
                f"{error} It was shown a token of {self._sign_in.name} to exchange. An administrator must check "
                f"with its operator that the client {oauth.client_id} may exchange such tokens."
            ) from error
        if issued.token_type.lower() != "bearer" or issued.kind not in (ACCESS_TOKEN, _JWT_TOKEN, ""):
            raise Misconfigured(
                f"{origin_of(endpoint)} answered an exchange with something else than an access token "
                f"({readable_code(issued.kind) or 'no type'}). An administrator must ask its operator."
            )
        return AccessToken(issued.token, issued.lifetime, issued.scope)

    async def _exchanged(self, subject: SubjectToken, found: Discovered, scope: str) -> Exchanged:
        members = {
            "grant_type": TOKEN_EXCHANGE,
            "requested_token_type": ACCESS_TOKEN,
            "subject_token": subject.token,
            "subject_token_type": subject.kind,
        }
        sent, headers = self._signed(self._oauth, found, scope, members)
        confidential = (*self._oauth.secrets, *pieces(subject.token))
        return await exchange_token(self._outbound, found.server.token_endpoint, sent, headers, confidential)


def credential_by_sign_in(config: HttpServer, oauth: UpstreamOAuth, store: Store, subject: str) -> BySignIn:
    """The credential of a person for a server whose `oauth` is `by_sign_in`. `subject` is the id of their identity."""
    made = IdentityAssertion if oauth.grant == "id_jag" else TokenExchange
    return made(config, oauth, store, subject)


def pieces(token: str) -> tuple[str, ...]:
    """A token, and the parts of it that would tell what it says: no message repeats any of them."""
    return (token, *(part for part in token.split(".") if len(part) >= 16))


def _by_provider(error: Refused, provider: str, found: Discovered) -> Exception:
    """What the refusal of an identity provider means, and for whom."""
    if error.code in _SIGN_IN_AGAIN:
        return LoginNeeded(f"{error} Sign in to the portal again, with {provider}.")
    if error.code in ("access_denied", "invalid_grant"):
        return _not_allowed(error, provider)
    return Misconfigured(
        f"{error} An administrator must let the portal's client at {provider} ask for identity assertions for "
        f"{found.server.issuer}."
    )


def _not_allowed(error: Refused, who: str) -> NotAllowed:
    return NotAllowed(f"{error} {who} does not let you use it, and no sign-in changes that: ask its administrators.")
