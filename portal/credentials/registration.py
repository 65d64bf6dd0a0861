"""As which client the portal is known to an authorization server.

In the order of MCP 2026-07-28 "Client Registration": a client that an administrator registered, the portal's own
metadata document (CIMD), dynamic registration (RFC 7591). What was registered is kept for issuer and redirect URI.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from portal.config import UpstreamOAuth
from portal.credentials.client_authentication import RegisteredClient, read_private_key
from portal.credentials.errors import Misconfigured, NoAnswer, Refused
from portal.credentials.metadata import ServerMetadata, read
from portal.credentials.outbound import Outbound, origin_of
from portal.objects import Document
from portal.state import Kind, NotFound

if TYPE_CHECKING:
    from portal.state import Store

BY = "portal"


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
    """A client that an authorization server registered for the portal. Its secret is the object's."""

    issuer: str
    redirect_uri: str
    client_id: str
    method: str


UPSTREAM_CLIENT = Kind("upstream_client", UpstreamClientDocument)


class _Registered(BaseModel):
    model_config = ConfigDict(frozen=True)

    client_id: Annotated[str, Field(min_length=1, max_length=2048)]
    client_secret: Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")] = ""
    token_endpoint_auth_method: Annotated[str, BeforeValidator(lambda v: v if isinstance(v, str) else "")] = ""


async def client_at(
    server: ServerMetadata, oauth: UpstreamOAuth | None, portal: PortalClient, outbound: Outbound, store: Store
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
    if known is not None:
        secret = await store.secret(UPSTREAM_CLIENT, id)
        return RegisteredClient(known.document.client_id, (secret or b"").decode(), method=known.document.method)
    if not server.registration_endpoint:
        raise Misconfigured(
            f"the authorization server {server.issuer} registers no clients by itself. Register one there with the "
            f"redirect URI {portal.redirect_uri}, and write its `clientId`, and its `clientSecret` if it has one, into "
            "the server's `oauth`."
        )
    client = await _register(server, portal, outbound)
    document = UpstreamClientDocument(
        issuer=server.issuer, redirect_uri=portal.redirect_uri, client_id=client.id, method=client.method
    )
    async with store.transaction() as transaction:
        if await transaction.find(UPSTREAM_CLIENT, id) is not None:
            await transaction.delete(UPSTREAM_CLIENT, id, by=BY)
        await transaction.create(UPSTREAM_CLIENT, id, document, by=BY, secret=client.secret.encode())
    return client


async def forget_client(store: Store, issuer: str, redirect_uri: str) -> None:
    """Register anew next time: the authorization server no longer knows the client."""
    try:
        await store.delete(UPSTREAM_CLIENT, _id(issuer, redirect_uri), by=BY)
    except NotFound:
        return


def configured_client(oauth: UpstreamOAuth) -> RegisteredClient:
    """The client that an administrator registered.

    Raises:
        Misconfigured: its private key is none.
    """
    return RegisteredClient(
        id=oauth.client_id,
        secret=oauth.client_secret,
        key=read_private_key(oauth.private_key, oauth.key_id) if oauth.private_key else None,
        algorithm=oauth.algorithm,
        method=oauth.token_endpoint_auth_method or ("" if oauth.client_secret or oauth.private_key else "none"),
    )


async def _register(server: ServerMetadata, portal: PortalClient, outbound: Outbound) -> RegisteredClient:
    methods = server.token_endpoint_auth_methods_supported
    # A secret where the server wants one: a public client is less to lose, and all servers of MCP take it.
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
        return RegisteredClient(found.client_id, found.client_secret, method=found.token_endpoint_auth_method or method)
    if status >= 500 or status == 429:
        raise NoAnswer(f"{who} answered a registration with status {status}")
    error = answer.get("error") if isinstance(answer, dict) else None
    code = error if isinstance(error, str) and error.isprintable() and len(error) <= 100 else f"status {status}"
    raise Refused(
        f"{who} refused to register the portal ({code}). Register a client there by hand, with the redirect URI "
        f"{portal.redirect_uri}, and write its `clientId` into the server's `oauth`; some providers register only "
        "clients that they have approved.",
        code,
    )


_WITH_SECRET = ("client_secret_basic", "client_secret_post")


def _id(issuer: str, redirect_uri: str) -> str:
    return hashlib.sha256(orjson.dumps([issuer, redirect_uri])).hexdigest()
