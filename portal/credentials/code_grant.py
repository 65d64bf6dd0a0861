"""A login at the authorization server of an upstream server: a person is sent there, and comes back with a code.

Source: RFC 6749 4.1, RFC 7636 (PKCE), RFC 8707 (`resource`), RFC 9207 (`iss`), MCP 2026-07-28 "Authorization".
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from portal.config import HttpServer, OpenApiServer, UpstreamOAuth
from portal.credentials.challenge import Challenge, read_challenge, union
from portal.credentials.client_authentication import RegisteredClient, authenticated
from portal.credentials.discovery import discover, resource_member
from portal.credentials.errors import CredentialError, Misconfigured, Refused
from portal.credentials.grants import CredentialDocument, SealedGrant
from portal.credentials.metadata import ServerMetadata
from portal.credentials.outbound import Outbound
from portal.credentials.presets import scope_without_a_wish, with_preset
from portal.credentials.registration import PortalClient, client_at, forget_unknown_client
from portal.credentials.tokens import INVALID_TARGET, NO_PROPER_CODE, RESOURCE_KNOB, readable_code, request_token
from portal.errors import AuthorizationRequired, RpcError
from portal.state import CredentialKey
from portal.upstream import PORTAL_INFO, Introduction, NegotiationCache, open_link

if TYPE_CHECKING:
    from portal.state import Store

_OFFLINE = "offline_access"


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that a person was sent to at `url`. What comes back must have this `state`."""

    url: str
    state: str
    verifier: str = field(repr=False)
    subject: str
    server: str
    resource: str
    scope: str
    redirect_uri: str
    metadata: ServerMetadata
    client: RegisteredClient


async def challenge_of(config: HttpServer) -> Challenge | None:
    """What the server says of the token that it wants; None if it lets everybody in.

    Raises:
        UpstreamError: it does not answer.
    """
    if isinstance(config, OpenApiServer):
        # Its document is read without a token. What its operations want is in its `oauth`, or in its metadata.
        return Challenge()
    try:
        link, _ = await open_link(config, Introduction(info=PORTAL_INFO), _Unheard(), NegotiationCache())
        try:
            # Some let everybody connect, and ask when something is wanted.
            async with asyncio.timeout(config.timeout):
                await link.request("tools/list", {})
        finally:
            await link.aclose()
    except AuthorizationRequired as error:
        return read_challenge(error.challenge)
    except (RpcError, TimeoutError):
        pass
    return None


class _Unheard:
    """Implements `Inbound`."""

    def notification(self, method: str, params: Mapping[str, object]) -> None:
        """Nobody needs to know."""


def _random_verifier(state: str) -> str:
    return secrets.token_urlsafe(64)


async def begin_login(
    config: HttpServer,
    challenge: Challenge,
    portal: PortalClient,
    outbound: Outbound,
    store: Store,
    *,
    subject: str,
    now: datetime,
    scope: str = "",
    verifier_of: Callable[[str], str] = _random_verifier,
) -> PendingLogin:
    """Where to send a person who logs in to this server. `scope` is what is wanted beside what the server asks for.
    `verifier_of` makes the PKCE verifier (RFC 7636 4.1) of a state.

    Raises:
        CredentialError: the login cannot be begun. The text says why and what to do.
    """
    found = await discover(outbound, config.url, challenge, config.oauth)
    oauth = with_preset(config.oauth, found.server.issuer, config.url)
    if not found.server.authorization_endpoint:
        raise Misconfigured(f"the authorization server {found.server.issuer} has no logins.")
    if "S256" not in found.server.code_challenge_methods_supported:
        if oauth.assume_pkce:
            log = structlog.get_logger("portal.credentials")
            log.warning("a login assumes PKCE", server=config.id, issuer=found.server.issuer)
        else:
            raise Misconfigured(
                f"the authorization server {found.server.issuer} does not say that it protects logins with PKCE "
                "(S256). Without it a code can be stolen. If it does, write `assumePkce: true` into the server's "
                "`oauth`."
            )
    if not is_registered(oauth.redirect_uris, portal):
        raise Misconfigured(
            f"its client {oauth.client_id} is registered with {oauth.redirect_uris[0]}, and people come back to "
            f"{portal.redirect_uri}. Register that too, and write it into `redirectUris`."
        )
    outbound.check(found.server.authorization_endpoint)
    client = await client_at(found.server, oauth, portal, outbound, store, now)
    wished = oauth.scope or found.scope or scope_without_a_wish(found.server.issuer, found.resource)
    asked = union(wished, scope)
    if _OFFLINE in found.server.scopes_supported and asked:
        asked = union(asked, _OFFLINE)
    # The room of logins is slow to import, and a portal without people does without it.
    from portal.login import authorization_url  # noqa: PLC0415

    more = {**oauth.parameters, **resource_member(oauth, found.resource)}
    state = secrets.token_urlsafe(32)
    verifier = verifier_of(state)
    url = authorization_url(
        found.server.authorization_endpoint,
        client_id=client.id,
        redirect_uri=portal.redirect_uri,
        scope=asked,
        state=state,
        verifier=verifier,
        **more,
    )
    return PendingLogin(
        url, state, verifier, subject, config.id, found.resource, asked, portal.redirect_uri, found.server, client
    )


