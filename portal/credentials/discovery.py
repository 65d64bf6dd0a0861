"""Finds what a token for a server is asked with: the resource, the scope, the authorization server and its endpoints.

Source: MCP 2026-07-28 "Authorization" (the order of the places), RFC 9728, RFC 8414, RFC 8707.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    issuers_match,
)
from mcp.shared.auth_utils import check_resource_allowed

from portal.config import UpstreamOAuth
from portal.credentials.challenge import Challenge
from portal.credentials.errors import Misconfigured, NoAnswer
from portal.credentials.metadata import M, ResourceMetadata, ServerMetadata, read
from portal.credentials.outbound import Outbound, origin_of
from portal.credentials.presets import advice_of
from portal.http import normal_url


@dataclass(frozen=True, slots=True)
class Discovered:
    """Where a token comes from. `resource` is the server as its tokens name it, `scope` what it asks for, "" for no
    wish."""

    resource: str
    scope: str
    server: ServerMetadata


async def discover(outbound: Outbound, url: str, challenge: Challenge, oauth: UpstreamOAuth | None) -> Discovered:
    """What a token for the server at `url` is asked with. Nothing is discovered that an administrator typed in.

    A client that has a secret or a key is shown to its `issuer` alone. For a login without one the first authorization
    server serves that the server names, or its own host if it names none.

    Raises:
        Misconfigured: the client's secret would go to another authorization server than this, or it is not found.
        NoAnswer: a host that must be asked does not answer.
    """
    if (typed := _typed_in(oauth, url, challenge.scope)) is not None:
        return typed
    issuer = oauth.issuer if oauth is not None else None
    any_issuer = issuer is None and (oauth is None or not (oauth.client_secret or oauth.private_key))
    places = build_protected_resource_metadata_discovery_urls(challenge.resource_metadata or None, url)
    resource = await _first(outbound, places, ResourceMetadata)
    if resource is not None and not covers(resource.resource, url):
        raise Misconfigured(
            f"its metadata is about another resource, at {origin_of(resource.resource)}. No token is asked for it."
        )
    named = resource.authorization_servers if resource is not None else ()
    chosen = (named[0] if named else _origin(url)) if any_issuer else _choose(named, issuer)
    return Discovered(
        resource=resource.resource if resource is not None else canonical_resource(url),
        scope=challenge.scope or " ".join(resource.scopes_supported if resource is not None else ()),
        server=await _server_metadata(outbound, chosen, url),
    )


def _typed_in(oauth: UpstreamOAuth | None, url: str, scope: str) -> Discovered | None:
    """What an administrator typed in instead of having it discovered; None where nothing is."""
    if oauth is None or oauth.token_endpoint is None:
        return None
    server = ServerMetadata(
        issuer=oauth.issuer or oauth.token_endpoint,
        token_endpoint=oauth.token_endpoint,
        authorization_endpoint=oauth.authorization_endpoint or "",
        revocation_endpoint=oauth.revocation_endpoint or "",
        # Who types endpoints in knows the server.
        code_challenge_methods_supported=("S256",),
    )
    return Discovered(canonical_resource(url), scope, server)


def resource_member(oauth: UpstreamOAuth | None, resource: str) -> dict[str, str]:
    """The member `resource` of a request for a login or a token, as the configuration has it."""
    policy = oauth.resource if oauth is not None else "send"
    sent = {"send": resource, "omit": ""}.get(policy, policy)
    return {"resource": sent} if sent else {}


def canonical_resource(url: str) -> str:
    """A server's URL as the identifier of a resource: without user, query and fragment (RFC 8707 2)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    port = f":{parts.port}" if parts.port is not None else ""
    return urlunsplit((parts.scheme.lower(), host + port, parts.path, "", ""))


def covers(resource: str, url: str) -> bool:
    """Whether a token for this resource is one for the server at `url`: the same origin, and a path at or above it."""
    wide, narrow = normal_url(resource), normal_url(canonical_resource(url))
    return wide is not None and narrow is not None and check_resource_allowed(narrow, wide)


def _origin(url: str) -> str:
    parts = urlsplit(canonical_resource(url))
    return f"{parts.scheme}://{parts.netloc}"


def _choose(named: Sequence[str], issuer: str | None) -> str:
    """The issuer to ask: the one that knows the client, if the server takes its tokens or does not say whose it takes.

    Raises:
        Misconfigured: the server wants tokens of another one. What is registered with one authorization server is not
            shown to another.
    """
    if issuer is not None and (not named or any(same_issuer(one, issuer) for one in named)):
        return issuer
    if issuer is not None:
        raise Misconfigured(
            f"it wants tokens of {_listed(named)}, and `issuer` in its `oauth` is {issuer}. Ask the server's "
            "operator, and register the client where its tokens come from."
        )
    if not named:
        raise Misconfigured(
            "it does not say whose tokens it wants. Write the authorization server that knows the client as `issuer` "
            "into the server's `oauth`."
        )
    raise Misconfigured(
        f"it wants tokens of {_listed(named)}. If that is where `clientId` is registered, write it as `issuer` into "
        "the server's `oauth`: the portal shows the client's secret to nobody else."
    )


def same_issuer(one: str, other: str) -> bool:
    """Whether both are the same text, but for the slash at the end of a bare host (RFC 8414 3.3)."""
    try:
        return issuers_match(one, other)
    except ValueError:
        return False


def _listed(names: Iterable[str]) -> str:
    shown = [name[:200] for name in names if name.isprintable()][:3]
    return " or ".join(shown) or "an authorization server without a readable name"


async def _server_metadata(outbound: Outbound, issuer: str, url: str) -> ServerMetadata:
    try:
        places = build_oauth_authorization_server_metadata_discovery_urls(issuer, url)
    except ValueError:
        raise Misconfigured(f"it wants tokens of {_listed([issuer])}, which is no URL.") from None
    found = await _first(outbound, places, ServerMetadata)
    if found is None:
        raise Misconfigured(
            f"the authorization server {issuer} publishes no metadata. Check `issuer` in the server's `oauth`, or "
            f"write its `tokenEndpoint` there.{advice_of(issuer)}"
        )
    if not same_issuer(found.issuer, issuer):
        raise Misconfigured(
            f"the metadata of the authorization server {issuer} names another issuer, {_listed([found.issuer])}. Check "
            "`issuer` in the server's `oauth`."
        )
    return found


async def _first(outbound: Outbound, places: Iterable[str], model: type[M]) -> M | None:
    """The first document that is one, None if all places say that there is none.

    Raises:
        NoAnswer: none is found, and one place did not answer. It may be there.
        Misconfigured: the portal may not go to one of the places.
    """
    silent: NoAnswer | None = None
    for place in dict.fromkeys(places):
        try:
            document = await outbound.document(place)
        except NoAnswer as error:
            silent = error
            continue
        if (found := read(model, document)) is not None:
            return found
    if silent is not None:
        raise silent
    return None
