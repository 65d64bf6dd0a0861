"""As which client the portal is known to an authorization server.

In the order of MCP 2026-07-28 "Client Registration": a client that an administrator registered, the portal's own
metadata document (CIMD), dynamic registration (RFC 7591). What was registered is kept for issuer and redirect URI.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import orjson
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from portal.config import UpstreamOAuth
from portal.credentials.client_authentication import RegisteredClient, configured_client
from portal.credentials.errors import Misconfigured, NoAnswer, Refused
from portal.credentials.metadata import OptionalText, ServerMetadata, read
from portal.credentials.outbound import Outbound, origin_of
from portal.credentials.presets import advice_of
from portal.credentials.tokens import readable_code
from portal.objects import Document
from portal.state import Kind, NotFound

if TYPE_CHECKING:
    from portal.state import Store, Stored

BY = "portal"
_WITH_SECRET = ("client_secret_basic", "client_secret_post")
_CLIENT_UNKNOWN = ("invalid_client", "unauthorized_client")


@dataclass(frozen=True, slots=True)
class PortalClient:
    """The portal as a client. `document_url` is where its metadata document is, "" if it is published nowhere;
    `native` is whether the redirect URI is on the machine of the person who logs in.
    """

    name: str
    redirect_uri: str
    document_url: str = ""
    native: bool = False


class UpstreamClientDocument(Document):
    """A client that an authorization server registered, until `expires_at`. Its secret is that of the object."""

    issuer: str
    redirect_uri: str
    client_id: str
    method: str
    expires_at: AwareDatetime | None = None


UPSTREAM_CLIENT = Kind("upstream_client", UpstreamClientDocument)


def _expiry(value: object) -> int:
    """A Unix time up to the year 9999, 0 for "never" and for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 253_402_300_800 else 0


class _Registered(BaseModel):
    model_config = ConfigDict(frozen=True)

    client_id: Annotated[str, Field(min_length=1, max_length=2048)]
    client_secret: OptionalText = ""
    client_secret_expires_at: Annotated[int, BeforeValidator(_expiry)] = 0
    token_endpoint_auth_method: OptionalText = ""


async def client_at(
    server: ServerMetadata,
    oauth: UpstreamOAuth | None,
    portal: PortalClient,
    outbound: Outbound,
    store: Store,
    now: datetime,
) -> RegisteredClient:
    """The client to log in with at this authorization server.

    Raises:
        Misconfigured: there is none, and the text says which one is to be registered.
        Refused: the registration was refused.
        NoAnswer: it was not answered.
    """
    if oauth is not None and oauth.client_id:
        return configured_client(oauth)
    if server.client_id_metadata_document_supported and portal.document_url:
        return RegisteredClient(portal.document_url, method="none")
    id = _id(server.issuer, portal.redirect_uri)
    known = await store.get(UPSTREAM_CLIENT, id)
    if known is not None and (known.document.expires_at or now) >= now:
        return await _kept(store, known)
    if not server.registration_endpoint:
        raise Misconfigured(
            f"the authorization server {server.issuer} registers no clients by itself. Register one there with the "
            f"redirect URI {portal.redirect_uri}, and write its `clientId`, and its `clientSecret` if it has one, into "
            f"the server's `oauth`.{advice_of(server.issuer)}"
        )
    client, expires_at = await _register(server, portal, outbound)
    document = UpstreamClientDocument(
        issuer=server.issuer,
        redirect_uri=portal.redirect_uri,
        client_id=client.id,
        method=client.method,
        expires_at=expires_at,
    )
    async with store.transaction() as transaction:
        if await transaction.find(UPSTREAM_CLIENT, id) is not None:
            await transaction.delete(UPSTREAM_CLIENT, id, by=BY)
        await transaction.create(UPSTREAM_CLIENT, id, document, by=BY, secret=client.secret.encode())
    return client


async def client_again(
    client_id: str, issuer: str, oauth: UpstreamOAuth | None, portal: PortalClient, store: Store
) -> RegisteredClient | None:
    """The client of a login that was begun with this id; None if the portal is known there as another one by now.

    Raises:
        Misconfigured: the private key of the configuration is none.
    """
    if oauth is not None and oauth.client_id:
        return configured_client(oauth) if oauth.client_id == client_id else None
    if portal.document_url and client_id == portal.document_url:
        return RegisteredClient(client_id, method="none")
    known = await store.get(UPSTREAM_CLIENT, _id(issuer, portal.redirect_uri))
    return await _kept(store, known) if known is not None and known.document.client_id == client_id else None


async def forget_unknown_client(store: Store, error: Refused, issuer: str, client_id: str) -> None:
    """Have the portal registered again by the next login, if the authorization server says that it does not know this
    client."""
    if error.code not in _CLIENT_UNKNOWN:
        return
    for stored in await store.list(UPSTREAM_CLIENT):
        if (stored.document.issuer, stored.document.client_id) == (issuer, client_id):
            with suppress(NotFound):
                await store.delete(UPSTREAM_CLIENT, stored.id, by=BY)


async def _kept(store: Store, known: Stored[UpstreamClientDocument]) -> RegisteredClient:
    """The client that was registered before, with its secret."""
    secret = await store.secret(UPSTREAM_CLIENT, known.id)
    return RegisteredClient(known.document.client_id, (secret or b"").decode(), method=known.document.method)


async def _register(
    server: ServerMetadata, portal: PortalClient, outbound: Outbound
) -> tuple[RegisteredClient, datetime | None]:
    """The new client, and when its secret ends."""
    methods = server.token_endpoint_auth_methods_supported
    # A public client where that will do: it has no secret that could be lost.
    method = "none" if not methods or "none" in methods else next((m for m in _WITH_SECRET if m in methods), "none")
    metadata = {
        "client_name": portal.name,
        "redirect_uris": [portal.redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
        "application_type": "native" if portal.native else "web",
    }
    headers = {"content-type": "application/json", "accept": "application/json"}
    status, answer = await outbound.post(server.registration_endpoint, orjson.dumps(metadata), headers)
    who = origin_of(server.registration_endpoint)
    found = read(_Registered, answer) if status in (200, 201) else None
    if found is not None:
        client = RegisteredClient(
            found.client_id, found.client_secret, method=found.token_endpoint_auth_method or method
        )
        ends = found.client_secret_expires_at
        return client, datetime.fromtimestamp(ends, UTC) if ends and found.client_secret else None
    if status >= 500 or status == 429:
        raise NoAnswer(f"{who} answered a registration with status {status}")
    code = readable_code(answer.get("error")) if isinstance(answer, dict) else ""
    code = code or f"status {status}"
    raise Refused(
        f"{who} refused to register the portal ({code}). Register a client there by hand, with the redirect URI "
        f"{portal.redirect_uri}, and write its `clientId` into the server's `oauth`; some providers register only "
        f"clients that they have approved.{advice_of(server.issuer)}",
        code,
    )


def _id(issuer: str, redirect_uri: str) -> str:
    return hashlib.sha256(orjson.dumps([issuer, redirect_uri])).hexdigest()