def is_registered(redirect_uris: Sequence[str], portal: PortalClient) -> bool:
    """Whether a client with these redirect URIs is one with that of the portal. Nothing is known without any, nor of
    one on the machine of the person, whose port may be any (RFC 8252 7.3)."""
    return not redirect_uris or portal.native or portal.redirect_uri in redirect_uris


async def complete_login(
    pending: PendingLogin,
    answer: Mapping[str, str],
    oauth: UpstreamOAuth | None,
    outbound: Outbound,
    store: Store,
    now: datetime,
) -> tuple[CredentialKey, CredentialDocument, SealedGrant]:
    """The credential that a person came back with. `answer` are the parameters of the redirect; its `state` was the
    caller's to compare, who found this login by it.

    Raises:
        CredentialError: there is none. The text says why.
    """
    server = pending.metadata
    issuer = answer.get("iss")
    # An administrator who typed the endpoints in may not know the issuer. Then there is nothing to compare it with.
    known = oauth is None or oauth.token_endpoint is None or oauth.issuer is not None
    # Before anything else of the answer is looked at: it may be that of another authorization server (RFC 9207 2.4).
    must_be_there = server.authorization_response_iss_parameter_supported
    if known and issuer != server.issuer and (issuer is not None or must_be_there):
        raise CredentialError("The answer is not from the authorization server that the login was begun at.")
    if "error" in answer or not answer.get("code"):
        raise Refused(*_refusal(answer))
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": pending.redirect_uri,
        "code_verifier": pending.verifier,
        **resource_member(with_preset(oauth, server.issuer, pending.resource), pending.resource),
    }
    sent, headers = authenticated(pending.client, form, server, int(time.time()))
    confidential = (pending.client.secret, answer["code"], pending.verifier)
    try:
        token = await request_token(outbound, server.token_endpoint, sent, headers, confidential)
    except Refused as error:
        await forget_unknown_client(store, error, server.issuer, pending.client.id)
        raise
    document = CredentialDocument(
        state="ready",
        scope=token.scope or pending.scope,
        granted_at=now,
        granted_by=pending.subject,
        issued_at=now,
        expires_at=token.ends_at(now),
        refreshable=bool(token.refresh),
    )
    grant = SealedGrant(
        access=token.access,
        refresh=token.refresh,
        server=server,
        client_secret=pending.client.secret,
        method=pending.client.method,
    )
    key = CredentialKey(pending.subject, pending.server, server.issuer, pending.resource, pending.client.id)
    return key, document, grant


def _refusal(answer: Mapping[str, str]) -> tuple[str, str]:
    code = answer.get("error", "")
    if not code:
        return "The authorization server sent neither a code nor an error.", ""
    if code == "access_denied":
        return "The login was refused, by the person or by the authorization server (access_denied).", code
    hint = RESOURCE_KNOB if code == INVALID_TARGET else ""
    return f"The authorization server refused the login with {readable_code(code) or NO_PROPER_CODE}.{hint}", code
